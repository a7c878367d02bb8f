// A long job of the server: progress with a number, cancel always, the reason where it fails.
import {h} from "./dom.js";
import {ask, lost, whenBack} from "./server.js";

// Shows a job in `stage`. `begin()` asks the server for it; `finished(job)` returns what to show at the end,
// `during(job)` what to show meanwhile. Returns `stop`, which cancels it, and `over`, which settles with the job at its
// end, or with nothing when it came to none.
export function follow(stage, begin, finished, during = () => []) {
  let id = null, stopped = false, settle;
  const over = new Promise(done => { settle = done; });
  const end = (job, ...shown) => { stage.replaceChildren(...shown); settle(job); };
  const failed = words => end(null, h("p", {class: "error", role: "alert"}, words));
  const stop = () => {
    stopped = true;
    if (id) ask(`/api/v1/jobs/${id}`, {method: "DELETE"}).catch(() => {});
  };
  stage.replaceChildren(h("p", {class: "quiet"}, "Asking…"));
  begin().then(job => {
    id = job.id;
    if (stopped) stop();
    watch(stage, id, {end, failed, finished, during, stop});
  }, error => failed(error.message));
  return {stop, over};
}

function watch(stage, id, {end, failed, finished, during, stop}) {
  const bar = h("progress", {max: 1, "aria-label": "Progress"});
  const words = h("p", {class: "quiet"}, "Waiting for its turn.");
  const place = h("div");
  stage.replaceChildren(bar, h("div", {class: "actions"}, words, h("button", {type: "button", onclick: stop}, "Cancel")), place);
  const events = new EventSource(`/api/v1/jobs/${id}/events`);
  const show = told => {
    const {done, total, measured: [found, whole] = [0, 0]} = told.progress;
    if (total > 1) {
      bar.max = total;
      bar.value = done;
      words.textContent = `${Math.round(100 * done / total)} %, step ${done} of ${total}`;
    } else if (whole) {
      bar.max = whole;
      bar.value = found;
      words.textContent = `The network is measured first, which is done once: ${Math.round(100 * found / whole)} %`;
    } else if (told.state === "running") words.textContent = "Begins.";
    place.replaceChildren(...during(told));
    if (!["done", "cancelled", "failed"].includes(told.state)) return;
    events.close();
    if (told.state === "done") end(told, ...finished(told));
    else if (told.state === "cancelled") end(null, h("p", {class: "quiet"}, "Cancelled."));
    else failed(told.error);
  };
  events.onmessage = message => show(JSON.parse(message.data));
  events.onerror = async () => {
    if (events.readyState !== EventSource.CLOSED) return lost();  // the browser tries again by itself
    try { show(await ask(`/api/v1/jobs/${id}`)); } catch (error) {
      if (error.status === 0) whenBack(() => events.onerror());
      else if (error.status === 404) failed("The server stopped in the middle of this; begin it again.");
      else failed(error.message);
    }
  };
}
