// A long job of the server: progress with a number, cancel always, the reason where it fails.
import {h} from "./dom.js";
import {ask, lost, post} from "./server.js";

// Begins a job and shows it in `stage`; `finished(job)` returns what to show at the end. Returns a function that stops it.
export async function follow(stage, address, body, finished, during = () => []) {
  stage.replaceChildren(h("p", {class: "quiet"}, "Asking…"));
  let job;
  try {
    job = await (body instanceof FormData ? ask(address, {method: "POST", body}) : post(address, body));
  } catch (error) {
    stage.replaceChildren(h("p", {class: "error", role: "alert"}, error.message));
    return () => {};
  }
  const bar = h("progress", {max: 1, "aria-label": "Progress"});
  const words = h("p", {class: "quiet"}, "Waiting for its turn.");
  const place = h("div");
  const cancel = h("button", {type: "button", onclick: () => stop()}, "Cancel");
  stage.replaceChildren(bar, words, cancel, place);
  const events = new EventSource(`/api/v1/jobs/${job.id}/events`);
  let over = false;
  const end = (...shown) => {
    over = true;
    events.close();
    stage.replaceChildren(...shown);
  };
  events.onmessage = message => {
    const told = JSON.parse(message.data);
    const {done, total} = told.progress;
    if (total) {
      bar.max = total;
      bar.value = done;
      words.textContent = `${Math.round(100 * done / total)} %, step ${done} of ${total}`;
    }
    place.replaceChildren(...during(told));
    if (told.state === "done") end(...finished(told));
    if (told.state === "cancelled") end(h("p", {class: "quiet"}, "Cancelled."));
    if (told.state === "failed") end(h("p", {class: "error", role: "alert"}, told.error));
  };
  events.onerror = () => {
    if (over) return;
    end(h("p", {class: "error", role: "alert"}, "The server stopped in the middle of this; start it again when it is back."));
    lost();
  };
  const stop = () => {
    if (!over) ask(`/api/v1/jobs/${job.id}`, {method: "DELETE"}).catch(() => {});
  };
  return stop;
}
