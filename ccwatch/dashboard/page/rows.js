// Rows in typed columns, and what a picture of some width shows of them: lines thinned to pixels, stretches of one code.

const UNKNOWN = 255;
const BUCKET_PX = 2; // a minimum and a maximum in each: a point per pixel, where a line is 1.4 px wide
const TYPES = { f8: Float64Array, f4: Float32Array, u1: Uint8Array };

/**
 * Rows in typed columns, oldest first, in [first, end). Those from `exact` on are as the kernel has them; what lies before is a
 * sketch of older rows, which these replace from the newest to the oldest. At twice the limit the older half is dropped.
 */
class Rows {
  constructor(columns, limit, total) {
    this.columns = columns;
    this.limit = limit;
    this.end = 0;
    this.capacity = 0;
    this.held = {};
    this.reserve(total + 4096);
  }

  get count() {
    return this.end - this.first;
  }

  reserve(capacity) {
    for (const [type, name] of this.columns) {
      const grown = new TYPES[type](capacity);
      if (this.held[name]) grown.set(this.held[name].subarray(0, this.end));
      this.held[name] = grown;
    }
    this.capacity = capacity;
  }

  write(view, at, count) {
    // A copy, so that each column is aligned: the buffer may begin anywhere in the message.
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    let from = 0;
    for (const [type, name] of this.columns) {
      this.held[name].set(new TYPES[type](bytes, from, count), at);
      from += count * TYPES[type].BYTES_PER_ELEMENT;
    }
  }

  /** The last of `total` rows, after `sketched` rows that stand for all the others. */
  begin(view, count, sketched, total) {
    this.end = total;
    this.first = total - count;
    this.exact = this.first + sketched;
    this.write(view, this.first, count);
  }

  /** The rows just before the exact ones, of which `sketched` rows of the sketch are older. */
  prepend(view, at, count, sketched) {
    if (at + count !== this.exact) return false;
    for (const [, name] of this.columns) this.held[name].copyWithin(at - sketched, this.first, this.first + sketched);
    this.write(view, at, count);
    this.first = at - sketched;
    this.exact = at;
    return true;
  }

  append(view, count) {
    if (this.end + count > 2 * this.limit) {
      const kept = Math.min(this.count, Math.max(0, this.limit - count));
      for (const [, name] of this.columns) this.held[name].copyWithin(0, this.end - kept, this.end);
      this.end = kept;
      this.first = 0;
      this.exact = 0;
    }
    if (this.end + count > this.capacity) this.reserve(Math.max(2 * this.capacity, this.end + count));
    this.write(view, this.end, count);
    this.end += count;
  }

  /** First row at or after a time. */
  find(time) {
    const times = this.held.time;
    let low = this.first;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const GAP = 1;
const OTHER_SYMBOL = 2;

/** Rows in [from, to) cut into buckets: a row each where few, else BUCKET_PX each; never across a gap or a change of symbol. */
function plan(rows, from, to, pixels, start, end) {
  const { time, broken, symbol } = rows.held;
  const exact = to - from <= (2 * pixels) / BUCKET_PX;
  const scale = pixels / BUCKET_PX / Math.max(1, end - start);
  const starts = [];
  const cuts = []; // what lies before each bucket
  let pixel = NaN;
  for (let row = from; row < to; row += 1) {
    let cut = 0;
    if (row > from) cut = (broken[row] ? GAP : 0) | (symbol[row] !== symbol[row - 1] ? OTHER_SYMBOL : 0);
    const here = exact ? row : Math.floor((time[row] - start) * scale);
    if (cut || here !== pixel) {
      starts.push(row);
      cuts.push(cut);
      pixel = here;
    }
  }
  starts.push(to);
  return { starts, cuts };
}

/** A line's x and y: the minimum and the maximum of each bucket, a null where it is cut. `only` is the one symbol to show. */
function thin(rows, name, { starts, cuts }, only) {
  const { time, symbol } = rows.held;
  const values = rows.held[name];
  const x = [];
  const y = [];
  const cutting = only === null ? GAP : GAP | OTHER_SYMBOL;
  let cut = 0;
  for (let bucket = 0; bucket < cuts.length; bucket += 1) {
    const first = starts[bucket];
    const past = starts[bucket + 1];
    cut |= cuts[bucket] & cutting;
    if (only !== null && symbol[first] !== only) continue;
    let low = -1;
    let high = -1;
    let least = Infinity;
    let most = -Infinity;
    for (let row = first; row < past; row += 1) {
      const value = values[row]; // NaN, not carried by this row, is neither less nor more
      if (value < least) {
        least = value;
        low = row;
      }
      if (value > most) {
        most = value;
        high = row;
      }
    }
    if (low < 0 || high < 0) continue;
    if (cut && x.length) {
      x.push(time[low]);
      y.push(null);
    }
    cut = 0;
    const earlier = Math.min(low, high);
    const later = Math.max(low, high);
    x.push(time[earlier]);
    y.push(values[earlier]);
    if (later !== earlier) {
      x.push(time[later]);
      y.push(values[later]);
    }
  }
  return { x, y };
}

/**
 * Stretches of one code each, as [code, start, end]; a stretch ends at the next row, or at the last one before a gap. One that is
 * narrower than `narrowest` cannot be seen, nor can such a space between two of the same code: plotly pays for each bar.
 */
function stretches(rows, name, from, to, narrowest) {
  const { time, broken } = rows.held;
  const codes = rows.held[name];
  const found = [];
  let code = UNKNOWN;
  let start = 0;
  let previous = 0;
  const close = (end) => {
    if (code === UNKNOWN || end - start < narrowest) return;
    const before = found[found.length - 1];
    if (before && before[0] === code && start - before[2] < 2 * narrowest) before[2] = end;
    else found.push([code, start, end]);
  };
  for (let row = from; row < to; row += 1) {
    if (broken[row]) {
      close(previous);
      code = UNKNOWN;
    }
    if (codes[row] !== UNKNOWN && codes[row] !== code) {
      close(time[row]);
      code = codes[row];
      start = time[row];
    }
    previous = time[row];
  }
  close(previous);
  return found;
}

