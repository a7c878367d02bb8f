// The page: seed, truncation and class in the address, the picture of them on the stage, the next seeds on the wall.

import { withText } from "./png.js";

const MAX_SEED = 4294967295, WALL = 24, WALL_BATCH = 4, WALK_SECONDS = 3;
const $ = (id) => document.getElementById(id);
const painter = new Worker("painter.js", { type: "module" });
const waiting = new Map();
let model, ticket = 0, walking = null, wallRound = 0;
const shown = { seed: 0, psi: 0.7, label: 0 };

// ---- the painter

/** Ask for pictures of items {seed} or {seed, to, t}. */
function paint(items, psi = shown.psi, label = shown.label) {
  return new Promise((resolve, reject) => {
    waiting.set(++ticket, { resolve, reject });
    painter.postMessage({ kind: "paint", ticket, items, psi, label });
  });
}

painter.onmessage = ({ data }) => {
  if (data.kind === "loading") $("loading").value = data.share;
  else if (data.kind === "ready") begin(data.model);
  else if (waiting.has(data.ticket)) {
    const { resolve, reject } = waiting.get(data.ticket);
    waiting.delete(data.ticket);
    data.kind === "painted" ? resolve(data) : reject(new Error(data.message));
  } else fail(data.message);
};
painter.onerror = (event) => fail(event.message || "the painter could not be loaded");

function fail(message) {
  $("curtain").classList.remove("gone");
  $("curtain").classList.add("failed");
  $("loading").hidden = true;
  $("status").textContent = `This did not work: ${message}.`;
}

function put(canvas, pixels) {
  canvas.getContext("2d").putImageData(new ImageData(pixels, model.width, model.height), 0, 0);
}

// ---- the stage

let busy = false, again = false;

/** Paint what is asked for now; while that goes on, remember only that it has changed. */
async function refresh() {
  again = true;
  if (busy) return;
  busy = true;
  try {
    while (again) {
      again = false;
      const asked = { ...shown };
      const { pictures, milliseconds } = await paint([{ seed: asked.seed }]);
      if (walking) break;
      put($("picture"), pictures[0]);
      $("picture").dataset.seed = asked.seed;
      $("picture").dataset.psi = asked.psi;
      $("picture").setAttribute("aria-label", `Synthetic picture of seed ${asked.seed}, ψ ${asked.psi.toFixed(2)}`);
      $("speed").textContent = `${Math.round(milliseconds)} ms for this picture, on your processor`;
      $("curtain").classList.add("gone");
    }
  } catch (error) {
    fail(error.message);
  } finally {
    busy = false;
  }
}

async function fillWall() {
  const round = ++wallRound, canvases = [...$("wall").querySelectorAll("canvas")];
  const seeds = canvases.map((_, i) => (shown.seed + 1 + i) % (MAX_SEED + 1));
  canvases.forEach((canvas, i) => {
    canvas.classList.remove("painted");
    canvas.parentElement.dataset.seed = seeds[i];
    canvas.parentElement.setAttribute("aria-label", `Seed ${seeds[i]}`);
    canvas.nextElementSibling.textContent = seeds[i];
  });
  for (let i = 0; i < WALL; i += WALL_BATCH) {
    const { pictures } = await paint(seeds.slice(i, i + WALL_BATCH).map((seed) => ({ seed })));
    if (round !== wallRound || walking) return;
    pictures.forEach((pixels, k) => {
      put(canvases[i + k], pixels);
      canvases[i + k].classList.add("painted");
    });
  }
}

let wallTimer;
function show(change, { wall = true } = {}) {
  Object.assign(shown, change);
  shown.seed = ((Math.trunc(shown.seed) % (MAX_SEED + 1)) + MAX_SEED + 1) % (MAX_SEED + 1) || 0;
  shown.psi = Math.min(1.2, Math.max(0, Math.round(shown.psi * 100) / 100));
  $("seed").value = shown.seed;
  $("psi").value = shown.psi;
  $("psi-value").textContent = shown.psi.toFixed(2);
  $("label").value = shown.label;
  const address = new URLSearchParams({ seed: shown.seed, psi: shown.psi });
  if (model.c_dim) address.set("class", shown.label);
  history.replaceState(null, "", `#${address}`);
  refresh();
  clearTimeout(wallTimer);
  if (wall) wallTimer = setTimeout(() => fillWall().catch((error) => fail(error.message)), 250);
}

