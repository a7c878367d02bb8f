// What is pinned, shared by all tables and kept in this browser.
import {h} from "./dom.js";

const KEY = "capriccio-tray";
const listeners = new Set();
let pins = read();

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter(pin => Number.isInteger(pin?.seed)) : [];
  } catch { return []; }
}

const same = (a, b) => a.seed === b.seed && a.psi === b.psi && a.mixed === b.mixed && a.layers === b.layers &&
  (a.class ?? 0) === (b.class ?? 0) && (a.noise ?? "const") === (b.noise ?? "const") && a.cutoff === b.cutoff &&
  String(a.changes ?? "") === String(b.changes ?? "");

export const pinned = () => [...pins];
export const isPinned = recipe => pins.some(pin => same(pin, recipe));
export const onTray = action => { listeners.add(action); };

export function togglePin(recipe) {
  pins = isPinned(recipe) ? pins.filter(pin => !same(pin, recipe)) : [...pins, recipe];
  try { localStorage.setItem(KEY, JSON.stringify(pins)); } catch { /* private windows keep nothing */ }
  listeners.forEach(action => action());
}

export function showTray(place, picture) {
  const draw = () => {
    const clear = h("button", {type: "button", onclick: () => {
      [...pins].forEach(togglePin);
      document.getElementById("table").focus();
    }}, "Empty");
    place.replaceChildren(
      ...(pins.length ? pins.map(pin => picture(pin, {pin: false}))
        : [h("p", {class: "quiet"}, "Nothing pinned yet. ◆ on a picture keeps it here, for every table.")]),
      ...(pins.length ? [h("div", {class: "tools"}, exportLink(), clear)] : []));
  };
  listeners.add(draw);
  draw();
}

function exportLink() {
  const file = new Blob([JSON.stringify(pins, null, 1)], {type: "application/json"});
  const link = h("a", {class: "button", download: "capriccio-pins.json", href: "#"}, "Save list");
  link.addEventListener("click", () => {
    link.href = URL.createObjectURL(file);
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  return link;
}
