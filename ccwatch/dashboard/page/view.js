// One view of a widget: puts the parts together, says what time is shown, and draws once per animation frame.

/** @import { Content, Item, Model, Range } from "./types.js" */
/** @import { Store } from "./store.js" */

import { AlertLine } from "./alerts.js";
import { Answer } from "./answer.js";
import { Charts } from "./charts.js";
import { CommandBar } from "./commands.js";
import { Controls } from "./controls.js";
import { Cursor } from "./cursor.js";
import { element } from "./dom.js";
import { expose } from "./exposed.js";
import { holdFocus } from "./focus.js";
import { Gone } from "./gone.js";
import { Changes, items } from "./items.js";
import { Side } from "./side.js";
import { around, follow, foreseen, widened } from "./span.js";
import { StatusBar } from "./status.js";
import { Thinning } from "./thin.js";
import { Values } from "./values.js";
import { Waiting } from "./waiting.js";
import { clock } from "./words.js";

const HEIGHT = 500; // px of the charts; all of the dashboard is seen in a page of 1050 × 680
const ITEMS_MS = 400; // the moments are put in order at most this often
const RETRY_MS = 250;
const REST_MS = 300; // without a move, after which a view that was moved rests
const WORDS_MS = 580; // words beside a picture that follows the stream are written at most this often: each time costs a layout

export class View {
  /** @param {Store} store @param {Model} model @param {HTMLElement} el */
  constructor(store, model, el) {
    this.store = store;
    this.model = model;
    this.el = el;
    /** @type {Range | null} */
    this.zoom = model.get("zoom")?.length === 2 ? [model.get("zoom")[0], model.get("zoom")[1]] : null; // in ms, chosen by hand
    /** @type {number | null} */
    this.head = null; // ms up to which a recording is shown; null: all of it
    /** @type {Range | null} */
    this.asked = null; // the last range that this view asked about
    /** @type {Range | null} */
    this.shown = null; // that was drawn last
    this.still = false; // plotly draws all of it, for a picture or a comparison
    this.lastDraw = 0;
    this.drawnAt = -Infinity;
    this.onScreen = true;
    this.closed = false;
    this.dirty = false;
    this.isWaiting = false;
    this.height = HEIGHT;
    /** @type {Item[]} */
    this.items = [];
    /** @type {Item[]} */
    this.important = []; // of them
    /** @type {Item[]} */
    this.changes = [];
    this.scan = new Changes(store.main);
    this.itemsAt = -Infinity;
    this.statusAt = performance.now();
    this.wroteAt = -Infinity;
    /** @type {Thinning | null} */
    this.all_ = null;
    /** @type {(() => void)[]} */
    this.undo = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.saving = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.resting = undefined;
    this.isMoving = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.selecting = undefined;
    this.frame = 0;
    this.selected = "";
    el.classList.add("ccw-dashboard", "ccwatch-live-figure");
    this.charts = new Charts(this);
    this.values = new Values(this);
    this.side = new Side(this);
    this.answers = new Answer(this);
    this.cursor = new Cursor(this);
    this.controls = new Controls(this);
    this.alerts = new AlertLine(this);
    this.commands = new CommandBar(this);
    this.status = new StatusBar(this);
    this.waiting = new Waiting(this);
    this.gone = new Gone(this);
    this.spoken = element("div", "ccw-spoken");
    this.words = element("div", "ccw-note", "Waiting for the kernel …");
    this.main = element("div", "ccw-main");
    this.build();
    this.listen();
    expose(this);
    void store.shared.ready.then((plotly) => {
      this.charts.Plotly = plotly;
      this.schedule();
    });
    store.enter(this);
  }

  build() {
    const { el } = this;
    this.spoken.setAttribute("aria-live", "polite");
    this.side.el.append(this.answers.el);
    const picture = element("div", "ccw-picture");
    picture.append(this.charts.el, this.values.el);
    this.main.append(picture, this.side.handle, this.side.el, this.side.unfold);
    this.main.style.minHeight = `${HEIGHT}px`; // seen or not: no jump later
    el.append(this.words, this.gone.el, this.status.el, this.alerts.el, this.commands.el, this.waiting.el, this.main, this.controls.el, this.spoken);
  }

