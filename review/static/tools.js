"use strict";
// The analyst's tools of a case: recordings laid over each other, a waterfall of spectra, a recording as sound; and the
// figures of the neighbours in the queue, fetched in advance.
const LOUDEST = 0.5; // of the full scale, with the volume all the way up
const LONGEST_S = 20; // a sound that nobody stops ends
function chooseRecordings(page) {
  const { figures, chosen, words } = plots, selects = { recording: element("choose-recording"), other: element("choose-other") };
  const own = { recording: words.most_suspicious, other: words.reference };
  for (const [name, select] of Object.entries(selects)) {
    const dates = figures.dates.map((row) => made("option", { value: row.recording_id }, shortTime(row.started_at) + (row.shaft_speed_rpm ? ` · ${row.shaft_speed_rpm.toFixed(0)} rpm` : "")));
    select.replaceChildren(made("option", { value: "" }, own[name]), ...dates);
    select.value = chosen[name];
    select.disabled = !dates.length;
  }
  if (page.dataset.chosen) return;
  page.dataset.chosen = "yes";
  for (const [name, select] of Object.entries(selects)) select.addEventListener("change", () => { hush(); chosen[name] = select.value; page.dataset.drawn = page.dataset.complete = ""; plots.load(); });
}
let context = null, playing = null;
function hush() {
  if (!playing) return;
  playing.source.stop();
  playing.button.setAttribute("aria-pressed", "false");
  playing = null;
}
const sounds = new Map();
async function soundOf(id) {
  if (!sounds.has(id)) {
    const answer = await fetch(`${rootOf()}/api/v1/recordings/${id}/sound`);
    if (!answer.ok) throw new Error("no sound");
    sounds.set(id, { scale: Number(answer.headers.get("X-Full-Scale")), buffer: await context.decodeAudioData(await answer.arrayBuffer()) });
  }
  return sounds.get(id);
}
// Both recordings are played at one scale, so that the louder one sounds louder.
async function play(button, which) {
  const was = playing?.button;
  hush();
  if (was === button) return;
  const { figures, words } = plots, pair = [figures.recording, figures.reference].filter(Boolean), record = figures[which];
  if (!record) return;
  context ??= new AudioContext();
  try {
    await context.resume();
    const scales = await Promise.all(pair.map(async (one) => (await soundOf(one.recording_id)).scale)), own = await soundOf(record.recording_id);
    const source = context.createBufferSource(), gain = context.createGain(), volume = element("volume");
    const set = () => { gain.gain.value = LOUDEST * (volume.value / 100) ** 2 * own.scale / Math.max(...scales); };
    set();
    volume.oninput = set;
    source.buffer = own.buffer; source.loop = true;
    source.connect(gain).connect(context.destination);
    source.start(0); source.stop(context.currentTime + LONGEST_S);
    playing = { source, button };
    button.setAttribute("aria-pressed", "true");
    source.addEventListener("ended", () => { if (playing?.source === source) hush(); });
  } catch { element("sound-told").textContent = words.no_sound; }
}
async function drawWaterfall(page) {
  const { figures, words } = plots, place = element("plot-waterfall"), kind = element("waterfall-kind").value;
  if (!figures?.recording) { place.textContent = words.no_signal; return; }
  const answer = await fetch(`${rootOf()}/api/v1/cases/${page.dataset.case}/waterfall?channel=${encodeURIComponent(figures.recording.channel)}&kind=${kind}`);
  if (!answer.ok) { place.textContent = words.not_loaded; return; }
  const picture = await answer.json();
  if (!picture.rows.length) { place.textContent = words.no_signal; return; }
  const rows = picture.rows.map((row) => ({ name: shortTime(row.started_at), values: Uint8Array.from(atob(row.values), (letter) => letter.charCodeAt(0)) }));
  const shaft = (figures.recording.shaft_speed_rpm ?? 60) / 60, scale = picture.in_orders ? 1 / shaft : 1, state = plots.states[kind];
  const marks = figures.markers.filter((mark) => state?.kinds.has(mark.kind || mark.name)).map((mark) => ({ at: mark.hz * scale, color: "onmap", dash: DASHES[mark.kind] ?? "dash", text: (mark.harmonic > 1 ? `${mark.harmonic} × ` : "") + (mark.kind ? words[mark.kind] : mark.name), height: HEIGHTS[mark.kind] }));
  plot("waterfall", { x: { name: picture.in_orders ? words.orders : words.hertz, unit: picture.in_orders ? "×" : "Hz" }, left: {}, map: { from: 0, to: picture.to, rows }, marks, series: [], legend: [{ name: words.waterfall_scale.replace("{db}", picture.range_db), color: "ramp", area: true }] }, words);
  place.dataset.drawn = kind;
}
function fetchNeighbours(page) {
  if (page.dataset.fetched) return;
  page.dataset.fetched = "yes";
  for (const id of [page.dataset.following, page.dataset.before]) if (id) fetch(plots.address(id, "signals"), { priority: "low" }).then((answer) => answer.arrayBuffer()).catch(() => {});
}
document.addEventListener("DOMContentLoaded", () => {
  const page = element("case"), place = element("waterfall");
  if (!page || !plots) return;
  page.addEventListener("drawn", (event) => {
    if (event.detail === "changes") { chooseRecordings(page); fetchNeighbours(page); return; }
    if (place.open) drawWaterfall(page);
    for (const [id, which] of [["play-recording", "recording"], ["play-other", "reference"]]) element(id).disabled = !plots.figures[which]?.waveform || plots.figures[which].overall;
  });
  place.addEventListener("toggle", () => { if (place.open) drawWaterfall(page); });
  element("waterfall-kind").addEventListener("change", () => drawWaterfall(page));
  for (const [id, which] of [["play-recording", "recording"], ["play-other", "reference"]]) element(id).addEventListener("click", (event) => play(event.currentTarget, which));
});
