"use strict";
// The dock's screen: draws what /events tells and asks the desk for cameras. Text from cameras only ever becomes text.
const STALE_MS = 30000;
const WORDS = {
  bay: ["%s 号仓位", "Bay %s"], takeout: ["领用", "Check out"], takeback: ["撤销领用", "Undo check-out"],
  number: ["工号", "Number"], pin: ["PIN", "PIN"], cancel: ["取消", "Cancel"], ok: ["知道了", "Got it"],
  desk: ["领用 %s", "Check out %s"], undo: ["撤销领用 %s", "Undo the check-out of %s"],
  risky: ["仍要领用（将通知主管）", "Take it all the same (the supervisor is told)"],
  done: ["已领用，请取下记录仪", "Checked out: take the camera"],
  say: ["开始执法前，请先向对方说：", "Before you begin, say to the other side:"],
  due: ["请于 %s 前归还", "Due back by %s"], taken: ["已由工号 %s 领用", "Checked out by %s"],
  stale: ["画面已过期：采集程序没有响应，请勿取下记录仪", "Out of date: the dock's program does not answer. Do not remove cameras"],
  nobays: ["尚未设置仓位。请管理员运行 dock-agent bays", "No bays are set up. The administrator runs dock-agent bays"],
  failed: ["没有完成，请重试", "That did not work, try again"], disputed: ["身份存疑", "Identity disputed"], erase: ["删", "Del"],
};
const ICONS = {
  good: "M3 9l4 4 7-9", busy: "M8 2v8m0 0l-3-3m3 3l3-3M3 14h10", warn: "M8 2l7 12H1zM8 6v4m0 2v.4",
  bad: "M3 3l10 10M13 3L3 13", idle: "M8 3a5 5 0 100 10A5 5 0 008 3",
};
const $ = (id) => document.getElementById(id);
let english = localStorage.getItem("language") === "en";
let picture = null, heardAt = 0, asking = null;

const t = (pair, value) => pair[english ? 1 : 0].replace("%s", value ?? "");
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}
function icon(tone) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  for (const [name, value] of Object.entries({d: ICONS[tone], fill: "none", stroke: "currentColor", "stroke-width": "2.2", "stroke-linecap": "round", "stroke-linejoin": "round"})) path.setAttribute(name, value);
  svg.append(path);
  return svg;
}
function reasonList(node, reasons) {
  node.replaceChildren(...reasons.map((r) => make("li", "tone-" + r.tone, t(r.text))));
}
function drawBay(bay) {
  const card = make("section", "bay " + bay.tone);
  card.dataset.bay = bay.bay;
  card.dataset.state = bay.state;
  const where = make("div", "where");
  where.append(make("b", "", t(WORDS.bay, bay.bay)), make("span", "", bay.camera ?? ""));
  const title = make("h2");
  title.append(icon(bay.tone), make("span", "", t(bay.title)));
  card.append(where, title, make("p", "todo", t(bay.todo)));
  if (bay.remark) card.append(make("p", "remark", t(bay.remark)));
  if (bay.progress) {
    if (bay.progress.percent !== null) {
      const bar = make("div", "bar"), fill = make("i");
      bar.setAttribute("role", "progressbar");
      bar.setAttribute("aria-valuenow", bay.progress.percent);
      bar.setAttribute("aria-label", t(bay.title));
      fill.style.width = bay.progress.percent + "%";
      bar.append(fill);
      card.append(bar);
    }
    card.append(make("p", "facts", t(bay.progress.line)));
  }
  const facts = make("div", "facts");
  if (bay.verdict) facts.append(make("span", "chip tone-" + bay.verdict.tone, t(bay.verdict.title)));
  if (bay.charge) facts.append(make("span", "tone-" + bay.charge.tone, t(bay.charge.text)));
  if (bay.verdict?.space) facts.append(make("span", "", t(bay.verdict.space)));
  if (bay.disputed) facts.append(make("span", "chip tone-bad", t(WORDS.disputed)));
  if (facts.childNodes.length) card.append(facts);
  if (bay.verdict?.reasons.length) {
    const list = make("ul", "reasons");
    reasonList(list, bay.verdict.reasons);
    card.append(list);
  }
  const act = make("div", "act");
  if (bay.officer) act.append(make("p", "tone-good", t(WORDS.taken, bay.officer)));
  if (bay.can_take_back) act.append(button(t(WORDS.takeback), "plain", () => ask(bay, true)));
  else if (bay.can_check_out) act.append(button(t(WORDS.takeout), "go", () => ask(bay, false)));
  if (act.childNodes.length) card.append(act);
  return card;
}
function button(text, className, action) {
  const node = make("button", className, text);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}
