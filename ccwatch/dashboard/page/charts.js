// The picture: plotly makes axes, which change seldom; what changes with each packet is drawn on one canvas above, in its coordinates.
// It must not know what the numbers mean: traces, layout and labels come from the kernel as a skeleton, filled by `meta`.

/** @import { PanelSpec, Range, Skeleton, Trace } from "./types.js" */
/** @import { View } from "./view.js" */
/** @import { Stream } from "./stream.js" */
/** @import { Served } from "./heat.js" */

import { axesOf, filledTraces } from "./axes.js";
import { Base } from "./base.js";
import { Painter, Scale } from "./canvas.js";
import { element, hide } from "./dom.js";
import { barHeight, CELL, cells, heat, ROWS, served } from "./heat.js";
import { pastMoments } from "./lane.js";
import { isNear, LEFT, outgrows, RIGHT, share } from "./layout.js";
import { BACK_PX, paintLane, paintPanels } from "./paint.js";
import { UNKNOWN } from "./rows.js";
import { sameUntil } from "./stream.js";
import { gaps, stretches, Thinning } from "./thin.js";
import { nameOfLine } from "./values.js";

const TAIL_PX = 96;
const OTHERS = ["#7B3FA0", "#00795C", "#B34700", "#7A6A00"]; // lines of a second stream and the next ones

export class Charts {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-charts");
    this.plot = element("div", "ccw-plot");
    this.base = new Base(this);
    this.canvas = element("canvas", "ccw-canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.end = element("canvas", "ccw-canvas ccw-end");
    this.end.setAttribute("aria-hidden", "true");
    this.plot.append(this.base.el, this.canvas, this.end);
    this.el.append(this.plot);
    this.all = new Painter(this.canvas);
    this.tail = new Painter(this.end); // the end of the lines: a small canvas costs little to show again with each packet
    this.painter = this.all; // the one that is drawn on
    /** @type {any} */
    this.Plotly = null;
    /** @type {import("./layout.js").Place[]} */
    this.places = [];
    /** @type {(Thinning | null)[]} */
    this.thinned = []; // of each stream
    /** @type {Served[]} */
    this.services = [];
    this.key = ""; // what the base was made of
    this.isStale = false; // all of the canvas is drawn again
    this.draws = 0;
    this.lastThin = 0;
    this.points = 0;
    this.drawnTo = 0; // px up to which nothing changes any more
    this.height = 0;
  }

  get scale() {
    return this.base.scale;
  }

  get boxes() {
    return this.base.boxes;
  }

  get bare() {
    return this.base.bare;
  }

  get left() {
    return LEFT;
  }

  get right() {
    return RIGHT;
  }

  /** @returns {Skeleton | null} */
  get skeleton() {
    const { figure } = this.view.store.main;
    return figure ? (this.view.dark ? figure.dark : figure.light) : null;
  }

  /** @returns {PanelSpec[]} */
  get panels() {
    return this.skeleton?.layout.meta.panels ?? [];
  }

  /** The traces of the first stream, and the lines of the others in colours of their own. @returns {Trace[]} */
  get traces() {
    const { skeleton } = this;
    if (!skeleton) return [];
    const { streams, main } = this.view.store;
    const looks = [...main.looks.values()].flatMap((look) => (this.view.dark ? look.dark : look.light));
    const more = streams.slice(1).flatMap((stream, place) =>
      skeleton.data
        .filter(({ meta }) => meta.role === "line" && stream.rows?.held[meta.column ?? ""] && !meta.column?.includes(":"))
        .map((trace) => ({
          ...trace,
          line: { ...trace.line, color: OTHERS[place % OTHERS.length] },
          meta: { ...trace.meta, stream: place + 1, label: `${stream.name}: ${trace.meta.label}` },
        })),
    );
    return [...looks, ...skeleton.data, ...more];
  }

  /** Whether a trace is shown. @param {Trace} trace */
  shows(trace) {
    return !this.view.values.hidden.has(nameOfLine(trace));
  }

