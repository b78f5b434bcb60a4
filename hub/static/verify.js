// The verify page: hands the chosen files to the worker and shows its answer. All words are in the page itself.

const form = document.getElementById("verify");
const out = document.getElementById("verify-result");
const words = document.getElementById("verify-words");
const progress = document.getElementById("verify-progress");
let worker = null;

// Names come from cards and keys: what could hide or turn text around is shown as its number, as everywhere in the hub.
function visible(name) {
  return name.replace(/[\p{C}\u2028\u2029]/gu, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

function phrase(code, facts) {
  const found = words.content.querySelector(`[data-code="${CSS.escape(code)}"]`);
  const text = found ? found.textContent : code;
  return text.replace(/\{(\d)\}/g, (_, number) => visible(String(facts[number] ?? "")));
}

function show(results) {
  progress.hidden = true;
  out.replaceChildren();
  const wrong = results.some((r) => r.good === false);
  const proved = results.some((r) => r.code === "as_sealed");
  const verdict = document.createElement("p");
  verdict.className = wrong ? "verify-verdict verify-wrong" : "verify-verdict verify-good";
  verdict.textContent = phrase(wrong ? "verdict_wrong" : proved ? "verdict_good" : "verdict_unknown", []);
  const list = document.createElement("ul");
  for (const { code, good, facts } of results) {
    const item = document.createElement("li");
    item.className = good === null ? "verify-open" : good ? "verify-good" : "verify-wrong";
    item.dataset.code = code;
    item.textContent = `${good === null ? "–" : good ? "✓" : "✗"} ${phrase(code, facts)}`;
    list.append(item);
  }
  out.append(verdict, list);
  out.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  worker?.terminate();
  if (!globalThis.crypto?.subtle) {
    show([{ code: "not_secure", good: false, facts: [] }]);
    return;
  }
  const file = (name) => form.elements[name].files[0] ?? null;
  out.replaceChildren();
  progress.hidden = false;
  progress.value = 0;
  worker = new Worker(form.dataset.worker, { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.progress !== undefined) progress.value = data.progress;
    else show(data.results);
  };
  worker.onerror = () => show([{ code: "failed", good: false, facts: [""] }]);
  worker.postMessage({
    footage: file("footage"),
    seal: file("seal"),
    leaves: file("leaves"),
    proof: file("proof"),
    stationKey: form.elements.station_key.value.trim(),
    logKey: form.elements.log_key.value.trim(),
  });
});
form.querySelector("button[type=submit]").disabled = false;
