"use strict";
// Loads the wall again and again; says in large letters when what it shows is not the present state.
const EVERY_MS = 20000, LOST_AFTER_MS = 70000, GIVE_UP_MS = 10000;
const lost = document.getElementById("lost");
let heard = Date.now();
function tell(word) {
  const text = word ? lost.dataset[word] : "";
  if (lost.textContent !== text) lost.textContent = text; // said once by a screen reader
  document.getElementById("wall").classList.toggle("stale", Boolean(word));
}
async function load() {
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (answer.redirected) { tell("session"); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("wall");
    document.getElementById("wall").replaceWith(fresh);
    showTimes(fresh);
    heard = Date.now();
    tell("");
  } catch { tell("lost"); }
}
setInterval(load, EVERY_MS);
// A screen that slept shows an old picture until the next answer.
setInterval(() => { if (Date.now() - heard > LOST_AFTER_MS && !lost.textContent) tell("lost"); }, 1000);
for (const name of ["online", "visibilitychange"]) (name === "online" ? window : document).addEventListener(name, () => { if (document.visibilityState === "visible") load(); });
window.addEventListener("offline", () => tell("lost"));
