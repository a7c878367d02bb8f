// Runs: cards of training runs; inside one its curves, its samples over time and the doctor's words.
import {plot} from "./curves.js";
import {ago, h} from "./dom.js";
import {ask, whenBack} from "./server.js";
import {place} from "./state.js";

const FOLLOW = 10_000;
const sheetOf = (run, file) => `/api/v1/runs/${encodeURIComponent(run)}/samples/${encodeURIComponent(file)}`;

export function runs(table, model) {
  const name = place().rest.map(decodeURIComponent)[0];
  const head = h("div", {class: "head"}, h("div", {}, h("h1", {}, name ?? "Runs"),
    name ? h("p", {}, h("a", {href: "#/runs"}, "← All runs")) : h("p", {class: "quiet"}, "Training, as its folders tell it.")));
  const inside = h("div");
  table.replaceChildren(head, inside);
  const state = {};
  const draw = async () => {
    try {
      if (name) one(inside, await ask(`/api/v1/runs/${encodeURIComponent(name)}`), state);
      else all(inside, (await ask("/api/v1/runs")).runs, model);
    } catch (error) {
      if (!inside.childNodes.length) inside.replaceChildren(h("p", {class: "empty error"}, error.message));
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
    run.last_sample ? h("img", {src: sheetOf(run.name, run.last_sample), alt: "", loading: "lazy"}) : null,
    h("h2", {}, run.name),
    h("p", {class: "quiet"}, h("span", {class: "state"}, run.going ? "going on" : "resting"), " ",
      run.last_kimg === null ? "" : `samples at ${run.last_kimg.toLocaleString("en")} kimg · `,
      h("time", {title: new Date(1000 * run.changed).toLocaleString()}, ago(run.changed)))))));
}

function one(inside, run, state) {
  const last = run.samples.length - 1;
  state.follows = state.at === undefined || state.at === state.last;
  if (state.follows) state.at = last;
  state.last = last;
  const parts = [h("p", {}, h("span", {class: "state"}, run.going ? "going on" : "resting"), " ",
    `${run.kimg.toLocaleString("en", {maximumFractionDigits: 1})} of ${run.total_kimg.toLocaleString("en")} kimg · `,
    h("time", {title: new Date(1000 * run.changed).toLocaleString()}, ago(run.changed)))];
  if (last >= 0) parts.push(...sheets(run, state));
  parts.push(run.plots.length ? h("div", {class: "plots"}, ...run.plots.map(plot))
    : h("p", {class: "quiet"}, "No statistics yet; the first come after the first tick."));
  parts.push(h("h2", {}, "The doctor"));
  parts.push(...(run.findings.length ? run.findings.map(found => h("div", {class: `finding ${found.severity}`},
    h("h3", {}, `${found.severity}: ${found.what}`), h("p", {}, found.evidence), h("p", {}, found.advice)))
    : [h("p", {class: "quiet"}, "Nothing is wrong, as far as can be seen.")]));
  const focused = inside.contains(document.activeElement) ? document.activeElement.id : "";
  inside.replaceChildren(...parts);
  if (focused) document.getElementById(focused)?.focus();
}

function sheets(run, state) {
  const image = h("img", {class: "sheet", alt: ""});
  const words = h("output", {});
  const show = () => {
    const sheet = run.samples[state.at];
    image.src = sheetOf(run.name, sheet.file);
    image.alt = `Samples at ${sheet.kimg} thousand images`;
    words.textContent = `${sheet.kimg.toLocaleString("en")} kimg`;
  };
  const slider = h("input", {id: "time", type: "range", min: 0, max: run.samples.length - 1, step: 1, value: state.at});
  slider.addEventListener("input", () => { state.at = Number(slider.value); show(); });
  show();
  return [h("label", {}, "Samples over time", slider, words), image];
}
