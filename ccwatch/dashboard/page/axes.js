// Plotly's part of a chart: axes, limits and bands; and all of a picture that does not move. It must not know a stream's rows.

/** @import { Box, PanelSpec, Range, Skeleton, Trace } from "./types.js" */
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
  const lines = linesOf(charts);
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
      const box = { top, height: own, low: span[0] ?? 0, high: span[1] ?? 1 };
      const position = (own * seen) / (box.high - box.low) < 13 ? null : freePlace(shape, box, lines.get(spec.axis) ?? [], range, width - LEFT - RIGHT);
      // Cut to what is in sight: plotly would put the name in the middle of all of it.
      const cut = { y0: Math.max(shape.y0, box.low), y1: Math.min(shape.y1, box.high) };
      return { ...shape, ...(cut.y1 > cut.y0 ? cut : {}), label: position ? { ...shape.label, textposition: position } : undefined };
    });
    for (const [level, words] of spec.levels) {
      if (!(low <= high) || !isNear(level, low, high)) continue;
      const above = (own * ((span[1] ?? 1) - level)) / ((span[1] ?? 1) - (span[0] ?? 0)); // px; a name that does not fit there lies below its line
      const label = { ...made.meta.level.label, text: ` ${words}`, ...(above < NAME_PX + 2 ? { yanchor: "top" } : {}) };
      layout.shapes.push({ ...made.meta.level, layer: "above", yref: spec.axis, y0: level, y1: level, label });
    }
  }
  if (!charts.view.still) for (const { spec } of charts.places) for (const name of [spec.gaps, spec.ribbon]) if (name) delete layout[`yaxis${name.slice(1)}`];
  for (const name of Object.keys(layout)) if (name.startsWith("legend")) delete layout[name];
  if (charts.view.still) layout.shapes.push(...flagShapes(charts));
  return layout;
}

/** The lines that are shown, by axis. @param {Charts} charts */
function linesOf(charts) {
  /** @type {Map<string, { x: number[], y: (number | null)[] }[]>} */
  const found = new Map();
  for (const trace of charts.traces) {
    if ((trace.meta.role !== "line" && trace.meta.role !== "computed") || !charts.shows(trace)) continue;
    found.set(trace.yaxis, [...(found.get(trace.yaxis) ?? []), charts.linePoints(trace)]);
  }
  return found;
}

const LETTER_PX = 6; // of a band's name, and what it keeps clear of its edge
const NAME_PX = 12;

/**
 * Where a band's name lies under no line; null where it would under any.
 * @param {any} shape
 * @param {Box} box
 * @param {{ x: number[], y: (number | null)[] }[]} lines
 * @param {Range} range
 * @param {number} width px
 * @returns {string | null}
 */
function freePlace(shape, box, lines, range, width) {
  const scale = new Scale(0, width, range[0], range[1]);
  const length = LETTER_PX * (shape.label.text.length + 2);
  const [bottom, top] = [Scale.y(box, Math.max(shape.y0, box.low)), Scale.y(box, Math.min(shape.y1, box.high))];
  const heights = /** @type {[string, number][]} */ ([["middle", (top + bottom) / 2], ["top", top + NAME_PX], ["bottom", bottom - NAME_PX]]);
  for (const [word, y] of heights) {
    if (y - NAME_PX / 2 < top - 1 || y + NAME_PX / 2 > bottom + 1) continue;
    for (const [side, from] of /** @type {[string, number][]} */ ([["left", 0], ["right", width - length]])) {
      const isUnder = lines.some((points) => crosses(points, scale, box, [from, from + length], [y - NAME_PX / 2 - 2, y + NAME_PX / 2 + 2]));
      if (!isUnder) return `${word} ${side}`;
    }
  }
  return null;
}

/**
 * Whether a line goes through a rectangle, by the rectangles around its steps.
 * @param {{ x: number[], y: (number | null)[] }} line @param {Scale} scale @param {Box} box @param {Range} across px @param {Range} down px
 */
function crosses({ x, y }, scale, box, across, down) {
  for (let place = 1; place < x.length; place += 1) {
    const [one, other] = [y[place - 1], y[place]];
    if (one === null || one === undefined || other === null || other === undefined) continue;
    if (scale.x(x[place] ?? 0) < across[0] || scale.x(x[place - 1] ?? 0) > across[1]) continue;
    const [a, b] = [Scale.y(box, one), Scale.y(box, other)];
    if (Math.max(a, b) >= down[0] && Math.min(a, b) <= down[1]) return true;
  }
  return false;
}

/** A thin line at each of the user's marks, for plotly. @param {Charts} charts */
export function flagShapes(charts) {
  const { main } = charts.view.store;
  const color = charts.skeleton?.layout.font.color;
  return charts.flagTimes(main).map((x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color, width: 1, dash: "dashdot" } }));
}

/** The traces as plotly would draw them: for a picture that does not move. @param {Charts} charts @param {Trace[]} traces @param {Range} range */
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
      found.push({ ...trace, visible: bars.length > 0, text: [], hoverinfo: "skip", hovertemplate: undefined, base: bars.map((bar) => bar.row), y: bars.map((bar) => bar.height), x: bars.map((bar) => scale.time(scale.left + bar.x)), width: bars.map(() => (CELL - 1) / scale.perMs), marker: { color: bars.map((bar) => charts.heats[bar.heat]), line: { width: 0 } } });
    } else {
      const spans = role === "gaps" ? charts.gapSpans(-Infinity) : charts.ribbon(-Infinity).filter((bar) => bar[0] === trace.meta.code).map((bar) => [bar[1], bar[2]]);
      found.push({ ...trace, visible: spans.length > 0, x: spans.map((bar) => bar[0]), width: spans.map((bar) => (bar[1] ?? 0) - (bar[0] ?? 0)), y: spans.map(() => 1) });
    }
  }
  return found;
}
