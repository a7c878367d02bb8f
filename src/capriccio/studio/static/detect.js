// Detect: a picture is dropped, reconstructed before one's eyes, and judged in plain words.
import {h, svg} from "./dom.js";
import {follow} from "./jobs.js";

const SIGNS = {"made": "◆", "not-made": "○", "undecided": "?", "out-of-domain": "△"};
const shown = base64 => base64 ? `data:image/png;base64,${base64}` : "";

export function detect(table, model) {
  let stop = () => {};
  const stage = h("div", {"aria-live": "polite"});
  const input = h("input", {type: "file", id: "file", accept: "image/*", class: "unseen"});
  const zone = h("label", {class: "drop", for: "file"}, h("strong", {}, "Drop a picture here, or press to choose one"),
    h("span", {class: "quiet"}, `It is cut to ${model.width} × ${model.height}, compared, and never stored.`), input);

  const trio = ({given, image, difference}) => h("div", {class: "trio"}, ...[["given", given], ["reconstruction", image],
    ["difference", difference]].map(([name, file]) => h("figure", {}, h("div", {class: "picture",
      style: {"--aspect": `${model.width}/${model.height}`}}, file ? h("img", {src: shown(file), alt: name}) : ""),
      h("figcaption", {class: "quiet"}, name))));

  async function judge(file) {
    if (!file) return;
    stop();
    const body = new FormData();
    body.append("picture", file);
    stop = await follow(stage, "/api/v1/detections", body,
      job => [verdict(job.outcome), trio(job.outcome), job.outcome.histograms ? needle(job.outcome) : "",
        h("p", {}, h("a", {class: "button", href: `/api/v1/jobs/${job.id}/file`}, "Download the report")),
        h("p", {class: "quiet"}, job.outcome.base_rates ?? "")],
      job => job.progress.given ? [trio(job.progress), h("p", {}, `Distance ${job.progress.distances.at(-1).toFixed(4)}`)] : []);
  }

  input.addEventListener("change", () => judge(input.files[0]));
  zone.addEventListener("dragover", event => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", event => { event.preventDefault(); zone.classList.remove("over"); judge(event.dataTransfer.files[0]); });
  table.replaceChildren(
    h("div", {class: "head"}, h("div", {}, h("h1", {}, "Detect"), h("p", {class: "quiet"},
      `Did ${model.name} make this picture? What a network made, it can make again; photographs it cannot.`))),
    zone, stage);
  return () => stop();
}

const verdict = ({verdict: name, sentence}) => h("p", {class: `verdict ${name ?? "none"}`, role: "status"},
  h("span", {"aria-hidden": "true"}, SIGNS[name] ?? "–"), " ", sentence);

function needle({histograms: {edges, made, real}, score}) {
  const [W, H] = [560, 160], most = Math.max(...made, ...real, 1);
  const place = value => (Math.min(edges.at(-1), Math.max(edges[0], value)) - edges[0]) / (edges.at(-1) - edges[0]) * W;
  const bars = (counts, name) => counts.map((count, i) => svg("rect", {class: name, x: place(edges[i]), width: W / counts.length - 1,
    y: H - count / most * (H - 24), height: count / most * (H - 24)}));
  return h("figure", {class: "plot"}, svg("svg", {viewBox: `0 0 ${W} ${H + 24}`, role: "img",
    "aria-label": "How well photographs and this model's pictures are reconstructed, and where this one lies"},
    ...bars(real, "real"), ...bars(made, "made"), svg("line", {class: "needle", x1: place(score), x2: place(score), y1: 0, y2: H}),
    svg("text", {x: 0, y: H + 18}, "photographs"), svg("text", {x: W, y: H + 18, "text-anchor": "end"}, "made by this model")));
}
