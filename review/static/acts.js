// What people do: a form is sent without leaving the page, and the answer is put into it. Scroll, focus and all that is
// typed stay. Without this script the forms are sent as forms are.
const { forget, keep, putBack, setting } = globalThis.drafts;
const body = document.body, words = JSON.parse(body.dataset.words), root = body.dataset.root;
const session = document.getElementById("session"), PARTS = ["#told", ".head", ".acts", ".past", "#mutes"], WAIT = 30000;
const acting = () => [...document.querySelectorAll("form[data-act]")];
const parse = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");
function wrongOf(doc) {
  showTimes(doc);
  return doc.querySelector("[role=alert]")?.textContent.trim();
}

function tell(form, text) {
  let place = form.querySelector(".answer");
  if (!place) {
    place = document.createElement("p");
    place.className = "answer";
    place.setAttribute("role", "alert");
    const button = form.querySelector("button.main");
    button ? button.after(place) : form.append(place);
  }
  place.textContent = text;
  place.hidden = !text;
  if (text) place.scrollIntoView({ block: "nearest" });
}
function restore() {
  for (const form of acting()) {
    for (const box of form.querySelectorAll("[data-setting]")) box.checked = setting(box.dataset.setting);
    form.noValidate = true; // what is missing is said in the page's language
    if (putBack(form)) offerToDiscard(form);
    form.dispatchEvent(new Event("axiswatch:restored", { bubbles: true }));
  }
}
function offerToDiscard(form) {
  if (form.querySelector(".earlier")) return;
  const line = document.createElement("p"), button = document.createElement("button");
  line.className = "earlier";
  button.type = "button"; button.textContent = words.discard;
  button.addEventListener("click", () => {
    form.reset(); forget(form); line.remove();
    form.dispatchEvent(new Event("axiswatch:restored", { bubbles: true }));
  });
  line.append(words.restored, " ", button);
  form.prepend(line);
}
// Put the parts of a fresh page in the place of the old ones; plots stay as they are.
function show(fresh) {
  const at = document.activeElement, form = at?.closest("form[id]");
  const named = at?.id ? `#${CSS.escape(at.id)}` : form ? `#${form.id}${at === form ? "" : ` ${at.tagName}${at.name ? `[name="${at.name}"]` : ""}${at.type === "radio" ? ":checked" : ""}`}` : "";
  const open = [...document.querySelectorAll(".acts details[open] > summary")].map((one) => one.textContent);
  for (const part of PARTS) {
    const old = document.querySelector(part), now = fresh.querySelector(part);
    if (!old || !now) continue;
    old.replaceWith(document.adoptNode(now));
    showTimes(now);
  }
  const page = document.getElementById("case"), other = fresh.getElementById("case");
  if (page && other) for (const name of ["before", "following", "query"]) page.dataset[name] = other.dataset[name];
  if (fresh.getElementById("rows")) showRows(fresh);
  for (const summary of document.querySelectorAll(".acts details > summary")) if (open.includes(summary.textContent)) summary.parentElement.open = true;
  restore();
  const again = named && document.querySelector(named);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  document.dispatchEvent(new CustomEvent("axiswatch:shown"));
}
function newWord(fresh) {
  const word = fresh.querySelector("input[name=csrf]")?.value;
  if (word) for (const field of document.querySelectorAll("input[name=csrf]")) field.value = word;
  return word;
}
// Ask for the password on this page; return whether the same person is logged in again.
function logInAgain() {
  if (!session) return Promise.resolve(false);
  const form = session.querySelector("form"), wrong = session.querySelector(".wrong");
  return new Promise((done) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        const answer = await fetch(`${root}/login?next=${encodeURIComponent(body.dataset.here)}`, { method: "POST", body: new URLSearchParams(new FormData(form)) });
        const fresh = await parse(answer);
        form.elements.password.value = "";
        if (!answer.ok) { wrong.textContent = wrongOf(fresh) || words.offline; return; }
        if (fresh.body.dataset.user !== body.dataset.user) { location.reload(); return; } // somebody else: not in this person's name
        newWord(fresh);
        done(true);
        session.close();
      } catch { wrong.textContent = words.offline; }
    };
    form.querySelector("[value=cancel]").onclick = () => session.close();
    session.onclose = () => done(false);
    wrong.textContent = "";
    if (!session.open) session.showModal();
    form.elements.password.focus();
  });
}
function contentOf(form, submitter) {
  const sent = new FormData(form, submitter);
  for (const field of form.querySelectorAll("input[type=datetime-local]")) if (field.value) sent.set(field.name, utcOf(field.value));
  return new URLSearchParams(sent);
}
// Send a form; log in again, or fetch the word of a newer session, where that is what is missing, and send it once more.
async function post(form, submitter) {
  for (let left = 1; ; left -= 1) {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: contentOf(form, submitter), signal: AbortSignal.timeout(WAIT) });
    const fresh = await parse(answer), code = fresh.querySelector(".refusal")?.dataset.code;
    if (left && answer.status === 401 && await logInAgain()) continue;
    if (left && code === "csrf") {
      const now = await parse(await fetch(location.href));
      if (now.body.dataset.user === body.dataset.user && newWord(now)) continue;
    }
    return { answer, fresh, code };
  }
}
async function send(form, submitter) {
  if (form.getAttribute("aria-busy") === "true") return; // pressed twice
  form.setAttribute("aria-busy", "true");
  tell(form, "");
  try {
    const { answer, fresh, code } = await post(form, submitter);
    if (answer.ok) {
      forget(form);
      if (new URL(answer.url).pathname !== location.pathname) { location.assign(answer.url); return; }
      form.reset();
      show(fresh);
      return;
    }
    if (code === "stale" || form.id === "queue-form") { // what is new is shown beside the refusal
      const now = await fetch(location.href);
      if (now.ok && !now.redirected) show(await parse(now));
      const told = fresh.querySelector("#told");
      if (told?.childElementCount) document.querySelector("#told").replaceWith(document.adoptNode(told));
    }
    tell(document.getElementById(form.id) || form, answer.status === 401 ? words.session_over : wrongOf(fresh) || words.offline);
  } catch {
    tell(form, words.offline);
  } finally {
    form.removeAttribute("aria-busy");
  }
}
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.act || event.defaultPrevented) return;
  event.preventDefault();
  send(form, event.submitter);
});
for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.form, name = event.target.dataset.setting;
    if (name) setting(name, event.target.checked);
    if (form?.dataset.act) keep(form);
  });
}
document.addEventListener("axiswatch:tell", (event) => tell(event.target, event.detail));
document.addEventListener("axiswatch:session", async () => {
  if (!session) location.reload();
  else if (!session.open && await logInAgain()) refresh();
});
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // the page kept for Back is old
restore();
