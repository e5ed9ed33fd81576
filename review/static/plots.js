"use strict";
// Draws the plots of the pages from the JSON interface. Plotly comes from its Python wheel, not from the internet.
const INK = "#16202a", LOUD = "#b33000", CALM = "#5b6770", BLUE = "#0b4f8a", OCHRE = "#9a7400";
const NEAR_ORDERS = 20; // bearing lines lie below this shaft order
const DASHES = { shaft: "dot", bpfo: "dash", bpfi: "dashdot", bsf: "longdash", ftf: "longdashdot", "gear mesh": "solid" };
const HEIGHTS = { bpfi: 0.7, bsf: 0.85, ftf: 0.55 }; // so that the names of close lines do not overlap
const COLORS = { shaft: CALM, bpfo: BLUE, bpfi: "#7a3e9d", bsf: "#1b7f5c", ftf: OCHRE, "gear mesh": "#33404b" };
// On a touch screen a finger scrolls the page; it zooms only after a choice in plotly's mode bar.
const TOUCHED = matchMedia("(pointer: coarse)").matches;
// Plotly reads some HTML in texts; names from logs are escaped.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const layout = (x, y, more) => ({
  margin: { l: 62, r: 15, t: 8, b: 44 }, xaxis: { title: { text: x } }, yaxis: { title: { text: y } }, dragmode: TOUCHED ? false : "zoom", showlegend: true,
  legend: { orientation: "h", y: 1.16 }, font: { color: INK, size: 13 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff", ...more,
});
const dates = () => ({
  type: "date",
  ...(document.documentElement.lang === "ko" ? { tickformatstops: [{ dtickrange: [null, 86399999], value: "%H:%M\n%-m월 %-d일" }, { dtickrange: [86400000, "M1"], value: "%-m월 %-d일\n%Y" }, { dtickrange: ["M1", null], value: "%Y.%-m" }] } : {}),
});
function settings(words) {
  const dictionary = { Zoom: words.plot_zoom, Pan: words.plot_pan, "Zoom in": words.plot_in, "Zoom out": words.plot_out, "Reset axes": words.plot_reset };
  const lang = document.documentElement.lang;
  return {
    responsive: true, displaylogo: false, displayModeBar: true, locale: lang, locales: { [lang]: { dictionary, format: {} } },
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };
}
function draw(name, traces, shape, words) {
  return Plotly.newPlot(`plot-${name}`, traces, shape, settings(words));
}
const line = (name, x, y, color, dash) => ({ x, y, name, mode: "lines", line: { color, width: 1.3, dash: dash || "solid" } });
const element = (id) => document.getElementById(id);
function cell(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
// Times of the interface are UTC. Plotly ignores offsets, so times are converted to local times without an offset.
function local(text) {
  const moment = new Date(text);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
const band = (from, to) => ({ type: "rect", layer: "below", xref: "x", yref: "paper", x0: from, x1: to, y0: 0, y1: 1, line: { width: 0 }, fillcolor: "rgba(154,116,0,.13)" });

async function drawCase(page) {
  const root = document.body.dataset.root, words = JSON.parse(page.dataset.words), channel = page.dataset.channel;
  const answer = await fetch(`${root}/api/v1/cases/${page.dataset.case}/figures?channel=${encodeURIComponent(channel)}`);
  const figures = await answer.json();
  if (!answer.ok) { element("shown").textContent = figures.detail; return; }
  describe(figures, words);
  await drawCourse(figures, words);
  drawMoved(figures, words);
  if (!figures.recording) {
    for (const name of ["waveform", "spectrum", "envelope"]) element(`plot-${name}`).textContent = words.no_signal;
  } else {
    await drawSpectra(figures, words);
    await drawWaveform(figures, words, root);
  }
  page.dataset.drawn = "yes";
}
function describe(figures, words) {
  const now = figures.recording, place = element("shown");
  if (!now) { place.textContent = words.no_signal; return; }
  for (const tab of document.querySelectorAll("[data-channel-tab]")) if (tab.dataset.channelTab === now.channel) tab.setAttribute("aria-current", "page");
  const when = new Date(now.started_at).toLocaleString(spoken, { dateStyle: "short", timeStyle: "medium" });
  const parts = [[words.shown, when], [words.channel, now.channel], [words.program, now.program], [words.speed, now.shaft_speed_rpm === null ? null : `${now.shaft_speed_rpm.toFixed(0)} rpm`], [words.regime, now.regime],
    [words.quality, now.quality && (words[now.quality] || now.quality) + (now.evidence ? `: ${now.evidence}` : "")]];
  if (!figures.reference) parts.push([words.reference, words.no_reference]);
  place.replaceChildren(...parts.filter((part) => part[1]).map(([name, value]) => {
    const made = cell("span", `${name}: `);
    made.append(cell("b", value));
    return made;
  }));
}
// One band for each part with known values, so that gaps are not filled.
function bands(at, low, high) {
  const stretches = [];
  at.forEach((moment, place) => {
    if (low[place] === null || high[place] === null) { stretches.push([]); return; }
    if (!stretches.length) stretches.push([]);
    stretches.at(-1).push(place);
  });
  return stretches.filter((stretch) => stretch.length).flatMap((stretch, number) => {
    const pick = (values) => stretch.map((place) => values[place]), alone = stretch.length === 1;
    const shared = { x: pick(at), mode: "lines", line: { width: alone ? 5 : 0, color: "rgba(11,79,138,.28)" }, hoverinfo: "skip", legendgroup: "band" };
    if (alone) return [{ ...shared, x: [shared.x[0], shared.x[0]], y: [low[stretch[0]], high[stretch[0]]], name: "5-95 %", showlegend: number === 0 }];
    return [{ ...shared, y: pick(high), showlegend: false }, { ...shared, y: pick(low), fill: "tonexty", fillcolor: "rgba(11,79,138,.28)", name: "5-95 %", showlegend: number === 0 }];
  });
}
async function drawCourse(figures, words) {
  const at = figures.course.map((row) => local(row.started_at)), column = (name) => figures.course.map((row) => row[name]);
  const shapes = [band(local(figures.case.first_at), local(figures.case.last_at))];
  await draw("course", [
    ...bands(at, column("fault_q05"), column("fault_q95")),
    { x: at, y: column("fault_probability"), mode: "lines+markers", line: { color: LOUD, width: 1.5 }, marker: { size: 5, color: LOUD }, name: words.fault_probability },
    { x: [null], y: [null], mode: "markers", marker: { symbol: "square", size: 12, color: "rgba(154,116,0,.35)" }, name: words.case_time },
  ], layout("", "", { xaxis: dates(), yaxis: { range: [-0.02, 1.02] }, shapes }), words);
  await draw("doubt", [
    line(words.mutual_information, at, column("mutual_information"), BLUE),
    line(words.expected_entropy, at, column("expected_entropy"), OCHRE, "dash"),
    { ...line(words.novelty, at, column("novelty_percentile"), CALM, "dot"), yaxis: "y2" },
  ], layout("", "nat", { xaxis: dates(), yaxis: { title: { text: "nat" }, rangemode: "tozero" }, yaxis2: { overlaying: "y", side: "right", range: [0, 101], tickmode: "auto", showgrid: false, title: { text: "%" } }, margin: { l: 62, r: 60, t: 8, b: 44 }, shapes }), words);
}
function drawMoved(figures, words) {
  const place = element("plot-moved");
  if (!figures.moved.length) { place.textContent = words.no_baseline; return; }
  if (figures.baseline_regime) element("baseline-regime").textContent = `(${figures.baseline_regime})`;
  const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of [words.feature, words.was, words.now, words.distance, ""]) head.append(cell("th", name));
  const most = Math.max(...figures.moved.map((row) => Math.abs(row.sigmas)));
  for (const row of figures.moved) {
    const made = body.insertRow();
    for (const text of [row.name, row.baseline.toPrecision(3), row.now.toPrecision(3), `${row.sigmas > 0 ? "+" : ""}${row.sigmas.toFixed(1)} σ`]) made.append(cell("td", text));
    const bar = document.createElement("meter");
    bar.max = most; bar.value = Math.abs(row.sigmas);
    made.insertCell().append(bar);
  }
  place.replaceChildren(table);
}
function pairs(figures, words, read) {
  const list = [];
  if (figures.reference && read(figures.reference)) list.push([words.reference, read(figures.reference), CALM]);
  if (read(figures.recording)) list.push([words.recording, read(figures.recording), LOUD]);
  return list;
}
async function drawSpectra(figures, words) {
  const now = figures.recording, shaft = now.shaft_speed_rpm === null ? null : now.shaft_speed_rpm / 60;
  const near = figures.markers.filter((mark) => mark.order * mark.harmonic <= NEAR_ORDERS);
  if (now.envelope) element("band").textContent = `${(now.envelope.band_hz[0] / 1000).toFixed(2)}–${(now.envelope.band_hz[1] / 1000).toFixed(2)} kHz`;
  const highest = Math.max(50, ...near.map((mark) => mark.hz)) * 1.12; // zoom out or drag to see higher frequencies
  await spectrum("envelope", figures, words, shaft, { traces: pairs(figures, words, (r) => r.envelope), value: "power", unit: `${plain(now.unit)}²`, on: ["bpfo", "bpfi", "bsf", "ftf"], range: highest });
  await spectrum("spectrum", figures, words, shaft, { traces: pairs(figures, words, (r) => r.spectrum), value: "rms", unit: `${plain(now.unit)} rms`, on: ["shaft", "gear mesh"], range: null });
}
async function spectrum(name, figures, words, shaft, how) {
  if (!how.traces.length) { element(`plot-${name}`).textContent = words.no_signal; return; }
  const chosen = { kinds: new Set(how.on), orders: false };
  const scale = () => (chosen.orders ? 1 / shaft : 1);
  const label = (mark) => (mark.kind ? words[mark.kind] : mark.name);
  const marks = () => {
    const shown = figures.markers.filter((mark) => chosen.kinds.has(mark.kind || mark.name));
    return {
      shapes: shown.map((mark) => ({ type: "line", layer: "below", x0: mark.hz * scale(), x1: mark.hz * scale(), yref: "paper", y0: 0, y1: 1, line: { color: COLORS[mark.kind] || BLUE, width: mark.harmonic === 1 ? 1.6 : 1, dash: DASHES[mark.kind] || "dash" } })),
      annotations: shown.filter((mark) => mark.harmonic === 1 || mark.order > 1.5).map((mark) => ({ x: mark.hz * scale(), yref: "paper", y: HEIGHTS[mark.kind] ?? 1, yanchor: "top", xanchor: "left", textangle: -90, showarrow: false, font: { size: 11, color: COLORS[mark.kind] || BLUE }, text: plain((mark.harmonic > 1 ? `${mark.harmonic} × ` : "") + label(mark)) })),
    };
  };
  const axis = () => ({ title: { text: chosen.orders ? words.orders : words.hertz }, ...(how.range ? { range: [0, how.range * scale()] } : { rangemode: "tozero" }) });
  const xs = () => how.traces.map(([, part]) => part.hz.map((hz) => hz * scale()));
  await draw(name, how.traces.map(([title, part, color], place) => line(title, xs()[place], part[how.value], color)), layout("", "", { xaxis: axis(), yaxis: { title: { text: how.unit }, rangemode: "tozero" }, ...marks() }), words);
  const plot = element(`plot-${name}`), chips = element(`marks-${name}`);
  const kinds = [...new Map(figures.markers.map((mark) => [mark.kind || mark.name, mark])).entries()];
  for (const [kind, mark] of kinds) {
    const chip = document.createElement("button");
    chip.type = "button"; chip.className = "chip"; chip.dataset.kind = kind;
    chip.textContent = `${label(mark)} ${mark.order.toFixed(2)} ×`;
    chip.setAttribute("aria-pressed", chosen.kinds.has(kind));
    chip.addEventListener("click", () => {
      if (!chosen.kinds.delete(kind)) chosen.kinds.add(kind);
      chip.setAttribute("aria-pressed", chosen.kinds.has(kind));
      Plotly.relayout(plot, marks());
    });
    chips.append(chip);
  }
  if (shaft) {
    const unit = document.createElement("button");
    unit.type = "button"; unit.className = "chip unit"; unit.textContent = `${words.hertz} ↔ ${words.orders}`;
    unit.addEventListener("click", () => {
      chosen.orders = !chosen.orders;
      Plotly.update(plot, { x: xs() }, { xaxis: axis(), ...marks() });
    });
    chips.append(unit);
  }
}
async function drawWaveform(figures, words, root) {
  const shown = [[words.reference, figures.reference, CALM], [words.recording, figures.recording, LOUD]].filter((one) => one[1]);
  await draw("waveform", shown.map(([name, record, color]) => line(name, record.waveform.s, record.waveform.value, color)), layout(words.seconds, plain(figures.recording.unit)), words);
  const plot = element("plot-waveform");
  plot.on("plotly_relayout", async (change) => {
    const full = change["xaxis.autorange"], range = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (!full && range[0] === undefined) return;
    // After a zoom, load the visible part of both signals in finer detail.
    for (const [place, [, record]] of shown.entries()) {
      const start = full ? 0 : Math.max(0, Math.floor(range[0] * record.sampling_rate_hz)), stop = full ? record.n_samples : Math.max(0, Math.ceil(range[1] * record.sampling_rate_hz));
      const answer = await fetch(`${root}/api/v1/recordings/${record.recording_id}/waveform?start=${start}&stop=${stop}`);
      if (!answer.ok) continue;
      const part = await answer.json();
      await Plotly.restyle(plot, { x: [part.s], y: [part.value] }, [place]);
    }
    plot.dataset.finer = String(Number(plot.dataset.finer || 0) + 1);
  });
}
function drawStates(place) {
  const course = JSON.parse(place.dataset.course), words = JSON.parse(place.dataset.words), at = course.at.map(local);
  const marks = { healthy: "circle", watch: "circle-open", alarm: "triangle-up", data_fault: "x", silent: "circle-dot", unknown: "diamond-open" };
  draw("states", [
    { x: at, y: course.fault_probability, text: course.state.map((state) => words[state] || plain(state)), mode: "lines+markers", name: words.fault_probability, line: { color: LOUD, width: 1.2 }, marker: { symbol: course.state.map((state) => marks[state] || "circle"), size: 6, color: LOUD } },
    { ...line(words.mutual_information, at, course.mutual_information, BLUE, "dash"), yaxis: "y2" },
    { ...line(words.expected_entropy, at, course.expected_entropy, OCHRE, "dot"), yaxis: "y2" },
  ], layout("", "", {
    xaxis: { ...dates(), ...(at.length > 1 ? { range: [at[0], at.at(-1)] } : {}) }, yaxis: { range: [-0.02, 1.02], title: { text: words.fault_probability } }, yaxis2: { overlaying: "y", side: "right", tickmode: "auto", showgrid: false, title: { text: "nat" }, rangemode: "tozero" }, margin: { l: 62, r: 60, t: 8, b: 44 },
    shapes: course.events.map((event) => ({ type: "line", x0: local(event.at), x1: local(event.at), yref: "paper", y0: 0, y1: 1, line: { color: INK, width: 1.5, dash: "dot" } })),
    annotations: course.events.map((event) => ({ x: local(event.at), yref: "paper", y: 1, yanchor: "top", xanchor: "left", textangle: -90, showarrow: false, text: words[event.kind] || plain(event.kind) })),
  }), words).then(() => { place.dataset.drawn = "yes"; });
}
document.addEventListener("DOMContentLoaded", () => {
  const page = element("case"), states = element("plot-states");
  if (page) drawCase(page);
  if (states) drawStates(states);
});
