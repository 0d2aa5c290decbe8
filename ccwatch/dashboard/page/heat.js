// The heat strip: each service against its own usual latency, the worst first. Pure. Its twin for still figures is in ccwatch.figures.panels.

/** @import { Line } from "./thin.js" */

export const ROWS = 4;
export const CELL = 4; // px
const FILL = 0.9;
const SLOW = 3; // times the usual, as ccwatch.domain.limits has it

/** @typedef {{ column: string, name: string, usual: number, worst: number, line: Line }} Served */

/** @param {number} timesUsual a share of a row: the usual is a sixth, eight times the usual fills it */
export function barHeight(timesUsual) {
  const size = Math.max(1, 1 + (Math.log2(Math.max(timesUsual, 0.5)) * 5) / 3) / 6;
  return Math.min(1, size) * FILL;
}

/** @param {number} timesUsual @returns {0 | 1 | 2} as usual, slow, very slow */
export function heat(timesUsual) {
  return timesUsual >= 2 * SLOW ? 2 : timesUsual >= SLOW ? 1 : 0;
}

/** The median of a line's points. @param {Line} line */
export function median(line) {
  const values = /** @type {number[]} */ (line.y.filter((value) => value !== null)).sort((one, other) => one - other);
  return values.length ? /** @type {number} */ (values[Math.floor(values.length / 2)]) : 0;
}

/** The largest median of three neighbours: one slow call alone is no trouble. @param {Line} line */
export function worst(line) {
  const values = /** @type {number[]} */ (line.y.filter((value) => value !== null));
  let most = values.length < 3 ? Math.max(0, ...values) : 0;
  for (let at = 2; at < values.length; at += 1) {
    const [a, b, c] = [values[at - 2] ?? 0, values[at - 1] ?? 0, values[at] ?? 0];
    most = Math.max(most, Math.max(Math.min(a, b), Math.min(Math.max(a, b), c)));
  }
  return most;
}

/**
 * Services, the worst first.
 * @param {[string, Line][]} lines by column
 * @param {(column: string) => number | null} usual as the kernel knows it, ms
 * @returns {Served[]}
 */
export function served(lines, usual) {
  return lines
    .map(([column, line]) => {
      const own = usual(column) ?? median(line);
      return { column, name: column.slice(column.indexOf(":") + 1), usual: own, worst: own > 0 ? worst(line) / own : 0, line };
    })
    .filter(({ usual: own }) => own > 0)
    .sort((one, other) => other.worst - one.worst || (one.column < other.column ? -1 : 1));
}

/**
 * A row's bars: [cell, times the usual], the worst call of each cell.
 * @param {Served} service
 * @param {(time: number) => number} x px of a time, from the left edge
 * @returns {[number, number][]}
 */
export function cells({ line, usual }, x) {
  /** @type {[number, number][]} */
  const found = [];
  for (let place = 0; place < line.x.length; place += 1) {
    const value = line.y[place];
    if (value === null || value === undefined) continue;
    const cell = Math.floor(x(/** @type {number} */ (line.x[place])) / CELL);
    const before = found[found.length - 1];
    if (before && before[0] === cell) before[1] = Math.max(before[1], value / usual);
    else found.push([cell, value / usual]);
  }
  return found;
}
