// What plotly makes: axes, limits and bands; and all of the picture where it stands still. It must not know a stream's rows.

/** @import { PanelSpec, Range, Skeleton, Trace } from "./types.js" */
/** @import { Charts } from "./charts.js" */

import { Scale } from "./canvas.js";
import { CELL, ROWS } from "./heat.js";
import { axisRange, BOTTOM, isNear, LEFT, RIBBON, RIGHT, tickFormat, TOP } from "./layout.js";

/**
 * @param {Charts} charts
 * @param {Range} range
 * @param {number} width
 * @param {number} height
 * @param {Map<string, [number, number]>} spans
 */
export function axesOf(charts, range, width, height, spans) {
  const { layout: made } = /** @type {Skeleton} */ (charts.skeleton);
  const inner = height - TOP - BOTTOM;
  const domain = (/** @type {number} */ top, /** @type {number} */ own) => [Math.max(0, 1 - (top + own - TOP) / inner), Math.min(1, 1 - (top - TOP) / inner)];
  /** @type {Record<string, any>} */
  const layout = {
    ...made,
    meta: undefined,
    width,
    height,
    margin: { l: LEFT, r: RIGHT, t: TOP, b: BOTTOM },
    hovermode: charts.view.still ? "closest" : false,
    dragmode: false,
    showlegend: false,
    shapes: (made.shapes ?? []).slice(),
    xaxis: { ...made.xaxis, title: undefined, range, autorange: false, showspikes: false, fixedrange: true },
  };
  for (const { spec, top, height: own, ribbon } of charts.places) {
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
  if (!charts.view.still) for (const { spec } of charts.places) for (const name of [spec.gaps, spec.ribbon]) if (name) delete layout[`yaxis${name.slice(1)}`];
  for (const name of Object.keys(layout)) if (name.startsWith("legend")) delete layout[name];
  if (charts.view.still) layout.shapes.push(...flagShapes(charts));
  return layout;
}

/** A thin line at each of the user's marks, for plotly. @param {Charts} charts */
export function flagShapes(charts) {
  const { main } = charts.view.store;
  const color = charts.skeleton?.layout.font.color;
  return charts.flagTimes(main).map((x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color, width: 1, dash: "dashdot" } }));
}

/** The traces as plotly would draw them: for a picture that stands still. @param {Charts} charts @param {Trace[]} traces @param {Range} range */
export function filledTraces(charts, traces, range) {
  /** @type {any[]} */
  const found = [];
  for (const trace of traces) {
    const { role } = trace.meta;
    if (!charts.shows(trace)) continue;
    if (role === "line" || role === "computed") {
      const { x, y } = charts.linePoints(trace);
      found.push({ ...trace, x: x.slice(), y: y.slice(), hovertemplate: undefined, hoverinfo: "skip", line: { ...trace.line, simplify: false } });
    } else if (role === "signals") {
      const mine = charts.marks(trace);
      found.push({ ...trace, visible: mine.length > 0, x: mine.map((mark) => mark[0]), y: mine.map((mark) => mark[1]), text: [], hoverinfo: "skip", hovertemplate: undefined, cliponaxis: true, marker: { ...trace.marker, size: mine.map((mark) => mark[7]), symbol: mine.map((mark) => mark[8]) } });
    } else if (role === "strip") {
      const bars = charts.bars();
      const scale = /** @type {Scale} */ (charts.scale ?? new Scale(LEFT, 1, range[0], range[1]));
      found.push({ ...trace, visible: bars.length > 0, text: [], hoverinfo: "skip", hovertemplate: undefined, base: bars.map((bar) => bar.row), y: bars.map((bar) => bar.height), x: bars.map((bar) => scale.time(scale.left + bar.x)), width: bars.map(() => (CELL - 1) / scale.perMs), marker: { color: bars.map((bar) => charts.colour(bar.heat)), line: { width: 0 } } });
    } else {
      const spans = role === "gaps" ? charts.gapSpans(-Infinity) : charts.ribbon(-Infinity).filter((bar) => bar[0] === trace.meta.code).map((bar) => [bar[1], bar[2]]);
      found.push({ ...trace, visible: spans.length > 0, x: spans.map((bar) => bar[0]), width: spans.map((bar) => (bar[1] ?? 0) - (bar[0] ?? 0)), y: spans.map(() => 1) });
    }
  }
  return found;
}
