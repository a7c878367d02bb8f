// Which latent rows come from the top: three names, or painted one by one with a drag.
import {h} from "./dom.js";

export function layerBar(model, text, changed) {
  let chosen = new Set(rowsOf(text));

  function rowsOf(words) {
    if (model.named_rows[words]) return model.named_rows[words];
    const rows = words.split(",").flatMap(part => {
      const [first, last = first] = part.split("-").map(Number);
      return first <= last && last < model.rows ? Array.from({length: last - first + 1}, (_, i) => first + i) : [];
    });
    return rows.length ? rows : model.named_rows.coarse;
  }

  function asText() {
    const rows = [...chosen].sort((a, b) => a - b);
    for (const [name, named] of Object.entries(model.named_rows)) {
      if (named.length === rows.length && named.every((row, i) => row === rows[i])) return name;
    }
    return rows.join(",");
  }

  const names = h("div", {class: "chips", role: "group", "aria-label": "Layers from the top"}, ...Object.keys(model.named_rows).map(name =>
    h("button", {type: "button", "data-name": name, onclick: () => { chosen = new Set(model.named_rows[name]); mark(); changed(); }}, name)));
  const painted = h("div", {class: "rows", role: "group", "aria-label": "Rows from the top"},
    ...model.levels.map((level, row) => h("button", {type: "button", "data-row": row, title: `row ${row}, ${level} pixels`,
      "aria-label": `Row ${row}, ${level} pixels`, onclick: event => { if (event.detail === 0) { paint(row, !chosen.has(row)); changed(); } }},
      `${level}²`)));

  function paint(row, on) {
    if (on) chosen.add(row);
    else if (chosen.size > 1) chosen.delete(row);
    mark();
  }

  function mark() {
    const name = asText();
    names.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", b.dataset.name === name));
    painted.querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", chosen.has(Number(b.dataset.row))));
  }

  let brush = null;
  painted.addEventListener("pointerdown", event => {
    const {row} = event.target.dataset;
    if (row === undefined) return;
    event.target.releasePointerCapture?.(event.pointerId);
    brush = !chosen.has(Number(row));
    paint(Number(row), brush);
  });
  painted.addEventListener("pointermove", event => {
    if (brush === null) return;
    const row = document.elementFromPoint(event.clientX, event.clientY)?.dataset?.row;
    if (row !== undefined && chosen.has(Number(row)) !== brush) paint(Number(row), brush);
  });
  const lift = () => { if (brush !== null) { brush = null; changed(); } };
  addEventListener("pointerup", lift);
  addEventListener("pointercancel", lift);
  mark();
  return {names, painted, text: asText, leave: () => { removeEventListener("pointerup", lift); removeEventListener("pointercancel", lift); }};
}
