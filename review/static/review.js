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
if (window.top !== window) window.focus(); // inside Airflow's page: get the keyboard focus
// A typed time is in the viewer's time zone; it is sent as UTC.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    for (const field of form.querySelectorAll("input[type=datetime-local]")) {
      if (!field.value) continue;
      const sent = document.createElement("input");
      sent.type = "hidden"; sent.name = field.name; sent.value = new Date(field.value).toISOString().slice(0, 19) + "Z";
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
  const answer = await fetch(location.href);
  if (!answer.ok || answer.redirected) { location.reload(); return; }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("rows");
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
  j: () => go(page.dataset.following), k: () => go(page.dataset.before), c: () => press("#claim-form button"), u: () => press("#undo-form button"),
  q: () => { location.href = `${root}/${page.dataset.query}`; },
};
const inQueue = {
  j: () => mark(here + 1), k: () => mark(here < 0 ? 0 : here - 1), x: () => { press("tr.here input[type=checkbox]"); if (here >= 0) mark(here); },
  r: refresh, "/": () => document.getElementById("search").focus(), b: () => document.getElementById("bulk-verdict")?.focus(), u: () => press("#take-back"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const field = event.target, typing = /^(INPUT|SELECT|TEXTAREA)$/.test(field.tagName) && field.type !== "checkbox";
  if (event.key === "Escape" && typing) field.blur();
  if (typing) return;
  if (event.key === "?") { help.open ? help.close() : help.showModal(); return; }
  if (help.open) return;
  const keys = page ? onPage : rows.length || document.getElementById("search") ? inQueue : {};
  if (page && /^[1-5]$/.test(event.key)) press(`#verdict-form button[data-key="${event.key}"]`);
  else if (Object.hasOwn(keys, event.key)) { keys[event.key](); event.preventDefault(); }
});
document.getElementById("help-button").addEventListener("click", () => help.showModal());
help.addEventListener("click", () => help.close());
document.addEventListener("change", (event) => { if (event.target.name === "case") count(); });
document.getElementById("range-from-plot")?.addEventListener("click", () => {
  const plot = document.getElementById("plot-course"), form = document.getElementById("verdict-form");
  if (!plot.layout) return;
  // Plotly holds local times without an offset, as the two fields do.
  plot.layout.xaxis.range.forEach((moment, place) => { form.querySelectorAll("input[type=datetime-local]")[place].value = new Date(moment.replace(" ", "T")).toLocaleString("sv").replace(" ", "T"); });
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
  if (document.visibilityState === "visible" && !busy && !help.open) refresh();
}, 60000);
// Show the message about recorded verdicts only once: remove it from the address.
if (new URLSearchParams(location.search).has("recorded")) {
  const address = new URL(location.href);
  address.searchParams.delete("recorded");
  history.replaceState(null, "", address);
}
