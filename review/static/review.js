"use strict";
// Times in the viewer's time zone, keys, refreshing without losing the place, and typed times.
const root = document.body.dataset.root, page = document.getElementById("case"), help = document.getElementById("help");
// Dates in the browser's own format if its language is that of the page, else in the page's language.
const spoken = navigator.language.startsWith(document.documentElement.lang) ? navigator.language : document.documentElement.lang;
function showTimes(inside) {
  for (const element of inside.querySelectorAll("time")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.textContent = moment.toLocaleString(spoken, { dateStyle: "short", timeStyle: "short" });
    element.title = element.dateTime;
  }
}
// Paper is white, also where the screen is dark.
for (const [when, isPaper] of [["beforeprint", true], ["afterprint", false]]) addEventListener(when, () => document.documentElement.classList.toggle("paper", isPaper));
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => print());
if (window.top !== window) window.focus(); // inside Airflow's page: get the keyboard focus
// A typed time is in the viewer's time zone; it is sent as UTC.
const utcOf = (typed) => `${new Date(typed).toISOString().slice(0, 19)}Z`;
const isTyping = (field) => /^(INPUT|SELECT|TEXTAREA)$/.test(field.tagName) && !/^(checkbox|radio)$/.test(field.type);
// The letter of a key, also where the keyboard writes Hangul.
const keyOf = (event) => /^Key[A-Z]$/.test(event.code) && event.key.charCodeAt(0) > 127 ? event.code[3].toLowerCase() : event.key;
for (const form of document.querySelectorAll("form:not([data-act])")) {
  form.addEventListener("submit", () => {
    for (const field of form.querySelectorAll("input[type=datetime-local]")) {
      if (!field.value) continue;
      const sent = document.createElement("input");
      sent.type = "hidden"; sent.name = field.name; sent.value = utcOf(field.value);
      field.removeAttribute("name");
      form.append(sent);
    }
  });
}
let rows = [], here = -1;
function mark(place, focus = true) {
  if (!rows.length) return;
  here = Math.max(0, Math.min(rows.length - 1, place));
  rows.forEach((row, index) => row.classList.toggle("here", index === here));
  if (focus) rows[here].querySelector("a.case").focus();
  sessionStorage.setItem("case", rows[here].dataset.case);
}
function count() {
  const chosen = document.querySelectorAll("input[name=case]:checked").length, output = document.getElementById("chosen"), button = document.getElementById("bulk");
  if (output) output.textContent = chosen;
  document.getElementById("bulk-bar")?.classList.toggle("chosen", chosen > 0);
  if (button) button.disabled = chosen === 0;
}
function readRows() {
  rows = [...document.querySelectorAll("table.queue tr[data-case]")];
  here = rows.findIndex((row) => row.dataset.case === sessionStorage.getItem("case"));
}
// Load the page's rows again; the marked row, the checked boxes and the scroll position stay.
async function refresh() {
  const place = document.getElementById("rows");
  if (!place) return;
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.redirected) document.dispatchEvent(new CustomEvent("axiswatch:session"));
  if (!answer?.ok || answer.redirected) return;
  showRows(new DOMParser().parseFromString(await answer.text(), "text/html"));
}
function showRows(page) {
  const place = document.getElementById("rows"), fresh = page.getElementById("rows");
  if (!fresh) return;
  const chosen = new Set([...document.querySelectorAll("#rows input[name=case]:checked")].map((box) => box.value));
  const focused = place.contains(document.activeElement), old = here;
  place.replaceChildren(...fresh.childNodes);
  for (const box of place.querySelectorAll("input[name=case]")) box.checked = chosen.has(box.value);
  showTimes(place);
  readRows();
  if (here < 0 && old >= 0) here = Math.min(old, rows.length - 1);
  if (here >= 0) mark(here, focused);
  count();
  document.getElementById("refresh").addEventListener("click", refresh);
  document.dispatchEvent(new CustomEvent("axiswatch:rows"));
  place.dataset.refreshed = String(Number(place.dataset.refreshed || 0) + 1);
}
function go(id) {
  if (id) location.href = `${root}/cases/${id}${page.dataset.query}`;
}
function press(selector) {
  const button = document.querySelector(selector);
  if (button) button.click();
}
const onPage = {
  j: () => go(page.dataset.following), k: () => go(page.dataset.before), c: () => press("#claim-form button"), u: () => press(document.getElementById("take-back") ? "#take-back" : "#undo-form button"),
  q: () => { location.href = `${root}/${page.dataset.query}`; },
};
const inQueue = {
  j: () => mark(here + 1), k: () => mark(here < 0 ? 0 : here - 1), x: () => { press("tr.here input[type=checkbox]"); if (here >= 0) mark(here); },
  r: refresh, "/": () => document.getElementById("search").focus(), b: () => document.getElementById("bulk-verdict")?.focus(), u: () => press("#take-back"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const field = event.target, typing = isTyping(field), key = keyOf(event);
  if (key === "Escape" && typing) field.blur();
  if (typing) return;
  if (key === "?") { help.open ? help.close() : help.showModal(); return; }
  if (document.querySelector("dialog[open]")) return;
  const keys = page ? onPage : rows.length || document.getElementById("search") ? inQueue : {};
  if (Object.hasOwn(keys, key)) { keys[key](); event.preventDefault(); }
});
document.getElementById("help-button").addEventListener("click", () => help.showModal());
help.addEventListener("click", () => help.close());
document.addEventListener("change", (event) => { if (event.target.name === "case") count(); });
document.addEventListener("click", (event) => {
  if (event.target.id !== "range-from-plot") return;
  const plot = document.getElementById("plot-course"), form = document.getElementById("verdict-form");
  if (!plot.chart) return;
  plot.chart.view().forEach((moment, place) => { form.querySelectorAll("input[type=datetime-local]")[place].value = new Date(moment).toLocaleString("sv").replace(" ", "T"); });
  form.dispatchEvent(new Event("input", { bubbles: true }));
});
showTimes(document);
readRows();
if (here >= 0) mark(here);
count();
if (page) sessionStorage.setItem("case", page.dataset.case);
document.getElementById("refresh")?.addEventListener("click", refresh);
// Refresh once a minute while the page is visible and no field is in use.
setInterval(() => {
  const field = document.activeElement, busy = field && /^(INPUT|SELECT|TEXTAREA)$/.test(field.tagName);
  if (document.visibilityState === "visible" && !busy && !document.querySelector("dialog[open]")) refresh();
}, 60000);
// Show the message about the act before only once: remove it from the address.
const address = new URL(location.href);
for (const name of ["recorded", "undone"]) address.searchParams.delete(name);
if (address.href !== location.href) history.replaceState(null, "", address);
