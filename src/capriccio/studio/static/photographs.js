// Own photographs: sent, projected before one's eyes, held as latents. Latents files come in by the same door.
import {h} from "./dom.js";
import {follow} from "./jobs.js";
import {holdAll, isLatentsFile, openFile} from "./latents.js";
import {aspect} from "./picture.js";
import {upload} from "./server.js";

const shown = base64 => base64 ? h("img", {src: `data:image/png;base64,${base64}`, alt: ""}) : "";

// Takes files one after another and calls `arrived(ids)` for each; what happens is shown in `stage`.
export async function takeFiles(files, stage, label, arrived) {
  for (const file of files) {
    const line = h("div", {class: "arriving"});
    stage.append(line);
    if (isLatentsFile(file.name)) {
      try {
        const found = await openFile(file);
        line.remove();
        arrived(found.map(one => one.id));
      } catch (error) { line.replaceChildren(wrong(error.message, line)); }
      continue;
    }
    const name = file.name.slice(-200) || "photograph";
    const query = label === undefined ? {name} : {name, class: label};
    const job = await follow(line, () => upload("/api/v1/projections", file, query), () => [],
      ({progress: {given, image, distances}}) => given ? [h("div", {class: "pair"},
        h("div", {class: "picture", style: aspect()}, shown(given)), h("div", {class: "picture", style: aspect()}, shown(image)),
        h("p", {class: "quiet"}, `${file.name}: ${distances?.length ? `distance ${distances.at(-1).toFixed(3)}` : "a start is looked for"}`))]
        : []).over;
    if (!job) {
      line.append(h("button", {type: "button", onclick: () => line.remove()}, "Close"));
      continue;
    }
    line.remove();
    arrived(await holdAll([{id: job.outcome.latent, name: job.outcome.name}]));
  }
}

const wrong = (words, line) => h("p", {class: "error", role: "alert"}, words, " ",
  h("button", {type: "button", onclick: () => line.remove()}, "Close"));
