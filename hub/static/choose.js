"use strict";
// One tick for all recordings of the page; without scripts each is chosen by itself.
const all = document.getElementById("choose-all");
if (all) {
  const picks = [...document.querySelectorAll(".pick")];
  all.closest("label").hidden = false;
  all.addEventListener("change", () => picks.forEach((pick) => { pick.checked = all.checked; }));
  picks.forEach((pick) => pick.addEventListener("change", () => { all.checked = picks.every((one) => one.checked); }));
}
