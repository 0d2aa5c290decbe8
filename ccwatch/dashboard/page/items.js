// The moments of a stream that a reader wants to find: changes of regime and status, signals, vetoes, gaps, alerts, marks. Pure.

/** @import { Item, Mark } from "./types.js" */
/** @import { Stream } from "./stream.js" */

import { UNKNOWN } from "./rows.js";
import { alertWords, known, lasting, number, percent } from "./words.js";

const GAP_KINDS = new Set(["gap", "disconnect", "stale"]);
const SIDE_GLYPHS = /** @type {Record<string, string>} */ ({ BUY: "▲", SELL: "▼", FLAT: "●" });
export const MOST_ITEMS = 2000;

/** Changes of codes, found row by row as they come. */
export class Changes {
  /** @param {Stream} stream */
  constructor(stream) {
    this.stream = stream;
    this.version = -1;
    this.row = 0;
    this.regime = UNKNOWN;
    this.status = UNKNOWN;
    /** @type {Item[]} */
    this.found = [];
  }

  /** @returns {Item[]} */
  scan() {
    const { rows } = this.stream;
    if (!rows) return [];
    if (rows.version !== this.version) {
      this.version = rows.version;
      this.row = rows.first;
      this.regime = UNKNOWN;
      this.status = UNKNOWN;
      this.found = [];
    }
    for (; this.row < rows.end; this.row += 1) {
      this.regime = this.turn("regime", this.regime);
      this.status = this.turn("status", this.status);
    }
    if (this.found.length > MOST_ITEMS) this.found = this.found.slice(-MOST_ITEMS);
    return this.found;
  }

  /** @param {"regime" | "status"} name @param {number} before */
  turn(name, before) {
    const rows = /** @type {import("./rows.js").Rows} */ (this.stream.rows);
    const code = rows.held[name]?.[this.row] ?? UNKNOWN;
    if (code === UNKNOWN || code === before) return before;
    if (before !== UNKNOWN) {
      const words = this.stream.words[name];
      const [from, to] = [words[before] ?? "?", words[code] ?? "?"];
      const halts = name === "status" && (to === "HALT" || from === "HALT");
      this.found.push({
        time: rows.time(this.row),
        kind: name === "status" ? (to === "HALT" ? "halt" : "status") : "regime",
        glyph: name === "status" ? "■" : "◆",
        words: to === "HALT" ? "HALT" : `${from} → ${to}`,
        important: halts || to === "Critical" || from === "Critical" || name === "status",
      });
    }
    return code;
  }
}

const UNITS = /** @type {Record<string, (value: string) => string>} */ ({
  seconds: (value) => `${number(Number(value), 1)} s without a packet`,
  age_s: (value) => `${number(Number(value), 1)} s without a packet`,
  limit_s: (value) => `stale after ${number(Number(value), 0)} s`,
  messages: (value) => (value === "unknown" ? "messages are missing" : `${value} messages are missing`),
  entries: (value) => `${value} entries are lost`,
  packets: (value) => `${value} packets`,
  bytes: (value) => `${number(Number(value), 0)} bytes`,
  limit: (value) => `at most ${number(Number(value), 0)}`,
  reason: (value) => value.replaceAll("_", " "),
  first_entry: (value) => `from entry ${value}`,
  seq: (value) => `seq ${value.replace("-", " to ")}`,
  tables: (value) => `of ${value.replaceAll(",", ", ")}`,
  channel: (value) => `channel ${value}`,
  type: (value) => `type ${value}`,
  server: (value) => value,
  texts: (value) => `texts ${value}`,
  connection: () => "", // its number says nothing to a reader
});

