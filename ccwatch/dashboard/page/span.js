// Which stretch of time is shown: the window that follows the stream, in steps, or a range that was chosen. Pure.

/** @import { Range } from "./types.js" */

const STEP = 0.1; // of the window: so far it runs ahead of the newest row, so that the axis rests meanwhile
const YOUNG_MS = 60_000;

/**
 * The window that holds the newest row. It keeps its edges until that row passes the right one, then steps on by a tenth.
 * @param {Range | null} shown what was shown last; null begins
 * @param {number} first ms of the oldest row
 * @param {number} last ms of the newest
 * @param {number} span ms of the window; 0 is everything
 * @param {boolean} moves whether more may come
 * @returns {Range}
 */
export function follow(shown, first, last, span, moves) {
  const whole = Math.max(last - first, 1000);
  if (!moves) return [span > 0 && last - first > span ? last - span : first, Math.max(last, first + 1000)];
  const length = span > 0 ? Math.min(span, Math.max(whole * (1 + STEP), YOUNG_MS)) : Math.max(whole * (1 + STEP), YOUNG_MS);
  const isYoung = span === 0 || whole < span * (1 - STEP);
  if (shown && last <= shown[1] && last >= shown[0]) {
    const held = shown[1] - shown[0];
    const begins = isYoung ? first : Math.max(first, shown[1] - span);
    const fits = Math.abs(shown[0] - begins) < STEP * held && (span === 0 || held <= span * (1 + STEP));
    const isWide = last < shown[1] - 2.5 * STEP * held && held > YOUNG_MS * 1.01;
    if (fits && !isWide) return shown;
  }
  if (isYoung) return [first, first + length];
  const edge = last + STEP * span;
  return [edge - span, edge];
}

/**
 * The window around the play head of a recording. It keeps its edges while they hold the head; else the head lies a tenth from the
 * right one, since what follows it is not shown.
 * @param {Range | null} shown what was shown last; null begins
 * @param {number} head ms
 * @param {number} first ms of the oldest row
 * @param {number} last ms of the newest
 * @param {number} span ms of the window; 0 is everything
 * @returns {Range}
 */
export function around(shown, head, first, last, span) {
  if (span === 0 || last - first <= span) return [first, Math.max(last, first + 1000)];
  if (shown && head >= shown[0] && head <= shown[1]) return shown;
  const from = Math.min(last - span, Math.max(first, head - (1 - STEP) * span));
  return [from, from + span];
}

/**
 * The time that must be in sight on the right: the newest row's, or the end of a forecast ahead of it, as far as a third of the window.
 * @param {number} last ms of the newest row
 * @param {number | null} ahead ms of the forecast's end; null where none is
 * @param {number} span ms of the window; 0 is everything
 * @param {number} whole ms that are held
 * @returns {number}
 */
export function foreseen(last, ahead, span, whole) {
  if (ahead === null || ahead <= last) return last;
  const room = (span > 0 ? Math.min(span, Math.max(whole, YOUNG_MS)) : Math.max(whole, YOUNG_MS)) / 3;
  return Math.min(ahead, last + room);
}

/**
 * A range that is at least 20 ms long.
 * @param {Range} range
 * @returns {Range}
 */
export function widened(range) {
  return range[1] - range[0] < 20 ? [range[0] - 10, range[1] + 10] : range;
}