  /** @param {string} words */
  note(words) {
    this.words.textContent = words;
    this.words.hidden = !words;
  }

  listen() {
    const wake = () => this.schedule();
    const themes = new MutationObserver(wake);
    themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const screen = new IntersectionObserver((entries) => {
      this.onScreen = entries[entries.length - 1]?.isIntersecting ?? true;
      wake();
    });
    screen.observe(this.el);
    const size = new ResizeObserver(wake);
    size.observe(this.charts.el);
    document.addEventListener("visibilitychange", wake);
    const windowed = () => this.showWindow();
    const zoomed = () => {
      const zoom = this.model.get("zoom");
      if (JSON.stringify(zoom) === JSON.stringify(this.zoom ?? [])) return;
      this.zoom = zoom.length === 2 ? [zoom[0], zoom[1]] : null;
      this.schedule();
    };
    this.model.on("change:window_s", windowed);
    this.model.on("change:zoom", zoomed);
    const second = setInterval(() => {
      if (!document.hidden && this.onScreen && performance.now() - this.wroteAt > 900) this.write();
    }, 1000);
    this.undo.push(
      ...holdFocus(this),
      () => themes.disconnect(),
      () => screen.disconnect(),
      () => size.disconnect(),
      () => document.removeEventListener("visibilitychange", wake),
      () => this.model.off("change:window_s", windowed),
      () => this.model.off("change:zoom", zoomed),
      () => clearInterval(second),
    );
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    clearTimeout(this.resting);
    for (const undo of this.undo) undo();
    this.controls.close();
    this.commands.close();
    this.alerts.close();
    this.charts.close();
    this.store.leave(this);
    delete (/** @type {any} */ (this.el).ccwatch);
  }

  /** Something came from the kernel. @param {"changed" | "beside"} what @param {Partial<Content> | object | null} replaced */
  heard(what, replaced) {
    const parts = /** @type {Record<string, unknown>} */ (replaced ?? {});
    if (parts.status) this.statusAt = performance.now();
    if (what === "changed" || parts.marks || parts.fired || parts.alerts) this.itemsAt = Math.min(this.itemsAt, performance.now() - ITEMS_MS);
    this.side.isStale = true;
    if (parts.alerts) this.alerts.show();
    if (parts.commands !== undefined || parts.symbols) this.commands.show();
    if (what === "changed" || parts.alerts || parts.fired || parts.services) this.schedule();
    else if (parts.status) this.tick();
  }

  /** Update the parts that change with the clock alone. */
  tick() {
    this.gone.show();
    this.status.show();
    this.alerts.tick();
    this.controls.show();
    this.waiting.show();
  }

  /** All that is read beside the picture. */
  write() {
    this.wroteAt = performance.now();
    this.cursor.show();
    this.tick();
    this.side.flush();
  }

  /** Draw soon: once per animation frame at most, after a pause as long as the last draw took, and only if seen. */
  schedule(whole = false) {
    this.dirty = true;
    if (whole) this.charts.isStale = true;
    if (this.isWaiting || this.closed || document.hidden || !this.onScreen) return;
    this.isWaiting = true;
    const pause = Math.max(0, this.drawnAt + this.lastDraw - performance.now());
    this.timer = setTimeout(() => {
      this.frame = requestAnimationFrame(() => {
        this.isWaiting = false;
        if (this.dirty && !this.closed && !document.hidden && this.onScreen) this.draw();
      });
    }, pause);
  }