/** An event's detail, which the kernel writes as seconds=31.000 reason=silence, in words. @param {string} detail */
export function eventWords(detail) {
  const said = [];
  let rest = detail;
  for (let found = /^([a-z_]+)=(\S*) ?/.exec(rest); found && UNITS[found[1] ?? ""]; found = /^([a-z_]+)=(\S*) ?/.exec(rest)) {
    rest = rest.slice(found[0].length);
    const [, name = "", value = ""] = found;
    const isText = name === "server" || (name === "reason" && !/^(first_entry|seq|tables)=/.test(rest)); // its words go to the end
    said.push(UNITS[name]?.(isText ? `${value} ${rest}`.trim() : value) ?? "");
    if (isText) return said.filter(Boolean).join(": ");
  }
  return [...said, rest].filter(Boolean).join(": ");
}

/** @type {WeakMap<Mark, Item>} */
const ITEMS_OF_MARKS = new WeakMap(); // a signal never changes, and its words take time

/** A change of the signal as a moment. @param {Mark} mark @param {string} word @returns {Item} */
function itemOf([time, price, , , confidence, size], word) {
  const vetoed = word !== "FLAT" && size === 0;
  const facts = `${word}${price === null ? "" : ` @ ${number(price)}`}${known(confidence) ? `, confidence ${number(confidence)}` : ""}`;
  return {
    time,
    kind: vetoed ? "veto" : "signal",
    glyph: vetoed ? "⊘" : (SIDE_GLYPHS[word] ?? "●"),
    words: `${facts}${vetoed ? ", vetoed" : known(size) ? `, size ${percent(size, 0)}` : ""}`,
    important: vetoed || word !== "FLAT",
  };
}

/**
 * All moments, by time.
 * @param {Stream} stream
 * @param {Item[]} changes
 * @returns {Item[]}
 */
export function items(stream, changes) {
  const { tables, marks, words } = stream;
  /** @type {Item[]} */
  const found = [...changes];
  for (const mark of marks.slice(-MOST_ITEMS)) {
    const item = ITEMS_OF_MARKS.get(mark) ?? itemOf(mark, words.side[mark[2]] ?? "?");
    ITEMS_OF_MARKS.set(mark, item);
    found.push(item);
  }
  for (const [time, kind, text, own] of tables.events) {
    if (kind === "mark") continue;
    const isGap = GAP_KINDS.has(kind ?? "");
    found.push({ time, kind: kind ?? "", glyph: isGap ? "░" : "·", words: eventWords(text) || (kind ?? ""), important: isGap, ...(own === undefined ? {} : { own }) });
  }
  for (const [time, kind, text] of tables.trades) found.push({ time, kind: kind ?? "trade", glyph: "◈", words: text, important: true });
  for (const [time, text] of tables.marks) found.push({ time, kind: "mark", glyph: "✎", words: text, important: true });
  for (const alert of [...tables.fired, ...(tables.alerts?.open ?? [])]) {
    const end = alert.resolved === null ? "" : `, for ${lasting(alert.resolved - alert.fired)}`;
    found.push({
      time: alert.fired,
      kind: "alert",
      glyph: "⚠",
      words: `${alertWords(alert, alert.at)}${end}${alert.acknowledged ? ", acknowledged" : ""} (rule ${alert.rule})`,
      important: true,
    });
  }
  return found.sort((one, other) => one.time - other.time).slice(-MOST_ITEMS);
}

const RANKS = /** @type {Record<string, number>} */ ({ halt: 5, alert: 4, mark: 3, gap: 3, disconnect: 3, stale: 3, trade: 2, veto: 2, signal: 2 });

/**
 * Leave out moments that would cover another one: of two the weightier stays, as a halt beside a change of the regime; else the earlier.
 * @param {{ item: Item, x: number }[]} seen by x
 * @param {number} least px between two
 * @param {number | null} chosen the time of the one that always stays
 */
export function apart(seen, least, chosen) {
  const rank = (/** @type {Item} */ item) => (item.time === chosen ? 9 : (RANKS[item.kind] ?? 1));
  /** @type {{ item: Item, x: number }[]} */
  const found = [];
  for (const here of seen) {
    const last = found[found.length - 1];
    if (!last || here.x - last.x >= least) found.push(here);
    else if (rank(here.item) > rank(last.item)) found[found.length - 1] = here;
  }
  return found;
}
