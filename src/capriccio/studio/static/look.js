// The bar every table shares: psi, and where the model has them, classes.
import {h} from "./dom.js";
import {number, place, remember} from "./state.js";

export function lookBar(model, changed, extras = []) {
  const {query} = place();
  const look = {psi: number(query, "psi", model.psi, -2, 2)};
  const shown = h("output", {for: "psi"}, look.psi.toFixed(2));
  const slider = h("input", {id: "psi", type: "range", min: 0, max: 1.2, step: 0.05, value: look.psi});
  slider.addEventListener("input", () => { shown.textContent = Number(slider.value).toFixed(2); });
  slider.addEventListener("change", () => {
    look.psi = Number(slider.value);
    remember({psi: look.psi});
    changed(look);
  });
  const parts = [h("label", {title: "0 is the typical picture, 1 full variety"}, "psi", slider, shown)];
  if (model.classes) {
    look.class = number(query, "class", 0, 0, model.classes - 1);
    const select = h("select", {"aria-label": "Class"}, ...Array.from({length: model.classes}, (_, i) =>
      h("option", {value: i, selected: i === look.class}, `class ${i}`)));
    select.addEventListener("change", () => {
      look.class = Number(select.value);
      remember({class: look.class});
      changed(look);
    });
    parts.push(select);
  }
  return {look, bar: h("div", {class: "bar"}, ...parts, ...extras)};
}
