// Latents this browser holds: photographs that were projected, files that were opened. It keeps a copy of each, and
// sends it again to a server that forgot it or never had it.
import {file, post, postForFile, upload} from "./server.js";

const MOST = 400;
const names = new Map();
const base = new Promise(done => {
  try {
    const opening = indexedDB.open("capriccio", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("latents", {keyPath: "id"});
    opening.onsuccess = () => done(opening.result);
    opening.onerror = () => done(null);
  } catch { done(null); }  // private windows keep nothing
});

async function stored(mode, action) {
  const open = await base;
  if (!open) return undefined;
  return new Promise(done => {
    const asked = action(open.transaction("latents", mode).objectStore("latents"));
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => done(undefined);
  });
}

export async function recallNames() {
  const kept = await stored("readonly", store => store.getAll()) ?? [];
  kept.sort((a, b) => a.when - b.when).forEach(({id, name}) => names.set(id, name));
  for (const {id} of kept.slice(0, Math.max(0, kept.length - MOST))) await stored("readwrite", store => store.delete(id));
}

export const latentName = id => names.get(id) ?? `latent ${id.slice(1, 7)}`;

// Keeps a copy of a latent that the server has.
async function hold({id, name}) {
  names.set(id, name);
  const bytes = await (await file(`/api/v1/latents/${id}`)).arrayBuffer();
  await stored("readwrite", store => store.put({id, name, bytes, when: Date.now()}));
}

// Begins to hold latents and returns their ids.
export async function holdAll(latents) {
  for (const one of latents) await hold(one);
  return latents.map(one => one.id);
}

export async function sendAgain(ids) {
  for (const id of ids) {
    const kept = await stored("readonly", store => store.get(id));
    if (kept) await upload("/api/v1/latents", kept.bytes, {name: kept.name});
  }
}

// Does what needs latents; where the server has lost some, sends them and does it again.
export async function withLatents(ids, action) {
  try {
    return await action();
  } catch (error) {
    if (error.status !== 404 || !ids.length) throw error;
    await sendAgain(ids);
    return action();
  }
}

export const isLatentsFile = name => /\.(safetensors|npz)$/i.test(name);

// Opens a latents file; returns what the server says of each latent in it.
export async function openFile(given) {
  const {latents} = await upload("/api/v1/latents", given, {name: given.name.slice(0, 200)});
  await holdAll(latents);
  return latents;
}

export const makeLatents = async recipes => holdAll((await post("/api/v1/latents/made", {recipes})).latents);
export const saveFile = recipes => postForFile("/api/v1/latents/file", {recipes});
