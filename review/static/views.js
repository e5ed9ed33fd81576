"use strict";
// The queue's filters: how many cases each choice would show, and views (the address of a filter with a name). Views
// stay in this browser, for each user his own, as drafts do.
const bar = document.getElementById("views"), words = JSON.parse(bar.dataset.words), KEPT = `axiswatch:views:${root}:${document.body.dataset.user}`;
const NOT_A_FILTER = ["after", "recorded", "undone", "channel"], LONGEST = 60, MOST = 30;
async function showCounts() {
  const answer = await fetch(`${root}/api/v1/counts${location.search}`).catch(() => null);
  if (!answer?.ok) return;
  const counts = await answer.json();
  for (const list of document.querySelectorAll("[data-counted]")) for (const option of list.options) {
    option.dataset.name ??= option.text;
    option.text = `${option.dataset.name} (${counts[list.dataset.counted][option.value] ?? 0})`;
  }
}
function views() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    return Array.isArray(kept) ? kept.filter((view) => typeof view?.name === "string" && typeof view.query === "string") : [];
  } catch { return []; }
}
function keep(list) {
  try { localStorage.setItem(KEPT, JSON.stringify(list)); } catch { /* the browser keeps nothing */ }
  showViews();
}
// The filters of an address in one order, so that two ways to the same view are alike.
function queryOf(search) {
  const query = new URLSearchParams([...new URLSearchParams(search)].filter(([name, value]) => value && !NOT_A_FILTER.includes(name)));
  if (query.get("state") === "open") query.delete("state");
  query.sort();
  return query.toString();
}
function part(tag, shape, text) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(shape)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
function showViews() {
  const now = queryOf(location.search), list = views();
  bar.replaceChildren();
  for (const view of list) {
    const link = part("a", { href: `${root}/${view.query ? `?${view.query}` : ""}`, ...(view.query === now ? { "aria-current": "page" } : {}) }, view.name);
    const remove = part("button", { type: "button", "aria-label": words.view_remove.replace("{name}", view.name), title: words.view_remove.replace("{name}", view.name) }, "×");
    remove.addEventListener("click", () => keep(views().filter((one) => one.name !== view.name)));
    const both = part("span", { class: "view" }, "");
    both.append(link, remove);
    bar.append(both);
  }
  if (!now || list.some((view) => view.query === now) || list.length >= MOST) return;
  const form = part("form", {}, ""), name = part("input", { name: "view", required: "", maxlength: LONGEST, "aria-label": words.view_name, placeholder: words.view_name, title: words.view_kept, autocomplete: "off" }, "");
  form.append(name, part("button", {}, words.view_save));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = name.value.trim();
    if (typed) keep([...views().filter((one) => one.name !== typed), { name: typed, query: now }]);
  });
  bar.append(form);
}
showViews();
showCounts();
document.addEventListener("axiswatch:rows", showCounts);
