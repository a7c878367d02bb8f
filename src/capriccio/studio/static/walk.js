// Walk: key pictures on a closed line, a film through them made while one waits, and cancelled when one does not.
import {freshSeed, h} from "./dom.js";
import {follow} from "./jobs.js";
import {withLatents} from "./latents.js";
import {lookBar} from "./look.js";
import {takeFiles} from "./photographs.js";
import {choose, originOf, takesDrops} from "./picker.js";
import {aspect, picture} from "./picture.js";
import {isLatent, nameOfOrigin, parseOrigins} from "./recipes.js";
import {post} from "./server.js";
import {place, remember} from "./state.js";
import {pinned} from "./tray.js";

const MOST = 24, PACES = [[0.75, "quick"], [1.5, "calm"], [3, "slow"]], PREVIEW = {scale: 2, frames_per_second: 12, format: "webp"};

export function walk(table, model) {
  let keys = parseOrigins(place().query.get("keys")).slice(0, MOST);
  if (keys.length < 2) keys = Array.from({length: 4}, freshSeed);
  const line = h("div", {class: "keys", role: "list", "aria-label": "Key pictures"});
  const arrivals = h("div", {class: "arrivals", "aria-live": "polite"});
  const stage = h("div", {class: "stage", "aria-live": "polite"},
    h("div", {class: "picture vacant", style: aspect()}, h("p", {class: "quiet"}, "The film plays here: Preview makes a small one.")));
  const tray = h("button", {type: "button", onclick: async () => {
    const found = await Promise.all(pinned().slice(0, MOST).map(originOf)).catch(failed);
    if (found?.length >= 2) { keys = found; draw(); } else if (found) failed(new Error("Pin two pictures or more, then they can be walked through."));
  }}, "From the tray");
  const {look, bar} = lookBar(model, draw, [tray]);
  const pace = h("select", {"aria-label": "Pace"}, ...PACES.map(([value, name]) =>
    h("option", {value, selected: value === 1.5}, `${name}, ${value} s a key`)));
  const format = h("select", {"aria-label": "Format"}, ...["webp", "avif", "mp4", "webm"].map(name => h("option", {value: name}, name)));
  const failed = error => { arrivals.replaceChildren(h("p", {class: "error", role: "alert"}, error.message)); };
  let stop = () => {};

  function put(index, origins, room) {
    keys.splice(index, room, ...origins.slice(0, MOST - keys.length + room));
    draw();
  }

  const asks = (index, room) => ({
    chosen: recipe => originOf(recipe).then(origin => put(index, [origin], room), failed),
    files: files => takeFiles(files, arrivals, look.class, ids => { put(index, ids, room); room = 0; }),
  });

  function key(origin, i) {
    const remove = keys.length > 2 ? () => { keys.splice(i, 1); draw(); } : undefined;
    const box = picture({of: origin, ...look}, {label: `Change ${nameOfOrigin(origin)}, key ${i + 1}`,
      caption: isLatent(origin) ? nameOfOrigin(origin) : undefined,
      open: () => choose(`${nameOfOrigin(origin)}, key ${i + 1} of ${keys.length}`, {...asks(i, 1), remove, look})});
    box.setAttribute("role", "listitem");
    takesDrops(box, asks(i, 1));
    return box;
  }

  function draw() {
    remember({keys: keys.join(",")});
    const end = keys.length;
    const more = h("button", {type: "button", class: "adder", "aria-label": "One more key",
      onclick: () => choose("One more key", {...asks(end, 0), look})}, "+");
    takesDrops(more, asks(end, 0));
    line.replaceChildren(...keys.map(key), ...(end < MOST ? [h("div", {role: "listitem"}, more)] : []),
      h("span", {class: "loop quiet", role: "listitem"}, "↺ and back to the first"));
  }

  function make(settings, name) {
    stop();
    const body = {keys, psi: look.psi, class: look.class, seconds_per_key: Number(pace.value), ...settings};
    const moves = /\.(webp|avif)$/.test(name);
    ({stop} = follow(stage, () => withLatents(keys.filter(isLatent), () => post("/api/v1/walks", body)), job => {
      const file = `/api/v1/jobs/${job.id}/file`;
      const link = h("a", {class: "button", href: file, download: name},
        `Download ${name}, ${Math.ceil(job.outcome.bytes / 1024).toLocaleString("en")} KiB`);
      return moves ? [h("div", {class: "picture", style: aspect()}, h("img", {src: file, alt: `A walk through ${keys.length} pictures`})), link] : [link];
    }));
  }

  const scale = Math.max(1, Math.min(8, Math.round(384 / Math.max(model.width, model.height))));
  const small = Math.max(1, Math.min(PREVIEW.scale, scale));
  const buttons = h("div", {class: "bar"}, h("label", {}, "Pace", pace),
    h("button", {type: "button", class: "main", "data-key": "n", onclick: () => make({...PREVIEW, scale: small}, "walk.webp")}, "Preview"),
    h("div", {class: "together"}, h("label", {}, "Film as", format),
      h("button", {type: "button", onclick: () => make({frames_per_second: 24, scale, format: format.value}, `walk.${format.value}`)}, "Export")));
  table.replaceChildren(
    h("div", {class: "head"}, h("h1", {}, "Walk"), h("p", {class: "quiet"},
      "A film through these pictures and back to the first. Press a picture to change it.")),
    bar, line, arrivals, buttons, stage);
  draw();
  return () => stop();
}
