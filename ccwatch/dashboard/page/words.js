// How numbers, times and lengths of time are written: one minus sign, sensible digits, one clock. Pure.

export const MINUS = "\u2212";
const DASH = "–";

/**
 * @param {number | null | undefined} value
 * @returns {value is number}
 */
export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** @type {Map<number, Intl.NumberFormat>} */
const FORMATS = new Map(); // by digits: making one takes a hundred times as long as using it

/** @param {number} digits */
function formatOf(digits) {
  const format = FORMATS.get(digits) ?? new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  FORMATS.set(digits, format);
  return format;
}

/**
 * A number with digits after the point, thousands apart; a dash where it is not known.
 * @param {number | null | undefined} value
 * @param {number} digits
 * @param {boolean} signed whether a value above zero has its sign too
 */
export function number(value, digits = 2, signed = false) {
  if (!known(value)) return DASH;
  const size = formatOf(digits).format(Math.abs(value));
  const isZero = Number(size.replaceAll(",", "")) === 0;
  return `${value < 0 && !isZero ? MINUS : signed && !isZero ? "+" : ""}${size}`;
}

/**
 * A fraction in percent.
 * @param {number | null | undefined} value
 * @param {number} digits
 * @param {boolean} signed
 */
export function percent(value, digits = 2, signed = false) {
  return known(value) ? `${number(value * 100, digits, signed)} %` : DASH;
}

/**
 * A value as its panel reads it.
 * @param {number | null | undefined} value
 * @param {{ unit: string, digits: number, scale: number }} look
 */
export function reading(value, { unit, digits, scale }) {
  if (!known(value)) return DASH;
  const shown = number(value * scale, digits);
  return unit ? `${shown} ${unit}` : shown;
}

/**
 * A time of the display zone's wall clock, which the axis takes for UTC.
 * @param {number | null | undefined} ms
 * @param {number} digits of the second's fraction, 0 or 3
 */
export function clock(ms, digits = 0) {
  return known(ms) ? new Date(ms).toISOString().slice(11, digits ? 23 : 19) : DASH;
}

/** @param {number} ms */
export function day(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

/**
 * A length of time, coarse enough not to change more than once a second.
 * @param {number} ms
 */
export function lasting(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  if (whole < 60) return `${whole} s`;
  const [minutes, seconds] = [Math.floor(whole / 60), String(whole % 60).padStart(2, "0")];
  if (minutes < 60) return `${minutes}:${seconds}`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * What an alert says, its value first: that is read before a long line ends.
 * @param {{ subject: string, meaning: string }} alert
 * @param {string} value
 */
export function alertWords(alert, value) {
  const first = [alert.subject, value].filter(Boolean).join(" ");
  return `${first ? `${first}: ` : ""}${alert.meaning}`;
}

/** @param {number} one @param {number} other @returns {[number, number]} */
export function ordered(one, other) {
  return one < other ? [one, other] : [other, one];
}

/** USD; a dash where it is not known. @param {number | null | undefined} value */
export function money(value, digits = 2, signed = false) {
  return known(value) ? `${number(value, digits, signed)}` : DASH;
}