  /** Draw what is new, or all of it where the axes changed. */
  draw() {
    const { view, skeleton } = this;
    const range = view.range();
    const width = this.el.clientWidth;
    if (!this.Plotly || !skeleton || !range || width < 50) return false;
    const began = performance.now();
    const { height, places } = share(this.panels, view.height);
    const pixels = width - LEFT - RIGHT;
    const whole = this.thin(range, pixels);
    this.lastThin = performance.now() - began;
    const traces = this.traces;
    const spans = this.spans(traces);
    const look = [view.dark, width, height, this.panels.map((panel) => panel.name), view.values.version, skeleton.layout.xaxis.title.text, traces.map(nameOfLine)];
    const key = JSON.stringify(look);
    const isSame = key === this.key && !view.still && this.scale !== null;
    const isAt = isSame && this.base.isAt(range);
    const isMoved = isSame && view.isMoving && (!isAt || this.base.isShifted);
    if (isMoved) this.base.shift(range, spans);
    else if (!isAt || this.base.isShifted || this.grown(places, spans)) {
      this.key = key;
      this.height = height;
      this.places = places;
      this.fit(range, width, spans, traces);
    } else if (!whole && !this.isStale) {
      this.paint(traces, false);
      this.draws += 1;
      return true;
    }
    this.isStale = false;
    this.paint(traces, true);
    this.draws += 1;
    return true;
  }

  /** Whether what is shown asks for other axes. @param {import("./layout.js").Place[]} places @param {Map<string, [number, number]>} spans */
  grown(places, spans) {
    return places.some(({ spec }) => {
      const box = this.boxes.get(spec.axis);
      const [low, high] = spans.get(spec.axis) ?? [Infinity, -Infinity];
      return !box || this.bare.has(spec.axis) === (low <= high) || (!spec.strip && (outgrows(spec, box, low, high) || this.near(spec, low, high) !== this.nearKeys.get(spec.axis)));
    });
  }

  /** Which limits are drawn. @type {Map<string, string>} */
  nearKeys = new Map();

  /** @param {PanelSpec} spec @param {number} low @param {number} high */
  near(spec, low, high) {
    return spec.levels.map(([level]) => (low <= high && isNear(level, low, high) ? "1" : "0")).join("");
  }

  /**
   * Thin the new rows; return true where all rows were thinned again.
   * @param {Range} range
   * @param {number} pixels
   */
  thin(range, pixels) {
    const { streams } = this.view.store;
    let whole = this.thinned.length !== streams.length;
    this.thinned = streams.map(({ rows }, place) => {
      if (!rows || !rows.count) return null;
      const from = Math.max(rows.first, rows.find(range[0]) - 1); // one row beyond each edge, so that lines reach it
      const head = this.view.head;
      const until = head === null ? rows.end : rows.find(head + 0.001);
      const to = Math.max(from, Math.min(until, rows.find(range[1]) + 1));
      const held = this.thinned[place];
      const isSame = held && held.rows === rows && held.from === from && held.start === range[0] && held.scale === pixels / 2 / Math.max(1, range[1] - range[0]);
      if (isSame && held.extend(to)) return held;
      whole = true;
      return new Thinning(rows, from, to, range[0], range[1], pixels);
    });
    return whole;
  }

  /** The points of a line. @param {Trace} trace @returns {{ x: number[], y: (number | null)[], low?: number, high?: number, settled?: number }} */
  linePoints({ meta }) {
    const { store, head } = this.view;
    if (meta.role === "computed") {
      const { x, y } = store.main.computed.get(meta.column ?? "") ?? { x: [], y: [] };
      const past = head === null ? -1 : x.findIndex((time) => time > head);
      return past < 0 ? { x, y } : { x: x.slice(0, past), y: y.slice(0, past) };
    }
    const thinning = this.thinned[meta.stream ?? 0];
    const stream = /** @type {Stream} */ (store.streams[meta.stream ?? 0]);
    if (!thinning) return { x: [], y: [] };
    const only = meta.symbol && stream.rows ? (stream.rows.column("symbol")[stream.rows.end - 1] ?? UNKNOWN) : null;
    return thinning.line(meta.column ?? "", only);
  }

