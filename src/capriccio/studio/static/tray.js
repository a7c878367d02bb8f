// What is pinned, shared by all tables and kept in this browser; goes home as a latents file, and comes back as one.
import {fileInput, h} from "./dom.js";
import {openFile, saveFile, withLatents} from "./latents.js";
import {fields, latentsOf, same} from "./recipes.js";

const KEY = "capriccio-tray";
const listeners = new Set();
let pins = read();

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter(pin => ["number", "string"].includes(typeof pin?.of)) : [];
  } catch { return []; }
}

function put(changed) {
  pins = changed;
  try { localStorage.setItem(KEY, JSON.stringify(pins)); } catch { /* private windows keep nothing */ }
  listeners.forEach(action => action());
}

export const pinned = () => [...pins];
export const isPinned = recipe => pins.some(pin => same(pin, recipe));
export const onTray = action => { listeners.add(action); };
export const togglePin = recipe => put(isPinned(recipe) ? pins.filter(pin => !same(pin, recipe)) : [...pins, recipe]);
export const pin = recipe => { if (!isPinned(recipe)) put([...pins, recipe]); };

export function showTray(place, picture) {
  const said = h("p", {class: "error", role: "alert"});
  const input = fileInput({id: "latents-file", accept: ".safetensors,.npz", taken: ([file]) => told(async () => {
    const found = await openFile(file);
    put([...pins, ...found.map(({id}) => ({of: id})).filter(one => !isPinned(one))]);
    if (found.some(one => one.foreign)) said.textContent = "These were made with another model; here they show something else.";
  })});
  const open = h("label", {class: "button", for: "latents-file"}, "Open latents", input);
  const save = h("button", {type: "button", onclick: () => told(async () => {
    const file = await withLatents(pins.flatMap(latentsOf), () => saveFile(pins.map(fields)));
    const link = h("a", {href: URL.createObjectURL(file), download: "capriccio-tray.safetensors"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  })}, "Save latents");
  const clear = h("button", {type: "button", onclick: () => { put([]); document.getElementById("table").focus(); }}, "Empty");
  const told = async action => {
    said.textContent = "";
    try { await action(); } catch (error) { said.textContent = error.message; }
  };
  const strip = h("div", {class: "pins", role: "group", "aria-label": "Pinned pictures", tabindex: "0"});
  place.replaceChildren(strip, said, h("div", {class: "tools"}, open, save, clear));
  const draw = () => {
    place.classList.toggle("full", pins.length > 0);
    save.hidden = clear.hidden = !pins.length;
    strip.replaceChildren(...(pins.length ? pins.map(one => picture(one, {pin: false, drags: true}))
      : [h("p", {class: "quiet"}, "Nothing pinned yet. ◆ on a picture keeps it here, for every table.")]));
  };
  listeners.add(draw);
  addEventListener("hashchange", () => { said.textContent = ""; });
  draw();
}
