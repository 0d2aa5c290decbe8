// The picture: plotly makes axes, which change seldom; what changes with each packet is drawn on one canvas above, in its coordinates.
// It must not know what the numbers mean: traces, layout and labels come from the kernel as a skeleton, filled by `meta`.

/** @import { Box, Item, PanelSpec, Range, Skeleton, Trace } from "./types.js" */
/** @import { View } from "./view.js" */
/** @import { Stream } from "./stream.js" */
/** @import { Served } from "./heat.js" */

import { Painter, Scale } from "./canvas.js";
import { tell } from "./dom.js";
import { barHeight, CELL, cells, heat, ROWS, served } from "./heat.js";
import { axisRange, BOTTOM, isNear, LANE, outgrows, RIBBON, share, tickFormat, TOP } from "./layout.js";
import { UNKNOWN } from "./rows.js";
import { gaps, stretches, Thinning } from "./thin.js";
import { nameOfLine } from "./values.js";

const LEFT = 84; // px beside the panels
const RIGHT = 28; // half of the last tick's label
const BACK_PX = 24; // so far left of what is new a bar or a mark may reach
const OTHERS = ["#7B3FA0", "#00795C", "#B34700", "#7A6A00"]; // lines of a second stream and the next ones

export class Charts {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = tell("div", "ccw-charts");
    this.plot = tell("div", "ccw-plot");
    this.base = tell("div", "ccw-base");
    this.canvas = tell("canvas", "ccw-canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.plot.append(this.base, this.canvas);
    this.el.append(this.plot);
    this.painter = new Painter(this.canvas);
    /** @type {any} */
    this.Plotly = null;
    /** @type {Scale | null} */
    this.scale = null;
    /** @type {Map<string, Box>} */
    this.boxes = new Map(); // by axis
    /** @type {import("./layout.js").Place[]} */
    this.places = [];
    /** @type {(Thinning | null)[]} */
    this.thinned = []; // of each stream
    /** @type {Served[]} */
    this.services = [];
    this.key = ""; // what the base was made of
    this.draws = 0;
    this.bases = 0;
    this.lastThin = 0;
    this.points = 0;
    this.drawnTo = 0; // px up to which nothing changes any more
    this.laneKey = "";
    this.height = 0;
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
    const look = [view.dark, width, height, range, this.panels.map((panel) => panel.name), view.values.version, skeleton.layout.xaxis.title.text, traces.map(nameOfLine)];
    const key = JSON.stringify(look);
    const grown = places.some(({ spec }) => {
      const box = this.boxes.get(spec.axis);
      const [low, high] = spans.get(spec.axis) ?? [Infinity, -Infinity];
      return !box || this.bare.has(spec.axis) === (low <= high) || (!spec.strip && (outgrows(spec, box, low, high) || this.near(spec, low, high) !== this.nearKeys.get(spec.axis)));
    });
    const isBase = key !== this.key || grown;
    if (isBase) {
      this.key = key;
      this.height = height;
      this.places = places;
      this.rebase(range, width, height, spans, traces);
    }
    this.paint(traces, isBase || whole);
    this.draws += 1;
    return true;
  }

  /** Which limits are drawn. @type {Map<string, string>} */
  nearKeys = new Map();

  /** The axes of panels without a value. @type {Set<string>} */
  bare = new Set();

  /** @param {PanelSpec} spec @param {number} low @param {number} high */
  near(spec, low, high) {
    return spec.levels.map(([level]) => (low <= high && isNear(level, low, high) ? "1" : "0")).join("");
  }