function draw() {
  document.documentElement.lang = english ? "en" : "zh-CN";
  $("language").textContent = english ? "中文" : "English";
  $("language").lang = english ? "zh-CN" : "en";
  if (!picture) return;
  $("station").textContent = picture.station.name;
  $("remarks").textContent = picture.station.remarks.map((pair) => t(pair)).join("　");
  const focused = document.activeElement?.closest?.(".bay")?.dataset.bay;
  const count = picture.bays.length;
  $("bays").style.setProperty("--columns", count > 3 ? Math.ceil(count / 2) : Math.max(1, count));
  $("bays").replaceChildren(...picture.bays.map(drawBay));
  if (focused) document.querySelector(`.bay[data-bay="${CSS.escape(focused)}"] button`)?.focus();
  $("nobays").hidden = picture.bays.length > 0;
  $("nobays").textContent = t(WORDS.nobays);
  if (asking && !$("done").open) {
    const bay = picture.bays.find((one) => one.bay === asking.bay);
    if (!bay || bay.camera !== asking.camera || !bay.removable) $("desk").close();
  }
}
function ask(bay, undo) {
  asking = {bay: bay.bay, camera: bay.camera, undo, risky: !undo && bay.verdict.level === "not_ready"};
  $("desk-title").textContent = t(undo ? WORDS.undo : WORDS.desk, bay.camera);
  reasonList($("desk-reasons"), undo ? [] : bay.verdict.reasons);
  $("number-label").textContent = t(WORDS.number);
  $("pin-label").textContent = t(WORDS.pin);
  $("desk-cancel").textContent = t(WORDS.cancel);
  $("desk-go").textContent = t(undo ? WORDS.takeback : asking.risky ? WORDS.risky : WORDS.takeout);
  $("desk-go").classList.toggle("risky", asking.risky);
  $("desk-error").textContent = $("number").value = $("pin").value = "";
  $("desk").showModal();
  $("number").focus();
}
async function submit(event) {
  event.preventDefault();
  const body = {bay: asking.bay, number: $("number").value.trim(), pin: $("pin").value, confirmed: asking.risky};
  $("pin").value = "";
  $("desk-go").disabled = true;
  try {
    const answer = await fetch(asking.undo ? "/take-back" : "/check-out", {
      method: "POST", headers: {"content-type": "application/json", "x-custodock": "kiosk"}, body: JSON.stringify(body),
    });
    const said = await answer.json();
    if (!answer.ok) {
      $("desk-error").textContent = said.zh ? t([said.zh, said.en]) : t(WORDS.failed);
      $("pin").focus();
      return;
    }
    $("desk").close();
    if (!asking.undo) showDone(said);
  } catch {
    $("desk-error").textContent = t(WORDS.failed);
  } finally {
    $("desk-go").disabled = false;
  }
}
function showDone(said) {
  $("done-title").textContent = `${said.officer}：${t(WORDS.done)}`;
  $("done-say").textContent = t(WORDS.say);
  $("done-notice").textContent = said.notice;
  const due = new Date(said.due_at).toLocaleString(english ? "en-GB" : "zh-CN", {month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit"});
  $("done-due").textContent = t(WORDS.due, due);
  $("done-ok").textContent = t(WORDS.ok);
  $("done").showModal();
}
function keypad() {
  let target = $("number");
  for (const field of [$("number"), $("pin")]) field.addEventListener("focus", () => { target = field; });
  const press = (key) => {
    target.value = key === "⌫" ? target.value.slice(0, -1) : target.value.length < target.maxLength ? target.value + key : target.value;
    target.focus();
  };
  for (const key of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "⌫", "0"]) {
    const node = button(key, "", () => press(key));
    node.tabIndex = -1;
    $("keypad").append(node);
  }
}
function tick() {
  const now = new Date();
  $("clock").textContent = now.toLocaleString(english ? "en-GB" : "zh-CN", {month: "numeric", day: "numeric", weekday: "short", hour: "2-digit", minute: "2-digit"});
  $("stale").hidden = Date.now() - heardAt < STALE_MS;
  $("stale").textContent = t(WORDS.stale);
  $("bays").inert = !$("stale").hidden;
}
$("language").addEventListener("click", () => {
  english = !english;
  localStorage.setItem("language", english ? "en" : "zh");
  draw();
  tick();
});
$("desk-form").addEventListener("submit", submit);
$("desk-cancel").addEventListener("click", () => $("desk").close());
$("desk").addEventListener("close", () => { if (!$("done").open) $("pin").value = ""; });
$("done-ok").addEventListener("click", () => $("done").close());
keypad();
heardAt = Date.now();
let events;
function listen() {
  events = new EventSource("/events");
  events.onmessage = (event) => {
    heardAt = Date.now();
    picture = JSON.parse(event.data);
    draw();
    tick();
  };
}
listen();
// A browser tries again by itself after a broken connection, but never after an answer that is no stream.
setInterval(() => { if (events.readyState === EventSource.CLOSED) listen(); }, 5000);
setInterval(tick, 1000);
draw();
tick();
