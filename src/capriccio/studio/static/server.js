// Every word with the server: problem documents become errors, silence becomes a notice that goes away by itself.
const notice = () => document.getElementById("trouble");
let silent = false;
const waiting = new Set();

export class Refusal extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost();
    throw new Refusal(0, "The server does not answer.");
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, problem.detail ?? `The server answered ${answer.status}.`);
  }
  return answer.status === 204 ? null : answer.json();
}

export const post = (address, body) =>
  ask(address, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});

export function pictureAddress({seed, mixed, layers, changes, psi, cutoff, noise, class: label, scale, format, download}) {
  const query = new URLSearchParams({seed});
  const rest = {mixed, layers, psi, cutoff, noise: noise === "const" ? undefined : noise, class: label,
                scale: scale > 1 ? scale : undefined, format, download};
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  for (const change of changes ?? []) query.append("set", change);
  if (changes?.length) return `/api/v1/edit?${query}`;
  return `${mixed === undefined ? "/picture" : "/api/v1/mix"}?${query}`;
}

// Called once when the server is back.
export const whenBack = action => waiting.add(action);

export async function lost() {
  if (silent) return;
  silent = true;
  notice().textContent = "The server does not answer. Trying again; nothing here is lost.";
  notice().hidden = false;
  while (!(await fetch("/healthz").then(answer => answer.ok, () => false))) {
    await new Promise(done => setTimeout(done, 1000));
  }
  silent = false;
  notice().textContent = "The server is back.";
  setTimeout(() => { if (!silent) notice().hidden = true; }, 4000);
  const actions = [...waiting];
  waiting.clear();
  actions.forEach(action => action());
}