  /**
   * Thin what is new; true where all was thinned anew.
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
   * Have plotly make the axes.
   * @param {Range} range
   * @param {number} width
   * @param {number} height
   * @param {Map<string, [number, number]>} spans
   * @param {Trace[]} traces
   */
  rebase(range, width, height, spans, traces) {
    const layout = this.layout(range, width, height, spans);
    const blank = [...new Set(this.panels.map((panel) => panel.axis))].map((yaxis) => ({
      type: "scatter", mode: "lines", x: [null], y: [null], xaxis: "x", yaxis, hoverinfo: "skip", showlegend: false,
    }));
    const full = this.view.still ? this.filled(traces, range) : blank;
    this.Plotly.react(this.base, full, layout, { displayModeBar: false, doubleClick: false, responsive: false, scrollZoom: false, staticPlot: !this.view.still });
    this.bases += 1;
    this.view.el.dataset.bases = String(this.bases);
    this.painter.size(width, height);
    this.plot.style.height = `${height}px`;
    const { xaxis } = /** @type {any} */ (this.base)._fullLayout;
    this.scale = new Scale(xaxis._offset, xaxis._length, range[0], range[1]);
    this.boxes = new Map();
    this.bare = new Set();
    for (const { spec, top, height: own, ribbon } of this.places) {
      const axis = layout[`yaxis${spec.axis.slice(1)}`];
      this.boxes.set(spec.axis, { top, height: own, low: axis.range[0], high: axis.range[1] });
      this.boxes.set(spec.gaps, { top, height: own, low: 0, high: 1 });
      if (spec.ribbon) this.boxes.set(spec.ribbon, { top: ribbon, height: RIBBON, low: 0, high: 1 });
      const [low, high] = spans.get(spec.axis) ?? [Infinity, -Infinity];
      this.nearKeys.set(spec.axis, this.near(spec, low, high));
      if (!(low <= high)) this.bare.add(spec.axis);
    }
    this.view.values.place();
  }

  /**
   * @param {Range} range
   * @param {number} width
   * @param {number} height
   * @param {Map<string, [number, number]>} spans
   */
  layout(range, width, height, spans) {
    const { layout: made, data } = /** @type {Skeleton} */ (this.skeleton);
    const inner = height - TOP - BOTTOM;
    const domain = (/** @type {number} */ top, /** @type {number} */ own) => [Math.max(0, 1 - (top + own - TOP) / inner), Math.min(1, 1 - (top - TOP) / inner)];
    /** @type {Record<string, any>} */
    const layout = {
      ...made,
      meta: undefined,
      width,
      height,
      margin: { l: LEFT, r: RIGHT, t: TOP, b: BOTTOM },
      hovermode: this.view.still ? "closest" : false,
      dragmode: false,
      showlegend: false,
      shapes: (made.shapes ?? []).slice(),
      xaxis: { ...made.xaxis, title: undefined, range, autorange: false, showspikes: false, fixedrange: true },
    };
    for (const { spec, top, height: own, ribbon } of this.places) {
      const key = (/** @type {string} */ name) => `yaxis${name.slice(1)}`;
      const [low, high] = spans.get(spec.axis) ?? [Infinity, -Infinity];
      const span = spec.strip ? [0, ROWS] : axisRange(spec, low, high);
      const old = layout[key(spec.axis)];
      layout[key(spec.axis)] = { ...old, title: undefined, autorangeoptions: undefined, autorange: false, range: span, domain: domain(top, own), fixedrange: true, showticklabels: low <= high && !spec.strip, nticks: own < 90 ? 3 : 6, hoverformat: spec.tickformat, tickformat: tickFormat(spec.tickformat, (span[1] ?? 1) - (span[0] ?? 0)) };
      layout[key(spec.gaps)] = { ...layout[key(spec.gaps)], range: [0, 1] };
      if (spec.ribbon) layout[key(spec.ribbon)] = { ...layout[key(spec.ribbon)], domain: domain(ribbon, RIBBON), range: [0, 1] };
      // A band's name needs a line's height of it in sight; else the names of two lie on each other.
      layout.shapes = layout.shapes.map((/** @type {any} */ shape) => {
        if (shape.yref !== spec.axis || shape.type !== "rect" || !shape.label) return shape;
        const seen = Math.min(shape.y1, span[1] ?? 1) - Math.max(shape.y0, span[0] ?? 0);
        return (own * seen) / ((span[1] ?? 1) - (span[0] ?? 0)) < 13 ? { ...shape, label: undefined } : shape;
      });
      for (const [level, words] of spec.levels) {
        if (!(low <= high) || !isNear(level, low, high)) continue;
        layout.shapes.push({ ...made.meta.level, layer: "above", yref: spec.axis, y0: level, y1: level, label: { ...made.meta.level.label, text: ` ${words}` } });
      }
    }
    if (!this.view.still) for (const { spec } of this.places) for (const name of [spec.gaps, spec.ribbon]) if (name) delete layout[`yaxis${name.slice(1)}`];
    for (const name of Object.keys(layout)) if (name.startsWith("legend")) delete layout[name];
    if (this.view.still) layout.shapes.push(...this.flags());
    return data.length || layout ? layout : layout;
  }

