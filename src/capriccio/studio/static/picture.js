// One picture: loads when it is seen, opens large, can be pinned; says why when it cannot be shown.
import {h} from "./dom.js";
import {sendAgain} from "./latents.js";
import {isPlain, isLatent, latentsOf, nameOf, pictureAddress} from "./recipes.js";
import {lost, reason, whenBack} from "./server.js";
import {addressOf} from "./state.js";
import {isPinned, onTray, togglePin} from "./tray.js";

export const DRAGGED = "application/x-capriccio-recipe";
let model = {width: 1, height: 1, max_scale: 1};
export const setModel = facts => { model = facts; };
const reach = (side, most) => Math.max(1, Math.min(most, model.max_scale, Math.round(side / Math.max(model.width, model.height))));
export const aspect = () => ({"--aspect": `${model.width}/${model.height}`});

export function picture(recipe, {pin = true, open = () => showLarge(recipe), label, caption, drags = false} = {}) {
  const image = h("img", {alt: "", loading: "lazy", decoding: "async", draggable: "false"});
  const face = h("button", {class: "face", type: "button", "aria-label": label ?? `Open ${nameOf(recipe)}`, onclick: open,
    title: pin ? null : nameOf(recipe), draggable: drags ? "true" : null});
  if (drags) face.addEventListener("dragstart", event => event.dataTransfer.setData(DRAGGED, JSON.stringify(recipe)));
  const box = h("div", {class: "picture", style: aspect()}, image, face);
  load(box, image, recipe, pictureAddress(recipe, {scale: reach(192, 4)}));
  if (caption) box.append(h("span", {class: "seed caption", "aria-hidden": "true"}, caption));
  if (pin) {
    const button = h("button", {class: "pin", type: "button", "aria-label": `Pin ${nameOf(recipe)}`,
      onclick: () => togglePin(recipe)}, "◆");
    const mark = () => button.setAttribute("aria-pressed", isPinned(recipe));
    mark();
    onTray(() => { if (box.isConnected) mark(); });
    if (!caption) box.append(h("span", {class: "seed", "aria-hidden": "true"}, nameOf(recipe)));
    box.append(button);
  }
  return box;
}

function load(box, image, recipe, address, tries = 0) {
  const again = () => load(box, image, recipe, address, tries + 1);
  image.onload = () => { box.classList.remove("failed"); };
  image.onerror = async () => {
    const error = await reason(address);
    if (!error) return setTimeout(again, 500);  // a picture came after all
    box.classList.add("failed");
    box.dataset.reason = error.message;
    if (error.status === 0) whenBack(() => load(box, image, recipe, address));
    else if (error.status === 404 && latentsOf(recipe).length && !tries) sendAgain(latentsOf(recipe)).then(again, () => {});
    else if ((error.status === 429 || error.status === 503) && tries < 6) setTimeout(again, 1500 * (1 + tries));
  };
  image.removeAttribute("src");
  image.src = address;
}

// Shows a picture large; `beside(step)` gives the recipe before or after it, where there is one.
export function showLarge(recipe, beside) {
  const dialog = document.getElementById("large");
  const image = h("img", {src: pictureAddress(recipe, {scale: reach(768, 12)}), alt: `Synthetic picture ${nameOf(recipe)}`});
  image.onerror = () => lost();
  const pinned = h("button", {type: "button", onclick: () => { togglePin(recipe); mark(); }});
  const mark = () => { pinned.textContent = isPinned(recipe) ? "Unpin" : "Pin"; };
  mark();
  const go = (table, values, name) => h("a", {class: "button", href: addressOf(table, {psi: recipe.psi, class: recipe.class, ...values}),
    onclick: () => dialog.close()}, name);
  const actions = [pinned, h("a", {class: "button", href: pictureAddress(recipe, {format: "png", download: true})}, "Download"),
    go("edit", {of: recipe.of, mixed: recipe.mixed, layers: recipe.mixed === undefined ? undefined : recipe.layers, set: recipe.changes}, "Edit")];
  if (isPlain(recipe)) actions.push(go("mix", {rows: recipe.of}, "Mix"));
  if (isPlain(recipe) && !isLatent(recipe.of)) {
    const query = new URLSearchParams(Object.entries({seed: recipe.of, psi: recipe.psi, class: recipe.class, cutoff: recipe.cutoff,
      noise: recipe.noise === "const" ? undefined : recipe.noise}).filter(([, value]) => value !== undefined));
    actions.push(h("a", {class: "button", href: `/?${query}`}, "On the wall"));
  }
  actions.push(h("button", {type: "button", class: "main", onclick: () => dialog.close()}, "Close"));
  const step = by => {
    const other = beside?.(by);
    if (other) showLarge(other, beside);
  };
  dialog.onkeydown = event => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  };
  const facts = [isLatent(recipe.of) ? null : recipe.psi === undefined ? null : `psi ${recipe.psi}`,
    `true size ${model.width} × ${model.height}, shown enlarged`, "never existed"];
  dialog.replaceChildren(h("div", {class: "picture", style: aspect()}, image), h("h2", {}, nameOf(recipe)),
    h("p", {class: "quiet"}, facts.filter(Boolean).join(" · ")), h("div", {class: "actions"}, ...actions));
  if (dialog.open) pinned.focus();  // what had the focus is gone
  else dialog.showModal();
}