const surprise = () => show({ seed: Math.floor(Math.random() * 100000) });
const step = (by) => show({ seed: shown.seed + by });

// ---- the walk

async function walk() {
  if (walking) {
    walking.stopped = true;
    return;
  }
  const here = (walking = { stopped: false });
  $("walk").setAttribute("aria-pressed", "true");
  let seed = shown.seed, to = Math.floor(Math.random() * 100000), begun = performance.now(), t = 0;
  try {
    while (!here.stopped) {
      t = (performance.now() - begun) / 1000 / WALK_SECONDS;
      if (t >= 1) [seed, to, begun, t] = [to, Math.floor(Math.random() * 100000), performance.now(), 0];
      const { pictures } = await paint([{ seed, to, t: t * t * (3 - 2 * t) }]);
      put($("picture"), pictures[0]);
      await new Promise(requestAnimationFrame);
    }
  } catch (error) {
    fail(error.message);
  }
  walking = null;
  $("walk").setAttribute("aria-pressed", "false");
  show({ seed: t < 0.5 ? seed : to });
}

// ---- saving

async function save() {
  const { seed, psi, label } = shown;
  const { pictures } = await paint([{ seed }], psi, label);
  const canvas = Object.assign(document.createElement("canvas"), { width: model.width, height: model.height });
  put(canvas, pictures[0]);
  const record = {
    digital_source_type: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    kind: "picture", licence: model.licence, model_hash: model.model_hash, noise_mode: model.noise, seed,
    seeds: [seed], software: "Capriccio", truncation_psi: psi, version: model.version,
  };
  if (model.c_dim) record.class_index = label;
  if (model.truncation_cutoff !== null) record.truncation_cutoff = model.truncation_cutoff;
  const png = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await withText(png, "capriccio", JSON.stringify(record)));
  link.download = `seed${String(seed).padStart(4, "0")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- beginning

function begin(facts) {
  model = facts;
  document.title = $("title").textContent = model.title;
  $("about").textContent = model.description;
  $("facts").textContent =
    `${model.width}×${model.height} pixels · model ${model.model_hash} · licence of the weights: ${model.licence} · ` +
    `made with Capriccio ${model.version}`;
  [$("picture").width, $("picture").height] = [model.width, model.height];
  for (let i = 0; i < WALL; i++) {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [model.width, model.height];
    button.type = "button";
    button.append(canvas, document.createElement("span"));
    button.onclick = () => { show({ seed: Number(button.dataset.seed) }); scrollTo({ top: 0, behavior: "smooth" }); };
    $("wall").append(button);
  }
  for (let i = 0; i < model.c_dim; i++) $("label").append(new Option(String(i), String(i)));
  $("label-row").hidden = !model.c_dim;
  readAddress();
}

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  const number = (name, otherwise) => (Number.isFinite(parseFloat(address.get(name))) ? parseFloat(address.get(name)) : otherwise);
  const label = Math.min(Math.max(0, Math.trunc(number("class", 0))), Math.max(0, model.c_dim - 1));
  show({ seed: number("seed", 0), psi: number("psi", 0.7), label });
}

$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("surprise").onclick = surprise;
$("walk").onclick = walk;
$("save").onclick = () => save().catch((error) => fail(error.message));
$("seed").onchange = () => show({ seed: Number($("seed").value) || 0 });
$("psi").oninput = () => show({ psi: Number($("psi").value) });
$("label").onchange = () => show({ label: Number($("label").value) });
$("controls").onsubmit = (event) => event.preventDefault();
addEventListener("hashchange", () => model && readAddress());

const KEYS = {
  ArrowLeft: () => step(-1), ArrowRight: () => step(1),
  ArrowUp: () => show({ psi: shown.psi + 0.05 }), ArrowDown: () => show({ psi: shown.psi - 0.05 }),
  " ": surprise, w: walk, s: () => $("save").click(),
};
addEventListener("keydown", (event) => {
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const elsewhere = event.target.matches("input, select") || (event.key === " " && event.target.matches("button"));
  if (!model || !action || elsewhere || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
});

$("status").textContent = "Fetching the network …";
$("loading").hidden = false;
painter.postMessage({ kind: "start" });