  draw() {
    const began = performance.now();
    this.dirty = false;
    this.shown = this.range();
    this.order();
    const { made } = this.charts.base;
    if (!this.charts.draw()) {
      if (this.store.main.figure) this.write();
      // Without a width there is no picture, as while JupyterLab exchanges its theme's style sheets: nothing else would draw it later.
      if (this.charts.Plotly && this.whole) setTimeout(() => this.schedule(), RETRY_MS);
      return;
    }
    const follows = !this.zoom && this.head === null && this.store.main.moves && made === this.charts.base.made;
    if (!follows || began - this.wroteAt >= WORDS_MS) this.write();
    if (!this.words.hidden) this.note("");
    this.drawnAt = performance.now();
    this.lastDraw = this.drawnAt - began;
    this.store.drawn();
  }

  /** Put the moments in order, once in a while. */
  order() {
    const now = performance.now();
    if (now - this.itemsAt < ITEMS_MS) return;
    this.itemsAt = now;
    this.changes = this.scan.scan();
    this.items = items(this.store.main, this.changes);
    this.important = this.items.filter((item) => item.important);
  }

  /** Follow the stream again. */
  live() {
    this.head = null;
    this.controls.playing = false;
    this.zoomTo(null);
  }

  all() {
    if (this.whole) this.zoomTo(this.whole);
  }

  /** @param {number} seconds */
  chooseWindow(seconds) {
    this.model.set("window_s", seconds);
    this.model.save_changes();
    this.showWindow();
  }

  /** Show the window that was chosen: the newest, or around the play head, which stays where it is. */
  showWindow() {
    if (this.head === null) this.live();
    else this.zoomTo(null);
  }

  /** Show a range of time and keep it while the stream goes on; null follows the stream. A reload finds it again. @param {Range | null} range */
  zoomTo(range) {
    this.zoom = range && widened(range);
    this.shown = null; // a new window begins
    this.schedule();
    clearTimeout(this.saving);
    this.saving = setTimeout(() => {
      if (this.closed || JSON.stringify(this.model.get("zoom")) === JSON.stringify(this.zoom ?? [])) return;
      this.model.set("zoom", this.zoom ?? []);
      this.model.save_changes();
    }, 250);
    this.select();
  }

  /** @param {number} share */
  pan(share) {
    const range = this.shown ?? this.range();
    if (range) this.moveTo([range[0] + share * (range[1] - range[0]), range[1] + share * (range[1] - range[0])]);
  }

