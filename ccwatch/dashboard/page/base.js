// What plotly makes below the canvas: the axes with their limits and bands, and all of a picture that does not move.
// To make them costs thirty times as much as to draw a packet, and to move them a third of that: so they are moved where that is enough.

/** @import { Box, Range, Trace } from "./types.js" */
/** @import { Charts } from "./charts.js" */

import { axesOf, filledTraces } from "./axes.js";
import { Scale } from "./canvas.js";
import { element } from "./dom.js";
import { axisRange, outgrows, RIBBON } from "./layout.js";

const CONFIG = { displayModeBar: false, doubleClick: false, responsive: false, scrollZoom: false };

/** The name of a panel's axis in plotly's layout. @param {string} name */
function inLayout(name) {
  return `yaxis${name.slice(1)}`;
}

export class Base {
  /** @param {Charts} charts */
  constructor(charts) {
    this.charts = charts;
    this.el = element("div", "ccw-base");
    /** @type {Scale | null} */
    this.scale = null;
    /** @type {Map<string, Box>} */
    this.boxes = new Map(); // by axis
    /** @type {Set<string>} */
    this.bare = new Set(); // axes of panels without a value
    this.rest = ""; // of the layout, but for what can be moved
    this.shapes = "";
    this.isShifted = false; // the axes fit what was shown before
    this.made = 0;
    this.moved = 0;
  }

  /** Whether the axes begin and end where they should. @param {Range} range */
  isAt(range) {
    return this.scale !== null && this.scale.from === range[0] && this.scale.to === range[1];
  }

  /**
   * Fit the axes to what is shown: make them, or move them where nothing else differs.
   * @param {Range} range
   * @param {number} width
   * @param {number} height
   * @param {Map<string, [number, number]>} spans
   * @param {Trace[]} traces
   */
  fit(range, width, height, spans, traces) {
    const { charts } = this;
    const { still } = charts.view;
    const layout = axesOf(charts, range, width, height, spans);
    const rest = JSON.stringify(layout, (name, value) => (name === "range" || name === "shapes" ? undefined : value));
    const shapes = JSON.stringify(layout.shapes);
    if (still || rest !== this.rest) this.make(layout, traces, range);
    else this.move(range, new Map(charts.places.map(({ spec }) => [spec.axis, layout[inLayout(spec.axis)].range])), shapes === this.shapes ? null : layout.shapes);
    this.rest = still ? "" : rest;
    this.shapes = shapes;
    this.isShifted = false;
    this.place(range, layout, spans);
  }

  /** @param {any} layout @param {Trace[]} traces @param {Range} range */
  make(layout, traces, range) {
    const { charts } = this;
    const { still } = charts.view;
    const blank = () => [...new Set(charts.panels.map((panel) => panel.axis))].map((yaxis) => ({
      type: "scatter", mode: "lines", x: [null], y: [null], xaxis: "x", yaxis, hoverinfo: "skip", showlegend: false,
    }));
    charts.Plotly.react(this.el, still ? filledTraces(charts, traces, range) : blank(), layout, { ...CONFIG, staticPlot: !still });
    this.made += 1;
  }

  /**
   * Move the axes to other ranges: plotly then draws ticks, grid and shapes alone.
   * @param {Range} range
   * @param {Map<string, number[]>} ranges by axis
   * @param {any[] | null} shapes null leaves them
   */
  move(range, ranges, shapes) {
    /** @type {Record<string, any>} */
    const update = this.isAt(range) ? {} : { "xaxis.range": [...range] };
    for (const [axis, [low, high]] of ranges) {
      const box = this.boxes.get(axis);
      if (!box || box.low !== low || box.high !== high) update[`${inLayout(axis)}.range`] = [low, high];
    }
    if (shapes) update.shapes = shapes;
    if (!Object.keys(update).length) return;
    this.charts.Plotly.relayout(this.el, update);
    this.moved += 1;
  }

  /**
   * Move the time axis while a view is moved, and an axis of values only where they would leave it: the rest once the view rests.
   * @param {Range} range
   * @param {Map<string, [number, number]>} spans
   */
  shift(range, spans) {
    /** @type {Map<string, number[]>} */
    const ranges = new Map();
    for (const { spec } of this.charts.places) {
      const box = this.boxes.get(spec.axis);
      const [low, high] = spans.get(spec.axis) ?? [Infinity, -Infinity];
      if (!box || spec.strip || !outgrows(spec, box, low, high)) continue;
      const [from, to] = axisRange(spec, low, high);
      ranges.set(spec.axis, [Math.min(from, box.low), Math.max(to, box.high)]);
    }
    this.move(range, ranges, null);
    for (const [axis, [low = 0, high = 1]] of ranges) Object.assign(this.boxes.get(axis) ?? {}, { low, high });
    this.isShifted = true;
    this.scaled(range);
    this.findBare(spans);
  }

  /** @param {Range} range */
  scaled(range) {
    const { xaxis } = /** @type {any} */ (this.el)._fullLayout;
    this.scale = new Scale(xaxis._offset, xaxis._length, range[0], range[1]);
  }

  /** @param {Map<string, [number, number]>} spans */
  findBare(spans) {
    const isBare = (/** @type {string} */ axis) => {
      const [low, high] = spans.get(axis) ?? [Infinity, -Infinity];
      return !(low <= high);
    };
    this.bare = new Set(this.charts.places.map(({ spec }) => spec.axis).filter(isBare));
  }

  /**
   * Note where the panels lie.
   * @param {Range} range
   * @param {any} layout
   * @param {Map<string, [number, number]>} spans
   */
  place(range, layout, spans) {
    this.scaled(range);
    this.findBare(spans);
    this.boxes = new Map();
    for (const { spec, top, height, ribbon } of this.charts.places) {
      const [low, high] = layout[inLayout(spec.axis)].range;
      this.boxes.set(spec.axis, { top, height, low, high });
      this.boxes.set(spec.gaps, { top, height, low: 0, high: 1 });
      if (spec.ribbon) this.boxes.set(spec.ribbon, { top: ribbon, height: RIBBON, low: 0, high: 1 });
    }
  }
}
