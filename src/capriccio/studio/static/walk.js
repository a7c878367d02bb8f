// Walk: key pictures on a closed line, a film through them made while one waits, and cancelled when one does not.
import {freshSeed, grouped, h} from "./dom.js";
import {follow} from "./jobs.js";
import {lookBar} from "./look.js";
import {picture} from "./picture.js";
import {place, remember, seeds} from "./state.js";
import {pinned} from "./tray.js";

const MOST = 24;

export function walk(table, model) {
  let keys = seeds(place().query, "keys").slice(0, MOST);
  if (keys.length < 2) keys = Array.from({length: 4}, freshSeed);
  const line = h("div", {class: "keys", role: "list", "aria-label": "Key pictures"});
  const stage = h("div", {class: "stage", "aria-live": "polite"});
  const {look, bar} = lookBar(model, draw);
  const pace = h("select", {"aria-label": "Pace"}, ...[[0.75, "quick"], [1.5, "calm"], [3, "slow"]].map(([value, name]) =>
    h("option", {value, selected: value === 1.5}, `${name}, ${value} s a key`)));
  const format = h("select", {"aria-label": "Format"}, ...["webp", "avif", "mp4", "webm"].map(name => h("option", {value: name}, name)));
  let stop = () => {};

  function draw() {
    remember({keys: keys.join(",")});
    line.replaceChildren(...keys.map((seed, i) => {
      const box = picture({seed, ...look}, {label: `Another in place of № ${grouped(seed)}`,
        open: () => { keys[i] = freshSeed(); draw(); }});
      box.setAttribute("role", "listitem");
      return box;
    }));
  }

  async function make(settings, name, preview) {
    stop();
    stop = await follow(stage, "/api/v1/walks", {seeds: keys, psi: look.psi, class: look.class, ...settings}, job => {
      const file = `/api/v1/jobs/${job.id}/file`;
      const link = h("a", {class: "button", href: file, download: name},
        `Download ${name}, ${Math.ceil(job.outcome.bytes / 1024).toLocaleString("en")} KiB`);
      if (!preview) return [link];
      return [h("div", {class: "picture", style: {"--aspect": `${model.width}/${model.height}`}},
        h("img", {src: file, alt: `A walk through ${keys.length} pictures`})), link];
    });
  }

  const scale = Math.max(1, Math.min(8, Math.round(384 / Math.max(model.width, model.height))));
  const buttons = h("div", {class: "bar"},
    h("button", {type: "button", onclick: () => { if (keys.length < MOST) { keys.push(freshSeed()); draw(); } }}, "Add a key"),
    h("button", {type: "button", onclick: () => { if (keys.length > 2) { keys.pop(); draw(); } }}, "Remove the last"),
    h("button", {type: "button", onclick: () => {
      const found = pinned().filter(pin => pin.mixed === undefined).map(pin => pin.seed).slice(0, MOST);
      if (found.length >= 2) { keys = found; draw(); }
    }}, "From the tray"), pace,
    h("button", {type: "button", class: "main", onclick: () => make(
      {seconds_per_key: Number(pace.value), frames_per_second: 12, scale: Math.min(scale, 4), format: "webp"}, "walk.webp", true)}, "Preview"),
    format,
    h("button", {type: "button", onclick: () => make(
      {seconds_per_key: Number(pace.value), frames_per_second: 24, scale, format: format.value}, `walk.${format.value}`,
      format.value === "webp" || format.value === "avif")}, "Export"));
  table.replaceChildren(
    h("div", {class: "head"}, h("div", {}, h("h1", {}, "Walk"), h("p", {class: "quiet"},
      "A film through these pictures and back to the first. Press a picture to draw another."))),
    bar, line, buttons, stage);
  draw();
  return () => stop();
}
