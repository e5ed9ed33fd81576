// What was typed and is not stored yet stays in the browser, by page and user, for a month; so do a person's settings.
const { user, here: page } = document.body.dataset;
const PREFIX = "axiswatch:draft:", MONTH = 30 * 86400000;
const place = `${PREFIX}${user}:${page}:`;

// A browser may refuse storage; then nothing is kept, and all else works.
function storage(work) {
  try { return work(localStorage); } catch { return null; }
}
function fields(form) {
  return [...form.elements].filter((field) => field.name && !field.dataset.setting && !/^(hidden|submit|button|password|fieldset|output)$/.test(field.type));
}
function changed(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") return field.value !== ([...field.options].find((option) => option.defaultSelected) || field.options[0]).value;
  return field.value !== field.defaultValue;
}
function keep(form) {
  if (!user || !form.id) return;
  const typed = fields(form).filter(changed).map((field) => [field.name, field.value]);
  storage((store) => typed.length ? store.setItem(place + form.id, JSON.stringify({ at: Date.now(), typed })) : store.removeItem(place + form.id));
}
function forget(form) {
  if (form.id) storage((store) => store.removeItem(place + form.id));
}
// Put back what was typed; return whether there was anything.
function putBack(form) {
  const kept = form.id && storage((store) => JSON.parse(store.getItem(place + form.id)));
  let found = false;
  for (const [name, value] of kept?.typed || []) {
    for (const field of fields(form).filter((one) => one.name === name)) {
      if (field.type === "radio" || field.type === "checkbox") {
        if (field.value !== value) continue;
        field.checked = true;
      } else field.value = value;
      field.closest("details")?.setAttribute("open", "");
      found = true;
    }
  }
  return found;
}
function setting(name, value) {
  const key = `axiswatch:setting:${user}:${name}`;
  if (value !== undefined) storage((store) => value ? store.setItem(key, "1") : store.removeItem(key));
  return storage((store) => store.getItem(key)) === "1";
}
storage((store) => {
  for (const key of Object.keys(store).filter((one) => one.startsWith(PREFIX))) {
    if (!(JSON.parse(store.getItem(key)).at > Date.now() - MONTH)) store.removeItem(key);
  }
});
globalThis.drafts = { keep, forget, putBack, setting };
