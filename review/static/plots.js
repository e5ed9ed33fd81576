"use strict";
// Draws what the interface gives. Plotly comes from its wheel, not from elsewhere.
const INK = "#16202a", LOUD = "#b33000", CALM = "#5b6770", BLUE = "#0b4f8a";
const NEAR_ORDERS = 20; // bearing lines lie below so many shaft orders
const layout = (x, y, more) => ({ margin: { l: 60, r: 15, t: 10, b: 45 }, xaxis: { title: { text: x } }, yaxis: { title: { text: y } }, legend: { orientation: "h", y: 1.18 }, font: { color: INK }, ...more });
const options = { responsive: true, displayModeBar: false };
function draw(name, traces, shape) {
  return Plotly.newPlot(`plot-${name}`, traces, shape, options);
}
function lines(name, part, x, y, color, dash) {
  return { x, y, name, mode: "lines", line: { color, width: 1.2, dash: dash || "solid" } };
}
function marks(list, limit) {
  const shown = list.filter((mark) => mark.hz <= limit);
  return {
    shapes: shown.map((mark) => ({ type: "line", layer: "below", x0: mark.hz, x1: mark.hz, yref: "paper", y0: 0, y1: 1, line: { color: BLUE, width: 1, dash: mark.harmonic === 1 ? "dash" : "dot" } })),
    annotations: shown.filter((mark) => mark.harmonic === 1).map((mark) => ({ x: mark.hz, yref: "paper", y: 1, yanchor: "top", xanchor: "left", textangle: -90, showarrow: false, font: { size: 10, color: BLUE }, text: mark.name.replace(/</g, "&lt;") })),
  };
}
async function drawCase(page) {
  const root = document.body.dataset.root, words = JSON.parse(page.dataset.words);
  const answer = await fetch(`${root}/api/v1/cases/${page.dataset.case}/figures`);
  const told = await answer.json();
  if (!answer.ok) { document.getElementById("plot-course").textContent = told.detail; return; }
  const at = told.course.map((row) => row.started_at), column = (name) => told.course.map((row) => row[name]);
  await draw("course", [
    { x: at, y: column("fault_q95"), mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false },
    { x: at, y: column("fault_q05"), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: "rgba(11,79,138,.25)", name: "5-95 %" },
    { x: at, y: column("fault_probability"), mode: "lines+markers", line: { color: LOUD }, marker: { size: 4 }, name: words.fault_probability },
  ], layout("", "", { yaxis: { range: [0, 1.02] } }));
  await draw("doubt", [
    lines(words.mutual_information, "", at, column("mutual_information"), BLUE),
    lines(words.expected_entropy, "", at, column("expected_entropy"), "#9a7400", "dash"),
    { ...lines(words.novelty, "", at, column("novelty_percentile"), CALM, "dot"), yaxis: "y2" },
  ], layout("", "nats", { yaxis2: { overlaying: "y", side: "right", range: [0, 101], title: { text: "%" } }, margin: { l: 60, r: 60, t: 10, b: 45 } }));
  const moved = document.getElementById("plot-moved"), list = document.createElement("table");
  for (const row of told.moved) {
    const line = list.insertRow();
    [row.name, row.baseline.toPrecision(3), row.now.toPrecision(3), `${row.sigmas > 0 ? "+" : ""}${row.sigmas.toFixed(1)} σ`].forEach((text) => { line.insertCell().textContent = text; });
  }
  moved.append(told.moved.length ? list : words.no_signal);
  if (!told.recording) {
    for (const name of ["waveform", "spectrum", "envelope"]) document.getElementById(`plot-${name}`).textContent = words.no_signal;
  } else {
    await drawSignal(told, words, root);
  }
  page.dataset.drawn = "yes";
}
async function drawSignal(told, words, root) {
  const now = told.recording, before = told.reference, unit = now.unit;
  const pair = (read) => [...(before && read(before) ? [[words.reference, read(before), CALM]] : []), ...(read(now) ? [[words.recording, read(now), LOUD]] : [])];
  await draw("spectrum", pair((r) => r.spectrum).map(([name, part, color]) => lines(name, part, part.hz, part.rms, color)), layout("Hz", `${unit} rms`, { ...marks(told.markers, 0) }));
  const envelope = pair((r) => r.envelope), near = told.markers.filter((mark) => mark.order * mark.harmonic <= NEAR_ORDERS);
  const highest = Math.max(50, ...near.map((mark) => mark.hz)) * 1.15; // gear mesh lies far out: drag the axis to see it
  await draw("envelope", envelope.map(([name, part, color]) => lines(name, part, part.hz, part.power, color)), layout("Hz", "", { ...marks(told.markers, Infinity), xaxis: { title: { text: "Hz" }, range: [0, highest] } }));
  await draw("waveform", pair((r) => r.waveform).reverse().map(([name, part, color]) => lines(name, part, part.s, part.value, color)).reverse(), layout("s", unit));
  const element = document.getElementById("plot-waveform"), last = element.data.length - 1;
  element.on("plotly_relayout", async (change) => {
    const full = change["xaxis.autorange"], from = change["xaxis.range[0]"], to = change["xaxis.range[1]"];
    if (!full && from === undefined) return;
    const start = full ? 0 : Math.max(0, Math.floor(from * now.sampling_rate_hz)), stop = full ? now.n_samples : Math.max(0, Math.ceil(to * now.sampling_rate_hz));
    const answer = await fetch(`${root}/api/v1/recordings/${now.recording_id}/waveform?start=${start}&stop=${stop}`);
    const part = await answer.json();
    if (answer.ok) Plotly.restyle(element, { x: [part.s], y: [part.value] }, [last]);
  });
}
function drawStates(table) {
  const rows = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  const number = (text) => (text === "" ? null : Number(text));
  draw("states", [
    { x: rows.map((row) => row[0]), y: rows.map((row) => number(row[1])), text: rows.map((row) => row[3]), mode: "lines+markers", name: "p", line: { color: LOUD } },
    { x: rows.map((row) => row[0]), y: rows.map((row) => number(row[2])), mode: "lines", name: "MI (nats)", line: { color: BLUE, dash: "dash" } },
  ], layout("", "", { yaxis: { range: [0, 1.02] } }));
}
document.addEventListener("DOMContentLoaded", () => {
  const page = document.getElementById("case"), states = document.getElementById("states");
  if (page) drawCase(page);
  if (states) drawStates(states);
});
