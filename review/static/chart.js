"use strict";
// A plot on a canvas: lines, bands, marks, levels, a map of colours; zoom, pan, a cursor with harmonics, keys.
// `place.chart` is the plot of an element. What is drawn stands in `chart.shape`; `chart.update` changes it:
//   x      { name, time, from, to, unit }: the axis; `time`: values are milliseconds
//   left, right  { name, from, to, zero, log }: without from and to as high as what is seen
//   series [{ name, x, y, low, high, color, dash, dots, symbols, right }], colours are variables of review.css
//   bands  [{ from, to }]; marks [{ at, color, dash, text, height, width }]; levels [{ at, color, dash, name }]
//   map    { from, to, rows: [{ name, values }] }: values 0 to 255, the first row on top
//   harmonics (number), sidebands (in units of x): lines around the cursor; read(x): words for the cursor
//   zoomed(range or null): called after a zoom
const DASH = { solid: [], dot: [2, 3], dash: [6, 4], dashdot: [8, 3, 2, 3], longdash: [11, 4], longdashdot: [12, 3, 2, 3] };
const STEPS_S = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000];
const RAMP = [[13, 18, 60], [70, 30, 120], [150, 45, 110], [225, 95, 60], [250, 190, 70], [255, 250, 210]];
const LANGUAGE = document.documentElement.lang, LOCALE = navigator.language.startsWith(LANGUAGE) ? navigator.language : LANGUAGE;
const COARSE = matchMedia("(pointer: coarse)").matches; // there a finger scrolls the page, and drags only by choice
const dark = matchMedia("(prefers-color-scheme: dark)");
let colors = {};
dark.addEventListener("change", () => { colors = {}; });
for (const when of ["beforeprint", "afterprint"]) addEventListener(when, () => { colors = {}; });
const ON_PAPER = [350, 112, 9]; // width, height and letters in px, as in print.css
const color = (name) => (colors[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || name);
function made(tag, shape = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(shape)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}
// A number for reading: four digits that count.
function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
function niceStep(span, count) {
  const raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((times) => raw <= times * power * 1.0001);
}
function ticks(from, to, count) {
  if (!(to > from)) return [];
  const step = niceStep(to - from, count), list = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-9; k += 1) list.push(Number((k * step).toPrecision(12)));
  return list;
}
// Ticks of a time axis at whole local hours, days or months: [value, upper line, lower line].
function timeTicks(from, to, count) {
  const step = (STEPS_S.find((seconds) => (to - from) / 1000 / seconds <= count) ?? 31536000) * 1000, list = [];
  const start = new Date(from), midnight = new Date(start.getFullYear(), start.getMonth(), start.getDate()).getTime();
  const day = { month: "short", day: "numeric" }, clock = { hour: "2-digit", minute: "2-digit", ...(step < 60000 ? { second: "2-digit" } : {}) };
  let shown = "";
  for (let at = midnight; at <= to; at += step) {
    if (at < from) continue;
    const moment = new Date(at), date = moment.toLocaleDateString(LOCALE, step > 2e9 ? { year: "numeric", month: "short" } : day);
    list.push(step >= 86400000 ? [at, date, ""] : [at, moment.toLocaleTimeString(LOCALE, { hour12: false, ...clock }), date === shown ? "" : date]);
    shown = date;
  }
  return list;
}
// Place of the first of rising values that is not below a value.
function placeOf(values, value) {
  let low = 0, high = values.length;
  while (low < high) { const middle = (low + high) >> 1; if (values[middle] < value) low = middle + 1; else high = middle; }
  return low;
}
function nearest(values, value) {
  const after = Math.min(placeOf(values, value), values.length - 1);
  return after > 0 && value - values[after - 1] < values[after] - value ? after - 1 : after;
}

