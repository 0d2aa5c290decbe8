// The canvas of each panel: lines, a forecast, signals, gaps, regimes, the heat strip, the lane of events.

/** @import { Box, Trace } from "./types.js" */
/** @import { Charts } from "./charts.js" */

import { Scale } from "./canvas.js";
import { CELL, ROWS } from "./heat.js";
import { laneMarks } from "./lane.js";
import { BOTTOM, LANE, LANE_PX, TOP } from "./layout.js";

export const BACK_PX = 24; // so far left of what is new a bar or a mark may reach

/** @param {Charts} charts @param {Trace[]} traces @param {number} from px @param {Scale} scale */
export function paintPanels(charts, traces, from, scale) {
  const { painter } = charts;
  const since = from > 0 ? scale.time(from - BACK_PX) : -Infinity;
  for (const { spec } of charts.places) {
    const box = /** @type {Box} */ (charts.boxes.get(spec.axis));
    const mine = traces.filter((trace) => trace.yaxis === spec.axis && charts.shows(trace));
    painter.within(scale, box, () => {
      if (spec.strip) paintStrip(charts, scale, box, from);
      for (const trace of mine) {
        if (trace.meta.role === "line" || trace.meta.role === "computed") paintLine(charts, trace, mine, scale, box, since);
      }
      paintAhead(charts, mine, scale, box);
      if (charts.bare.has(spec.axis) && !(spec.strip && charts.services.length)) charts.painter.words(scale, box, "no values in this view", charts.skeleton?.layout.meta.colours.muted);
    });
    for (const trace of mine) if (trace.meta.role === "signals") painter.within(scale, box, () => paintMarks(charts, trace, scale, box, since));
    const hatch = traces.find((trace) => trace.yaxis === spec.gaps);
    if (hatch && !charts.view.values.hidden.has(hatch.meta.label)) painter.within(scale, box, () => painter.bars(scale, box, charts.gapSpans(since), hatch.marker));
    const ribbon = charts.boxes.get(spec.ribbon);
    if (spec.ribbon && ribbon) {
      const found = charts.ribbon(since);
      painter.within(scale, ribbon, () => {
        for (const trace of traces) {
          if (trace.yaxis !== spec.ribbon || !charts.shows(trace)) continue;
          painter.bars(scale, ribbon, found.filter((bar) => bar[0] === trace.meta.code).map((bar) => [bar[1], bar[2]]), trace.marker);
        }
      });
    }
  }
  for (const time of charts.flagTimes(charts.view.store.main)) {
    const x = scale.x(time);
    if (time < scale.from || time > scale.to) continue;
    painter.line(new Scale(x, 1, 0, 1), { top: TOP, height: charts.height - TOP - BOTTOM, low: 0, high: 1 }, [0, 0], [1, 0], { color: charts.skeleton?.layout.font.color, width: 1, dash: "dashdot" });
  }
}

/** @param {Charts} charts @param {Trace} trace @param {Trace[]} mine @param {Scale} scale @param {Box} box @param {number} since ms */
export function paintLine(charts, trace, mine, scale, box, since) {
  const points = charts.linePoints(trace);
  let first = 0;
  if (since > -Infinity) {
    first = points.x.length - 1;
    while (first > 0 && (/** @type {number} */ (points.x[first]) > since || points.y[first] === null)) first -= 1;
    first = Math.max(0, first);
  }
  if (trace.fill === "tonexty") {
    const before = mine[mine.indexOf(trace) - 1];
    if (before) charts.painter.fill(scale, box, charts.linePoints(before), points, trace.fillcolor);
  }
  charts.painter.line(scale, box, points.x, points.y, trace.line, first);
}

/** The name of what lies ahead of the price, above or below it: a mock forecast must not pass for one. @param {Charts} charts @param {Trace[]} mine @param {Scale} scale @param {Box} box */
export function paintAhead(charts, mine, scale, box) {
  const ahead = mine.filter((trace) => trace.meta.ahead);
  const words = ahead[0]?.meta.ahead;
  const points = ahead.map((trace) => charts.linePoints(trace)).filter(({ x }) => x.length);
  if (!words || !points.length) return;
  const { ctx } = charts.painter;
  const end = Math.min(scale.left + scale.width, Math.max(...points.map(({ x }) => scale.x(x.at(-1) ?? 0))));
  const values = points.flatMap(({ y }) => y.filter((value) => value !== null));
  const top = Scale.y(box, Math.max(...values));
  ctx.font = "11px system-ui, sans-serif";
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.fillStyle = charts.skeleton?.layout.meta.colours.text ?? "#888";
  ctx.fillText(words, end, top - 2 < box.top + 12 ? Math.min(box.top + box.height - 2, Scale.y(box, Math.min(...values)) + 14) : top - 2);
}

/** @param {Charts} charts @param {Trace} trace @param {Scale} scale @param {Box} box @param {number} since ms */
export function paintMarks(charts, trace, scale, box, since) {
  for (const mark of charts.marks(trace)) {
    if (mark[0] < since || mark[0] > scale.to || mark[1] === null) continue;
    charts.painter.symbol(scale.x(mark[0]), Scale.y(box, mark[1]), mark[8], mark[7], trace.marker.color, trace.marker.line?.width ?? 1);
  }
}

/** @param {Charts} charts @param {Scale} scale @param {Box} box @param {number} from px */
export function paintStrip(charts, scale, box, from) {
  const { ctx } = charts.painter;
  const row = box.height / ROWS;
  const colours = charts.heats;
  for (const bar of charts.bars()) {
    const x = scale.left + bar.x;
    if (x < from - CELL) continue;
    ctx.fillStyle = colours[bar.heat] ?? "#888";
    ctx.fillRect(x, box.top + box.height - (bar.row + bar.height) * row, CELL - 1, bar.height * row);
  }
}

/** The lane of events, below the regimes. @param {Charts} charts @param {Scale} scale @param {number} from px */
export function paintLane(charts, scale, from) {
  const place = charts.places.find(({ lane }) => lane > 0);
  if (!place) return;
  const { ctx } = charts.painter;
  const { colours } = charts.skeleton?.layout.meta ?? { colours: {} };
  const chosen = charts.view.side.chosen;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const { item, x } of laneMarks(charts, scale)) {
    if (x < from - LANE_PX - 1) continue; // stays as it was drawn
    const isChosen = chosen !== null && item.time === chosen;
    ctx.font = `${isChosen ? "bold 14px" : "11px"} system-ui, sans-serif`;
    ctx.fillStyle = item.kind === "halt" || item.kind === "alert" ? colours.heat?.[2] : item.kind === "gap" ? colours.muted : colours.text;
    ctx.fillText(item.glyph, x, place.lane + LANE / 2);
  }
}
