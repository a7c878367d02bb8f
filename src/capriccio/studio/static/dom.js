// Elements in one call: h("p", {class: "quiet", onclick: f}, "text", child).
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}

// A field for files that a label shows; `taken(files)` gets what was chosen. Enter opens it too, not the space key alone.
export function fileInput({id, accept, multiple = false, taken}) {
  const input = h("input", {type: "file", id, accept, multiple, class: "unseen"});
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) taken(files);
  });
  input.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); input.click(); } });
  return input;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

export function ago(seconds) {
  const steps = [[60, "second"], [60, "minute"], [24, "hour"], [365, "day"], [Infinity, "year"]];
  let value = Math.max(0, Date.now() / 1000 - seconds);
  for (const [size, unit] of steps) {
    if (value < size) return new Intl.RelativeTimeFormat("en", {numeric: "auto"}).format(-Math.round(value), unit);
    value /= size;
  }
  return "";
}

export const freshSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
