// The page's state of one stream, and the effect of each message of the kernel on it. Pure: it must not know a widget or a picture.

/** @import { AlertStrip, Alert, Content, Facts, Mark, Row, Service, Skeleton, Status, Trace } from "./types.js" */

import { Rows, UNKNOWN } from "./rows.js";

const MOST_MARKS = 2000;
const MOST_HELD = 2000;
const LOOK_BACK = 200; // rows: a partial packet does not carry every value
const DAY_MS = 86_400_000;

/** The tables beside the charts, as the kernel sent them. */
export class Tables {
  constructor() {
    /** @type {Row[]} */
    this.events = [];
    /** @type {Row[]} */
    this.logs = [];
    /** @type {Row[]} */
    this.trades = [];
    /** @type {Service[]} */
    this.services = [];
    /** @type {[string, string][]} */
    this.health = [];
    /** @type {[number, string][]} */
    this.marks = [];
    /** @type {AlertStrip | null} */
    this.alerts = null; // what fires
    /** @type {Alert[]} */
    this.fired = []; // and what did
    /** @type {{ said: any[] } | null} */
    this.commands = null; // what became of commands; null where none can be given
    /** @type {string[]} */
    this.symbols = [];
    /** @type {Status | null} */
    this.status = null;
  }

  /** @param {object} parts */
  replace(parts) {
    Object.assign(this, parts);
  }

  /** @param {Record<string, Row[]>} parts */
  append(parts) {
    for (const [name, rows] of Object.entries(parts)) {
      const held = /** @type {Row[]} */ (/** @type {any} */ (this)[name]);
      const last = new Set(held.slice(-50).map((row) => JSON.stringify(row))); // what a full message carried already
      const grown = held.concat(rows.filter((row) => !last.has(JSON.stringify(row)))).slice(-MOST_HELD);
      Object.assign(this, { [name]: grown });
    }
  }
}

export class Stream {
  constructor() {
    this.name = "";
    this.seq = 0;
    this.received = 0;
    this.older = 0;
    this.asking = false; // everything was asked for
    /** @type {Rows | null} */
    this.rows = null;
    /** @type {Mark[]} */
    this.marks = [];
    /** @type {{ light: Skeleton, dark: Skeleton } | null} */
    this.figure = null;
    /** @type {{ regime: string[], status: string[], side: string[] }} */
    this.words = { regime: [], status: [], side: [] };
    /** @type {string[]} */
    this.symbols = [];
    this.tables = new Tables();
    /** @type {Map<string, { light: Trace[], dark: Trace[] }>} */
    this.looks = new Map(); // how a panel's computed lines look
    /** @type {Map<string, { x: number[], y: (number | null)[] }>} */
    this.computed = new Map(); // their points, by column
    this.computedAt = 0; // changes with them
    this.moves = true; // whether more may come
    this.live = true;
  }

  /**
   * Take a message; says whether a picture changes, and whether everything must be asked for again.
   * @param {Content} content
   * @param {DataView[]} buffers
   * @returns {"changed" | "beside" | "ask" | null}
   */
  take(content, buffers) {
    const buffer = /** @type {DataView} */ (buffers[0]);
    switch (content.kind) {
      case "full":
        return this.begin(content, buffer);
      case "older":
        if (!this.rows || !this.rows.prepend(buffer, content.at, content.rows, content.sketched)) return null;
        this.older += 1;
        if (content.marks) this.marks = content.marks.concat(this.marks);
        return "changed";
      case "rows":
        return this.grow(content, buffer);
      case "side":
        if (content.replace) this.tables.replace(content.replace);
        if (content.append) this.tables.append(content.append);
        return content.replace?.marks ? "changed" : "beside";
      case "computed":
        return this.compute(content, buffer);
      default:
        return null;
    }
  }

  /** @param {Content} content @param {DataView} buffer @returns {"changed"} */
  begin(content, buffer) {
    this.asking = false;
    const version = this.rows ? this.rows.version : 0;
    this.rows = new Rows(content.columns, content.limit, content.total);
    this.rows.version = version;
    this.rows.begin(buffer, content.rows, content.sketched, content.total);
    this.marks = content.marks;
    this.figure = content.figure;
    this.words = content.words ?? this.words;
    this.symbols = content.symbols;
    this.name = content.name ?? "";
    this.moves = content.moves ?? true;
    this.live = content.live ?? true;
    this.looks.clear();
    this.computed.clear();
    this.computedAt += 1;
    if (content.side) this.tables.replace(content.side);
    this.seq = content.seq;
    return "changed";
  }

  /** @param {Content} content @param {DataView} buffer @returns {"changed" | "ask" | null} */
  grow(content, buffer) {
    if (!this.rows) return null;
    if (content.after !== this.seq) {
      // A row was lost, or this page slept. What is older than what is held (a full message overtook it) is no loss.
      return content.seq > this.seq && !this.asking ? "ask" : null;
    }
    this.received += 1;
    this.rows.append(buffer, content.rows);
    if (content.marks) this.marks = this.marks.concat(content.marks).slice(-MOST_MARKS);
    if (content.symbols) this.symbols = content.symbols;
    this.seq = content.seq;
    if (content.side) this.tables.append(content.side);
    return "changed";
  }

