// The lane of events below the regimes: which moments it shows, and which of them is under the mouse. It draws nothing.

/** @import { Item } from "./types.js" */
/** @import { Scale } from "./canvas.js" */
/** @import { Charts } from "./charts.js" */

import { apart } from "./items.js";
import { LANE, LANE_PX } from "./layout.js";

/** Return the important items, which the lane shows. @param {Charts} charts @returns {Item[]} */
function laneItems({ view }) {
  const { important, head } = view;
  return head === null ? important : important.filter((item) => item.time <= head);
}

/** How many moments and marks lie before a time. @param {Charts} charts @param {number} time */
export function pastMoments(charts, time) {
  return laneItems(charts).filter((item) => item.time < time).length + charts.flagTimes(charts.view.store.main).filter((at) => at < time).length;
}

/** The moments of the lane that are drawn, with their px. @param {Charts} charts @param {Scale} scale */
export function laneMarks(charts, scale) {
  const right = scale.left + scale.width;
  const seen = laneItems(charts).map((item) => ({ item, x: scale.x(item.time) })).filter(({ x }) => x >= scale.left && x <= right);
  return apart(seen, LANE_PX, charts.view.side.chosen);
}

/** The moment of the lane under a place; null where none is. @param {Charts} charts @param {number} x px @param {number} y px */
export function laneAt(charts, x, y) {
  const { scale, places } = charts;
  const place = places.find(({ lane }) => lane > 0);
  if (!scale || !place || y < place.lane || y > place.lane + LANE) return null;
  let best = null;
  for (const { item, x: own } of laneMarks(charts, scale)) {
    const away = Math.abs(own - x);
    if (away < LANE_PX && (!best || away <= best.away)) best = { item, away };
  }
  return best?.item ?? null;
}
