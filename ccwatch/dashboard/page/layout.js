// The places of the panels, and the spans of their axes. Pure: numbers in, numbers out.

/** @import { PanelSpec } from "./types.js" */

export const LEFT = 84; // px beside the panels
export const RIGHT = 28; // half of the last tick's label
export const TOP = 14;
export const BOTTOM = 20;
export const SPACE = 8;
export const RIBBON = 9;
export const LANE = 15; // of events
export const LANE_PX = 7; // between two of them
const LEAST = 56; // px of a panel that shares what is left

/** @typedef {{ spec: PanelSpec, top: number, height: number, ribbon: number, lane: number }} Place */

/**
 * Share a height among panels.
 * @param {PanelSpec[]} panels
 * @param {number} height px
 * @returns {{ height: number, places: Place[] }} the height is more than was given where that is too little
 */
export function share(panels, height) {
  const fixed = panels.reduce((sum, panel) => sum + panel.height + (panel.ribbon ? RIBBON + LANE + 2 : 0), TOP + BOTTOM + SPACE * (panels.length - 1));
  const shares = panels.reduce((sum, panel) => sum + (panel.height ? 0 : panel.share), 0);
  const least = panels.reduce((sum, panel) => sum + (panel.height ? 0 : LEAST), 0);
  const rest = Math.max(height - fixed, least);
  let top = TOP;
  const places = panels.map((spec) => {
    const own = spec.height || Math.max(LEAST, Math.floor((rest * spec.share) / shares));
    const place = { spec, top, height: own, ribbon: spec.ribbon ? top + own + 2 : 0, lane: spec.ribbon ? top + own + 2 + RIBBON : 0 };
    top += own + (spec.ribbon ? RIBBON + LANE + 2 : 0) + SPACE;
    return place;
  });
  return { height: top - SPACE + BOTTOM, places };
}

/**
 * Whether values have come at least half the way from 0 to a limit (see ccwatch.figures.panels.is_near).
 * @param {number} level
 * @param {number} low
 * @param {number} high
 */
export function isNear(level, low, high) {
  return level < 0 ? low <= level / 2 : high >= level / 2;
}

/**
 * Return the span of an axis: the values with some room, the limits that are near, within what the panel allows.
 * @param {PanelSpec} panel
 * @param {number} low the least value that is drawn; Infinity where there is none
 * @param {number} high
 * @returns {[number, number]}
 */
export function axisRange(panel, low, high) {
  let [from, to] = low <= high ? [low, high] : [0, 1];
  for (const [level] of panel.levels) {
    if (low <= high && isNear(level, low, high)) [from, to] = [Math.min(from, level), Math.max(to, level)];
  }
  const room = 0.08 * (to - from) || Math.abs(to) * 0.001 || 0.01;
  from -= room;
  to += room;
  if (panel.clip !== null) to = Math.min(to, panel.clip);
  if (panel.ceiling !== null) to = Math.min(to, panel.ceiling + room / 4);
  if (panel.floor !== null) from = Math.max(from, panel.floor);
  return to > from ? [from, to] : [from, from + 1];
}

/**
 * Whether values that are drawn ask for another axis.
 * @param {PanelSpec} panel
 * @param {{ low: number, high: number }} box what the axis spans
 * @param {number} low
 * @param {number} high
 */
export function outgrows(panel, box, low, high) {
  if (low > high) return false;
  const top = panel.clip === null ? high : Math.min(high, panel.clip);
  const bottom = panel.floor === null ? low : Math.max(low, panel.floor);
  return bottom < box.low || top > box.high;
}

/**
 * A panel's format of ticks with as many digits as its span needs: five ticks must not all read 0.0 %.
 * @param {string} format of d3
 * @param {number} span
 */
export function tickFormat(format, span) {
  if (!/^,?\.[0-9][f%]$/.test(format) || !(span > 0)) return format;
  const shown = format.endsWith("%") ? span * 100 : span;
  const digits = Math.max(Number(format.at(-2)), Math.min(6, Math.ceil(-Math.log10(shown / 5))));
  return `${format.slice(0, -2)}${digits}${format.at(-1)}`;
}
