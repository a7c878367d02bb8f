const {psi, extra, scale} = document.body.dataset;
const find = id => document.getElementById(id);
const seen = [Number(document.body.dataset.seed)];
let at = 0, busy = false, upcoming = null;

const address = seed => `/picture?seed=${seed}&psi=${psi}${extra}&scale=${scale}`;
const grouped = seed => String(seed).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const fresh = () => crypto.getRandomValues(new Uint32Array(1))[0];

async function load(seed) {
  const image = new Image();
  image.src = address(seed);
  await image.decode();
  return seed;
}

function lookAhead() {
  const seed = fresh();
  upcoming = load(seed).catch(() => null);
}

function show(seed, remember = true) {
  find("picture").src = find("glow").src = address(seed);
  find("picture").alt = `Synthetic picture number ${grouped(seed)}, painted by a neural network`;
  find("number").textContent = find("number2").textContent = grouped(seed);
  const link = `/?seed=${seed}&psi=${psi}${extra}`;
  find("permalink").href = find("keep").href = link;
  find("save").href = `/picture?seed=${seed}&psi=${psi}${extra}&format=png&download=true`;
  find("open").href = `/studio#/generate?seed=${seed}&psi=${psi}`;
  document.title = `№ ${grouped(seed)} · never existed`;
  if (remember) history.pushState({seed}, "", link);
}

function say(words) {
  find("trouble").textContent = words;
  find("trouble").hidden = !words;
}

// Says why there is no picture; returns whether another try can help.
async function excuse() {
  const answer = await fetch(address(seen[at])).catch(() => null);
  if (answer?.status === 401) say("This server asks for a key; the studio takes it.");
  else if (!answer?.ok) say(answer ? "The server is busy; trying again." : "The server does not answer; trying again.");
  return answer?.status !== 401;
}

async function missing() {
  if (await excuse()) setTimeout(() => show(seen[at], false), 2000);
}

async function another() {
  if (busy) return;
  busy = true;
  find("picture").classList.add("leaving");
  try {
    if (at + 1 < seen.length) {
      at += 1;
      await load(seen[at]);
    } else {
      const ready = upcoming && await upcoming;
      seen.push(ready ?? await load(fresh()));
      at = seen.length - 1;
    }
    show(seen[at]);
    say("");
    lookAhead();
  } catch {
    if (await excuse()) {
      setTimeout(() => { busy = false; another(); }, 2000);
      return;
    }
  } finally {
    find("picture").classList.remove("leaving");
  }
  busy = false;
}

function back() {
  if (at > 0) show(seen[--at]);
}

find("frame").addEventListener("click", event => { event.preventDefault(); another(); });
find("another").addEventListener("click", event => { event.preventDefault(); another(); });
addEventListener("popstate", event => {
  const seed = event.state?.seed ?? seen[0];
  at = Math.max(0, seen.indexOf(seed));
  show(seed, false);
});
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") find("more").open = false;
  if (event.target.closest("details") && event.key === " ") return;
  if (event.key === " " || event.key === "ArrowRight") { event.preventDefault(); another(); }
  if (event.key === "ArrowLeft") back();
});
find("picture").addEventListener("error", missing);
find("picture").addEventListener("load", () => say(""));
if (find("picture").complete && !find("picture").naturalWidth) missing();
let from = null;
addEventListener("touchstart", event => { from = event.changedTouches[0].clientX; }, {passive: true});
addEventListener("touchend", event => {
  const moved = event.changedTouches[0].clientX - (from ?? 0);
  if (from !== null && Math.abs(moved) > 48) moved < 0 ? another() : back();
  from = null;
}, {passive: true});
addEventListener("load", lookAhead);
