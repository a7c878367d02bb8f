// The bar every table shares: psi, and where the model has them, classes. What is seldom wanted folds away.
import {h} from "./dom.js";
import {number, place, remember} from "./state.js";

const CHIPS = 12;

export function lookBar(model, changed, extras = [], seldom = []) {
  const {query} = place();
  const look = {psi: number(query, "psi", model.psi, -2, 2)};
  const shown = h("output", {for: "psi"}, look.psi.toFixed(2));
  const slider = h("input", {id: "psi", type: "range", min: 0, max: 1.2, step: 0.05, value: look.psi});
  slider.addEventListener("input", () => { shown.textContent = Number(slider.value).toFixed(2); });
  slider.addEventListener("change", () => {
    look.psi = Number(slider.value);
    remember({psi: look.psi});
    changed();
  });
  const parts = [h("label", {title: "0 is the typical picture, 1 full variety"}, "psi", slider, shown)];
  if (model.classes) {
    look.class = number(query, "class", 0, 0, model.classes - 1);
    parts.push(classes(model, look.class, value => {
      look.class = value;
      remember({class: value});
      changed();
    }));
  }
  parts.push(...extras);
  if (seldom.length) parts.push(h("details", {class: "seldom", open: seldom.some(one => one.value && one.value !== "const")},
    h("summary", {class: "button", "aria-label": "More settings"}, "⋯"), h("div", {class: "bar inner"}, ...seldom)));
  return {look, bar: h("div", {class: "bar"}, ...parts)};
}

function classes(model, chosen, changed) {
  const count = model.classes;
  const name = i => model.class_names[i] ?? `class ${i}`;
  if (count > CHIPS) {
    const select = h("select", {"aria-label": "Class"}, ...Array.from({length: count}, (_, i) =>
      h("option", {value: i, selected: i === chosen}, name(i))));
    select.addEventListener("change", () => changed(Number(select.value)));
    return select;
  }
  const chips = h("div", {class: "chips", role: "group", "aria-label": "Class"});
  chips.append(...Array.from({length: count}, (_, i) => h("button", {type: "button", "aria-pressed": i === chosen, onclick: event => {
    for (const chip of chips.children) chip.setAttribute("aria-pressed", chip === event.target);
    changed(i);
  }}, name(i))));
  return chips;
}
