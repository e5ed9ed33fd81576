"use strict";
// Times in the viewer's zone, and all keys.
for (const element of document.querySelectorAll("time")) {
  const moment = new Date(element.dateTime);
  if (!Number.isNaN(moment.getTime())) {
    element.textContent = moment.toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
    element.title = element.dateTime;
  }
}
if (window.top !== window) window.focus(); // inside Airflow's page: keys are for us
const root = document.body.dataset.root;
const rows = [...document.querySelectorAll("table.queue tr[data-case]")];
let here = rows.findIndex((row) => row.dataset.case === sessionStorage.getItem("case"));
function mark(place) {
  if (!rows.length) return;
  here = Math.max(0, Math.min(rows.length - 1, place));
  rows.forEach((row, index) => row.classList.toggle("here", index === here));
  rows[here].querySelector("a.case").focus();
  sessionStorage.setItem("case", rows[here].dataset.case);
}
if (here >= 0) mark(here);
const page = document.getElementById("case");
if (page) sessionStorage.setItem("case", page.dataset.case);
function go(id) {
  if (id) location.href = `${root}/cases/${id}${location.search}`;
}
function press(selector) {
  const button = document.querySelector(selector);
  if (button) button.click();
}
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const help = document.getElementById("help");
  if (event.key === "?") help.open ? help.close() : help.showModal();
  else if (help.open) return;
  else if (event.key === "/" && document.getElementById("search")) { document.getElementById("search").focus(); event.preventDefault(); }
  else if (event.key === "j") page ? go(page.dataset.following) : mark(here + 1);
  else if (event.key === "k") page ? go(page.dataset.before) : mark(here - 1);
  else if (event.key === "x" && rows[here]) press(`tr.here input[type=checkbox]`);
  else if (event.key === "c") press("#claim-form button");
  else if (event.key === "u") press("#undo-form button");
  else if (/^[1-5]$/.test(event.key)) press(`#verdict-form button[data-key="${event.key}"]`);
});
