// Rows in typed columns, as the kernel sends them. Pure: it must not know a widget, a message or a picture.

/** @import { Column, Numbers } from "./types.js" */

const TYPES = { f8: Float64Array, f4: Float32Array, u1: Uint8Array };

export const UNKNOWN = 255;

/**
 * Rows in typed columns, oldest first, in [first, end). Those from `exact` on are as the kernel has them; what lies before is a
 * sketch of older rows, which these replace from the newest to the oldest. At twice the limit the older half is dropped.
 */
export class Rows {
  /**
   * @param {Column[]} columns
   * @param {number} limit
   * @param {number} total
   */
  constructor(columns, limit, total) {
    this.columns = columns;
    this.limit = limit;
    this.first = 0;
    this.end = 0;
    this.exact = 0;
    /** Changes when a row's place does. */
    this.version = 0;
    /** @type {Record<string, Numbers>} */
    this.held = {};
    this.reserve(total + 4096);
  }

  get count() {
    return this.end - this.first;
  }

  get capacity() {
    return this.column("time").length;
  }

  /** @param {number} capacity */
  reserve(capacity) {
    for (const [type, name] of this.columns) {
      const grown = new TYPES[type](capacity);
      const held = this.held[name];
      if (held) grown.set(held.subarray(0, this.end));
      this.held[name] = grown;
    }
  }

  /**
   * @param {DataView} view
   * @param {number} at
   * @param {number} count
   */
  write(view, at, count) {
    // A copy, so that each column is aligned: the buffer may begin anywhere in the message.
    const bytes = /** @type {ArrayBuffer} */ (view.buffer).slice(view.byteOffset, view.byteOffset + view.byteLength);
    let from = 0;
    for (const [type, name] of this.columns) {
      this.column(name).set(new TYPES[type](bytes, from, count), at);
      from += count * TYPES[type].BYTES_PER_ELEMENT;
    }
  }

  /** @param {string} name @returns {Numbers} */
  column(name) {
    return /** @type {Numbers} */ (this.held[name]);
  }

  /**
   * The last of `total` rows, after `sketched` rows that represent all the others.
   * @param {DataView} view
   * @param {number} count
   * @param {number} sketched
   * @param {number} total
   */
  begin(view, count, sketched, total) {
    this.end = total;
    this.first = total - count;
    this.exact = this.first + sketched;
    this.version += 1;
    this.write(view, this.first, count);
  }

  /**
   * The rows just before the exact ones, of which `sketched` rows of the sketch are older.
   * @param {DataView} view
   * @param {number} at
   * @param {number} count
   * @param {number} sketched
   */
  prepend(view, at, count, sketched) {
    if (at + count !== this.exact) return false;
    for (const [, name] of this.columns) this.column(name).copyWithin(at - sketched, this.first, this.first + sketched);
    this.write(view, at, count);
    this.first = at - sketched;
    this.exact = at;
    this.version += 1;
    return true;
  }

  /**
   * @param {DataView} view
   * @param {number} count
   */
  append(view, count) {
    if (this.end + count > 2 * this.limit) {
      const kept = Math.min(this.count, Math.max(0, this.limit - count));
      for (const [, name] of this.columns) this.column(name).copyWithin(0, this.end - kept, this.end);
      this.end = kept;
      this.first = 0;
      this.exact = 0;
      this.version += 1;
    }
    if (this.end + count > this.capacity) this.reserve(Math.max(2 * this.capacity, this.end + count));
    this.write(view, this.end, count);
    this.end += count;
  }

  /** @param {number} row @returns {number} */
  time(row) {
    return /** @type {number} */ (this.column("time")[row]);
  }

  /** The time of the newest row. @returns {number} */
  get last() {
    return this.time(this.end - 1);
  }

  /**
   * First row at or after a time.
   * @param {number} time
   */
  find(time) {
    const times = this.column("time");
    let low = this.first;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {number} */ (times[middle]) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
