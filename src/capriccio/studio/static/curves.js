// Curves as SVG, coloured and dashed by the style sheet.
import {h, svg} from "./dom.js";

const [W, H, LEFT, RIGHT, TOP, BOTTOM] = [560, 260, 52, 12, 12, 36];

function step(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map(f => f * power).find(s => s >= raw * 0.999) ?? 10 * power;
}

const ticks = (low, high, by) =>
  Array.from({length: Math.floor(high / by + 1e-9) - Math.ceil(low / by - 1e-9) + 1}, (_, i) => (Math.ceil(low / by - 1e-9) + i) * by);
const written = value => Number(value.toPrecision(6)).toLocaleString("en", {maximumSignificantDigits: 4});

export function plot({title, curves}) {
  const points = curves.flatMap(curve => curve.points);
  const range = (i, room) => {
    const all = points.map(point => point[i]);
    const low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
    return high > low ? [low, high] : [low - room, high + room];
  };
  const [x0, x1] = range(0, 1);
  let [y0, y1] = range(1, Math.abs(points[0][1]) / 10 || 1);
  const byY = step(y0, y1, 4), byX = step(x0, x1, 5);
  y0 = Math.floor(y0 / byY + 1e-9) * byY;
  y1 = Math.ceil(y1 / byY - 1e-9) * byY;
  const x = value => LEFT + (value - x0) / (x1 - x0) * (W - LEFT - RIGHT);
  const y = value => H - BOTTOM - (value - y0) / (y1 - y0) * (H - TOP - BOTTOM);
  const text = (words, u, v, anchor) => svg("text", {x: u, y: v, "text-anchor": anchor}, words);
  const drawing = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title} over thousand images`},
    ...ticks(y0, y1, byY).flatMap(value => [
      svg("line", {class: "rule", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value)}), text(written(value), LEFT - 8, y(value) + 4, "end")]),
    ...ticks(x0, x1, byX).map(value => text(written(value), x(value), H - 16, "middle")),
    text("kimg", W - RIGHT, H - 2, "end"),
    ...curves.map((curve, i) => svg("path", {class: `c${i % 4}`,
      d: curve.points.map(([u, v], j) => `${j ? "L" : "M"}${x(u).toFixed(1)} ${y(v).toFixed(1)}`).join("")})));
  return h("section", {class: "plot"}, h("h3", {}, title), h("ul", {class: "key"}, ...curves.map((curve, i) => h("li", {},
    svg("svg", {viewBox: "0 0 24 8", "aria-hidden": "true"}, svg("path", {class: `c${i % 4}`, d: "M0 4H24"})),
    curve.name.replace(/^(Loss|Progress|Timing)\//, "")))), drawing);
}
