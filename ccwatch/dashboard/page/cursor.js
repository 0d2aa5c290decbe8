// One crosshair over all panels; dragging a range; the keys. It must not know the kernel.

/** @import { Mark, Range } from "./types.js" */
/** @import { View } from "./view.js" */

import { hide, shape, target, element, write } from "./dom.js";
import { laneAt } from "./lane.js";
import { clock, known, number, ordered, percent, reading } from "./words.js";

const DRAG_PX = 6; // what moves less is a click
const LINE_PX = 16; // of a wheel that counts lines
export const KEYS =
  "Keys: Space pause or play, arrows move the view, Shift with arrows the crosshair, + and − zoom, 1 five minutes, 2 thirty minutes, 3 the day, " +
  "Home all, End live, comma and full stop step, M mark, A ask why, R begin a range at the crosshair: Enter zooms to it, A asks about it, Escape lets go.";
const KEY_WINDOWS = /** @type {Record<string, number>} */ ({ 1: 300, 2: 1800, 3: 0 });

export class Cursor {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** @type {number | null} */
    this.time = null; // ms, where the crosshair is; null: at the newest row
    this.pinned = false;
    /** @type {number | null} */
    this.anchor = null; // ms, where a range was begun by key
    /** @type {{ from: number, to: number } | null} */
    this.drag = null;
    this.line = element("div", "ccw-cursor");
    this.label = element("span", "ccw-cursor-time");
    this.line.append(this.label);
    this.band = element("div", "ccw-band");
    this.tip = element("div", "ccw-tip");
    this.line.hidden = this.band.hidden = this.tip.hidden = true;
    const { plot } = view.charts;
    plot.append(this.line, this.band, this.tip);
    plot.tabIndex = 0;
    plot.setAttribute("role", "application");
    plot.setAttribute("aria-label", `Live charts over one time axis. ${KEYS}`);
    plot.addEventListener("pointermove", (event) => this.moved(event));
    plot.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
      if (!this.pinned && !this.drag) this.put(null);
    });
    plot.addEventListener("pointerdown", (event) => {
      // With any modifier: JupyterLab takes a Shift for its own, and would have the keys that follow.
      if (!target(event).closest("button, input, select")) plot.focus({ preventScroll: true });
      this.down(event);
    });
    plot.addEventListener("pointerup", (event) => this.up(event));
    plot.addEventListener("pointercancel", () => {
      this.drag = null;
      this.band.hidden = true;
    });
    plot.addEventListener("dblclick", () => view.live());
    plot.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    plot.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {PointerEvent} event */
  place(event) {
    const box = this.view.charts.plot.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** The time under a place of the page; null outside the panels. @param {PointerEvent} event @returns {number | null} */
  at(event) {
    const { scale } = this.view.charts;
    if (!scale) return null;
    const { x } = this.place(event);
    return x < scale.left || x > scale.left + scale.width ? null : scale.time(x);
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const time = this.at(event);
    if (this.drag && time !== null) {
      this.drag.to = time;
      this.shade(this.drag.from, time, DRAG_PX);
    }
    if (!this.pinned && time !== null) this.put(time);
    const { x, y } = this.place(event);
    const item = laneAt(this.view.charts, x, y);
    const mark = item ? null : this.view.charts.markAt(x, y);
    this.view.charts.plot.style.cursor = item || mark ? "pointer" : "crosshair";
    this.tip.hidden = !item && !mark;
    if (item) this.tip.replaceChildren(element("b", "", `${item.glyph} ${clock(item.time)}`), element("div", "", item.words));
    else if (mark) this.tip.replaceChildren(...this.signal(mark));
    if (!this.tip.hidden) {
      const width = this.view.charts.plot.clientWidth;
      Object.assign(this.tip.style, { left: `${Math.min(x + 12, width - 260)}px`, top: `${y + 12}px` });
    }
  }

  /** Return the text of a signal. @param {Mark} mark */
  signal([, price, side, , confidence, size, text]) {
    const word = this.view.store.main.words.side[side] ?? "?";
    const vetoed = word !== "FLAT" && size === 0;
    const facts = [`confidence ${number(confidence)}`, vetoed ? "vetoed" : `approved size ${percent(size, 1)}`, known(price) ? `at ${number(price)}` : ""];
    return [element("b", "", word), element("span", "", ` · ${facts.filter(Boolean).join(" · ")}`), element("div", "", text || "no reasoning given")];
  }

  /** Shade a range; one that is too narrow is a click. @param {number} from @param {number} to @param {number} least px */
  shade(from, to, least) {
    const { scale } = this.view.charts;
    if (!scale) return;
    const [a, b] = ordered(scale.x(from), scale.x(to));
    hide(this.band, b - a < least);
    Object.assign(this.band.style, { left: `${a}px`, width: `${b - a}px` });
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button !== 0 || target(event).closest("button")) return;
    const time = this.at(event);
    if (time === null) return;
    this.view.charts.plot.setPointerCapture(event.pointerId);
    this.anchor = null;
    this.drag = { from: time, to: time };
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { drag, view } = this;
    this.drag = null;
    const wide = drag && !this.band.hidden;
    this.band.hidden = true;
    if (!drag) return;
    const range = ordered(drag.from, drag.to);
    const { x, y } = this.place(event);
    const item = wide ? null : laneAt(view.charts, x, y);
    if (event.shiftKey) view.ask(wide ? range : [drag.to, drag.to]);
    else if (wide) view.zoomTo(range);
    else if (item) {
      this.pinned = true;
      this.put(item.time);
      view.side.choose(item.time);
    } else {
      this.pinned = !this.pinned;
      this.put(drag.to);
    }
    view.select();
  }

  /** Move the view by a wheel that turns sideways, or with Shift; else the page scrolls. @param {WheelEvent} event */
  wheel(event) {
    const { scale } = this.view.charts;
    const across = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
    if (!scale || event.ctrlKey || !across || (!event.shiftKey && Math.abs(across) < Math.abs(event.deltaY))) return;
    event.preventDefault();
    this.view.pan((across * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1)) / scale.width);
  }

  /** Hold the crosshair at a time; null takes it away. @param {number | null} time */
  put(time, spoken = false) {
    this.time = time;
    if (time === null) {
      this.pinned = false;
      this.anchor = null;
    }
    this.show();
    this.view.side.follow(time);
    if (spoken && time !== null) this.view.say(`${clock(time, 3)}: ${this.words()}`);
  }

  show() {
    const range = this.view.shown;
    const { scale } = this.view.charts;
    const inside = this.time !== null && range && scale && this.time >= range[0] && this.time <= range[1];
    hide(this.line, !inside);
    if (inside && this.time !== null) {
      this.line.style.transform = `translateX(${scale.x(this.time)}px)`;
      write(this.label, clock(this.time, 3));
      this.label.classList.toggle("ccw-cursor-left", scale.x(this.time) > scale.left + scale.width - 90);
    }
    if (!this.drag) {
      if (range && this.range) this.shade(...this.shaded(range, this.range), 0);
      else hide(this.band, true);
    }
    this.view.values.read();
  }

  /** @param {Range} range @param {Range} chosen @returns {Range} */
  shaded(range, chosen) {
    const inside = (/** @type {number} */ end) => Math.min(range[1], Math.max(range[0], end));
    return [inside(chosen[0]), inside(chosen[1])];
  }

  /** The time that values are read at: the crosshair's while it is in sight, else the newest that is shown. */
  get reads() {
    const range = this.view.shown; // a crosshair that is out of sight does not go on speaking
    const inside = this.time !== null && range && this.time >= range[0] && this.time <= range[1];
    return inside ? this.time : null;
  }

  words() {
    const lines = this.view.charts.traces.filter((trace) => trace.meta.role === "line" && !trace.meta.column?.includes(":")).slice(0, 6);
    return lines.map((trace) => `${trace.meta.label} ${reading(this.view.values.value(trace), trace.meta)}`).join(", ");
  }

  /** The range that was begun by key, up to the crosshair; null where none was. @returns {Range | null} */
  get range() {
    return this.anchor === null || this.time === null ? null : ordered(this.anchor, this.time);
  }

  /** Return the range of a question: the range that was begun, else the crosshair's moment, else all that is shown. @returns {Range | null} */
  get subject() {
    return this.range ?? (this.time === null ? this.view.shown : [this.time, this.time]);
  }

  /** Begin a range at the crosshair, or at the newest row. */
  begin() {
    const { rows } = this.view.store.main;
    if (!rows || !rows.count) return;
    const here = this.time ?? this.view.head ?? rows.last;
    this.pinned = true; // else the mouse takes it along
    this.anchor = here;
    this.put(here);
    this.view.say(`range begins at ${clock(here, 3)}`);
  }

  /** One row on, or back. @param {number} by */
  step(by) {
    const { rows } = this.view.store.main;
    if (!rows || !rows.count) return;
    const here = this.time ?? this.view.head ?? rows.last;
    const row = by > 0 ? rows.find(here + 0.001) : rows.find(here) - 1;
    this.pinned = true;
    this.put(rows.time(Math.min(rows.end - 1, Math.max(rows.first, row))), true);
    this.view.select();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || target(event).closest("button, input, select")) return;
    if (!this.act(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key is one of ours */
  act(event) {
    const { view } = this;
    const side = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    const seconds = KEY_WINDOWS[event.key];
    if (side && event.shiftKey) this.step(side);
    else if (side) view.pan(side * 0.2);
    else if (seconds !== undefined) view.chooseWindow(seconds);
    else if (event.key === " ") view.controls.toggle();
    else if (event.key === "+" || event.key === "=") view.zoomBy(0.5);
    else if (event.key === "-") view.zoomBy(2);
    else if (event.key === "End" || event.key === "l") view.live();
    else if (event.key === "Home") view.all();
    else if (event.key === "." || event.key === ",") view.controls.step(event.key === "." ? 1 : -1);
    else if (event.key === "m") view.controls.mark();
    else if (event.key === "a") view.ask(this.subject);
    else if (event.key === "r") this.begin();
    else if (event.key === "Enter" && this.range) {
      view.zoomTo(this.range);
      this.anchor = null;
      this.show();
    } else if (event.key === "Escape" && !view.answers.el.hidden) view.answers.close();
    else if (event.key === "Escape") {
      this.put(null);
      view.select();
    } else return false;
    return true;
  }
}

/** A swatch that shows what its trace shows: dash, pattern or mark, never colour alone. @param {import("./types.js").Trace} trace */
export function swatch(trace) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 20 12");
  made.setAttribute("aria-hidden", "true");
  const { line, marker } = trace;
  if (trace.type === "bar") {
    shape(made, "rect", { width: 20, height: 12, fill: marker.color });
    const path = SWATCH_HATCHES[marker.pattern?.shape];
    if (path) shape(made, "path", { d: path, stroke: marker.pattern.fgcolor, "stroke-width": 1.6, fill: "none" });
  } else if (trace.mode === "markers") {
    const symbol = Array.isArray(marker.symbol) ? marker.symbol[0] : marker.symbol;
    shape(made, "path", { d: SWATCH_MARKS[symbol] ?? SWATCH_MARKS.circle ?? "", fill: marker.color });
  } else {
    shape(made, "path", { d: "M0 6 H20", stroke: line.color, "stroke-width": 2, fill: "none", "stroke-dasharray": SWATCH_DASHES[line.dash] ?? "none" });
  }
  return made;
}

const SWATCH_DASHES = /** @type {Record<string, string>} */ ({ dash: "6 3", dot: "1.5 2.5", dashdot: "6 2.5 1.5 2.5", longdash: "9 3", longdashdot: "9 2.5 1.5 2.5" });
const SWATCH_MARKS = /** @type {Record<string, string>} */ ({ "triangle-up": "M10 1 L15 10 H5 Z", "triangle-down": "M10 11 L15 2 H5 Z", circle: "M10 2.5 a3.5 3.5 0 1 0 0.01 0 Z" });
const SWATCH_HATCHES = /** @type {Record<string, string>} */ ({
  "/": "M0 12 L12 0 M8 12 L20 0",
  x: "M0 12 L12 0 M8 12 L20 0 M0 0 L12 12 M8 0 L20 12",
  ".": "M4 6 h1.6 M11 6 h1.6",
});