  /** The least and the greatest value of each axis. @param {Trace[]} traces @returns {Map<string, [number, number]>} */
  spans(traces) {
    const range = /** @type {Range} */ (this.view.range());
    /** @type {Map<string, [number, number]>} */
    const found = new Map();
    this.points = 0;
    for (const trace of traces) {
      if ((trace.meta.role !== "line" && trace.meta.role !== "computed") || !this.shows(trace)) continue;
      const points = this.linePoints(trace);
      this.points += points.x.length;
      if (trace.meta.ahead) continue;
      let { low, high } = points;
      if (low === undefined || high === undefined) {
        [low, high] = [Infinity, -Infinity];
        for (let at = 0; at < points.x.length; at += 1) {
          const [time, value] = [points.x[at] ?? 0, points.y[at]];
          if (value === null || value === undefined || time < range[0] || time > range[1]) continue;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
      const held = found.get(trace.yaxis) ?? [Infinity, -Infinity];
      found.set(trace.yaxis, [Math.min(held[0], low), Math.max(held[1], high)]);
    }
    return this.stretched(traces, found);
  }

  /**
   * Make room for a forecast, above and below at most as much as the other lines span: they must not become flat.
   * @param {Trace[]} traces
   * @param {Map<string, [number, number]>} spans
   */
  stretched(traces, spans) {
    const found = new Map(spans);
    for (const trace of traces) {
      const [low, high] = spans.get(trace.yaxis) ?? [Infinity, -Infinity];
      if (!trace.meta.ahead || !this.shows(trace) || !(low <= high)) continue;
      const values = /** @type {number[]} */ (this.linePoints(trace).y.filter((value) => value !== null));
      const held = found.get(trace.yaxis) ?? [low, high];
      const room = Math.max(high - low, 0.001 * Math.abs(high));
      found.set(trace.yaxis, [Math.min(held[0], Math.max(low - room, Math.min(...values))), Math.max(held[1], Math.min(high + room, Math.max(...values)))]);
    }
    return found;
  }

  /**
   * Have plotly fit the axes, and lay all else beside them.
   * @param {Range} range
   * @param {number} width
   * @param {Map<string, [number, number]>} spans
   * @param {Trace[]} traces
   */
  fit(range, width, spans, traces) {
    const { height } = this;
    this.base.fit(range, width, height, spans, traces);
    this.all.size(width, height);
    this.tail.size(TAIL_PX, height);
    if (this.plot.style.height !== `${height}px`) this.plot.style.height = `${height}px`;
    for (const { spec } of this.places) this.nearKeys.set(spec.axis, this.near(spec, ...(spans.get(spec.axis) ?? [Infinity, -Infinity])));
    this.view.values.place();
  }

  /** @param {Stream} stream */
  flagTimes(stream) {
    const { head } = this.view;
    return stream.tables.marks.map(([time]) => time).filter((time) => head === null || time <= head);
  }

  /** The signals of a side that are shown; one that would cover the one before is left out. @param {Trace} trace */
  marks(trace) {
    const { store, head } = this.view;
    const { rows, marks } = store.main;
    const thinning = this.thinned[0];
    if (!rows || !thinning) return [];
    const symbol = rows.column("symbol")[rows.end - 1];
    let free = -Infinity;
    const least = 4 / thinning.scale / 1; // ms of 8 px
    return marks.filter(([time, price, side, of]) => {
      if (side !== trace.meta.code || of !== symbol || price === null || time < free || (head !== null && time > head)) return false;
      if (time < thinning.start) return false;
      free = time + least;
      return true;
    });
  }

  /** @param {number} from ms @returns {[number, number, number][]} */
  ribbon(from) {
    const thinning = this.thinned[0];
    if (!thinning) return [];
    const { rows } = thinning;
    const first = from === -Infinity ? thinning.from : Math.max(thinning.from, rows.find(from) - 1);
    return stretches(rows, "regime", first, thinning.to, 0.25 / thinning.scale);
  }

  /** @param {number} from ms @returns {[number, number][]} */
  gapSpans(from) {
    const thinning = this.thinned[0];
    if (!thinning) return [];
    const first = from === -Infinity ? thinning.from : Math.max(thinning.from, thinning.rows.find(from) - 1);
    return gaps(thinning.rows, first, thinning.to);
  }

  /** The services of the heat strip, the worst first. */
  rank() {
    const thinning = this.thinned[0];
    const { main } = this.view.store;
    if (!thinning || !main.rows) return;
    const columns = Object.keys(main.rows.held).filter((name) => name.startsWith("latency:") || name.startsWith("model:"));
    const usual = (/** @type {string} */ column) => {
      const kind = column.startsWith("latency:") ? "agent" : "model";
      const name = column.slice(column.indexOf(":") + 1);
      return main.tables.services.find((of) => of.kind === kind && of.name === name)?.p50 ?? null;
    };
    this.services = served(columns.map((column) => [column, thinning.line(column, null)]), usual);
  }

  /** The bars of the heat strip: px from the left edge, row from below, height and heat. */
  bars() {
    const scale = this.scale;
    if (!scale) return [];
    return this.services.slice(0, ROWS).flatMap((service, row) =>
      cells(service, (time) => scale.x(time) - scale.left)
        .filter(([cell]) => cell >= 0 && cell * CELL < scale.width)
        .map(([cell, ratio]) => ({ x: cell * CELL, row: ROWS - 1 - row, height: barHeight(ratio), heat: heat(ratio) })),
    );
  }

  /** The colours of usual, slow and slowest. @returns {string[]} */
  get heats() {
    return this.skeleton?.layout.meta.colours.heat ?? [];
  }

  /**
   * Draw on the canvas: all, or what lies right of what cannot change any more.
   * @param {Trace[]} traces
   * @param {boolean} whole
   */
  paint(traces, whole) {
    const { scale, tail } = this;
    if (!scale) return;
    const strip = this.panels.some((panel) => panel.strip);
    const order = this.services.map((service) => service.column).slice(0, ROWS).join();
    if (strip) this.rank();
    const moved = strip && order !== this.services.map((service) => service.column).slice(0, ROWS).join();
    const computed = scale.x(this.computedSince()); // px
    const late = pastMoments(this, this.laneTo) !== this.lanePast; // an alert or a mark of a time that was drawn before
    const from = whole || moved || late || this.view.still ? 0 : Math.max(0, Math.floor(Math.min(this.drawnTo, computed)) - BACK_PX);
    this.laneTo = scale.time(from);
    this.lanePast = pastMoments(this, this.laneTo);
    const held = this.thinned.filter((thinning) => thinning !== null);
    const right = Math.max(0, ...held.map(({ rows, from: first, to }) => (to > first ? scale.x(rows.time(to - 1)) : 0))) + BACK_PX;
    this.drawnTo = Math.min(...this.thinned.map((of) => (of && of.starts.length > 1 ? scale.x(of.rows.time(of.starts[of.starts.length - 2] ?? 0)) : 0)));
    if (from > 0 && from >= tail.left && right <= tail.left + TAIL_PX) {
      this.drawOn(tail, traces, from, scale, null);
      return;
    }
    const left = tail.whole(Math.max(0, this.drawnTo - BACK_PX));
    const fits = right <= left + TAIL_PX && !this.view.still; // not where one of two streams ended long ago
    const since = Math.min(from, tail.left); // what the tail has shown so far is not on the other
    tail.place(fits ? left : Infinity);
    hide(this.end, !fits);
    this.drawOn(this.all, traces, since, scale, fits ? [left, left + TAIL_PX] : null);
    if (fits) this.drawOn(tail, traces, left, scale, null);
  }

  /** @param {Painter} painter @param {Trace[]} traces @param {number} from px @param {Scale} scale @param {Range | null} hole px */
  drawOn(painter, traces, from, scale, hole) {
    this.painter = painter;
    painter.begin(from, hole);
    if (!this.view.still) paintPanels(this, traces, from, scale);
    paintLane(this, scale, from);
    painter.end();
    this.painter = this.all;
  }

  computedAt = -1;
  computed = /** @type {import("./stream.js").Stream["computed"]} */ (new Map()); // as they were drawn

  /** The time up to which the computed lines are as they were drawn; Infinity where all of them are. */
  computedSince() {
    const { computed, computedAt } = this.view.store.main;
    if (computedAt === this.computedAt) return Infinity;
    this.computedAt = computedAt;
    const before = this.computed;
    this.computed = new Map(computed);
    return Math.min(...[...before.keys(), ...computed.keys()].map((name) => sameUntil(before.get(name), computed.get(name))));
  }

  laneTo = 0; // ms up to which the lane stayed as it was
  lanePast = 0; // moments before it

  /** The signal under a place. @param {number} x px @param {number} y px */
  markAt(x, y) {
    const { scale } = this;
    if (!scale) return null;
    for (const trace of this.traces) {
      if (trace.meta.role !== "signals" || !this.shows(trace)) continue;
      const box = this.boxes.get(trace.yaxis);
      if (!box) continue;
      for (const mark of this.marks(trace)) {
        if (mark[1] === null || Math.hypot(scale.x(mark[0]) - x, Scale.y(box, mark[1]) - y) > Math.max(7, mark[7])) continue;
        return mark;
      }
    }
    return null;
  }

  /** Have plotly draw all of it, as a file. */
  async save() {
    const range = this.view.range();
    if (!this.Plotly || !this.scale || !range) return;
    const width = this.el.clientWidth;
    const traces = this.traces;
    this.view.still = true;
    const layout = { ...axesOf(this, range, width, this.height, this.spans(traces)), paper_bgcolor: this.view.dark ? "#111" : "#fff" };
    const data = filledTraces(this, traces, range);
    this.view.still = false;
    await this.Plotly.downloadImage({ data, layout }, { format: "png", filename: "ccwatch", width, height: this.height, scale: 2 });
  }

  close() {
    if (this.Plotly) this.Plotly.purge(this.base.el);
  }
}
