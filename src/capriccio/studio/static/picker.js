// Where a picture comes from: another one, a photograph or latents file of one's own, one from the tray.
import {fileInput, freshSeed, h} from "./dom.js";
import {makeLatents, withLatents} from "./latents.js";
import {DRAGGED, picture} from "./picture.js";
import {fields, isLatent, isPlain, latentsOf, nameOf, parseOrigins} from "./recipes.js";
import {pinned} from "./tray.js";

// The origin a recipe can be used by: its own, or for a mixed or changed picture a latent made of it.
export async function originOf(recipe) {
  if (isPlain(recipe) && (isLatent(recipe.of) || (recipe.noise ?? "const") === "const" && recipe.cutoff === undefined)) return recipe.of;
  const [id] = await withLatents(latentsOf(recipe), () => makeLatents([fields(recipe)]));
  return id;
}

// Asks for a picture. `chosen(recipe)` gets what was chosen, `files(list)` what was brought; `remove` where it can go.
export function choose(title, {chosen, files, remove, look = {}}) {
  const dialog = document.getElementById("choose");
  const close = action => { dialog.close(); action(); };
  const input = fileInput({id: "own", multiple: true, accept: "image/*,.safetensors,.npz", taken: own => close(() => files(own))});
  const seed = h("input", {id: "seed", inputmode: "numeric", pattern: "[0-9 ]{1,13}", autocomplete: "off", required: true, placeholder: "48213907"});
  const numbered = h("form", {class: "actions"}, h("label", {for: "seed"}, "№"), seed, h("button", {}, "Take this number"));
  numbered.addEventListener("submit", event => {
    event.preventDefault();
    const [origin] = parseOrigins(seed.value.replaceAll(/\s/g, ""));
    if (origin === undefined) seed.setCustomValidity("A number from 0 to 4,294,967,295.");
    else close(() => chosen({of: origin, ...look}));
    seed.reportValidity();
  });
  seed.addEventListener("input", () => seed.setCustomValidity(""));
  const pins = pinned();
  dialog.replaceChildren(
    h("h2", {id: "choose-title"}, title),
    h("div", {class: "actions"},
      h("button", {type: "button", class: "main", onclick: () => close(() => chosen({of: freshSeed(), ...look}))}, "Another"),
      files ? h("label", {class: "button", for: "own"}, "Own photographs or latents", input) : null,
      remove ? h("button", {type: "button", onclick: () => close(remove)}, "Remove") : null,
      h("button", {type: "button", onclick: () => dialog.close()}, "Cancel")),
    numbered,
    h("h3", {}, "From the tray"),
    pins.length ? h("div", {class: "grid small"}, ...pins.map(pin => picture(pin, {pin: false, label: `Take ${nameOf(pin)}`,
      caption: isPlain(pin) && !isLatent(pin.of) ? undefined : nameOf(pin), open: () => close(() => chosen(pin))})))
      : h("p", {class: "quiet"}, "Nothing pinned yet. ◆ on a picture keeps it in the tray."));
  dialog.showModal();
}

// Lets files, and pictures from the tray, be dropped on an element.
export function takesDrops(element, {chosen, files}) {
  const fits = event => [DRAGGED, "Files"].some(kind => event.dataTransfer.types.includes(kind));
  element.addEventListener("dragover", event => {
    if (fits(event)) { event.preventDefault(); event.stopPropagation(); element.classList.add("over"); }
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", event => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.remove("over");
    const recipe = event.dataTransfer.getData(DRAGGED);
    if (recipe) chosen?.(JSON.parse(recipe));
    else if (event.dataTransfer.files.length) files?.([...event.dataTransfer.files]);
  });
}
