// The studio: tables in tabs, one tray for all of them, an address that holds the state.
import {h, svg} from "./dom.js";
import {detect} from "./detect.js";
import {edit} from "./edit.js";
import {generate} from "./generate.js";
import {recallNames} from "./latents.js";
import {mix} from "./mix.js";
import {picture, setModel} from "./picture.js";
import {runs} from "./runs.js";
import {ask, post, whenBack} from "./server.js";
import {place} from "./state.js";
import {showTray} from "./tray.js";
import {walk} from "./walk.js";

const TABLES = {
  generate: {name: "Generate", show: generate, sign: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z"},
  mix: {name: "Mix", show: mix, sign: "M9 5a7 7 0 1 0 0 14A7 7 0 0 0 9 5zM15 5a7 7 0 1 1 0 14 7 7 0 0 1 0-14z"},
  edit: {name: "Edit", show: edit, sign: "M4 7h9M17 7h3M13 4v6M4 17h3M11 17h9M7 14v6"},
  walk: {name: "Walk", show: walk, sign: "M3 17c4-12 6 4 9-4s5-8 9-6M3 17h.01M21 7h.01"},
  detect: {name: "Detect", show: detect, sign: "M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l5 5"},
  runs: {name: "Runs", show: runs, sign: "M4 4v16h16M7 15l4-5 3 3 5-7"},
};
const table = document.getElementById("table");
let model, leave = () => {};

function drawTabs(current) {
  document.getElementById("tabs").replaceChildren(...Object.entries(TABLES).map(([key, {name, sign}]) =>
    h("a", {href: `#/${key}`, "aria-current": key === current ? "page" : null},
      svg("svg", {viewBox: "0 0 24 24", "aria-hidden": "true"}, svg("path", {d: sign})), name)));
}

function go() {
  const {table: asked} = place();
  const name = TABLES[asked] ? asked : "generate";
  leave();
  document.querySelectorAll("dialog[open]").forEach(dialog => dialog.close());
  document.body.dataset.table = name;
  drawTabs(name);
  document.title = `${TABLES[name].name} · Capriccio`;
  leave = TABLES[name].show(table, model) ?? (() => {});
  scrollTo(0, 0);
}

function askForKey() {
  const key = h("input", {type: "password", id: "key", autocomplete: "current-password", required: true});
  const wrong = h("p", {class: "error", role: "alert"});
  const form = h("form", {class: "empty asks"}, h("h1", {}, "A key, please"), h("label", {}, "Key", key),
    h("button", {class: "main"}, "Enter"), wrong);
  form.addEventListener("submit", event => {
    event.preventDefault();
    post("/api/v1/key", {key: key.value}).then(start, error => { wrong.textContent = error.message; });
  });
  table.replaceChildren(form);
  key.focus();
}

const KEYS = [["1 – 6", "the tables"], ["n", "others, another one, a preview, one to try"], ["Tab, Enter", "go through and press"],
  ["← →", "move a slider; the picture before and after a large one"], ["Esc", "close"], ["?", "these keys"]];

function showHelp() {
  const dialog = document.getElementById("help");
  dialog.replaceChildren(h("h2", {id: "help-title"}, "Keys"),
    h("dl", {}, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("p", {}, h("a", {href: "/api/v1/docs"}, "The API")),
    h("div", {class: "actions"}, h("button", {class: "main", type: "button", autofocus: true, onclick: () => dialog.close()}, "Close")));
  dialog.showModal();
}

addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (["INPUT", "SELECT"].includes(event.target.tagName) && !["range", "file"].includes(event.target.type)) return;
  if (event.key === "?") showHelp();
  table.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
  const name = Object.keys(TABLES)[Number(event.key) - 1];
  if (name) location.hash = `#/${name}`;
});

async function start() {
  try {
    model = await ask("/api/v1/model");
  } catch (error) {
    if (error.status === 401) askForKey();
    else {
      table.replaceChildren(h("p", {class: "empty error"}, error.message));
      whenBack(start);
    }
    return;
  }
  setModel(model);
  await recallNames();
  showTray(document.getElementById("tray"), picture);
  go();
  addEventListener("hashchange", go);
}

drawTabs(place().table);
start();
