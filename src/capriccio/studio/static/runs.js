// Runs: cards of training runs; inside one its samples over time, its curves and the doctor's words.
import {plot} from "./curves.js";
import {ago, h} from "./dom.js";
import {ask, whenBack} from "./server.js";
import {place} from "./state.js";

const FOLLOW = 10_000;
const sheetOf = (run, file) => `/api/v1/runs/${encodeURIComponent(run)}/samples/${encodeURIComponent(file)}`;
const kimg = number => `${number.toLocaleString("en", {maximumFractionDigits: 1})} kimg`;
const when = run => h("time", {datetime: new Date(1000 * run.changed).toISOString(), title: new Date(1000 * run.changed).toLocaleString()}, ago(run.changed));
const state = run => h("span", {class: `state ${run.going ? "going" : ""}`}, run.going ? "going on" : "resting");

export function runs(table, model) {
  const name = place().rest.map(decodeURIComponent)[0];
  const head = h("div", {class: "head"}, h("h1", {}, name ?? "Runs"),
    name ? h("p", {}, h("a", {href: "#/runs"}, "← All runs")) : h("p", {class: "quiet"}, "Training, as its folders tell it."));
  const inside = h("div", {}, h("div", {class: "skeleton"}));
  table.replaceChildren(head, inside);
  const seen = {};
  const draw = async () => {
    try {
      if (name) one(inside, await ask(`/api/v1/runs/${encodeURIComponent(name)}`), seen);
      else all(inside, (await ask("/api/v1/runs")).runs, model);
    } catch (error) {
      if (!seen.last && !inside.querySelector(".card")) inside.replaceChildren(h("p", {class: "empty error"}, error.message));
      if (error.status === 0) whenBack(draw);
    }
  };
  draw();
  const timer = setInterval(() => { if (!document.hidden) draw(); }, FOLLOW);
  return () => clearInterval(timer);
}

function all(inside, found, model) {
  if (!found.length) {
    inside.replaceChildren(h("p", {class: "empty"}, "No run here yet: ", h("code", {}, "capriccio train photos/ --out runs/mine"),
      model.shows_runs ? "" : h("span", {}, ", then serve with ", h("code", {}, "--runs runs"))));
    return;
  }
  inside.replaceChildren(h("div", {class: "cards"}, ...found.map(run => h("a", {class: "card", href: `#/runs/${encodeURIComponent(run.name)}`},
    run.last_sample ? h("img", {src: sheetOf(run.name, run.last_sample), alt: "", loading: "lazy"}) : h("div", {class: "blank"}, "no samples yet"),
    h("h2", {}, run.name),
    h("p", {class: "quiet"}, state(run), " ", run.kimg === null ? "" : `${kimg(run.kimg)} of ${run.total_kimg.toLocaleString("en")} · `,
      when(run))))));
}

function one(inside, run, seen) {
  const last = run.samples.length - 1;
  if (seen.at === undefined || seen.at === seen.last) seen.at = last;  // follows the newest until one looks back
  seen.last = last;
  const parts = [h("p", {}, state(run), " ", run.kimg === null ? "" : `${kimg(run.kimg)} of ${run.total_kimg.toLocaleString("en")} · `, when(run),
    run.best ? h("span", {}, " · best: ", h("strong", {}, run.best)) : null)];
  const doctor = [h("h2", {}, "The doctor"), ...(run.findings.length ? run.findings.map(found => h("div", {class: `finding ${found.severity}`},
    h("h3", {}, h("span", {class: "severity"}, found.severity), " ", found.what), h("p", {}, found.evidence), h("p", {}, found.advice)))
    : [h("p", {class: "quiet"}, "Nothing is wrong, as far as can be seen.")])];
  parts.push(h("div", {class: "visit"}, last >= 0 ? h("div", {}, ...sheets(run, seen)) : null, h("div", {}, ...doctor)));
  parts.push(run.plots.length ? h("div", {class: "plots"}, ...run.plots.map(plot))
    : h("p", {class: "quiet"}, "No statistics yet; the first come after the first tick."));
  const focused = inside.contains(document.activeElement) ? document.activeElement.id : "";
  inside.replaceChildren(...parts);
  if (focused) document.getElementById(focused)?.focus();
}

function sheets(run, seen) {
  const image = h("img", {class: "sheet", alt: ""});
  const words = h("output", {for: "time"});
  const show = () => {
    const sheet = run.samples[seen.at];
    image.src = sheetOf(run.name, sheet.file);
    image.alt = `Samples at ${sheet.kimg} thousand images`;
    words.textContent = `${sheet.kimg.toLocaleString("en")} kimg`;
  };
  const slider = h("input", {id: "time", type: "range", min: 0, max: run.samples.length - 1, step: 1, value: seen.at});
  slider.addEventListener("input", () => { seen.at = Number(slider.value); show(); });
  show();
  return [h("label", {class: "time"}, "Samples over time", slider, words), image];
}
