// Every word with the server: problem documents become errors, silence becomes a notice that goes away by itself.
const notice = () => document.getElementById("trouble");
let silent = false;
const waiting = new Set();

export class Refusal extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function answered(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost();
    throw new Refusal(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, problem.detail ?? `The server answered ${answer.status}.`);
}

export async function ask(address, options = {}) {
  const answer = await answered(address, options);
  return answer.status === 204 ? null : answer.json();
}

export const file = async (address, options = {}) => (await answered(address, options)).blob();

const json = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
export const post = (address, body) => ask(address, json(body));
export const postForFile = (address, body) => file(address, json(body));
export const upload = (address, body, query = {}) => ask(`${address}?${new URLSearchParams(query)}`,
  {method: "POST", headers: {"Content-Type": "application/octet-stream"}, body});

// Why an address gives no picture: a Refusal, or nothing when it gives one after all.
export const reason = address => answered(address).then(() => null, error => error);

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
