// What a picture is made from. A recipe comes `of` an origin, with another one `mixed` in: a seed, which is a number,
// or the id of a latent. The server's addresses and JSON have names of their own for it.
import {grouped} from "./dom.js";
import {latentName} from "./latents.js";

export const isLatent = origin => typeof origin === "string";

export const parseOrigins = text => (text ?? "").split(",").flatMap(word => {
  if (/^w[0-9a-f]{24}$/.test(word)) return [word];
  return /^\d{1,10}$/.test(word) && Number(word) < 2 ** 32 ? [Number(word)] : [];
});

export const nameOfOrigin = origin => isLatent(origin) ? latentName(origin) : `№ ${grouped(origin)}`;

export function nameOf(recipe) {
  const name = nameOfOrigin(recipe.of);
  const mixed = recipe.mixed === undefined ? name : `${name} with ${recipe.layers} of ${nameOfOrigin(recipe.mixed)}`;
  return [mixed, ...(recipe.changes ?? [])].join(", ");
}

export const isPlain = recipe => recipe.mixed === undefined && !recipe.changes?.length;

export const latentsOf = recipe => [recipe.of, recipe.mixed].filter(isLatent);

// The recipe in the words of the server.
export function fields({of, mixed, layers, changes, psi, cutoff, noise, class: label}) {
  const named = (seed, latent, origin) => origin === undefined ? {} : {[isLatent(origin) ? latent : seed]: origin};
  const rest = {layers: mixed === undefined ? undefined : layers, psi, cutoff, class: label, set: changes?.length ? changes : undefined,
                noise: noise === "const" ? undefined : noise};
  const all = {...named("seed", "latent", of), ...named("mixed", "mixed_latent", mixed), ...rest};
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null && value !== ""));
}

export function pictureAddress(recipe, {scale = 1, format, download} = {}) {
  const query = new URLSearchParams();
  const all = {...fields(recipe), scale: scale > 1 ? scale : undefined, format, download};
  for (const [name, value] of Object.entries(all)) {
    for (const one of [value].flat()) if (one !== undefined) query.append(name, one);
  }
  if (recipe.changes?.length) return `/api/v1/edit?${query}`;
  return `${recipe.mixed === undefined ? "/picture" : "/api/v1/mix"}?${query}`;
}

export const same = (a, b) => JSON.stringify(fields(a)) === JSON.stringify(fields(b));