class Chart {
  constructor(place, title, shape, words) {
    Object.assign(this, { place, title, words, shape: {}, range: null, cursor: null, hover: null, drag: null, mode: COARSE ? "" : "zoom" });
    this.canvas = made("canvas", { role: "img" });
    this.output = made("output", { class: "reading" });
    this.legend = made("ul", { class: "keys" });
    this.tools = made("div", { class: "plot-tools" });
    const body = made("div", { class: "plot-body", tabindex: "0", role: "group", "aria-label": `${title}. ${words.plot_keys}` }, this.canvas);
    for (const [name, text, act] of [["plot_zoom", "⬚", () => this.choose("zoom")], ["plot_pan", "✥", () => this.choose("pan")], ["plot_in", "+", () => this.scale(0.5)], ["plot_out", "−", () => this.scale(2)], ["plot_reset", "⤢", () => this.zoom(null)]]) {
      // The keys of the plot do the same, so that each plot is one stop of the Tab key.
      const button = made("button", { type: "button", tabindex: "-1", title: words[name], "aria-label": words[name], "data-tool": name }, text);
      button.addEventListener("click", act);
      this.tools.append(button);
    }
    place.replaceChildren(made("div", { class: "plot-head" }, this.legend, this.tools), body, this.output);
    place.chart = this;
    this.listen(body);
    this.choose(this.mode);
    new ResizeObserver(() => this.later()).observe(body);
    // A plot far below the screen is drawn when it comes near.
    new IntersectionObserver((seen) => { this.isNear = seen.at(-1).isIntersecting; this.later(); }, { rootMargin: "400px" }).observe(body);
    addEventListener("beforeprint", () => this.draw(...ON_PAPER));
    addEventListener("afterprint", () => this.later());
    dark.addEventListener("change", () => this.later());
    this.update(shape);
  }
  update(shape) {
    Object.assign(this.shape, shape);
    this.keys();
    const told = (this.shape.series ?? []).map((one) => {
      const known = one.y.filter((value) => value !== null);
      return known.length ? `${one.name}: ${figure(Math.min(...known))} – ${figure(Math.max(...known))}` : "";
    });
    this.canvas.setAttribute("aria-label", [this.title, ...told].filter(Boolean).join("; "));
    this.later();
  }
  keys() {
    const shown = [...(this.shape.series ?? []), ...(this.shape.levels ?? []), ...(this.shape.legend ?? [])].filter((one) => one.name);
    const seen = new Set();
    this.legend.replaceChildren(...shown.filter((one) => !seen.has(one.name) && seen.add(one.name)).map((one) => made("li", {}, made("i", { class: `swatch ${one.color} ${one.dash ?? "solid"}${one.area ? " area" : ""}` }), one.name)));
  }
  choose(mode) {
    this.mode = this.mode === mode && COARSE ? "" : mode;
    for (const button of this.tools.children) if (["plot_zoom", "plot_pan"].includes(button.dataset.tool)) button.setAttribute("aria-pressed", button.dataset.tool === `plot_${this.mode}`);
    this.canvas.classList.toggle("dragged", this.mode !== "");
  }
  later() {
    if (this.waiting || !this.isNear) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }
  // The ends of the whole x axis.
  whole() {
    const { x, series = [], map } = this.shape;
    if (map) return [map.from, map.to];
    let low = Infinity, high = -Infinity;
    for (const one of series) if (one.x.length) { low = Math.min(low, one.x[0]); high = Math.max(high, one.x.at(-1)); }
    low = x.from ?? low; high = x.to ?? high;
    if (!(high > low)) { const half = x.time ? 3600000 : 0.5; return Number.isFinite(low) ? [low - half, low + half] : [0, 1]; }
    return [low, high];
  }
  view() { return this.range ?? this.shape.x.first ?? this.whole(); }
  zoom(range) {
    if (range) {
      const smallest = (this.whole()[1] - this.whole()[0]) * 1e-6;
      if (range[1] - range[0] < smallest) return;
    }
    this.range = range;
    this.later();
    this.shape.zoomed?.(range);
  }
  scale(times) {
    const [from, to] = this.view(), [low, high] = this.whole(), middle = this.cursor !== null && this.cursor > from && this.cursor < to ? this.cursor : (from + to) / 2;
    const next = [middle - (middle - from) * times, middle + (to - middle) * times];
    this.zoom([Math.max(next[0], Math.min(low, from)), Math.min(next[1], Math.max(high, to))]);
  }
  move(share) {
    const [from, to] = this.view(), by = (to - from) * share;
    this.zoom([from + by, to + by]);
  }
  main() { return (this.shape.series ?? []).findLast((one) => one.x.length && !one.right); }
  // Put the cursor at a place (null: away); with `reach` it goes to the highest point so near.
  point(x, reach = 0) {
    const main = this.main();
    if (x !== null && reach && main) {
      let best = -1;
      for (let k = placeOf(main.x, x - reach); k < main.x.length && main.x[k] <= x + reach; k += 1) if (main.y[k] !== null && (best < 0 || main.y[k] > main.y[best])) best = k;
      if (best >= 0) x = main.x[best];
    }
    this.cursor = x;
    this.tell();
    this.later();
    this.shape.pointed?.(x);
  }
  tell() {
    const at = this.hover?.x ?? this.cursor;
    this.output.textContent = at === null || at === undefined ? "" : this.reading(at, this.hover?.row);
  }
  reading(x, row) {
    const { x: axis, series = [], map } = this.shape;
    const parts = [axis.time ? new Date(x).toLocaleString(LOCALE, { dateStyle: "short", timeStyle: "short" }) : `${figure(x)} ${axis.unit ?? axis.name}`];
    if (this.shape.read) parts.push(...this.shape.read(x));
    if (map && row !== undefined && map.rows[row]) parts.push(map.rows[row].name);
    const near = 12 * (this.view()[1] - this.view()[0]) / Math.max(1, this.box?.width ?? 1);
    for (const one of series) {
      if (!one.x.length) continue;
      const place = nearest(one.x, x);
      if (Math.abs(one.x[place] - x) > near || one.y[place] === null) continue;
      const band = one.low?.[place] != null ? ` (${figure(one.low[place])} – ${figure(one.high[place])})` : "";
      parts.push(`${one.name}: ${figure(one.y[place])}${band}${one.words ? ` ${one.words[place]}` : ""}`);
    }
    return parts.filter(Boolean).join(" · ");
  }
  listen(body) {
    const at = (event) => {
      const box = this.box, inside = this.canvas.getBoundingClientRect(), [from, to] = this.view();
      const x = from + (event.clientX - inside.left - box.left) / box.width * (to - from), rows = this.shape.map?.rows.length ?? 0;
      return { x, row: rows ? Math.floor((event.clientY - inside.top - box.top) / box.height * rows) : undefined };
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.box) return;
      this.drag = { from: at(event).x, pixel: event.clientX, view: this.view(), now: null };
      if (this.mode) this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.box) return;
      this.hover = at(event);
      const moved = this.drag && this.mode && Math.abs(event.clientX - this.drag.pixel) > 4;
      if (moved && this.mode === "zoom") this.drag.now = this.hover.x;
      if (moved && this.mode === "pan") {
        const by = (event.clientX - this.drag.pixel) / this.box.width * (this.drag.view[1] - this.drag.view[0]);
        this.range = [this.drag.view[0] - by, this.drag.view[1] - by];
        this.drag.panned = true;
      }
      this.tell(); this.later();
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const drag = this.drag;
      this.drag = null;
      if (!drag) return;
      if (drag.now !== null) this.zoom([Math.min(drag.from, drag.now), Math.max(drag.from, drag.now)]);
      else if (drag.panned) this.zoom(this.range);
      else this.point(at(event).x, 6 * (this.view()[1] - this.view()[0]) / this.box.width);
    });
    this.canvas.addEventListener("pointercancel", () => { this.drag = null; });
    this.canvas.addEventListener("pointerleave", () => { this.hover = null; this.tell(); this.later(); });
    this.canvas.addEventListener("dblclick", () => { this.point(null); this.zoom(null); });
    body.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const acts = { "+": () => this.scale(0.5), "=": () => this.scale(0.5), "-": () => this.scale(2), Home: () => this.zoom(null), Escape: () => this.point(null),
        ArrowLeft: () => (event.shiftKey ? this.move(-0.25) : this.step(-1)), ArrowRight: () => (event.shiftKey ? this.move(0.25) : this.step(1)) };
      if (!Object.hasOwn(acts, event.key)) return;
      acts[event.key]();
      event.preventDefault(); event.stopPropagation();
    });
  }
  // Move the cursor to the next point of the main line that is at least a pixel away.
  step(direction) {
    const [from, to] = this.view(), main = this.main(), pixel = (to - from) / Math.max(1, this.box?.width ?? 1);
    const now = this.cursor ?? (direction > 0 ? from : to);
    if (!main) { this.point(Math.min(to, Math.max(from, now + direction * pixel * 4))); return; }
    const place = direction > 0 ? placeOf(main.x, now + pixel) : placeOf(main.x, now - pixel * 0.999) - 1;
    if (place >= 0 && place < main.x.length) this.point(main.x[place]);
    if (this.cursor < from || this.cursor > to) this.move(direction * 0.5);
  }
  // The ends of a y axis: given, else as high as what is seen.
  ends(axis, series, [from, to]) {
    if (axis.from !== undefined && axis.to !== undefined) return [axis.from, axis.to];
    let low = Infinity, high = -Infinity;
    const take = (value) => { if (value !== null && value !== undefined && (!axis.log || value > 0)) { if (value < low) low = value; if (value > high) high = value; } };
    for (const one of series) {
      const last = Math.min(one.x.length - 1, placeOf(one.x, to));
      for (let k = Math.max(0, placeOf(one.x, from) - 1); k <= last; k += 1) { take(one.y[k]); if (one.high) take(one.high[k]); }
    }
    for (const level of this.shape.levels ?? []) if (axis === this.shape.left) take(level.at);
    if (!(high >= low)) return [0, 1];
    if (axis.log) return [Math.max(low, high * 1e-5), high * 1.5];
    if (axis.zero) return [0, high > 0 ? high * 1.06 : 1];
    const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low - pad, high + pad];
  }
  draw(width = this.canvas.clientWidth, height = this.canvas.clientHeight, letters = 0) {
    const { canvas, shape } = this, ratio = letters ? 3 : devicePixelRatio || 1;
    if (!width || !height || !shape.x) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) { canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); }
    const pen = canvas.getContext("2d"), [from, to] = this.view(), series = shape.series ?? [], size = letters || parseFloat(getComputedStyle(canvas).fontSize);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `${size}px ${getComputedStyle(canvas).fontFamily}`;
    const sides = ["left", "right"].filter((side) => shape[side]).map((side) => ({ side, axis: shape[side], ends: this.ends(shape[side], series.filter((one) => Boolean(one.right) === (side === "right")), [from, to]) }));
    for (const one of sides) {
      const [low, high] = one.ends;
      one.ticks = one.axis.log ? ticks(Math.ceil(Math.log10(low)), Math.floor(Math.log10(high)), 5).filter(Number.isInteger).map((power) => 10 ** power) : ticks(low, high, Math.max(2, height / 60));
      one.wide = Math.max(...one.ticks.map((value) => pen.measureText(figure(value)).width), 0) + size * 2.1;
    }
    const names = shape.map ? shape.map.rows.map((row) => row.name) : [];
    const wide = shape.map ? Math.min(width * 0.3, Math.max(...names.map((name) => pen.measureText(name).width)) + 8) : sides[0].wide;
    const inner = width - wide - (sides[1]?.wide ?? 12);
    const xs = shape.x.time ? timeTicks(from, to, Math.max(2, inner / 85)) : ticks(from, to, Math.max(2, inner / 80)).map((value) => [value, figure(value), ""]);
    const box = { left: wide, top: 6, width: inner, height: height - 12 - size * (shape.x.name || xs.some((tick) => tick[2]) ? 2.4 : 1.2) };
    this.box = box;
    if (box.width < 20 || box.height < 20) return;
    const bottom = box.top + box.height, px = (x) => box.left + (x - from) / (to - from) * box.width;
    const py = ({ axis, ends: [low, high] }, y) => bottom - (axis.log ? Math.log(Math.max(y, low) / low) / Math.log(high / low) : (y - low) / (high - low)) * box.height;
    const text = (words, x, y, align, base, shade = "soft") => { pen.fillStyle = color(shade); pen.textAlign = align; pen.textBaseline = base; pen.fillText(words, x, y); };
    const stroke = (x0, y0, x1, y1, shade, dash, wideness) => { pen.strokeStyle = color(shade); pen.lineWidth = wideness; pen.setLineDash(DASH[dash] ?? []); pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke(); pen.setLineDash([]); };
    // Axes and grid.
    for (const [at, upper, lower] of xs) {
      stroke(px(at), box.top, px(at), bottom, "grid", "solid", 1);
      [upper, lower].forEach((words, row) => { const half = pen.measureText(words).width / 2; text(words, Math.max(half, Math.min(width - half, px(at))), bottom + 4 + row * (size + 1), "center", "top"); });
    }
    if (shape.x.name) text(shape.x.name, box.left + box.width / 2, height - 1, "center", "bottom");
    for (const one of sides) {
      const edge = one.side === "left" ? box.left - 5 : box.left + box.width + 5;
      if (!shape.map) for (const value of one.ticks) { if (one.side === "left") stroke(box.left, py(one, value), box.left + box.width, py(one, value), "grid", "solid", 1); text(figure(value), edge, py(one, value), one.side === "left" ? "right" : "left", "middle"); }
      if (!one.axis.name || shape.map) continue;
      pen.save(); pen.translate(one.side === "left" ? size * 0.6 : width - size * 0.6, box.top + box.height / 2); pen.rotate(-Math.PI / 2); text(one.axis.name, 0, 0, "center", "middle"); pen.restore();
    }
    // What is inside of the axes.
    pen.save(); pen.beginPath(); pen.rect(box.left, box.top, box.width, box.height); pen.clip();
    for (const band of shape.bands ?? []) { pen.fillStyle = color(band.color ?? "time"); pen.fillRect(px(band.from), box.top, Math.max(2, px(band.to) - px(band.from)), box.height); }
    for (const band of shape.areas ?? []) { pen.fillStyle = color(band.color); pen.fillRect(box.left, py(sides[0], band.high), box.width, py(sides[0], band.low) - py(sides[0], band.high)); }
    if (shape.map) this.paint(pen, px, box);
    for (const level of shape.levels ?? []) stroke(box.left, py(sides[0], level.at), box.left + box.width, py(sides[0], level.at), level.color, level.dash ?? "dash", 1.4);
    for (const mark of shape.marks ?? []) stroke(px(mark.at), box.top, px(mark.at), bottom, mark.color, mark.dash, mark.width ?? 1);
    for (const one of series) this.line(pen, one, px, (y) => py(sides[one.right ? 1 : 0], y), [from, to], bottom);
    this.named = this.names(pen, px, box, bottom, size);
    for (const { text: words, color: shade, x, y } of this.named) { pen.save(); pen.translate(x, y); pen.rotate(-Math.PI / 2); text(words, 0, 0, "right", "top", shade); pen.restore(); }
    this.around(pen, px, box, bottom, stroke, text);
    if (this.drag && this.drag.now !== null) { pen.fillStyle = color("time"); pen.fillRect(px(Math.min(this.drag.from, this.drag.now)), box.top, Math.abs(px(this.drag.now) - px(this.drag.from)), box.height); }
    if (this.hover) stroke(px(this.hover.x), box.top, px(this.hover.x), bottom, "soft", "dot", 1);
    pen.restore();
    stroke(box.left, bottom, box.left + box.width, bottom, "soft", "solid", 1);
    stroke(box.left, box.top, box.left, bottom, "soft", "solid", 1);
  }
  // The names of the marks, upright beside their lines; of two that would overlap the later one stands lower, and where
  // there is no room it is left out.
  names(pen, px, box, bottom, size) {
    const placed = [];
    for (const { at, text, color: shade, height } of this.shape.marks ?? []) {
      const x = px(at) + 2, long = pen.measureText(text ?? "").width;
      if (!text || x < box.left || x > box.left + box.width) continue;
      let y = bottom - (height ?? 1) * box.height + 3;
      for (const one of placed.filter((other) => Math.abs(other.x - x) < size + 1).sort((a, b) => a.y - b.y)) if (y < one.end && y + long > one.y) y = one.end + 6;
      if (y + long <= bottom) placed.push({ text, color: shade, x, y, end: y + long });
    }
    return placed;
  }
  line(pen, one, px, py, [from, to], bottom) {
    const first = Math.max(0, placeOf(one.x, from) - 1), last = Math.min(one.x.length - 1, placeOf(one.x, to));
    pen.strokeStyle = pen.fillStyle = color(one.color); pen.lineWidth = one.width ?? 1.4; pen.lineJoin = "round";
    if (one.low) {
      pen.globalAlpha = 0.25;
      for (let k = first; k <= last; k += 1) { // a gap in the values stays a gap
        if (one.low[k] === null) continue;
        let stop = k;
        while (stop < last && one.low[stop + 1] !== null) stop += 1;
        pen.beginPath();
        for (let i = k; i <= stop; i += 1) pen.lineTo(px(one.x[i]) - (k === stop ? 2 : 0), py(one.high[i]));
        for (let i = stop; i >= k; i -= 1) pen.lineTo(px(one.x[i]) + (k === stop ? 2 : 0), py(one.low[i]));
        pen.fill();
        k = stop;
      }
      pen.globalAlpha = 1;
    }
    if (one.dash !== "none") {
      pen.setLineDash(DASH[one.dash] ?? []);
      pen.beginPath();
      let isDown = false;
      for (let k = first; k <= last; k += 1) {
        if (one.y[k] === null) { isDown = false; continue; }
        const y = Math.min(py(one.y[k]), bottom);
        if (isDown) pen.lineTo(px(one.x[k]), y); else pen.moveTo(px(one.x[k]), y);
        isDown = true;
      }
      pen.stroke();
      pen.setLineDash([]);
    }
    if (!one.dots) return;
    for (let k = first; k <= last; k += 1) if (one.y[k] !== null) this.dot(pen, px(one.x[k]), py(one.y[k]), one.symbols?.[k] ?? "disc", one.dots);
  }
  dot(pen, x, y, symbol, size) {
    pen.beginPath();
    if (symbol === "triangle") { pen.moveTo(x, y - size * 1.5); pen.lineTo(x + size * 1.4, y + size); pen.lineTo(x - size * 1.4, y + size); pen.closePath(); pen.fill(); return; }
    if (symbol === "cross") { pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size); pen.moveTo(x + size, y - size); pen.lineTo(x - size, y + size); pen.stroke(); return; }
    if (symbol === "diamond") { pen.moveTo(x, y - size * 1.3); pen.lineTo(x + size * 1.3, y); pen.lineTo(x, y + size * 1.3); pen.lineTo(x - size * 1.3, y); pen.closePath(); pen.stroke(); return; }
    pen.arc(x, y, size, 0, 7);
    if (symbol === "ring") pen.stroke(); else pen.fill();
  }
  around(pen, px, box, bottom, stroke, text) {
    if (this.cursor === null) return;
    const { harmonics = 0, sidebands = 0 } = this.shape;
    for (let k = 2; k <= harmonics; k += 1) { stroke(px(k * this.cursor), box.top, px(k * this.cursor), bottom, "cursor", "dash", 1); text(`${k}×`, px(k * this.cursor) + 3, box.top, "left", "top", "cursor"); }
    for (const k of sidebands > 0 ? [-3, -2, -1, 1, 2, 3] : []) { const at = px(this.cursor + k * sidebands); stroke(at, box.top, at, bottom, "cursor", "dot", 1.2); text(`${k > 0 ? "+" : "−"}${Math.abs(k)}`, at + 3, box.top, "left", "top", "cursor"); }
    stroke(px(this.cursor), box.top, px(this.cursor), bottom, "cursor", "solid", 1.6);
  }
  paint(pen, px, box) {
    const { rows, from, to } = this.shape.map, columns = rows[0].values.length;
    if (this.painted?.rows !== rows) {
      const sheet = made("canvas"), inside = sheet.getContext("2d");
      sheet.width = columns; sheet.height = rows.length;
      const data = inside.createImageData(columns, rows.length);
      rows.forEach((row, y) => row.values.forEach((value, x) => {
        const place = value / 255 * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(place));
        for (let c = 0; c < 3; c += 1) data.data[4 * (y * columns + x) + c] = RAMP[low][c] + (RAMP[low + 1][c] - RAMP[low][c]) * (place - low);
        data.data[4 * (y * columns + x) + 3] = 255;
      }));
      inside.putImageData(data, 0, 0);
      this.painted = { rows, sheet };
    }
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.painted.sheet, px(from), box.top, px(to) - px(from), box.height);
    pen.restore(); // the names stand outside of the axes
    pen.fillStyle = color("soft"); pen.textAlign = "right"; pen.textBaseline = "middle";
    const each = Math.ceil(rows.length * 15 / box.height);
    rows.forEach((row, y) => { if (y % each === 0) pen.fillText(row.name, box.left - 4, box.top + (y + 0.5) * box.height / rows.length); });
    pen.save(); pen.beginPath(); pen.rect(box.left, box.top, box.width, box.height); pen.clip();
  }
}
