// Mix: the table of the paper. The left keeps its layout, the top lends the chosen rows.
import {freshSeed, h} from "./dom.js";
import {layerBar} from "./layers.js";
import {lookBar} from "./look.js";
import {takeFiles} from "./photographs.js";
import {choose, originOf, takesDrops} from "./picker.js";
import {picture} from "./picture.js";
import {isLatent, nameOfOrigin, parseOrigins} from "./recipes.js";
import {place, remember} from "./state.js";

const MOST = 8;
const SIDES = {rows: "left", cols: "top"};

export function mix(table, model) {
  const {query} = place();
  const lists = {rows: parseOrigins(query.get("rows")).slice(0, MOST), cols: parseOrigins(query.get("cols")).slice(0, MOST)};
  const wide = innerWidth > 720;
  while (lists.rows.length < (query.has("rows") ? 1 : 3)) lists.rows.push(freshSeed());
  while (lists.cols.length < (query.has("cols") ? 1 : wide ? 5 : 3)) lists.cols.push(freshSeed());
  const grid = h("div", {class: "mixing", role: "group", "aria-label": "Mixing table", tabindex: "0"});
  const arrivals = h("div", {class: "arrivals", "aria-live": "polite"});
  const shuffle = h("button", {type: "button", class: "main", "data-key": "n", onclick: () => {
    for (const list of Object.values(lists)) list.forEach((origin, i) => { if (!isLatent(origin)) list[i] = freshSeed(); });
    draw();
  }}, "Shuffle");
  const layers = layerBar(model, query.get("layers") ?? "coarse", () => draw());
  const {look, bar} = lookBar(model, () => draw(), [layers.names, shuffle]);

  // ---- sources: each can be another picture, a photograph of one's own, one from the tray, or go

  async function take(list, index, recipe) {
    try {
      put(list, index, [await originOf(recipe)]);
    } catch (error) {
      arrivals.replaceChildren(h("p", {class: "error", role: "alert"}, error.message));
    }
  }

  function put(list, index, origins) {
    const room = index < lists[list].length ? 1 : 0;
    lists[list].splice(index, room, ...origins.slice(0, MOST - lists[list].length + room));
    draw();
  }

  function bring(list, index, files) {
    let at = index;
    takeFiles(files, arrivals, look.class, ids => {
      put(list, at, ids);
      at = Math.min(at + ids.length, lists[list].length);
    });
  }

  function asks(list, index) {
    return {chosen: recipe => take(list, index, recipe), files: files => bring(list, index, files)};
  }

  function source(list, index) {
    const origin = lists[list][index];
    const remove = lists[list].length > 1 ? () => { lists[list].splice(index, 1); draw(); } : undefined;
    const box = picture({of: origin, ...look}, {label: `Change ${nameOfOrigin(origin)}, ${SIDES[list]}`,
      caption: isLatent(origin) ? nameOfOrigin(origin) : undefined,
      open: () => choose(`${nameOfOrigin(origin)}, on the ${SIDES[list]}`, {...asks(list, index), remove, look})});
    box.classList.add("source");
    takesDrops(box, asks(list, index));
    return box;
  }

  function adder(list) {
    const end = lists[list].length;
    const button = h("button", {type: "button", class: `adder ${list}`, "aria-label": `One more on the ${SIDES[list]}`,
      onclick: () => choose(`One more on the ${SIDES[list]}`, {...asks(list, end), look})}, "+");
    takesDrops(button, asks(list, end));
    return button;
  }

  // ---- the table

  const cells = new Map();

  function draw() {
    const rows = layers.text();
    remember({rows: lists.rows.join(","), cols: lists.cols.join(","), layers: rows});
    const room = lists.cols.length < MOST;
    grid.style.setProperty("grid-template-columns", `repeat(${lists.cols.length + 1}, minmax(4rem, 11rem))${room ? " 2.75rem" : ""}`);
    const kept = new Map(cells);
    cells.clear();
    const keep = (key, make) => {
      const box = kept.get(key) ?? make();
      cells.set(key, box);
      return box;
    };
    const how = JSON.stringify(look);
    const gap = () => room ? [h("span", {})] : [];
    grid.replaceChildren(
      h("div", {class: "corner", "aria-hidden": "true"}, h("span", {}, "styles →"), h("span", {}, "content ↓")),
      ...lists.cols.map((origin, i) => keep(`c${i}/${lists.cols.length}:${origin}:${how}`, () => source("cols", i))),
      ...(room ? [adder("cols")] : []),
      ...lists.rows.flatMap((origin, r) => [
        keep(`r${r}/${lists.rows.length}:${origin}:${how}`, () => source("rows", r)),
        ...lists.cols.map(other => keep(`${r}:${origin}:${other}:${rows}:${how}`,
          () => picture({of: origin, mixed: other, layers: rows, ...look}, {drags: true}))),
        ...gap(),
      ]),
      ...(lists.rows.length < MOST ? [adder("rows")] : []));
  }

  table.replaceChildren(
    h("div", {class: "head"}, h("h1", {}, "Mix"), h("p", {class: "quiet"},
      "Every cell is the picture on its left with some layers of the one above it. Press a source to change it; "
      + "drop a photograph on it to use your own.")),
    bar, layers.painted, arrivals, grid);
  draw();
  return layers.leave;
}
