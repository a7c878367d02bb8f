// Edit: one large picture, before and after under a slider, a slider for each direction.
import {freshSeed, h} from "./dom.js";
import {takeFiles} from "./photographs.js";
import {lookBar} from "./look.js";
import {aspect, showLarge} from "./picture.js";
import {choose, takesDrops} from "./picker.js";
import {latentsOf, nameOf, parseOrigins, pictureAddress} from "./recipes.js";
import {sendAgain} from "./latents.js";
import {lost, reason} from "./server.js";
import {place, remember} from "./state.js";
import {isPinned, onTray, togglePin} from "./tray.js";

const REACH = 4;

export function edit(table, model) {
  const {query} = place();
  if (!model.directions.length) {
    table.replaceChildren(h("h1", {}, "Edit"), h("p", {class: "empty"}, "This model has no editing directions yet: ",
      h("code", {}, "capriccio directions")));
    return;
  }
  const [mixed] = parseOrigins(query.get("mixed"));
  let base = {of: parseOrigins(query.get("of"))[0] ?? freshSeed(),
    ...(mixed === undefined ? {} : {mixed, layers: query.get("layers") ?? "coarse"})};
  const strengths = new Map(), layers = new Map();

  function read(changes) {
    strengths.clear();
    layers.clear();
    for (const text of changes ?? []) {
      const [name, rest = ""] = text.split("=").map(part => part.trim());
      const [strength, rows] = rest.split("@").map(part => part.trim());
      if (!strength || !Number.isFinite(Number(strength)) || !model.directions.some(one => one.name === name)) continue;
      strengths.set(name, Math.max(-REACH, Math.min(REACH, Number(strength))));
      if (rows) layers.set(name, rows);
    }
  }
  read(query.getAll("set"));

  const changes = () => [...strengths].filter(([, strength]) => strength)
    .map(([name, strength]) => `${name}=${strength}${layers.has(name) ? `@${layers.get(name)}` : ""}`);
  const recipe = () => ({...base, ...look, ...(changes().length ? {changes: changes()} : {})});
  const scale = Math.max(1, Math.min(model.max_scale, Math.round(512 / Math.max(model.width, model.height))));

  // ---- the picture

  const before = h("img", {alt: ""}), after = h("img", {class: "after", alt: ""});
  const halves = h("div", {class: "picture halves", style: aspect()}, before, after, h("span", {class: "line", "aria-hidden": "true"}));
  const edge = h("input", {type: "range", min: 0, max: 100, value: 0, "aria-label": "Before and after"});
  const uncover = () => {
    halves.style.setProperty("--edge", `${edge.value}%`);
    halves.classList.toggle("whole", edge.value === "0");
  };
  edge.addEventListener("input", uncover);
  uncover();
  const told = h("h2", {}), said = h("p", {class: "error", role: "alert"}), arrivals = h("div", {class: "arrivals", "aria-live": "polite"});
  const pin = h("button", {type: "button", onclick: () => togglePin(recipe())});
  const markPin = () => { pin.textContent = isPinned(recipe()) ? "Unpin" : "Pin"; };
  onTray(() => { if (pin.isConnected) markPin(); });
  let sent = false;
  after.onload = () => { said.textContent = ""; };
  after.onerror = async () => {
    const error = await reason(after.src);
    if (error?.status === 404 && latentsOf(base).length && !sent) {
      sent = true;
      await sendAgain(latentsOf(base)).catch(() => {});
      draw();
    } else if (error?.status) said.textContent = error.message;
    else lost();
  };
  let timer = 0;

  function draw() {
    remember({of: base.of, mixed: base.mixed, layers: base.layers, set: changes()});
    before.src = pictureAddress({...base, ...look}, {scale});
    after.src = pictureAddress(recipe(), {scale});
    before.alt = `Before: ${nameOf(base)}`;
    after.alt = `After: ${nameOf(recipe())}`;
    told.textContent = nameOf(base);
    markPin();
  }

  const soon = () => { clearTimeout(timer); timer = setTimeout(draw, 60); };
  const begin = (other, wanted) => {
    base = {of: other.of, ...(other.mixed === undefined ? {} : {mixed: other.mixed, layers: other.layers})};
    sent = false;
    if (wanted) {
      read(wanted);
      rows.forEach(row => row.show());
    }
    draw();
  };
  const source = {
    chosen: other => begin(other, other.changes),
    files: own => takeFiles(own, arrivals, look.class, ([id]) => begin({of: id})),
  };
  takesDrops(halves, source);

  // ---- the directions

  function direction({name, about, unit}) {
    const shown = h("output", {for: `d-${name}`});
    const slider = h("input", {type: "range", class: "both-ways", id: `d-${name}`, min: -REACH, max: REACH, step: 0.1, title: "Double click: back to nothing"});
    const chosen = h("select", {"aria-label": `Layers of ${name}`}, h("option", {value: ""}, "its own layers"),
      ...["all", ...Object.keys(model.named_rows)].map(key => h("option", {value: key}, key)));
    const take = () => {
      strengths.set(name, Number(slider.value));
      const share = (Number(slider.value) + REACH) / (2 * REACH) * 100;
      slider.style.setProperty("--from", `${Math.min(50, share)}%`);
      slider.style.setProperty("--to", `${Math.max(50, share)}%`);
      shown.textContent = Number(slider.value) > 0 ? `+${slider.value}` : slider.value.replace("-", "−");
    };
    const show = () => { slider.value = strengths.get(name) ?? 0; chosen.value = layers.get(name) ?? ""; take(); };
    slider.addEventListener("input", () => { take(); soon(); });
    slider.addEventListener("dblclick", () => { slider.value = 0; take(); soon(); });
    chosen.addEventListener("change", () => { chosen.value ? layers.set(name, chosen.value) : layers.delete(name); draw(); });
    show();
    return {show, row: h("div", {class: "direction"}, h("label", {for: `d-${name}`, title: `1 = ${unit}`}, name), slider, shown, chosen,
      h("p", {class: "quiet"}, about))};
  }
  const rows = model.directions.map(direction);

  const {look, bar} = lookBar(model, draw, [
    h("button", {type: "button", class: "main", "data-key": "n", onclick: () => begin({of: freshSeed()})}, "Another"),
    h("button", {type: "button", onclick: () => choose("Which picture?", {...source, look})}, "Choose"),
    h("button", {type: "button", onclick: () => begin(base, [])}, "Undo all"),
  ]);
  table.replaceChildren(
    h("div", {class: "head"}, h("h1", {}, "Edit"), h("p", {class: "quiet"},
      "Directions found in the network's own space. The slider under the picture uncovers what it was before.")),
    bar,
    h("div", {class: "editing"},
      h("div", {class: "stage"}, halves, edge, arrivals, said, told, h("div", {class: "actions"}, pin,
        h("button", {type: "button", onclick: () => showLarge(recipe())}, "Open large"))),
      h("div", {class: "directions"}, ...rows.map(({row}) => row))));
  draw();
  return () => clearTimeout(timer);
}