  /** @param {Content} content @param {DataView} view @returns {"changed" | null} */
  compute({ panel, counts, traces }, view) {
    if (traces) {
      for (const { meta } of this.looks.get(panel)?.light ?? []) this.computed.delete(meta.column ?? "");
      this.looks.set(panel, traces);
    }
    const looks = this.looks.get(panel);
    if (!looks) return null;
    const bytes = /** @type {ArrayBuffer} */ (view.buffer).slice(view.byteOffset, view.byteOffset + view.byteLength);
    const total = counts.reduce((/** @type {number} */ sum, /** @type {number} */ count) => sum + count, 0);
    const times = new Float64Array(bytes, 0, total);
    const values = new Float32Array(bytes, total * 8, total);
    let at = 0;
    for (let place = 0; place < counts.length; place += 1) {
      const past = at + counts[place];
      const y = Array.from(values.subarray(at, past), (value) => (Number.isNaN(value) ? null : value));
      const column = looks.light[place]?.meta.column ?? "";
      this.computed.set(column, { x: Array.from(times.subarray(at, past)), y });
      at = past;
    }
    this.computedAt += 1;
    return "changed";
  }

  /**
   * The last time of a forecast that is held; null where none is. A forecast is of the newest packets, or not held at all.
   * @returns {number | null}
   */
  get ahead() {
    let last = null;
    for (const { light } of this.looks.values()) {
      for (const { meta } of light) {
        const time = meta.ahead ? this.computed.get(meta.column ?? "")?.x.at(-1) : undefined;
        if (time !== undefined && (last === null || time > last)) last = time;
      }
    }
    return last;
  }

  /**
   * The row at or before a time, or before the beginning of time the first; null where there is none.
   * @param {number} time
   * @returns {number | null}
   */
  rowAt(time) {
    const { rows } = this;
    if (!rows || !rows.count) return null;
    const row = rows.find(time + 0.001) - 1;
    return row < rows.first ? null : row;
  }

  /**
   * The value of a column at a time: that of the last row at or before it which carries one.
   * @param {string} name
   * @param {number} time
   * @returns {number | null}
   */
  value(name, time) {
    const line = this.computed.get(name);
    if (line) {
      let place = line.x.length - 1;
      while (place >= 0 && /** @type {number} */ (line.x[place]) > time) place -= 1;
      return line.y[place] ?? null;
    }
    const held = this.rows?.held[name];
    const from = this.rowAt(time);
    if (!held || !this.rows || from === null) return null;
    const least = Math.max(this.rows.first, from - LOOK_BACK);
    for (let row = from; row >= least; row -= 1) {
      const value = /** @type {number} */ (held[row]);
      if (!Number.isNaN(value)) return value;
    }
    return null;
  }

  /**
   * A column of codes in words.
   * @param {"regime" | "status" | "symbol"} name
   * @param {number} row
   * @returns {string | null}
   */
  word(name, row) {
    const code = this.rows?.held[name]?.[row] ?? UNKNOWN;
    const words = name === "symbol" ? this.symbols : this.words[name];
    return code === UNKNOWN ? null : (words[code] ?? null);
  }

  /**
   * Return the market's values at a time.
   * @param {number} time
   * @returns {Facts}
   */
  facts(time) {
    const row = this.rowAt(time);
    const at = (/** @type {string} */ name) => this.value(name, time);
    return {
      time: row === null || !this.rows ? null : this.rows.time(row),
      symbol: row === null ? null : this.word("symbol", row),
      price: at("price"),
      first: row === null ? null : this.firstPrice(row),
      pnl: at("pnl"),
      daily_pnl: at("daily_pnl"),
      drawdown: at("drawdown"),
      exposure: at("exposure"),
      nav: at("nav"),
      regime: row === null ? null : this.word("regime", row),
      status: row === null ? null : this.word("status", row),
    };
  }

  /**
   * The first price of a row's symbol on its day, of the rows that are held.
   * @param {number} row
   * @returns {number | null}
   */
  firstPrice(row) {
    const { rows } = this;
    if (!rows) return null;
    const symbol = rows.column("symbol");
    const price = rows.column("price");
    const begins = Math.floor(rows.time(row) / DAY_MS) * DAY_MS;
    const least = Math.min(row, rows.find(begins) + MOST_HELD);
    for (let place = rows.find(begins); place <= least; place += 1) {
      const value = /** @type {number} */ (price[place]);
      if (symbol[place] === symbol[row] && !Number.isNaN(value)) return value;
    }
    return null;
  }
}

/**
 * The time up to which two computed lines are the same: that of the last point before they differ.
 * @param {{ x: number[], y: (number | null)[] } | undefined} one
 * @param {{ x: number[], y: (number | null)[] } | undefined} other
 * @returns {number} Infinity where nothing differs, -Infinity where all does
 */
export function sameUntil(one, other) {
  const [a, b] = [one ?? { x: [], y: [] }, other ?? { x: [], y: [] }];
  const most = Math.max(a.x.length, b.x.length);
  let place = 0;
  while (place < most && a.x[place] === b.x[place] && a.y[place] === b.y[place]) place += 1;
  return place === most ? Infinity : (a.x[place - 1] ?? -Infinity);
}
