// Edit: one large picture, before and after under a slider, a slider for each direction.
import {freshSeed, h} from "./dom.js";
import {lookBar} from "./look.js";
import {nameOf, showLarge} from "./picture.js";
import {lost, pictureAddress} from "./server.js";
import {place, remember, seeds} from "./state.js";
import {isPinned, onTray, pinned, togglePin} from "./tray.js";

const REACH = 4;

export function edit(table, model) {
  const {query} = place();
  let seed = seeds(query, "seed")[0] ?? freshSeed();
  const strengths = new Map(), layers = new Map();
  for (const text of query.getAll("set")) {
    const [, name, strength, rows] = /^([\w-]+)=(-?[\d.]+)(?:@([\w,-]+))?$/.exec(text) ?? [];
    if (model.directions.some(one => one.name === name)) {
      strengths.set(name, Math.max(-REACH, Math.min(REACH, Number(strength))));
      if (rows) layers.set(name, rows);
    }
  }
  if (!model.directions.length) {
    table.replaceChildren(h("h1", {}, "Edit"), h("p", {class: "empty"}, "This model has no editing directions yet: ",
      h("code", {}, "capriccio directions")));
    return;
  }
  const scale = Math.max(1, Math.min(model.max_scale, Math.round(512 / Math.max(model.width, model.height))));
  const changes = () => [...strengths].filter(([, strength]) => strength)
    .map(([name, strength]) => `${name}=${strength}${layers.has(name) ? `@${layers.get(name)}` : ""}`);
  const recipe = () => ({seed, ...look, ...(changes().length ? {changes: changes()} : {})});

  const before = h("img", {alt: ""}), after = h("img", {class: "after", alt: ""});
  const halves = h("div", {class: "picture halves", style: {"--aspect": `${model.width}/${model.height}`}}, before, after,
    h("span", {class: "line", "aria-hidden": "true"}));
  const edge = h("input", {type: "range", min: 0, max: 100, value: 0, "aria-label": "Before and after"});
  edge.addEventListener("input", () => halves.style.setProperty("--edge", `${edge.value}%`));
  halves.style.setProperty("--edge", "0%");
  after.onerror = () => lost();
  const told = h("h2", {});
  const pin = h("button", {type: "button", onclick: () => togglePin(recipe())});
  const markPin = () => { pin.textContent = isPinned(recipe()) ? "Unpin" : "Pin"; };
  onTray(() => { if (pin.isConnected) markPin(); });
  let timer = 0;

  function draw() {
    remember({seed});
    const {query: now} = place();
    now.delete("set");
    changes().forEach(change => now.append("set", change));
    history.replaceState(null, "", `#/edit?${now}`);
    before.src = pictureAddress({seed, ...look, scale});
    after.src = pictureAddress({...recipe(), scale});
    before.alt = `Before: ${nameOf({seed})}`;
    after.alt = `After: ${nameOf(recipe())}`;
    told.textContent = nameOf({seed});
    markPin();
  }

  const soon = () => { clearTimeout(timer); timer = setTimeout(draw, 60); };

  const sliders = model.directions.map(({name, about, unit}) => {
    const shown = h("output", {});
    const slider = h("input", {type: "range", id: `d-${name}`, min: -REACH, max: REACH, step: 0.1, value: strengths.get(name) ?? 0,
      title: "Double click: back to nothing"});
    const rows = h("select", {"aria-label": `Layers of ${name}`}, h("option", {value: ""}, "its own layers"),
      ...["all", ...Object.keys(model.named_rows)].map(key => h("option", {value: key, selected: key === layers.get(name)}, key)));
    const take = () => {
      strengths.set(name, Number(slider.value));
      shown.textContent = Number(slider.value) > 0 ? `+${slider.value}` : slider.value.replace("-", "−");
    };
    slider.addEventListener("input", () => { take(); soon(); });
    slider.addEventListener("dblclick", () => { slider.value = 0; take(); soon(); });
    rows.addEventListener("change", () => { rows.value ? layers.set(name, rows.value) : layers.delete(name); draw(); });
    take();
    return h("div", {class: "direction"}, h("label", {for: `d-${name}`, title: `1 = ${unit}`}, name), slider, shown, rows,
      h("p", {class: "quiet"}, about));
  });

  const {look, bar} = lookBar(model, draw, [
    h("button", {type: "button", class: "main", onclick: () => { seed = freshSeed(); draw(); }}, "Another"),
    h("button", {type: "button", onclick: () => {
      table.querySelectorAll(".direction input").forEach(input => { input.value = 0; input.dispatchEvent(new Event("input")); });
    }}, "Undo all"),
    h("button", {type: "button", onclick: () => { const [first] = pinned(); if (first) { seed = first.seed; draw(); } }}, "From the tray"),
  ]);
  table.replaceChildren(
    h("div", {class: "head"}, h("div", {}, h("h1", {}, "Edit"), h("p", {class: "quiet"},
      "Directions found in the network's own space. The slider under the picture uncovers what it was before."))),
    bar,
    h("div", {class: "editing"},
      h("div", {class: "stage"}, halves, edge, told, h("div", {class: "actions"}, pin,
        h("button", {type: "button", onclick: () => showLarge(recipe())}, "Open large"))),
      h("div", {class: "directions"}, ...sliders)));
  draw();
  return () => clearTimeout(timer);
}
