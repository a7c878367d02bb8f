// Detect: pictures are dropped, reconstructed before one's eyes, and judged in plain words.
import {fileInput, freshSeed, grouped, h, svg} from "./dom.js";
import {follow} from "./jobs.js";
import {aspect} from "./picture.js";
import {pictureAddress} from "./recipes.js";
import {file as fileAt, upload} from "./server.js";
import {takesDrops} from "./picker.js";

const SIGNS = {"made": "◆", "not-made": "○", "undecided": "?", "out-of-domain": "△"};

export function detect(table, model) {
  const running = new Set(), waiting = [];
  let judging = false;
  const stage = h("div", {class: "judged"});
  const input = fileInput({id: "file", accept: "image/*", multiple: true, taken: take});
  const zone = h("label", {class: "drop", for: "file"}, h("strong", {}, "Drop pictures here, or press to choose some"),
    h("span", {class: "quiet"}, `Each is cut to ${model.width} × ${model.height}, compared, and never stored.`), input);

  function take(files) {
    for (const file of files) {
      const place = h("div", {"aria-live": "polite"}, h("p", {class: "quiet"}, "Waiting for the one before."));
      const section = h("section", {class: "case", "aria-label": file.name}, h("h2", {}, file.name), place);
      stage.prepend(section);
      waiting.push({file, place});
    }
    next();
  }

  async function next() {
    if (judging) return;
    judging = true;
    while (waiting.length) {
      const {file, place} = waiting.shift();
      const job = follow(place, () => upload("/api/v1/detections", file, {name: file.name.slice(-200) || "picture"}), finished, during);
      running.add(job);
      await job.over;
      running.delete(job);
    }
    judging = false;
  }

  const failed = h("p", {class: "error", role: "alert"});
  const own = h("button", {type: "button", "data-key": "n", onclick: async () => {
    const of = freshSeed();
    failed.textContent = "";
    try {
      take([new File([await fileAt(pictureAddress({of, psi: model.psi}, {format: "png"}))], `№ ${grouped(of)}`)]);
    } catch (error) { failed.textContent = error.message; }
  }}, "Try one it made");

  takesDrops(zone, {files: take});
  table.replaceChildren(
    h("div", {class: "head"}, h("h1", {}, "Detect"), h("p", {class: "quiet"},
      `Did ${model.name} make this picture? What a network made, it can make again; photographs it cannot.`)),
    ...(model.detects ? [] : [h("p", {class: "notice"}, "This model is not calibrated, so pictures are reconstructed without a verdict: ",
      h("code", {}, "capriccio calibrate"))]),
    zone, h("div", {class: "actions tries"}, own, h("span", {class: "quiet"}, "No picture at hand? This paints one and asks about it."), failed),
    stage);
  return () => { waiting.length = 0; running.forEach(job => job.stop()); };
}

const during = ({progress: {given, image, difference, distances}}) => given
  ? [trio({given, image, difference}), h("div", {class: "falling"}, curve(distances ?? []),
    h("p", {}, distances?.length ? `Distance ${distances.at(-1).toFixed(4)}` : "A start is looked for."))] : [];

function finished(job) {
  const {outcome} = job;
  return [verdict(outcome), trio(outcome), outcome.histograms ? needle(outcome) : null,
    outcome.provenance ? h("p", {}, `About this file: ${outcome.provenance}.`) : null,
    outcome.resized ? h("p", {class: "quiet"}, "It was cut or resized to fit the model, which blurs the evidence.") : null,
    h("p", {}, h("a", {class: "button", href: `/api/v1/jobs/${job.id}/file`}, "Download the report")),
    outcome.base_rates ? h("p", {class: "quiet wide"}, outcome.base_rates) : null].filter(Boolean);
}

const trio = ({given, image, difference}) => h("div", {class: "trio"}, ...[["given", given], ["reconstruction", image],
  ["difference", difference]].map(([name, file]) => h("figure", {}, h("div", {class: "picture", style: aspect()},
    file ? h("img", {src: `data:image/png;base64,${file}`, alt: name}) : ""), h("figcaption", {class: "quiet"}, name))));

const verdict = ({verdict: name, sentence}) => h("p", {class: `verdict ${name ?? "none"}`, role: "status"},
  h("span", {class: "sign", "aria-hidden": "true"}, SIGNS[name] ?? "–"), h("span", {}, sentence));

// The distance so far, falling.
function curve(distances) {
  const [W, H] = [240, 48], most = Math.max(...distances, 1e-9), least = Math.min(...distances, most);
  const path = distances.map((d, i) => `${i ? "L" : "M"}${(i / Math.max(1, distances.length - 1) * W).toFixed(1)} ${
    (2 + (most - d) / Math.max(most - least, 1e-9) * (H - 4)).toFixed(1)}`).join("");
  return svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "c0", "aria-hidden": "true"}, svg("path", {d: path || "M0 0"}));
}

function needle({histograms: {edges, made, real}, score}) {
  const [W, H, LEFT] = [560, 176, 4], most = Math.max(...made, ...real, 1e-9), span = edges.at(-1) - edges[0];
  const place = value => LEFT + (Math.min(edges.at(-1), Math.max(edges[0], value)) - edges[0]) / span * (W - 2 * LEFT);
  const bars = (shares, name) => shares.map((share, i) => svg("rect", {class: name, x: place(edges[i]).toFixed(1),
    width: Math.max(1, (W - 2 * LEFT) / shares.length - 1).toFixed(1), y: (H - share / most * (H - 32)).toFixed(1),
    height: (share / most * (H - 32)).toFixed(1)}));
  const at = place(score), side = at > W / 2 ? "end" : "start";
  const key = (name, words) => h("li", {}, h("span", {class: `swatch ${name}`, "aria-hidden": "true"}), words);
  return h("figure", {class: "plot needles"},
    h("ul", {class: "key"}, key("real", "photographs it never saw"), key("made", "pictures it made"), key("mark", "this picture")),
    svg("svg", {viewBox: `0 0 ${W} ${H + 28}`, role: "img",
      "aria-label": `How photographs and this model's pictures score; this picture scores ${score.toFixed(2)}`},
    ...bars(real, "real"), ...bars(made, "made"), svg("line", {class: "rule", x1: 0, x2: W, y1: H, y2: H}),
    svg("line", {class: "needle", x1: at, x2: at, y1: 8, y2: H}), svg("path", {class: "point", d: `M${at - 6} 0h12l-6 10z`}),
    svg("text", {x: at + (side === "end" ? -10 : 10), y: 12, "text-anchor": side, class: "strong"}, `score ${score.toFixed(2).replace("-", "−")}`),
    svg("text", {x: 0, y: H + 20}, "← like photographs"), svg("text", {x: W, y: H + 20, "text-anchor": "end"}, "like its own →")));
}
