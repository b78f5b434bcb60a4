// The player: the time over the picture, the whole screen with what lies over it, and what to say when a stream ends.
"use strict";
(() => {
  const video = document.getElementById("footage");
  if (!video) return;
  const player = document.getElementById("player");
  const broken = document.getElementById("broken-off");
  const state = document.getElementById("viewing-state");
  const times = document.querySelectorAll(".watermark-time");
  const shown = new Intl.DateTimeFormat(document.documentElement.lang, {
    dateStyle: "short", timeStyle: "medium", timeZone: "Asia/Shanghai",
  });
  setInterval(() => times.forEach((one) => { one.textContent = shown.format(new Date()); }), 1000);

  const whole = document.getElementById("whole-screen");
  if (player.requestFullscreen) {
    whole.hidden = false;
    whole.addEventListener("click", () => player.requestFullscreen());
  }

  let at = 0;
  video.addEventListener("timeupdate", () => { if (video.currentTime > 0) at = video.currentTime; });
  video.addEventListener("error", () => {
    broken.hidden = false;
    if (document.fullscreenElement) document.exitFullscreen();
    htmx.trigger(state, "refresh");
  });
  document.getElementById("try-again").addEventListener("click", () => {
    broken.hidden = true;
    const from = at;
    video.addEventListener("loadedmetadata", () => { video.currentTime = from; }, { once: true });
    video.load();
  });
  const watch = new MutationObserver(() => {
    if (!state.querySelector("[data-over]")) return;
    watch.disconnect();
    const last = state.cloneNode(true);  // what is not in the page any more asks no more
    last.removeAttribute("hx-get");
    state.replaceWith(last);
    broken.hidden = true;
    video.removeAttribute("src");
    video.load();
    player.hidden = true;
    whole.hidden = true;
    document.getElementById("while-open").hidden = true;
  });
  watch.observe(state, { childList: true });
})();
