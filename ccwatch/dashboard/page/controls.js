// The row of controls: time, marks and questions, and the overview of the whole history. It must not know the kernel's rows.

/** @import { Range } from "./types.js" */
/** @import { View } from "./view.js" */

import { attribute, button, hide, element, write } from "./dom.js";
import { around } from "./span.js";
import { clock, number } from "./words.js";

const SPEEDS = [1, 2, 5, 10, 60, 600, Infinity];
const STRIP_PX = 26;
const WINDOWS = /** @type {[string, number, string][]} */ ([["5m", 300, "5 minutes (1)"], ["30m", 1800, "30 minutes (2)"], ["day", 0, "All of it (3)"]]);

export class Controls {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-controls");
    this.el.setAttribute("role", "toolbar");
    this.el.setAttribute("aria-label", "Time, marks and questions");
    this.speed = 1;
    this.playing = false;
    /** @type {HTMLInputElement | null} */
    this.note = null;
    this.play = button("▶", "Play (Space)", () => this.toggle());
    this.pause = button("❚❚ Pause", "Freeze the charts; the stream goes on (Space)", () => this.toggle());
    this.pause.removeAttribute("aria-label");
    this.back = button("⇤", "One packet back (,)", () => this.step(-1));
    this.on = button("⇥", "One packet on (.)", () => this.step(1));
    this.speeds = document.createElement("select");
    this.speeds.setAttribute("aria-label", "Speed");
    for (const speed of SPEEDS) this.speeds.append(new Option(speed === Infinity ? "max" : `${speed}×`, String(speed)));
    this.speeds.addEventListener("change", () => {
      this.speed = Number(this.speeds.value);
    });
    this.player = [this.play, this.back, this.on, this.speeds];
    const earlier = button("◀", "Earlier (←)", () => view.pan(-0.5));
    const later = button("▶|", "Later (→)", () => view.pan(0.5));
    const out = button("−", "Show more time (−)", () => view.zoomBy(2));
    const into = button("+", "Show less time (+)", () => view.zoomBy(0.5));
    this.windows = WINDOWS.map(([words, seconds, title]) => ({ seconds, el: button(words, title, () => view.chooseWindow(seconds)) }));
    this.follow = button("Go live", "Follow the stream (End)", () => view.live());
    this.words = element("span", "ccw-span");
    const mark = button("Mark", "Note something at this time (M)", () => this.mark());
    const why = button("Ask why", "What differs in what is shown (A); Shift and drag, or R, for a range", () => view.ask(view.cursor.subject));
    this.record = button("Record", "Record the stream to files", () => this.toggleRecord());
    this.record.removeAttribute("aria-label");
    const save = button("⤓", "Save a picture of the charts", () => void view.charts.save());
    this.canvas = element("canvas", "ccw-strip");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "slider");
    this.canvas.setAttribute("aria-label", "Time shown, of the whole history");
    this.canvas.setAttribute("aria-valuemin", "0");
    this.canvas.setAttribute("aria-valuemax", "100");
    attribute(this.canvas, "aria-valuenow", "100");
    this.canvas.addEventListener("pointerdown", (event) => this.scrub(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.el.append(this.pause, ...this.player, earlier, later, out, into, ...this.windows.map(({ el }) => el), this.words, this.follow, mark, why, this.record, save, this.canvas);
    // Noted at a change, not asked for at each drawing: to ask makes the page lay out what has just been drawn.
    this.width = 0;
    this.size = new ResizeObserver(([entry]) => {
      this.width = Math.round(entry?.contentRect.width ?? 0);
      this.stripKey = "";
      this.view.schedule();
    });
    this.size.observe(this.canvas);
    this.stripKey = "";
  }

  close() {
    this.playing = false;
    this.size.disconnect();
  }

  /** @returns {Range | null} */
  get whole() {
    return this.view.whole;
  }

  toggleRecord() {
    this.record.disabled = true; // until the kernel says what became of it
    this.view.store.send({ type: "record" });
  }

  /** @param {PointerEvent} event */
  scrub(event) {
    const move = (/** @type {PointerEvent} */ moved) => {
      const { whole } = this;
      if (!whole) return;
      const box = this.canvas.getBoundingClientRect();
      const time = whole[0] + Math.min(1, Math.max(0, (moved.clientX - box.left) / box.width)) * (whole[1] - whole[0]);
      if (this.view.store.main.moves) this.view.centre(time);
      else this.seek(time);
    };
    this.canvas.setPointerCapture(event.pointerId);
    move(event);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }

  /** The keys of a slider seek in a recording; in a stream that goes on they move the view, as in the charts. @param {KeyboardEvent} event */
  key(event) {
    const { whole, view } = this;
    const shares = /** @type {Record<string, number>} */ ({ ArrowLeft: -0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 });
    const part = shares[event.key];
    const bare = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    if (!part || !bare || !whole || view.store.main.moves) {
      view.cursor.key(event);
      return;
    }
    this.playing = false;
    this.seek((view.head ?? whole[1]) + part * (whole[1] - whole[0]));
    event.preventDefault();
    event.stopPropagation();
  }

  /** Show a recording up to a time. @param {number} time */
  seek(time) {
    const { whole, view } = this;
    if (!whole) return;
    view.head = time >= whole[1] ? null : Math.max(whole[0], time);
    const { head, zoom } = view;
    if (zoom && head !== null && (head < zoom[0] || head > zoom[1])) view.moveTo(around(null, head, whole[0], whole[1], zoom[1] - zoom[0]));
    view.side.follow(view.head);
    view.select();
    view.schedule();
  }

  toggle() {
    const { view } = this;
    if (view.store.main.moves) {
      view.store.send({ type: "pause" });
      return;
    }
    this.playing = !this.playing;
    if (!this.playing) {
      this.show();
      return;
    }
    if (view.head === null) view.head = view.shown?.[0] ?? this.whole?.[0] ?? null;
    let before = performance.now();
    const tick = () => {
      if (!this.playing || view.closed) return;
      const now = performance.now();
      const { head } = view;
      if (head === null) this.playing = false;
      else this.seek(this.speed === Infinity ? Infinity : head + (now - before) * this.speed);
      before = now;
      this.show();
      if (this.playing) setTimeout(() => requestAnimationFrame(tick), 50);
    };
    tick();
  }

  /** @param {number} by */
  step(by) {
    const { rows, moves } = this.view.store.main;
    if (moves || !rows || !rows.count) return;
    this.playing = false;
    const here = this.view.head ?? rows.last;
    const row = by > 0 ? rows.find(here + 0.001) : rows.find(here) - 1;
    this.seek(row >= rows.end ? Infinity : rows.time(Math.max(rows.first, row)));
  }

  mark() {
    if (this.note) return;
    const time = this.view.cursor.time ?? this.view.head ?? this.whole?.[1];
    if (time === undefined) return;
    const note = element("input", "ccw-note-input");
    this.note = note;
    note.maxLength = 300;
    note.setAttribute("aria-label", `Note at ${clock(time)}; Enter keeps it, Escape does not`);
    note.placeholder = `note at ${clock(time)}`;
    note.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && note.value.trim()) this.view.store.send({ type: "mark", time, text: note.value.trim() });
      if (event.key !== "Enter" && event.key !== "Escape") return;
      this.note = null;
      note.remove();
      this.view.charts.plot.focus({ preventScroll: true });
    });
    this.el.append(note);
    note.focus();
  }

  show() {
    const { view, whole } = this;
    const { moves, live, tables } = view.store.main;
    const { status } = tables;
    for (const part of this.player) hide(part, moves);
    hide(this.pause, !moves || Boolean(status?.stopped));
    write(this.pause, status?.paused ? `▶ Resume (${status.hidden} new)` : "❚❚ Pause");
    attribute(this.pause, "aria-pressed", String(Boolean(status?.paused)));
    write(this.play, this.playing ? "❚❚" : "▶");
    hide(this.record, status?.records === null || status?.records === undefined);
    this.record.disabled = Boolean(status?.stopped);
    write(this.record, status?.records ? "Stop recording" : "Record");
    write(this.follow, moves ? "Go live" : "Show all");
    const words = moves ? "Follow the stream (End)" : "Show all of it (End)";
    if (this.follow.title !== words) {
      this.follow.title = words;
      this.follow.setAttribute("aria-label", words);
    }
    attribute(this.follow, "aria-pressed", String(!view.zoom && view.head === null && !(moves && (status?.paused || status?.stopped))));
    for (const { seconds, el } of this.windows) attribute(el, "aria-pressed", String(!view.zoom && view.windowMs === seconds * 1000));
    const range = view.shown;
    if (!range || !whole) return;
    const until = Math.min(range[1], view.head ?? whole[1]);
    const isLive = moves && live && !view.zoom && view.head === null && !status?.paused && !status?.stopped && status?.mood === "good" && !view.gone.isGone;
    write(this.words, `${clock(Math.max(range[0], whole[0]))} – ${clock(until)}${isLive ? " · live" : status?.paused ? " · paused" : ""}`);
    const share = (100 * ((view.head ?? until) - whole[0])) / (whole[1] - whole[0]);
    attribute(this.canvas, "aria-valuenow", number(Math.min(100, Math.max(0, share)), 0));
    attribute(this.canvas, "aria-valuetext", `${clock(range[0])} to ${clock(until)}`);
    this.strip(whole, range);
  }

  /** The whole history in one line: the price, with the regimes below it, and what of it is shown. @param {Range} whole @param {Range} range */
  strip(whole, range) {
    const { width, view } = this;
    const { rows } = view.store.main;
    if (!width || !rows) return;
    const step = Math.max(1, (whole[1] - whole[0]) / width);
    const key = [Math.floor(whole[1] / step), whole[0], rows.version, range, view.head, view.dark, width].join();
    if (key === this.stripKey) return;
    this.stripKey = key;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(STRIP_PX * ratio);
    }
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, STRIP_PX);
    const line = view.overview(whole, width);
    const color = view.charts.skeleton?.layout.font.color ?? "#888";
    const scale = (/** @type {number} */ time) => ((time - whole[0]) / (whole[1] - whole[0])) * width;
    const per = (STRIP_PX - 4) / Math.max(1e-9, line.high - line.low);
    pen.fillStyle = "rgba(58, 123, 213, 0.22)";
    const from = Math.max(0, scale(range[0]));
    pen.fillRect(from, 0, Math.max(2, Math.min(width, scale(range[1])) - from), STRIP_PX);
    pen.strokeStyle = color;
    pen.lineWidth = 1;
    pen.beginPath();
    let isDown = false;
    for (let at = 0; at < line.x.length; at += 1) {
      const value = line.y[at];
      if (value === null || value === undefined) isDown = false;
      else {
        const [x, y] = [scale(line.x[at] ?? 0), STRIP_PX - 2 - (value - line.low) * per];
        if (isDown) pen.lineTo(x, y);
        else pen.moveTo(x, y);
        isDown = true;
      }
    }
    pen.stroke();
    if (view.head !== null) {
      pen.fillStyle = color;
      pen.fillRect(scale(view.head) - 1, 0, 2, STRIP_PX);
    }
  }
}
