"use strict";
// Keeps the overview as it is now: parts that come by /overview/events take the place of those that are there. Only a
// visible window listens, for a browser keeps few connections to one server. Whatever goes wrong, one way back: ask for
// the whole page's content again, then listen anew. A window that hears nothing for a while says since when.
const SILENT_MS = 35000, AGAIN_MS = 1000, AGAIN_MOST_MS = 30000;
const live = document.getElementById("live"), state = document.getElementById("live-state"), said = document.getElementById("live-said");
let stream = null, watch = 0, next = 0, wait = AGAIN_MS, lost = false;

const picture = () => document.getElementById("picture").dataset;

function heard(at) {
  if (at) picture().at = at;
  if (lost) said.textContent = said.dataset.back;
  lost = false;
  live.classList.remove("stale");
  state.classList.remove("live-lost");
  state.textContent = `${state.dataset.live} ${picture().at}`;
  clearTimeout(watch);
  watch = setTimeout(again, SILENT_MS);
}

function lose() {
  if (!lost) said.textContent = said.dataset.lost;
  lost = true;
  live.classList.add("stale");
  state.classList.add("live-lost");
  state.textContent = `${state.dataset.lost} ${picture().at}`;
}

// The element of the same id takes its place; whoever stood on a link in it still stands on that link.
function put(id, html) {
  const old = document.getElementById(id), fresh = document.createElement("template");
  fresh.innerHTML = html;
  const node = fresh.content.firstElementChild;
  if (!old || !node) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(node);
  if (focused) document.getElementById(focused)?.focus({preventScroll: true});
}

function listen() {
  stop();
  stream = new EventSource(`/overview/events?stamp=${encodeURIComponent(picture().stamp)}`);
  stream.addEventListener("parts", (event) => {
    const {at, parts} = JSON.parse(event.data);
    for (const [id, html] of Object.entries(parts)) put(id, html);
    wait = AGAIN_MS;
    heard(at);
  });
  stream.addEventListener("again", () => renew());
  stream.addEventListener("end", () => location.reload());  // signed out, or of another role: the hub says which
  stream.onerror = again;
  clearTimeout(watch);
  watch = setTimeout(again, SILENT_MS);
}

function stop() {
  stream?.close();
  stream = null;
  clearTimeout(watch);
  clearTimeout(next);
}

// Everybody lost the same hub at the same moment: they do not all come back at the same one.
function again() {
  stop();
  lose();
  next = setTimeout(renew, wait * (0.5 + Math.random()));
  wait = Math.min(wait * 2, AGAIN_MOST_MS);
}

async function renew() {
  stop();
  try {
    const answer = await fetch("/overview/live", {headers: {"HX-Request": "true"}, signal: AbortSignal.timeout(15000)});
    if (answer.status === 401 || answer.status === 403) return location.reload();
    if (!answer.ok) return again();
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    live.innerHTML = await answer.text();
    if (focused) document.getElementById(focused)?.focus({preventScroll: true});
  } catch {
    return again();
  }
  listen();
}

document.addEventListener("visibilitychange", () => (document.hidden ? stop() : renew()));
window.addEventListener("pageshow", (event) => event.persisted && renew());
if (!document.hidden) listen();
