// Generate: a gallery that goes on as one scrolls, and the picture one holds from typical to extreme.
import {freshSeed, grouped, h} from "./dom.js";
import {lookBar} from "./look.js";
import {picture, showLarge} from "./picture.js";
import {parseOrigins} from "./recipes.js";
import {place, remember} from "./state.js";

const PAGE = 24, MOST = 2400;

export function generate(table, model) {
  const {query} = place();
  const seedOf = name => parseOrigins(query.get(name)).find(origin => typeof origin === "number");
  let start = seedOf("from") ?? freshSeed();
  let held = seedOf("seed");
  let noise = ["const", "none", "random"].includes(query.get("noise")) ? query.get("noise") : "const";
  let cutoff = /^\d+$/.test(query.get("cutoff") ?? "") ? Number(query.get("cutoff")) : undefined;
  let count = 0;
  const grid = h("div", {class: "grid", role: "list", "aria-label": "Gallery"});
  const strip = h("div", {class: "strip", role: "group", "aria-label": "The same picture from psi 0 to 1.2", tabindex: "0"});
  const end = h("p", {class: "quiet end"});
  const recipe = seed => ({of: seed, ...look, noise, cutoff});

  const another = h("button", {type: "button", class: "main", "data-key": "n", onclick: () => { start = freshSeed(); draw(); }}, "Others");
  const noises = h("select", {"aria-label": "Noise"}, ...[["const", "noise: its own"], ["none", "noise: none"],
    ["random", "noise: by seed"]].map(([value, name]) => h("option", {value, selected: value === noise}, name)));
  noises.addEventListener("change", () => { noise = noises.value; remember({noise: noise === "const" ? "" : noise}); draw(); });
  const cut = h("select", {"aria-label": "Cutoff"}, h("option", {value: ""}, "psi for all rows"),
    ...Array.from({length: model.rows - 1}, (_, i) => h("option", {value: i + 1, selected: i + 1 === cutoff},
      `psi for ${i + 1} coarse ${i ? "rows" : "row"}`)));
  cut.addEventListener("change", () => { cutoff = cut.value ? Number(cut.value) : undefined; remember({cutoff}); draw(); });
  const {look, bar} = lookBar(model, () => draw(), [another], [cut, noises]);

  function open(seed) {
    hold(seed);
    let at = seed;
    showLarge(recipe(seed), by => {
      at = (at + by + 2 ** 32) % 2 ** 32;
      hold(at);
      return recipe(at);
    });
  }

  function more() {
    for (const last = count + PAGE; count < last; count += 1) {
      const seed = (start + count) % 2 ** 32;
      const box = picture(recipe(seed), {open: () => open(seed)});
      box.setAttribute("role", "listitem");
      grid.append(box);
    }
    watcher.unobserve(end);  // who watches is told of changes alone, and on a tall screen the end may stay in sight
    watcher.observe(end);
  }

  function hold(seed) {
    held = seed;
    remember({seed});
    strip.replaceChildren(...Array.from({length: 9}, (_, i) => {
      const psi = Number((0.15 * i).toFixed(2));
      return h("figure", {}, picture({...recipe(seed), psi}, {pin: false, label: `№ ${grouped(seed)} at psi ${psi}`}),
        h("figcaption", {}, `psi ${psi}`));
    }));
    strip.hidden = false;
  }

  function draw() {
    remember({from: start});
    grid.replaceChildren();
    end.textContent = "More as you scroll.";
    count = 0;
    more();
    strip.hidden = held === undefined;
    if (held !== undefined) hold(held);
  }

  table.replaceChildren(
    h("div", {class: "head"}, h("h1", {}, "Generate"),
      h("p", {class: "quiet"}, `Pictures of ${model.name}, ${model.width} × ${model.height}, that never existed. `
        + "Open one to see it from typical to extreme.")),
    bar, strip, grid, end);
  const watcher = new IntersectionObserver(found => {
    if (!found[0].isIntersecting) return;
    if (count < MOST) more();
    else end.textContent = "Enough for one wall; “Others” hangs another one.";
  }, {rootMargin: "600px"});
  draw();
  return () => watcher.disconnect();
}
