// The verdict by hand: keys choose, one key records. Nothing is sent without a verdict and evidence that were chosen.
const words = JSON.parse(document.body.dataset.words), ABOUT_MACHINE = ["healthy", "fault", "benign_change"];
const verdictForm = () => document.getElementById("verdict-form");
const chosen = (form) => form.querySelector("[name=verdict]:checked");
const verdictOf = (form) => form.id === "queue-form" ? form.elements.verdict?.value : chosen(form)?.value;
const needsSure = (form) => {
  const extreme = form.id === "queue-form" || form.querySelector(".sure[data-extreme], [name=also][data-extreme]:checked");
  return Boolean(extreme) && form.elements.evidence.value === "signal_only" && ABOUT_MACHINE.includes(verdictOf(form));
};
function missing(form) {
  if (!verdictOf(form)) return "choose_verdict";
  if (!form.elements.evidence.value) return "choose_evidence";
  // In the queue the server knows which of the cases are extreme.
  if (form.id !== "queue-form" && needsSure(form) && !form.elements.sure.checked) return "choose_sure";
  return "";
}
// Show what is chosen and not yet recorded, and only the fields that apply.
function settle(form) {
  if (!form.elements.evidence) return;
  const sure = form.querySelector(".sure"), verdict = verdictOf(form);
  if (sure) sure.hidden = !needsSure(form);
  if (form.id !== "verdict-form") return;
  form.elements.mode.disabled = Boolean(verdict) && verdict !== "fault";
  const told = [chosen(form), ...[...form.querySelectorAll("select:enabled")].map((field) => field.selectedOptions[0])].map((one) => one?.dataset.word).filter(Boolean);
  const alike = form.querySelectorAll("[name=also]:checked").length;
  if (alike) told.push(words.with_alike.replace("{n}", alike));
  form.querySelector(".chosen-words").textContent = told.length ? `${words.will_record} ${told.join(" · ")}` : words.not_yet;
}
function say(form, text) {
  form.dispatchEvent(new CustomEvent("axiswatch:tell", { bubbles: true, detail: text }));
}
const toForm = (form) => form.focus({ preventScroll: true });
function inSelect(event, key, field, form) {
  const choices = [...field.options].filter((option) => option.value);
  if (/^[0-9]$/.test(key) && choices[(Number(key) + 9) % 10]) field.value = choices[(Number(key) + 9) % 10].value;
  else if (key === "Backspace" || key === "Delete") field.value = "";
  else if (key !== "Enter" && key !== "Escape") return;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  event.preventDefault();
  event.stopImmediatePropagation();
  toForm(form);
}
function nextLookAlike(form) {
  const boxes = [...form.querySelectorAll("[name=also]")];
  boxes[(boxes.indexOf(document.activeElement) + 1) % boxes.length]?.focus();
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const field = event.target, key = keyOf(event), form = verdictForm(), inText = isTyping(field) && field.tagName !== "SELECT";
  const inQueue = field.form?.id === "queue-form", ofVerdict = inQueue || (form && field.form === form);
  // Enter in a text field, or on a box of the queue, sends nothing.
  if (key === "Enter" && field.tagName === "INPUT" && ofVerdict && (inText || inQueue)) event.preventDefault();
  if (!form || inText) return;
  if (field.tagName === "SELECT") { if (field.form === form) inSelect(event, key, field, form); return; }
  if (event.repeat) return;
  const place = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const nowhere = field === document.body || field.id === "main"; // Enter inside of a plot or a table is no verdict
  if (key === "s" || (key === "Enter" && (nowhere || form.contains(field)) && !field.closest("a, button, summary"))) form.requestSubmit(document.getElementById("record"));
  else if (key === "x") nextLookAlike(form);
  else if (place?.type === "radio") { place.checked = true; place.dispatchEvent(new Event("change", { bubbles: true })); }
  else if (place?.type === "checkbox") { if (!place.closest("[hidden]")) place.click(); }
  else if (place) place.focus();
  else return;
  event.preventDefault();
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "verdict-form" && form.id !== "queue-form") return;
  const what = missing(form);
  if (!what) return;
  event.preventDefault();
  say(form, words[what]);
}, true);
for (const kind of ["change", "axiswatch:restored"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.form || event.target;
    if (form.id === "verdict-form" || form.id === "queue-form") settle(form);
  });
}