  /** Show another range as one of many: until the view rests, the axes of values stay as they are. @param {Range} range */
  moveTo(range) {
    this.isMoving = true;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.isMoving = false;
      this.schedule();
    }, REST_MS);
    this.zoomTo(range);
  }

  /** @param {number} factor */
  zoomBy(factor) {
    const range = this.shown ?? this.range();
    if (!range) return;
    const middle = this.cursor.time ?? (range[0] + range[1]) / 2;
    this.zoomTo([middle + (range[0] - middle) * factor, middle + (range[1] - middle) * factor]);
  }

  /** Show what surrounds a time; a wide view becomes a narrower one where that is asked for. @param {number} time */
  centre(time, narrow = false) {
    const range = this.shown ?? this.range();
    if (!range) return;
    const isIn = narrow && time >= range[0] && time <= range[1] && this.zoom;
    const half = (narrow && !this.zoom ? Math.min(range[1] - range[0], 240_000) : range[1] - range[0]) / 2;
    if (!isIn) this[narrow ? "zoomTo" : "moveTo"]([time - half, time + half]);
    this.cursor.pinned = true;
    this.cursor.put(time, true);
    this.select();
    this.schedule(true);
  }

  /** @param {string} words */
  say(words) {
    this.spoken.textContent = words;
  }

  /**
   * Ask the kernel why, or whether it was seen before; its answer opens beside the charts.
   * @param {Range | null} range
   * @param {"ask" | "seen"} about
   */
  ask(range, about = "ask") {
    if (!range) return;
    this.asked = range;
    this.answers.awaited = true;
    this.answers.show({ title: `Asking about ${clock(range[0], 3)}${range[1] > range[0] ? ` to ${clock(range[1], 3)}` : ""} …`, lines: [], code: "" });
    this.answers.awaited = true;
    const whole = this.whole;
    const [from, to] = whole && range[1] > range[0] ? [Math.max(range[0], whole[0]), Math.min(range[1], whole[1])] : range;
    this.store.send({ type: about, from, to });
  }

  /** Send the selection to the kernel, for `dashboard.selection`. */
  select() {
    clearTimeout(this.selecting);
    this.selecting = setTimeout(() => {
      const range = this.range();
      if (this.closed || !range) return;
      const cursor = this.cursor.pinned ? this.cursor.time : this.head;
      const chosen = [this.zoom ? range[0] : null, this.zoom ? range[1] : null, cursor];
      const words = JSON.stringify(chosen);
      if (words === this.selected) return;
      this.selected = words;
      this.store.send({ type: "select", from: chosen[0], to: chosen[1], cursor });
    }, 200);
  }

  get dark() {
    const light = document.body.dataset.jpThemeLight;
    return light === undefined ? window.matchMedia("(prefers-color-scheme: dark)").matches : light === "false";
  }

  get windowMs() {
    return this.model.get("window_s") * 1000;
  }

  /** All that is held of all streams. @returns {Range | null} */
  get whole() {
    const held = this.store.streams.flatMap(({ rows }) => (rows && rows.count ? [[rows.time(rows.first), rows.last]] : []));
    if (!held.length) return null;
    const first = Math.min(...held.map(([from = 0]) => from));
    return [first, Math.max(first + 1000, ...held.map(([, to = 0]) => to))];
  }

  /** The time of the newest row that is shown. */
  get now() {
    const { rows } = this.store.main;
    return this.head ?? (rows && rows.count ? rows.last : 0);
  }

  /** Seconds since a stream's newest packet: the kernel sent it once, and rows that came since are newer. @param {import("./stream.js").Stream} stream @param {import("./types.js").Status} status */
  age(stream, status) {
    const heard = this.store.heardAt[this.store.streams.indexOf(stream)];
    const sent = (status.age_s ?? 0) + this.sinceStatus;
    return heard === undefined || heard <= this.statusAt ? sent : Math.min(sent, (performance.now() - heard) / 1000);
  }

  /** Seconds since the kernel last sent the age of the newest packet. */
  get sinceStatus() {
    return (performance.now() - this.statusAt) / 1000;
  }

  /** The stream's clock now, as far as it keeps pace with ours. */
  get clockNow() {
    const status = this.store.main.tables.status;
    return this.head !== null || !this.store.main.moves || !status ? this.now : this.alerts.now;
  }

  /** Return the range to show. @returns {Range | null} */
  range() {
    if (this.zoom) return this.zoom;
    const { whole } = this;
    const moves = this.store.streams.some((stream) => stream.moves);
    if (whole && this.head !== null && !moves) return around(this.shown, this.head, whole[0], whole[1], this.windowMs);
    return whole && follow(this.shown, whole[0], foreseen(whole[1], this.ahead, this.windowMs, whole[1] - whole[0]), this.windowMs, moves);
  }

  /** The end of the forecast that is shown; null where none is, as in the past. @returns {number | null} */
  get ahead() {
    return this.head === null ? this.store.main.ahead : null;
  }

  /** The price of all that is held, thinned to a width. @param {Range} whole @param {number} width */
  overview(whole, width) {
    const rows = /** @type {import("./rows.js").Rows} */ (this.store.main.rows);
    const held = this.all_;
    const end = whole[1] + 0.1 * (whole[1] - whole[0]);
    const isFresh = held && held.rows === rows && held.most === width && rows.last < held.start + width / 2 / held.scale;
    if (!isFresh || !held.extend(rows.end)) this.all_ = new Thinning(rows, rows.first, rows.end, whole[0], end, width);
    return /** @type {Thinning} */ (this.all_).line("price", null);
  }
}
