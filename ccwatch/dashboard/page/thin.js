// The rows that a picture of some width shows: lines thinned to pixels, stretches of one code, gaps. Pure.
// A line that grew is thinned from its last bucket on, so that a frame costs what is new, not what the window holds.

/** @import { Rows } from "./rows.js" */

import { UNKNOWN } from "./rows.js";

export const BUCKET_PX = 2; // a minimum and a maximum in each: a point per pixel, where a line is 1.4 px wide
export const GAP = 1;
export const OTHER_SYMBOL = 2;

/** A line's points: x in ms, y as the column has it, a null where it is cut. */
export class Line {
  constructor() {
    /** @type {number[]} */
    this.x = [];
    /** @type {(number | null)[]} */
    this.y = [];
    this.low = Infinity;
    this.high = -Infinity;
    this.settled = 0; // points that no later row changes
    this.done = 0; // buckets that they represent
    this.cut = 0; // what cuts the next point off
  }
}

/** Rows of a range cut into buckets: a row each where few, else BUCKET_PX each; never across a gap or a change of symbol. */
export class Thinning {
  /**
   * @param {Rows} rows
   * @param {number} from the first row
   * @param {number} to the row after the last
   * @param {number} start ms at the left edge
   * @param {number} end ms at the right edge
   * @param {number} pixels between them
   */
  constructor(rows, from, to, start, end, pixels) {
    this.rows = rows;
    this.version = rows.version;
    this.from = from;
    this.to = from;
    this.start = start;
    this.most = (2 * pixels) / BUCKET_PX;
    this.exact = to - from <= this.most;
    this.scale = pixels / BUCKET_PX / Math.max(1, end - start);
    /** @type {number[]} */
    this.starts = [];
    /** @type {number[]} */
    this.cuts = []; // what lies before each bucket
    this.bucket = NaN;
    /** @type {Map<string, Line>} */
    this.lines = new Map();
    this.extend(to);
  }

  /**
   * Take the rows up to `to`; false where what was thinned no longer holds, and a new thinning is needed.
   * @param {number} to
   */
  extend(to) {
    const { rows } = this;
    if (rows.version !== this.version || to < this.to) return false;
    if (this.exact && to - this.from > this.most) return false;
    const broken = rows.column("broken");
    const symbol = rows.column("symbol");
    for (let row = this.to; row < to; row += 1) {
      let cut = 0;
      if (row > this.from) cut = (broken[row] ? GAP : 0) | (symbol[row] !== symbol[row - 1] ? OTHER_SYMBOL : 0);
      const here = this.exact ? row : Math.floor((rows.time(row) - this.start) * this.scale);
      if (cut || here !== this.bucket) {
        this.starts.push(row);
        this.cuts.push(cut);
        this.bucket = here;
      }
    }
    this.to = to;
    return true;
  }

  /**
   * The minimum and the maximum of each bucket.
   * @param {string} name
   * @param {number | null} only the one symbol to show
   * @returns {Line}
   */
  line(name, only) {
    const key = `${name}\n${only}`;
    let line = this.lines.get(key);
    if (!line) {
      line = new Line();
      this.lines.set(key, line);
    }
    line.x.length = line.settled;
    line.y.length = line.settled;
    for (; line.done < this.starts.length; line.done += 1) {
      line.settled = line.x.length;
      const { cut } = line;
      this.add(line, name, line.done, only);
      if (line.done === this.starts.length - 1) {
        line.cut = cut; // it may grow: it is thinned again
        break;
      }
    }
    return line;
  }

  /**
   * @param {Line} line
   * @param {string} name
   * @param {number} bucket
   * @param {number | null} only
   */
  add(line, name, bucket, only) {
    const { rows } = this;
    const values = rows.held[name];
    const first = /** @type {number} */ (this.starts[bucket]);
    const past = this.starts[bucket + 1] ?? this.to;
    const cutting = only === null ? GAP : GAP | OTHER_SYMBOL;
    line.cut |= /** @type {number} */ (this.cuts[bucket]) & cutting;
    if (!values || (only !== null && rows.column("symbol")[first] !== only)) return;
    let low = NaN;
    let high = NaN;
    let least = Infinity;
    let most = -Infinity;
    for (let row = first; row < past; row += 1) {
      const value = /** @type {number} */ (values[row]); // NaN, not carried by this row, is neither less nor more
      if (value < least) {
        least = value;
        low = row;
      }
      if (value > most) {
        most = value;
        high = row;
      }
    }
    if (Number.isNaN(low)) return;
    if (line.cut && line.x.length) {
      line.x.push(rows.time(low));
      line.y.push(null);
    }
    line.cut = 0;
    line.low = Math.min(line.low, least);
    line.high = Math.max(line.high, most);
    const earlier = Math.min(low, high);
    const later = Math.max(low, high);
    line.x.push(rows.time(earlier));
    line.y.push(/** @type {number} */ (values[earlier]));
    if (later !== earlier) {
      line.x.push(rows.time(later));
      line.y.push(/** @type {number} */ (values[later]));
    }
  }
}

/**
 * Stretches of one code each, as [code, start, end]; a stretch ends at the next row, or at the last one before a gap. One that is
 * narrower than `narrowest` cannot be seen, nor can such a space between two of the same code.
 * @param {Rows} rows
 * @param {string} name
 * @param {number} from
 * @param {number} to
 * @param {number} narrowest ms
 * @returns {[number, number, number][]}
 */
export function stretches(rows, name, from, to, narrowest) {
  const broken = rows.column("broken");
  const codes = rows.column(name);
  /** @type {[number, number, number][]} */
  const found = [];
  let code = UNKNOWN;
  let start = NaN;
  const close = (/** @type {number} */ end) => {
    if (code === UNKNOWN || end - start < narrowest) return;
    const before = found[found.length - 1];
    if (before && before[0] === code && start - before[2] < 2 * narrowest) before[2] = end;
    else found.push([code, start, end]);
  };
  for (let row = from; row < to; row += 1) {
    if (broken[row]) {
      close(rows.time(row - 1));
      code = UNKNOWN;
    }
    const here = /** @type {number} */ (codes[row]);
    if (here !== UNKNOWN && here !== code) {
      close(rows.time(row));
      code = here;
      start = rows.time(row);
    }
  }
  close(rows.time(to - 1));
  return found;
}

/**
 * Where nothing came, as [start, end].
 * @param {Rows} rows
 * @param {number} from
 * @param {number} to
 * @returns {[number, number][]}
 */
export function gaps(rows, from, to) {
  const broken = rows.column("broken");
  /** @type {[number, number][]} */
  const found = [];
  for (let row = Math.max(rows.first + 1, from); row < to; row += 1) {
    if (broken[row]) found.push([rows.time(row - 1), rows.time(row)]);
  }
  return found;
}
