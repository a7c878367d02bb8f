// The worker that paints: the network runs here, so that the page stays quick while it does.

import * as ort from "./onnxruntime-web.js";
import { between, gaussians } from "./seeds.js";

let model, session;

/** Fetch a file and say how much of all files has come. */
async function fetched(name, tell) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} is missing beside this page (${answer.status})`);
  const parts = [], reader = answer.body.getReader();
  for (let part; !(part = await reader.read()).done; ) {
    parts.push(part.value);
    tell(part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function start() {
  model = await (await fetch("model.json")).json();
  let come = 0;
  const tell = (bytes) => postMessage({ kind: "loading", share: Math.min(1, (come += bytes) / model.download_bytes) });
  const [wasm, graph] = await Promise.all([fetched("onnxruntime-web.wasm", tell), fetched(model.file, tell)]);
  // One thread: more need memory that servers must allow by special headers, and this page works from any server.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm.buffer;
  session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  postMessage({ kind: "ready", model });
}

/** The latent of {seed} or, on a walk, of {seed, to, t}. */
function latent({ seed, to, t }) {
  const z = gaussians(seed, model.z_dim);
  return t ? between(z, gaussians(to, model.z_dim), t) : z;
}

async function paint({ ticket, items, psi, label }) {
  const begun = performance.now(), count = items.length;
  const z = new Float32Array(count * model.z_dim);
  items.forEach((item, n) => z.set(latent(item), n * model.z_dim));
  const inputs = {
    z: new ort.Tensor("float32", z, [count, model.z_dim]),
    psi: new ort.Tensor("float32", new Float32Array([psi]), []),
  };
  if (model.c_dim) {
    const c = new Float32Array(count * model.c_dim);
    items.forEach((_, n) => (c[n * model.c_dim + label] = 1));
    inputs.c = new ort.Tensor("float32", c, [count, model.c_dim]);
  }
  const { images } = await session.run(inputs);
  const pictures = items.map((_, n) => toPixels(images.data, n));
  postMessage(
    { kind: "painted", ticket, pictures, milliseconds: performance.now() - begun },
    pictures.map((picture) => picture.buffer),
  );
}

/** Picture n of a batch as RGBA bytes, rounded as the command line rounds. */
function toPixels(data, n) {
  const area = model.height * model.width, start = n * model.channels * area;
  const byte = (channel, i) =>
    Math.floor(Math.min(255, Math.max(0, data[start + channel * area + i] * 127.5 + 128)));
  const grey = model.channels < 3, pixels = new Uint8ClampedArray(4 * area);
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) pixels[4 * i + channel] = byte(grey ? 0 : channel, i);
    pixels[4 * i + 3] = model.channels === 4 ? byte(3, i) : 255;
  }
  return pixels;
}

// One after another: the runtime does not run twice at once.
let work = Promise.resolve();
onmessage = ({ data }) => {
  work = work
    .then(() => (data.kind === "start" ? start() : paint(data)))
    .catch((error) => postMessage({ kind: "failed", ticket: data.ticket, message: String(error.message || error) }));
};