  /** A thin line at each of the user's marks, for plotly. */
  flags() {
    const { main } = this.view.store;
    const color = this.skeleton?.layout.font.color;
    return this.flagTimes(main).map((x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color, width: 1, dash: "dashdot" } }));
  }

  /** @param {Stream} stream */
  flagTimes(stream) {
    const { head } = this.view;
    return stream.tables.marks.map(([time]) => time).filter((time) => head === null || time <= head);
  }

  /** The traces as plotly would draw them: for a picture that stands still. @param {Trace[]} traces @param {Range} range */
  filled(traces, range) {
    /** @type {any[]} */
    const found = [];
    for (const trace of traces) {
      const { role } = trace.meta;
      if (!this.shows(trace)) continue;
      if (role === "line" || role === "computed") {
        const { x, y } = this.linePoints(trace);
        found.push({ ...trace, x: x.slice(), y: y.slice(), hovertemplate: undefined, hoverinfo: "skip", line: { ...trace.line, simplify: false } });
      } else if (role === "signals") {
        const mine = this.marks(trace);
        found.push({ ...trace, visible: mine.length > 0, x: mine.map((mark) => mark[0]), y: mine.map((mark) => mark[1]), text: [], hoverinfo: "skip", hovertemplate: undefined, cliponaxis: true, marker: { ...trace.marker, size: mine.map((mark) => mark[7]), symbol: mine.map((mark) => mark[8]) } });
      } else if (role === "strip") {
        const bars = this.bars();
        const scale = /** @type {Scale} */ (this.scale ?? new Scale(LEFT, 1, range[0], range[1]));
        found.push({ ...trace, visible: bars.length > 0, text: [], hoverinfo: "skip", hovertemplate: undefined, base: bars.map((bar) => bar.row), y: bars.map((bar) => bar.height), x: bars.map((bar) => scale.time(scale.left + bar.x)), width: bars.map(() => (CELL - 1) / scale.perMs), marker: { color: bars.map((bar) => this.colour(bar.heat)), line: { width: 0 } } });
      } else {
        const spans = role === "gaps" ? this.gapSpans(-Infinity) : this.ribbon(-Infinity).filter((bar) => bar[0] === trace.meta.code).map((bar) => [bar[1], bar[2]]);
        found.push({ ...trace, visible: spans.length > 0, x: spans.map((bar) => bar[0]), width: spans.map((bar) => (bar[1] ?? 0) - (bar[0] ?? 0)), y: spans.map(() => 1) });
      }
    }
    return found;
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

  /** @param {0 | 1 | 2} of @returns {string} */
  colour(of) {
    return this.skeleton?.layout.meta.colours.heat[of] ?? "#888";
  }

  /**
   * Draw on the canvas: all, or what lies right of what cannot change any more.
   * @param {Trace[]} traces
   * @param {boolean} whole
   */
  paint(traces, whole) {
    const { scale, painter } = this;
    if (!scale) return;
    const strip = this.panels.some((panel) => panel.strip);
    const order = this.services.map((service) => service.column).slice(0, ROWS).join();
    if (strip) this.rank();
    const moved = strip && order !== this.services.map((service) => service.column).slice(0, ROWS).join();
    const computed = this.view.store.main.computedAt !== this.computedAt;
    this.computedAt = this.view.store.main.computedAt;
    const from = whole || moved || computed || this.view.still ? 0 : Math.max(0, Math.floor(this.drawnTo) - BACK_PX);
    painter.begin(from);
    if (!this.view.still) this.paintPanels(traces, from, scale);
    this.paintLane(scale);
    painter.end();
    this.drawnTo = Math.min(...this.thinned.map((thinning) => (thinning && thinning.starts.length > 1 ? scale.x(thinning.rows.time(thinning.starts[thinning.starts.length - 2] ?? thinning.from)) : 0)));
  }

  computedAt = -1;

  /** @param {Trace[]} traces @param {number} from px @param {Scale} scale */
  paintPanels(traces, from, scale) {
    const { painter } = this;
    const since = from > 0 ? scale.time(from - BACK_PX) : -Infinity;
    for (const { spec } of this.places) {
      const box = /** @type {Box} */ (this.boxes.get(spec.axis));
      const mine = traces.filter((trace) => trace.yaxis === spec.axis && this.shows(trace));
      painter.within(scale, box, () => {
        if (spec.strip) this.paintStrip(scale, box, from);
        for (const trace of mine) {
          if (trace.meta.role === "line" || trace.meta.role === "computed") this.paintLine(trace, mine, scale, box, since);
        }
        this.paintAhead(mine, scale, box);
        if (this.bare.has(spec.axis) && !(spec.strip && this.services.length)) this.painter.words(scale, box, "no values in this view", this.skeleton?.layout.meta.colours.muted);
      });
      for (const trace of mine) if (trace.meta.role === "signals") painter.within(scale, box, () => this.paintMarks(trace, scale, box, since));
      const hatch = traces.find((trace) => trace.yaxis === spec.gaps);
      if (hatch && !this.view.values.hidden.has(hatch.meta.label)) painter.within(scale, box, () => painter.bars(scale, box, this.gapSpans(since), hatch.marker));
      const ribbon = this.boxes.get(spec.ribbon);
      if (spec.ribbon && ribbon) {
        const found = this.ribbon(since);
        painter.within(scale, ribbon, () => {
          for (const trace of traces) {
            if (trace.yaxis !== spec.ribbon || !this.shows(trace)) continue;
            painter.bars(scale, ribbon, found.filter((bar) => bar[0] === trace.meta.code).map((bar) => [bar[1], bar[2]]), trace.marker);
          }
        });
      }
    }
    for (const time of this.flagTimes(this.view.store.main)) {
      const x = scale.x(time);
      if (time < scale.from || time > scale.to) continue;
      painter.line(new Scale(x, 1, 0, 1), { top: TOP, height: this.height - TOP - BOTTOM, low: 0, high: 1 }, [0, 0], [1, 0], { color: this.skeleton?.layout.font.color, width: 1, dash: "dashdot" });
    }
  }

  /** @param {Trace} trace @param {Trace[]} mine @param {Scale} scale @param {Box} box @param {number} since ms */
  paintLine(trace, mine, scale, box, since) {
    const points = this.linePoints(trace);
    let first = 0;
    if (since > -Infinity) {
      first = points.x.length - 1;
      while (first > 0 && (/** @type {number} */ (points.x[first]) > since || points.y[first] === null)) first -= 1;
      first = Math.max(0, first);
    }
    if (trace.fill === "tonexty") {
      const before = mine[mine.indexOf(trace) - 1];
      if (before) this.painter.fill(scale, box, this.linePoints(before), points, trace.fillcolor);
    }
    this.painter.line(scale, box, points.x, points.y, trace.line, first);
  }

  /** The name of what lies ahead of the price, above or below it: a mock forecast must not pass for one. @param {Trace[]} mine @param {Scale} scale @param {Box} box */
  paintAhead(mine, scale, box) {
    const ahead = mine.filter((trace) => trace.meta.ahead);
    const words = ahead[0]?.meta.ahead;
    const points = ahead.map((trace) => this.linePoints(trace)).filter(({ x }) => x.length);
    if (!words || !points.length) return;
    const { ctx } = this.painter;
    const end = Math.min(scale.left + scale.width, Math.max(...points.map(({ x }) => scale.x(x.at(-1) ?? 0))));
    const values = points.flatMap(({ y }) => y.filter((value) => value !== null));
    const top = Scale.y(box, Math.max(...values));
    ctx.font = "11px system-ui, sans-serif";
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    ctx.fillStyle = this.skeleton?.layout.meta.colours.text ?? "#888";
    ctx.fillText(words, end, top - 2 < box.top + 12 ? Math.min(box.top + box.height - 2, Scale.y(box, Math.min(...values)) + 14) : top - 2);
  }

  /** @param {Trace} trace @param {Scale} scale @param {Box} box @param {number} since ms */
  paintMarks(trace, scale, box, since) {
    for (const mark of this.marks(trace)) {
      if (mark[0] < since || mark[0] > scale.to || mark[1] === null) continue;
      this.painter.symbol(scale.x(mark[0]), Scale.y(box, mark[1]), mark[8], mark[7], trace.marker.color, trace.marker.line?.width ?? 1);
    }
  }

  /** @param {Scale} scale @param {Box} box @param {number} from px */
  paintStrip(scale, box, from) {
    const { ctx } = this.painter;
    const row = box.height / ROWS;
    for (const bar of this.bars()) {
      const x = scale.left + bar.x;
      if (x < from - CELL) continue;
      ctx.fillStyle = this.colour(bar.heat);
      ctx.fillRect(x, box.top + box.height - (bar.row + bar.height) * row, CELL - 1, bar.height * row);
    }
  }

  /** The lane of events, below the regimes. @param {Scale} scale */
  paintLane(scale) {
    const place = this.places.find(({ lane }) => lane > 0);
    if (!place) return;
    const { ctx } = this.painter;
    const { colours } = this.skeleton?.layout.meta ?? { colours: {} };
    const chosen = this.view.side.chosen;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    let free = -Infinity;
    for (const item of this.laneItems()) {
      const x = scale.x(item.time);
      const isChosen = chosen !== null && item.time === chosen;
      if (x < scale.left || x > scale.left + scale.width || (x < free && !isChosen)) continue;
      free = x + 7;
      ctx.font = `${isChosen ? "bold 14px" : "11px"} system-ui, sans-serif`;
      ctx.fillStyle = item.kind === "halt" || item.kind === "alert" ? colours.heat?.[2] : item.kind === "gap" ? colours.muted : colours.text;
      ctx.fillText(item.glyph, x, place.lane + LANE / 2);
    }
  }

  /** What the lane shows: what is important. @returns {Item[]} */
  laneItems() {
    const { head } = this.view;
    return this.view.items.filter((item) => item.important && (head === null || item.time <= head));
  }

  /** The moment of the lane under a place; null where none is. @param {number} x px @param {number} y px */
  laneAt(x, y) {
    const { scale } = this;
    const place = this.places.find(({ lane }) => lane > 0);
    if (!scale || !place || y < place.lane || y > place.lane + LANE) return null;
    let best = null;
    for (const item of this.laneItems()) {
      const away = Math.abs(scale.x(item.time) - x);
      if (away < 7 && (!best || away <= best.away)) best = { item, away };
    }
    return best?.item ?? null;
  }

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
    const layout = { ...this.layout(range, width, this.height, this.spans(traces)), paper_bgcolor: this.view.dark ? "#111" : "#fff" };
    const data = this.filled(traces, range);
    this.view.still = false;
    await this.Plotly.downloadImage({ data, layout }, { format: "png", filename: "ccwatch", width, height: this.height, scale: 2 });
  }

  close() {
    if (this.Plotly) this.Plotly.purge(this.base);
  }
}
