"use strict";
// Draws the plots of a case and of an axis from the JSON interface, by chart.js.
const NEAR_ORDERS = 20; // bearing lines lie below this shaft order
const DASHES = { shaft: "dot", bpfo: "dash", bpfi: "dashdot", bsf: "longdash", ftf: "longdashdot", "gear mesh": "solid" };
const HEIGHTS = { bpfi: 0.7, bsf: 0.85, ftf: 0.55 }; // so that the names of close lines do not overlap
const COLORS = { shaft: "soft", bpfo: "blue", bpfi: "violet", bsf: "green", ftf: "ochre", "gear mesh": "ink" };
const SYMBOLS = { healthy: "disc", watch: "ring", alarm: "triangle", data_fault: "cross", silent: "ring", unknown: "diamond" };
const element = (id) => document.getElementById(id);
const time = (text) => new Date(text).getTime();
const rootOf = () => document.body.dataset.root;
const shortTime = (text) => new Date(text).toLocaleString(LOCALE, { dateStyle: "short", timeStyle: "short" });
const percent = (share) => (share > 0.995 && share < 1 ? ">99 %" : share > 0 && share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`);
// A plot in its element: made once, then changed.
function plot(name, shape, words) {
  const place = element(`plot-${name}`);
  if (place.chart) place.chart.update(shape);
  else new Chart(place, place.closest("section")?.querySelector("h2")?.firstChild.textContent.trim() ?? name, shape, words);
  return place.chart;
}
// A plot with nothing to draw says why.
function blank(name, text) {
  const place = element(`plot-${name}`);
  place.chart = null;
  place.textContent = text;
  element(`marks-${name}`)?.replaceChildren();
}
function levelLines(levels, words) {
  if (!levels) return [];
  if (levels.alarm === levels.review) return [{ at: levels.alarm, color: "loud", dash: "longdash", name: `${words.alarm_level}, ${words.review_level}: ${levels.alarm.toFixed(2)}` }];
  return [{ at: levels.alarm, color: "loud", dash: "longdash", name: `${words.alarm_level}: ${levels.alarm.toFixed(2)}` }, { at: levels.review, color: "ochre", dash: "longdash", name: `${words.review_level}: ${levels.review.toFixed(2)}` }];
}

class CasePlots {
  constructor(page) {
    Object.assign(this, { page, words: JSON.parse(page.dataset.words), chosen: { recording: "", other: "" }, states: {} });
  }
  address(id, part, channel = "") {
    const { recording, other } = id === this.page.dataset.case ? this.chosen : {};
    return `${rootOf()}/api/v1/cases/${id}/figures?part=${part}&language=${LANGUAGE}&channel=${encodeURIComponent(channel)}` + (recording || other ? `&recording=${recording}&other=${other}` : "");
  }
  async load() {
    const { page, words } = this, shown = element("shown");
    if (!this.figures) shown.textContent = words.loading;
    // What a reader looks at first comes first.
    for (const part of ["signals", "changes"]) {
      try {
        const answer = await fetch(this.address(page.dataset.case, part, page.dataset.channel)), figures = await answer.json();
        if (!answer.ok) { shown.textContent = words.not_loaded; return; }
        this.figures = { ...this.figures, ...figures };
      } catch { shown.textContent = words.not_loaded; return; }
      if (part === "signals") this.draw(); else this.changes();
      page.dataset[part === "signals" ? "drawn" : "complete"] = "yes";
      page.dispatchEvent(new CustomEvent("drawn", { detail: part }));
    }
  }
  draw() {
    const { figures, words } = this;
    this.describe();
    this.course();
    drawClasses(figures, words);
    if (!figures.recording) {
      for (const name of ["waveform", "spectrum", "envelope"]) blank(name, words.no_signal);
      return;
    }
    this.spectra();
    this.waveform();
  }
  describe() {
    const { figures, words } = this, now = figures.recording, place = element("shown");
    if (!now) { place.textContent = words.no_signal; return; }
    for (const tab of document.querySelectorAll("[data-channel-tab]")) if (tab.dataset.channelTab === now.channel) tab.setAttribute("aria-current", "page");
    const parts = [[words.shown, shortTime(now.started_at)], [words.channel, now.channel], [words.program, now.program], [words.speed, now.shaft_speed_rpm === null ? null : `${now.shaft_speed_rpm.toFixed(0)} rpm${now.declared_speed_rpm ? ` (${words.declared} ${now.declared_speed_rpm.toFixed(0)})` : ""}`],
      [words.load, now.load === null ? null : figure(now.load)], [words.quality, now.quality && (words[now.quality] || now.quality) + (now.evidence && LANGUAGE === "en" ? `: ${now.evidence}` : "")]];
    if (!figures.reference) parts.push([words.reference, words.no_reference]);
    place.replaceChildren(...parts.filter((part) => part[1]).map(([name, value]) => made("span", {}, `${name}: `, made("b", {}, value))));
  }
  course() {
    const { figures, words } = this, at = figures.course.map((row) => time(row.started_at)), column = (name) => figures.course.map((row) => row[name]);
    const bands = [{ from: time(figures.case.first_at), to: time(figures.case.last_at) }], legend = [{ name: words.case_time, color: "time", area: true }];
    const known = figures.recent.filter((row) => row.recent_probability !== null);
    plot("course", {
      x: { time: true }, left: { from: 0, to: 1 }, bands, legend, levels: levelLines(figures.levels, words),
      series: [
        { name: words.recent, x: known.map((row) => time(row.bin_at)), y: known.map((row) => row.recent_probability), color: "blue", dash: "dash" },
        { name: words.fault_probability, x: at, y: column("fault_probability"), low: column("fault_q05"), high: column("fault_q95"), color: "loud", dots: 2.5 },
      ],
    }, words);
    plot("doubt", {
      x: { time: true }, left: { name: words.how_unsure, zero: true }, right: { name: "%", from: 0, to: 100 }, bands, legend,
      series: [
        { name: words.mutual_information, x: at, y: column("mutual_information"), color: "blue" },
        { name: words.expected_entropy, x: at, y: column("expected_entropy"), color: "ochre", dash: "dash" },
        { name: words.novelty, x: at, y: column("novelty_percentile"), color: "soft", dash: "dot", right: true },
      ],
    }, words);
  }
  changes() {
    const { figures, words } = this;
    drawMoved(figures, words);
    drawTrends(element("trends"), figures.trends, words, [{ from: time(figures.case.first_at), to: time(figures.case.last_at) }]);
  }
  // Reference and recording, so far as they have what is drawn.
  pairs(read) {
    const { figures, words } = this, other = this.chosen.other && figures.reference ? shortTime(figures.reference.started_at) : words.reference;
    return [[other, figures.reference, "soft"], [this.chosen.recording ? shortTime(figures.recording.started_at) : words.recording, figures.recording, "loud"]].filter(([, record]) => record && read(record));
  }
  spectra() {
    const { figures } = this, now = figures.recording, near = figures.markers.filter((mark) => mark.order * mark.harmonic <= NEAR_ORDERS);
    element("band").textContent = now.envelope ? `${(now.envelope.band_hz[0] / 1000).toFixed(2)}–${(now.envelope.band_hz[1] / 1000).toFixed(2)} kHz` : "";
    const highest = Math.max(50, ...near.map((mark) => mark.hz)) * 1.12; // zoom out to see higher frequencies
    this.spectrum("envelope", { read: (r) => r.envelope, value: "power", decibel: 10, unit: `(${now.unit})²`, on: ["bpfo", "bpfi", "bsf", "ftf"], first: highest });
    this.spectrum("spectrum", { read: (r) => r.spectrum, value: "rms", decibel: 20, unit: `${now.unit} rms`, on: ["shaft", "gear mesh"], first: null });
  }
  spectrum(name, how) {
    const { figures, words } = this, shaft = figures.recording.shaft_speed_rpm ? figures.recording.shaft_speed_rpm / 60 : null, pairs = this.pairs(how.read);
    if (!pairs.length) { blank(name, figures.recording.overall ? words.only_values : words.no_signal); return; }
    const state = (this.states[name] ??= { kinds: new Set(how.on), orders: false, log: false, harmonics: false, spacing: "" });
    if (!shaft) state.orders = false;
    const scale = () => (state.orders ? 1 / shaft : 1), label = (mark) => (mark.kind ? words[mark.kind] : mark.name);
    const lines = [...new Map(figures.markers.filter((mark) => mark.harmonic === 1).map((mark) => [mark.kind || mark.name, mark])).entries()];
    const shape = () => {
      const apart = lines.find(([kind]) => kind === state.spacing);
      return {
        x: { name: state.orders ? words.orders : words.hertz, unit: state.orders ? "×" : "Hz", from: 0, first: how.first ? [0, how.first * scale()] : undefined },
        left: { name: how.unit, zero: true, log: state.log },
        series: pairs.map(([title, record, shade]) => ({ name: title, x: how.read(record).hz.map((hz) => hz * scale()), y: how.read(record)[how.value], color: shade, width: 1.3 })),
        marks: figures.markers.filter((mark) => state.kinds.has(mark.kind || mark.name)).map((mark) => ({
          at: mark.hz * scale(), color: COLORS[mark.kind] ?? "blue", dash: DASHES[mark.kind] ?? "dash", width: mark.harmonic === 1 ? 1.6 : 1, height: HEIGHTS[mark.kind],
          text: mark.harmonic === 1 || mark.order > 1.5 ? (mark.harmonic > 1 ? `${mark.harmonic} × ` : "") + label(mark) : "",
        })),
        harmonics: state.harmonics ? 10 : 0, sidebands: apart ? apart[1].hz * scale() : 0,
        read: (x) => this.read(x / scale(), how, shaft, lines, label),
      };
    };
    const chart = plot(name, shape(), words), again = () => chart.update(shape());
    const chip = (text, shape_, press) => { const button = made("button", { type: "button", class: "chip", ...shape_ }, text); button.addEventListener("click", () => press(button)); return button; };
    const switched = (text, key) => chip(text, { "aria-pressed": state[key], "data-switch": key }, (button) => { state[key] = !state[key]; button.setAttribute("aria-pressed", state[key]); again(); });
    const spacing = made("select", { "aria-label": words.sidebands, class: "chip" }, made("option", { value: "" }, words.no_sidebands), ...lines.map(([kind, mark]) => made("option", { value: kind }, `± ${label(mark)}`)));
    spacing.value = state.spacing;
    spacing.addEventListener("change", () => { state.spacing = spacing.value; again(); });
    const unit = chip(`${words.hertz} ↔ ${words.orders}`, { "data-switch": "orders" }, () => { const at = chart.cursor, from = scale(); state.orders = !state.orders; chart.range = null; chart.cursor = at === null ? null : at * scale() / from; again(); chart.tell(); });
    element(`marks-${name}`).replaceChildren(
      ...lines.map(([kind, mark]) => chip(`${label(mark)} ${mark.order.toFixed(2)} ×`, { "data-kind": kind, "aria-pressed": state.kinds.has(kind) }, (button) => { if (!state.kinds.delete(kind)) state.kinds.add(kind); button.setAttribute("aria-pressed", state.kinds.has(kind)); again(); })),
      made("span", { class: "gap" }), switched(words.harmonics, "harmonics"), spacing, switched(words.log_axis, "log"), ...(shaft ? [unit] : []));
  }
  // What the cursor tells at a frequency: order, height over the floor, the nearest line that is known.
  read(hz, how, shaft, lines, label) {
    const { figures, words } = this, part = how.read(figures.recording), parts = [];
    if (!part) return parts;
    if (shaft) parts.push(`${(hz / shaft).toFixed(3)} × (${figure(hz)} Hz)`);
    const { floor } = part, value = part[how.value][nearest(part.hz, hz)];
    if (floor.hz.length && value > 0) {
      const usual = floor.power[nearest(floor.hz, hz)], height = 10 * Math.log10((how.decibel === 20 ? value ** 2 : value) / usual);
      if (Number.isFinite(height)) parts.push(`${height.toFixed(1)} dB ${words.over_floor}`);
    }
    let best = null;
    for (const [, mark] of lines) {
      const k = Math.max(1, Math.min(mark.kind === "ftf" ? 3 : 10, Math.round(hz / mark.hz))), off = hz - k * mark.hz;
      if (!best || Math.abs(off) < Math.abs(best.off)) best = { off, k, mark };
    }
    if (best) parts.push(words.from_line.replace("{hz}", `${best.off < 0 ? "−" : "+"}${figure(Math.abs(best.off))} Hz`).replace("{line}", (best.k > 1 ? `${best.k} × ` : "") + label(best.mark)));
    return parts;
  }
  waveform() {
    const { figures, words } = this, pairs = this.pairs((record) => record.waveform);
    if (!pairs.length) { blank("waveform", figures.recording.overall ? words.only_values : words.no_signal); return; }
    const shape = () => ({ x: { name: words.seconds, unit: words.seconds }, left: { name: figures.recording.unit }, series: series.slice() });
    const series = pairs.map(([title, record, shade]) => ({ name: title, x: record.waveform.s, y: record.waveform.value, color: shade, width: 1.1 }));
    // After a zoom the visible part of both signals is loaded in finer detail; only the last zoom counts.
    const zoomed = async (range) => {
      const number = (this.zooms = (this.zooms ?? 0) + 1);
      const parts = await Promise.all(pairs.map(async ([, record]) => {
        if (!range) return record.waveform;
        const start = Math.max(0, Math.floor(range[0] * record.sampling_rate_hz)), stop = Math.max(0, Math.ceil(range[1] * record.sampling_rate_hz) + 1);
        const answer = await fetch(`${rootOf()}/api/v1/recordings/${record.recording_id}/waveform?start=${start}&stop=${stop}`);
        return answer.ok ? answer.json() : record.waveform;
      }));
      if (number !== this.zooms) return;
      parts.forEach((part, place) => { series[place] = { ...series[place], x: part.s, y: part.value }; });
      chart.update(shape());
      element("plot-waveform").dataset.finer = String(Number(element("plot-waveform").dataset.finer || 0) + 1);
    };
    const longest = Math.max(...pairs.map(([, record]) => record.n_samples / record.sampling_rate_hz));
    const chart = plot("waveform", { ...shape(), zoomed }, words);
    chart.whole = () => [0, longest];
    chart.later();
  }
}
function drawTrends(place, trends, words, bands = []) {
  if (!trends.length) { place.textContent = words.no_trend; return; }
  const names = trends.map((trend) => `${trend.channel} · ${trend.unit_serial}`);
  if (place.dataset.names !== names.join()) place.replaceChildren(...trends.map((_, number) => made("section", {}, made("h3", {}, names[number]), made("div", { class: "plot", id: `plot-trend-${number}` }), ...velocityPlace(trends[number].velocity, number, words))));
  place.dataset.names = names.join();
  const all = trends.flatMap((trend) => [trend.at[0], trend.at.at(-1)]).filter(Boolean).map(time), ends = { from: Math.min(...all), to: Math.max(...all) };
  trends.forEach((trend, number) => {
    const at = trend.at.map(time), limits = trend.threshold === null ? [] : [{ at: trend.threshold, color: "loud", dash: "longdash", name: `${words.threshold}: ${figure(trend.threshold)}` }];
    const shape = {
      x: { time: true, ...(all.length ? ends : {}) }, left: { name: "σ", zero: true }, bands, levels: limits,
      areas: trend.low === null ? [] : [{ low: trend.low, high: trend.high, color: "usual" }], legend: trend.low === null ? [] : [{ name: words.baseline_band, color: "usual", area: true }],
      series: [{ name: words.health_index, x: at, y: trend.index, color: "soft", dash: "none", dots: 2 }, { name: words.running_median, x: at, y: trend.median, color: "blue", width: 2 }],
      marks: trend.changes.map((change) => ({ at: time(change.at), color: "ochre", dash: "dash", width: 1.5, text: `${words.change_point}: ${figure(change.before)} → ${figure(change.after)}` })),
    };
    const there = element(`plot-trend-${number}`);
    if (there.chart) there.chart.update(shape); else new Chart(there, `${words.health_index}, ${names[number]}`, shape, words);
    drawVelocity(element(`plot-velocity-${number}`), trend.velocity, { time: true, ...(all.length ? ends : {}) }, names[number], bands, words);
  });
}
function velocityPlace(velocity, number, words) {
  if (!velocity.at.length) return [];
  return [made("div", { class: "plot", id: `plot-velocity-${number}` }), ...(velocity.limits.length ? [made("p", {}, made("small", {}, words.borrowed_why))] : [])];
}
function drawVelocity(there, velocity, x, name, bands, words) {
  if (!there) return;
  const shape = {
    x, left: { name: "mm/s", zero: true }, bands,
    levels: velocity.limits.map((at, place) => ({ at, color: "ochre", dash: "dot", name: `${words.borrowed_limit} ${["A/B", "B/C", "C/D"][place]}: ${figure(at)}` })),
    series: [{ name: words.velocity_rms, x: velocity.at.map(time), y: velocity.mm_s, color: "blue", dash: "none", dots: 2 }],
  };
  if (there.chart) there.chart.update(shape); else new Chart(there, `${words.velocity_rms}, ${name}`, shape, words);
}
function drawMoved(figures, words) {
  const place = element("plot-moved");
  const [program, speed] = (figures.baseline_regime ?? "").split(/\|(?=[^|]*\|[^|]*$)|\|(?=[^|]*$)/);
  const of = [program && !"*?".includes(program) ? `${words.program} ${program}` : "", speed && !"*?".includes(speed) ? `${speed} rpm` : ""].filter(Boolean).join(", ");
  element("baseline-regime").textContent = figures.baseline_regime ? `(${of || words.any_regime})` : "";
  if (!figures.baseline_regime) { place.textContent = words.no_baseline; return; }
  if (!figures.moved.length) { place.textContent = words.nothing_moved; return; }
  const table = made("table"), head = table.createTHead().insertRow();
  for (const name of [words.feature, words.was, words.now, words.change, words.distance]) head.append(made("th", { scope: "col" }, name));
  let group = "", body;
  for (const row of figures.moved) {
    if (row.group !== group) {
      group = row.group;
      body = table.createTBody();
      body.insertRow().append(made("th", { scope: "rowgroup", colspan: "5", class: "group" }, words[`group_${group}`]));
    }
    const size = Math.abs(row.sigmas), told = size >= 10 ? words.far_off : size >= 5 ? words.clearly_off : words.off;
    const line = body.insertRow(), sigmas = size >= 30 ? `> 30 σ` : `${size.toFixed(0)} σ`;
    line.append(made("th", { scope: "row", title: row.name }, row.text), ...[row.was_text, row.now_text, row.change_text].map((text) => made("td", { class: "number" }, text)), made("td", {}, `${row.sigmas > 0 ? "↑" : "↓"} ${told} `, made("small", {}, `(${sigmas})`)));
  }
  place.replaceChildren(made("div", { class: "wide-table", tabindex: "0", role: "group", "aria-label": words.feature }, table));
}
function drawClasses(figures, words) {
  const place = element("plot-classes");
  if (!figures.classes.length) { place.textContent = words.no_classes; return; }
  place.replaceChildren(made("ul", { class: "bars" }, ...figures.classes.map((one) => {
    const fill = made("i", { class: one.name === "healthy" ? "calm" : "" });
    fill.style.width = `${100 * one.share}%`;
    return made("li", {}, made("span", {}, words[one.name] ?? one.name), made("span", { class: "bar-of", "aria-hidden": "true" }, fill), made("b", {}, percent(one.share)));
  })));
}
function drawStates(place) {
  const course = JSON.parse(place.dataset.course), words = JSON.parse(place.dataset.words), at = course.at.map(time);
  const right = (name, color, dash) => ({ name: words[name], x: at, y: course[name], color, dash, right: true });
  plot("states", {
    x: { time: true, ...(at.length > 1 ? { from: at[0], to: at.at(-1) } : {}) }, left: { name: words.fault_probability, from: 0, to: 1 }, right: { name: words.how_unsure, zero: true }, levels: levelLines(course.levels, words),
    series: [
      right("mutual_information", "blue", "dash"), right("expected_entropy", "ochre", "dot"),
      { name: words.recent, x: at, y: course.recent_probability, color: "violet", dash: "dashdot" },
      { name: words.fault_probability, x: at, y: course.fault_probability, color: "loud", dots: 3, symbols: course.state.map((state) => SYMBOLS[state] ?? "disc"), words: course.state.map((state) => words[state] ?? state) },
    ],
    marks: course.events.map((event) => ({ at: time(event.at), color: "ink", dash: "dot", width: 1.5, text: words[event.kind] ?? event.kind })),
  }, words);
  place.dataset.drawn = "yes";
  fetch(`${rootOf()}/api/v1/axes/${place.dataset.axis}/trend`).then((answer) => (answer.ok ? answer.json() : [])).then((trends) => { drawTrends(element("trends"), trends, words); element("trends").dataset.drawn = "yes"; });
}
let plots = null;
document.addEventListener("DOMContentLoaded", () => {
  const page = element("case"), states = element("plot-states");
  if (page) { plots = new CasePlots(page); plots.load(); }
  // An audit shows its scores after the verdict.
  document.addEventListener("axiswatch:shown", () => { if (plots?.figures?.blind) plots.load(); });
  if (states) drawStates(states);
});
