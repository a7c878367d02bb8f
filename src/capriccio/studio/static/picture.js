// One picture: loads when it is seen, opens large, can be pinned; says why when it cannot be shown.
import {grouped, h} from "./dom.js";
import {ask, lost, pictureAddress, whenBack} from "./server.js";
import {isPinned, onTray, togglePin} from "./tray.js";

let model = {width: 1, height: 1, max_scale: 1};
export const setModel = facts => { model = facts; };
const shownScale = () => Math.max(1, Math.min(model.max_scale, Math.round(512 / Math.max(model.width, model.height))));
const tableScale = () => Math.max(1, Math.min(4, model.max_scale, Math.round(192 / Math.max(model.width, model.height))));

export function nameOf(recipe) {
  const name = `№ ${grouped(recipe.seed)}`;
  if (recipe.changes?.length) return `${name}, ${recipe.changes.join(", ")}`;
  return recipe.mixed === undefined ? name : `${name} with ${recipe.layers} of № ${grouped(recipe.mixed)}`;
}

export function picture(recipe, {pin = true, open = () => showLarge(recipe), label} = {}) {
  const image = h("img", {alt: "", loading: "lazy", decoding: "async", draggable: "false"});
  const box = h("div", {class: "picture", style: {"--aspect": `${model.width}/${model.height}`}}, image,
    h("button", {class: "face", type: "button", "aria-label": label ?? `Open ${nameOf(recipe)}`, onclick: open}));
  load(box, image, pictureAddress({...recipe, scale: tableScale()}));
  if (pin) {
    const button = h("button", {class: "pin", type: "button", "aria-label": `Pin ${nameOf(recipe)}`,
      onclick: () => togglePin(recipe)}, "◆");
    const mark = () => button.setAttribute("aria-pressed", isPinned(recipe));
    mark();
    onTray(() => { if (box.isConnected) mark(); });
    box.append(h("span", {class: "seed", "aria-hidden": "true"}, nameOf(recipe)), button);
  }
  return box;
}

function load(box, image, address, tries = 0) {
  image.onload = () => { box.classList.remove("failed"); };
  image.onerror = async () => {
    try {
      await ask(address.replace("scale=", "format=png&scale="), {method: "GET"}).catch(error => {
        if (error instanceof SyntaxError) return;  // a picture came after all
        throw error;
      });
    } catch (error) {
      box.classList.add("failed");
      box.dataset.reason = error.message;
      if (error.status === 0) whenBack(() => load(box, image, address));
      if (error.status !== 429 && error.status !== 503 || tries > 5) return;
    }
    setTimeout(() => load(box, image, address, tries + 1), 1500 * (1 + tries));
  };
  image.removeAttribute("src");
  image.src = address;
}

export function showLarge(recipe) {
  const dialog = document.getElementById("large");
  const image = h("img", {src: pictureAddress({...recipe, scale: shownScale()}), alt: `Synthetic picture ${nameOf(recipe)}`});
  image.onerror = () => lost();
  const pinned = h("button", {type: "button", onclick: () => { togglePin(recipe); mark(); }});
  const mark = () => { pinned.textContent = isPinned(recipe) ? "Unpin" : "Pin"; };
  mark();
  const actions = [pinned,
    h("a", {class: "button", href: pictureAddress({...recipe, format: "png", download: true})},
      `Download ${model.width} × ${model.height}`)];
  if (recipe.mixed === undefined && !recipe.changes?.length) {
    const query = new URLSearchParams({seed: recipe.seed, psi: recipe.psi});
    actions.push(h("a", {class: "button", href: `/?${query}`}, "On the wall"));
  }
  actions.push(h("button", {type: "button", class: "main", onclick: () => dialog.close()}, "Close"));
  dialog.replaceChildren(
    h("div", {class: "picture", style: {"--aspect": `${model.width}/${model.height}`}}, image),
    h("h2", {}, nameOf(recipe)),
    h("p", {class: "quiet"}, `psi ${recipe.psi} · true size ${model.width} × ${model.height}, shown enlarged · never existed`),
    h("div", {class: "actions"}, ...actions));
  dialog.showModal();
}
