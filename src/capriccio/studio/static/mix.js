// Mix: the table of the paper. The left keeps its layout, the top lends the chosen rows.
import {freshSeed, grouped, h} from "./dom.js";
import {lookBar} from "./look.js";
import {picture} from "./picture.js";
import {place, remember, seeds} from "./state.js";
import {pinned} from "./tray.js";

const MOST = 8;

export function mix(table, model) {
  const {query} = place();
  const lists = {
    rows: seeds(query, "rows").slice(0, MOST),
    cols: seeds(query, "cols").slice(0, MOST),
  };
  const wide = innerWidth > 720;
  if (!lists.rows.length) lists.rows = Array.from({length: 3}, freshSeed);
  if (!lists.cols.length) lists.cols = Array.from({length: wide ? 5 : 3}, freshSeed);
  let chosen = new Set(layerRows(query.get("layers") ?? "coarse"));
  const grid = h("div", {class: "mixing", role: "group", "aria-label": "Mixing table", tabindex: "0"});
  const {look, bar} = lookBar(model, draw);

  function layerRows(text) {
    if (model.named_rows[text]) return model.named_rows[text];
    const rows = text.split(",").flatMap(part => {
      const [first, last = first] = part.split("-").map(Number);
      return first <= last && last < model.rows ? Array.from({length: last - first + 1}, (_, i) => first + i) : [];
    });
    return rows.length ? rows : model.named_rows.coarse;
  }

  function layers() {
    const rows = [...chosen].sort((a, b) => a - b);
    for (const [name, named] of Object.entries(model.named_rows)) {
      if (named.length === rows.length && named.every((row, i) => row === rows[i])) return name;
    }
    return rows.join(",");
  }

  // ---- which rows come from the top: three names, or painted one by one

  const names = h("div", {class: "chips"}, ...Object.keys(model.named_rows).map(name =>
    h("button", {type: "button", "data-name": name, onclick: () => choose(model.named_rows[name])}, name)));
  const painted = h("div", {class: "rows", role: "group", "aria-label": "Rows from the top"},
    ...model.levels.map((level, row) => h("button", {type: "button", "data-row": row, title: `row ${row}`,
      "aria-label": `Row ${row}, ${level} pixels`, onclick: event => { if (event.detail === 0) paint(row, !chosen.has(row)); }},
      `${level}²`)));
  let brush = null;
  painted.addEventListener("pointerdown", event => {
    const row = event.target.dataset.row;
    if (row === undefined) return;
    event.target.releasePointerCapture?.(event.pointerId);
    brush = !chosen.has(Number(row));
    paint(Number(row), brush, false);
  });
  painted.addEventListener("pointermove", event => {
    if (brush === null) return;
    const row = document.elementFromPoint(event.clientX, event.clientY)?.dataset?.row;
    if (row !== undefined && chosen.has(Number(row)) !== brush) paint(Number(row), brush, false);
  });
  const lift = () => { if (brush !== null) { brush = null; draw(); } };
  addEventListener("pointerup", lift);
  addEventListener("pointercancel", lift);

  function paint(row, on, redraw = true) {
    if (on) chosen.add(row);
    else if (chosen.size > 1) chosen.delete(row);
    mark();
    if (redraw) draw();
  }

  function choose(rows) { chosen = new Set(rows); draw(); }

  function mark() {
    const name = layers();
    names.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", b.dataset.name === name));
    painted.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", chosen.has(Number(b.dataset.row))));
  }

  // ---- the table

  function source(list, index) {
    const seed = lists[list][index];
    const box = picture({seed, ...look}, {label: `Another in place of № ${grouped(seed)}`,
      open: () => { lists[list][index] = freshSeed(); draw(); }});
    box.classList.add("source");
    return box;
  }

  const cells = new Map();

  function draw() {
    mark();
    remember({rows: lists.rows.join(","), cols: lists.cols.join(","), layers: layers()});
    grid.style.setProperty("grid-template-columns", `repeat(${lists.cols.length + 1}, minmax(64px, 160px))`);
    const kept = new Map(cells);
    cells.clear();
    const keep = (key, make) => {
      const box = kept.get(key) ?? make();
      cells.set(key, box);
      return box;
    };
    const look_ = JSON.stringify(look);
    grid.replaceChildren(
      h("div", {class: "corner"}, "styles →", h("br"), "content ↓"),
      ...lists.cols.map((seed, i) => keep(`c${i}:${seed}:${look_}`, () => source("cols", i))),
      ...lists.rows.flatMap((seed, r) => [
        keep(`r${r}:${seed}:${look_}`, () => source("rows", r)),
        ...lists.cols.map(other => keep(`${r}:${seed}:${other}:${layers()}:${look_}`,
          () => picture({seed, mixed: other, layers: layers(), ...look}))),
      ]));
  }

  const change = (list, by) => {
    if (by > 0 && lists[list].length < MOST) lists[list].push(freshSeed());
    if (by < 0 && lists[list].length > 1) lists[list].pop();
    draw();
  };
  const pins = list => {
    const found = pinned().filter(pin => pin.mixed === undefined).map(pin => pin.seed).slice(0, MOST);
    if (found.length) { lists[list] = found; draw(); }
  };
  const tools = ["rows", "cols"].map(list => {
    const name = list === "rows" ? "Left" : "Top";
    return h("fieldset", {}, h("legend", {}, name),
      h("button", {type: "button", "aria-label": `One fewer: ${name}`, onclick: () => change(list, -1)}, "−"),
      h("button", {type: "button", "aria-label": `One more: ${name}`, onclick: () => change(list, 1)}, "+"),
      h("button", {type: "button", onclick: () => pins(list)}, "From the tray"));
  });
  bar.append(h("fieldset", {}, h("legend", {}, "From the top"), names));
  table.replaceChildren(
    h("div", {class: "head"}, h("div", {}, h("h1", {}, "Mix"), h("p", {class: "quiet"},
      "Every cell is the picture on its left with some layers of the one above it. Press a source to draw another."))),
    bar, painted, h("div", {class: "bar"}, ...tools), grid);
  draw();
  return () => { removeEventListener("pointerup", lift); removeEventListener("pointercancel", lift); };
}
