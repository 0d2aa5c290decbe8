// What each message does to a stream, with the messages that Python packed (vectors.json).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Stream, sameUntil } from "../../ccwatch/dashboard/page/stream.js";
import { eventWords } from "../../ccwatch/dashboard/page/items.js";
import { number, percent, reading } from "../../ccwatch/dashboard/page/words.js";

const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8"));

function view(words) {
  const bytes = Buffer.from(words, "base64");
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A stream that took the first `count` messages of the vectors. */
function taken(count = vectors.messages.length) {
  const stream = new Stream();
  const said = vectors.messages.slice(0, count).map(({ content, buffers }) => stream.take(content, buffers.map(view)));
  return { stream, said };
}

const held = (stream, name) => Array.from(stream.rows.column(name).subarray(stream.rows.first, stream.rows.end));
const same = (one, other) => one.length === other.length && one.every((value, at) => Object.is(value, other[at] ?? NaN));

test("what Python packed is what the page holds", () => {
  const { stream, said } = taken();
  assert.deepEqual(said, vectors.messages.map(() => "changed"));
  for (const [name, expected] of Object.entries(vectors.columns)) assert.ok(same(held(stream, name), expected), name);
  assert.equal(stream.seq, vectors.seq);
  assert.deepEqual(stream.marks, vectors.marks);
  assert.deepEqual(stream.facts(stream.rows.last), vectors.facts);
  assert.deepEqual([stream.received, stream.older, stream.asking], [vectors.messages.filter(({ content }) => content.kind === "rows").length, vectors.messages.filter(({ content }) => content.kind === "older").length, false]);
});

test("numbers read alike in Python and in the page", () => {
  for (const { value, look, words } of vectors.numbers) assert.equal(reading(value, look), words);
});

test("a full message replaces the marks, and before the first row no time is known", () => {
  const { stream } = taken();
  const [{ content, buffers }] = vectors.messages;
  stream.take({ ...content, marks: [[7]] }, buffers.map(view));
  assert.deepEqual(stream.marks, [[7]]);
  assert.equal(stream.facts(stream.rows.time(stream.rows.first) - 1).time, null);
});

test("a row that was lost is asked for again, once, and what is older is no loss", () => {
  const { stream } = taken(1);
  const [, { content, buffers }] = vectors.messages;
  const seq = stream.seq;
  assert.equal(stream.take({ ...content, after: seq + 1, seq: seq + 9 }, buffers.map(view)), "ask");
  assert.equal(stream.seq, seq);
  assert.equal(stream.received, 0);
  stream.asking = true;
  assert.equal(stream.take({ ...content, after: seq + 1, seq: seq + 9 }, buffers.map(view)), null);
  stream.asking = false;
  assert.equal(stream.take({ ...content, after: seq - 5, seq }, buffers.map(view)), null);
});

test("before a full message nothing is held, and nothing fails", () => {
  const stream = new Stream();
  assert.equal(stream.take({ kind: "rows", after: 0, seq: 1, rows: 1 }, [view("")]), null);
  assert.equal(stream.take({ kind: "older", at: 0, rows: 1, sketched: 0 }, [view("")]), null);
  assert.equal(stream.take({ kind: "computed", panel: "alpha", counts: [] }, [view("")]), null);
  assert.equal(stream.take({ kind: "unknown" }, []), null);
  assert.equal(stream.rows, null);
  assert.equal(stream.value("price", 1), null);
  assert.equal(stream.rowAt(1), null);
  assert.equal(stream.firstPrice(0), null);
  assert.equal(stream.word("regime", 0), null);
  assert.deepEqual(Object.values(stream.facts(0)), Array(11).fill(null));
  assert.deepEqual([stream.name, stream.seq, stream.received, stream.older, stream.asking, stream.moves, stream.live, stream.computedAt], ["", 0, 0, 0, false, true, true, 0]);
  assert.deepEqual([stream.marks, stream.symbols, stream.figure, stream.words], [[], [], null, { regime: [], status: [], side: [] }]);
});

test("the tables are empty until the kernel fills them, and no command can be given", () => {
  const { tables } = new Stream();
  const lists = ["events", "logs", "trades", "services", "health", "marks", "fired", "symbols"];
  assert.deepEqual({ ...tables }, { ...Object.fromEntries(lists.map((name) => [name, []])), alerts: null, commands: null, status: null });
});

test("a full message begins anew, and says that places have moved", () => {
  const { stream } = taken();
  const version = stream.rows.version;
  stream.computed.set("x", { x: [1], y: [1] });
  stream.looks.set("alpha", { light: [], dark: [] });
  stream.asking = true;
  const [{ content, buffers }] = vectors.messages;
  const side = { logs: [[1, "INFO", "hello"]] };
  assert.equal(stream.take({ ...content, name: "paper", moves: false, live: false, side }, buffers.map(view)), "changed");
  assert.ok(stream.rows.version > version);
  assert.deepEqual([stream.name, stream.moves, stream.live, stream.asking, stream.seq], ["paper", false, false, false, content.seq]);
  assert.deepEqual([stream.computed.size, stream.looks.size, stream.computedAt], [0, 0, 2]);
  assert.deepEqual(stream.tables.logs, side.logs);
  assert.deepEqual(stream.symbols, content.symbols);
  assert.deepEqual(stream.words, content.words);
  assert.deepEqual(stream.figure, content.figure);
});

test("marks and symbols that come with rows are added, and of the marks the newest are kept", () => {
  const { stream } = taken(1);
  const [, { content, buffers }] = vectors.messages;
  const marks = Array.from({ length: 2500 }, (_, at) => [at, 1, 0, 0, null, null, "", 8, "circle"]);
  stream.take({ ...content, marks, symbols: ["SPY", "QQQ"], side: { events: [[1, "gap", "31 s"]] } }, buffers.map(view));
  assert.equal(stream.marks.length, 2000);
  assert.equal(stream.marks.at(-1)[0], 2499);
  assert.deepEqual(stream.symbols, ["SPY", "QQQ"]);
  assert.deepEqual(stream.tables.events, [[1, "gap", "31 s"]]);
  const before = stream.symbols;
  stream.take({ ...content, after: stream.seq, marks: undefined, symbols: undefined, side: undefined }, buffers.map(view));
  assert.equal(stream.symbols, before);
});

test("older rows bring their marks before the others", () => {
  const { stream } = taken();
  const marks = stream.marks;
  stream.rows.exact = 5;
  stream.rows.first = 5;
  const one = stream.rows.columns.map(([type]) => ({ f8: 8, f4: 4, u1: 1 })[type]).reduce((sum, size) => sum + size, 0);
  const buffer = view(Buffer.alloc(one).toString("base64"));
  assert.equal(stream.take({ kind: "older", at: 1, rows: 1, sketched: 0, marks: [[0]] }, [buffer]), null, "does not touch the exact rows");
  assert.equal(stream.take({ kind: "older", at: 4, rows: 1, sketched: 0, marks: [[0]] }, [buffer]), "changed");
  assert.deepEqual(stream.marks, [[0], ...marks]);
  assert.equal(stream.older, 1);
});

test("tables are replaced, and appended without what a full message had carried", () => {
  const stream = new Stream();
  assert.equal(stream.take({ kind: "side", replace: { logs: [[1, "INFO", "a"]], status: { state: "OPEN" } } }, []), "beside");
  assert.equal(stream.take({ kind: "side", replace: { marks: [[1, "b"]] } }, []), "changed");
  assert.equal(stream.take({ kind: "side", append: { logs: [[1, "INFO", "a"], [2, "INFO", "c"]] } }, []), "beside");
  assert.deepEqual(stream.tables.logs, [[1, "INFO", "a"], [2, "INFO", "c"]]);
  assert.deepEqual(stream.tables.status, { state: "OPEN" });
  stream.take({ kind: "side", append: { logs: Array.from({ length: 3000 }, (_, at) => [at + 3, "INFO", ""]) } }, []);
  assert.equal(stream.tables.logs.length, 2000);
  assert.equal(stream.tables.logs.at(-1)[0], 3002);
  stream.take({ kind: "side", append: { logs: [[2953, "INFO", ""], [2952, "INFO", ""]] } }, []);
  assert.equal(stream.tables.logs.at(-1)[0], 2952, "what lies more than 50 rows back may come again");
  assert.equal(stream.tables.logs.filter(([time]) => time === 2953).length, 1);
});

test("computed lines are read at a time, and a NaN cuts them", () => {
  const stream = new Stream();
  const traces = { light: [{ meta: { column: "alpha/low" } }, { meta: { column: "alpha/high" } }], dark: [] };
  const bytes = new Uint8Array(3 + 5 * 8 + 5 * 4);
  bytes.set(new Uint8Array(Float64Array.from([10, 20, 30, 10, 30]).buffer), 3);
  bytes.set(new Uint8Array(Float32Array.from([1, NaN, 3, 4, 5]).buffer), 43);
  const buffer = new DataView(bytes.buffer, 3);
  assert.equal(stream.take({ kind: "computed", panel: "alpha", counts: [3, 2], traces }, [buffer]), "changed");
  assert.deepEqual(stream.computed.get("alpha/low"), { x: [10, 20, 30], y: [1, null, 3] });
  assert.deepEqual(stream.computed.get("alpha/high"), { x: [10, 30], y: [4, 5] });
  assert.deepEqual([5, 10, 15, 20, 30, 99].map((time) => stream.value("alpha/low", time)), [null, 1, 1, null, 3, 3]);
  assert.equal(stream.take({ kind: "computed", panel: "alpha", counts: [3, 2] }, [buffer]), "changed", "the looks are known");
  assert.equal(stream.computedAt, 2);
  assert.equal(stream.looks.get("alpha"), traces);
});

test("a forecast is held with its end, and goes when the next lines come without it", () => {
  const stream = new Stream();
  const look = (column, ahead) => ({ meta: { column, ahead } });
  const lines = (...times) => {
    const bytes = new Uint8Array(times.length * 12);
    bytes.set(new Uint8Array(Float64Array.from(times).buffer));
    return new DataView(bytes.buffer);
  };
  const both = { light: [look("price/low", "forecast"), look("price/high", "forecast")], dark: [] };
  const own = { light: [look("mean/line")], dark: [] };
  assert.equal(stream.ahead, null);
  stream.take({ kind: "computed", panel: "mean", counts: [1], traces: own }, [lines(99)]);
  assert.equal(stream.ahead, null, "a line that is no forecast lies where it lies");
  stream.take({ kind: "computed", panel: "price", counts: [2, 2], traces: both }, [lines(10, 30, 10, 20)]);
  assert.equal(stream.ahead, 30, "the later end of two");
  stream.take({ kind: "computed", panel: "price", counts: [2, 2] }, [lines(10, 20, 10, 40)]);
  assert.equal(stream.ahead, 40);
  stream.take({ kind: "computed", panel: "price", counts: [], traces: { light: [], dark: [] } }, [lines()]);
  assert.equal(stream.ahead, null);
  assert.deepEqual([...stream.computed.keys()], ["mean/line"]);
});

test("a value is that of the last row at or before a time which carries one", () => {
  const { stream } = taken(1);
  const { rows } = stream;
  const { first, end } = rows;
  const price = rows.column("price");
  const at = rows.time(end - 1);
  assert.equal(stream.value("price", at), price[end - 1]);
  assert.equal(stream.value("price", at - 0.01), price[end - 2]);
  assert.equal(stream.value("price", rows.time(first) - 1), null);
  assert.equal(stream.value("price", rows.time(first)), price[first]);
  assert.equal(stream.value("none", at), null);
  price[end - 1] = NaN;
  assert.equal(stream.value("price", at), price[end - 2]);
  price.fill(NaN, first, end);
  assert.equal(stream.value("price", at), null);
  price[first] = 7;
  assert.equal(stream.value("price", at), end - 1 - first <= 200 ? 7 : null);
});

test("a value is not looked for farther back than two hundred rows", () => {
  const { stream } = taken();
  const { rows } = stream;
  const count = 400;
  const types = { f8: 8, f4: 4, u1: 1 };
  const buffer = view(Buffer.alloc(rows.columns.reduce((sum, [type]) => sum + types[type] * count, 0)).toString("base64"));
  rows.append(buffer, count);
  const price = rows.column("price");
  rows.column("time").set(Array.from({ length: count }, (_, at) => 1e13 + at), rows.end - count);
  price.fill(NaN, rows.end - count, rows.end);
  price[rows.end - 201] = 5;
  assert.equal(stream.value("price", 2e13), 5);
  price[rows.end - 201] = NaN;
  price[rows.end - 202] = 5;
  assert.equal(stream.value("price", 2e13), null);
});

test("words of codes, and none of what is not known", () => {
  const { stream } = taken(1);
  const row = stream.rows.end - 1;
  stream.rows.column("regime")[row] = 2;
  assert.equal(stream.word("regime", row), "Critical");
  stream.rows.column("regime")[row] = 255;
  assert.equal(stream.word("regime", row), null);
  stream.rows.column("symbol")[row] = 0;
  assert.equal(stream.word("symbol", row), "SPY");
  stream.rows.column("symbol")[row] = 9;
  assert.equal(stream.word("symbol", row), null);
});

test("the first price is that of the row's own symbol on its own day", () => {
  const { stream } = taken(1);
  const { rows } = stream;
  const day = 86_400_000;
  const [a, b, c, d, e] = Array.from({ length: 5 }, (_, at) => rows.end - 5 + at);
  rows.first = a;
  const set = (row, time, price, symbol) => {
    rows.column("time")[row] = time;
    rows.column("price")[row] = price;
    rows.column("symbol")[row] = symbol;
  };
  set(a, 5 * day - 1, 1, 0);
  set(b, 5 * day, NaN, 0);
  set(c, 5 * day + 1, 3, 1);
  set(d, 5 * day + 2, 4, 0);
  set(e, 5 * day + 3, 5, 0);
  assert.equal(stream.firstPrice(e), 4);
  assert.equal(stream.firstPrice(c), 3);
  assert.equal(stream.firstPrice(a), 1);
  assert.equal(stream.firstPrice(b), null);
  assert.equal(stream.facts(5 * day + 3).first, 4);
});

test("what happened is said in words, not in the kernel's names and numbers", () => {
  assert.equal(eventWords("seconds=31.000 reason=silence"), "31.0 s without a packet: silence");
  assert.equal(eventWords("seconds=1.5"), "1.5 s without a packet");
  assert.equal(eventWords("seconds=2.000 messages=12 channel=telemetry reason=missing"), "2.0 s without a packet: 12 messages are missing: channel telemetry: missing");
  assert.equal(eventWords("age_s=10.022 limit_s=10.000"), "10.0 s without a packet: stale after 10 s");
  assert.equal(eventWords("connection=3 reason=reset by peer x=1"), "reset by peer x=1");
  assert.equal(eventWords("entries=4 reason=damaged first_entry=9 seq=12-15 tables=logs,trades"), "4 entries are lost: damaged: from entry 9: seq 12 to 15: of logs, trades");
  assert.equal(eventWords("connection=1"), "");
  assert.equal(eventWords("bytes=1200000 limit=1000000 raise max_message_bytes to read it"), "1,200,000 bytes: at most 1,000,000: raise max_message_bytes to read it");
  assert.equal(eventWords("reset by peer"), "reset by peer");
  assert.equal(eventWords("other=5 seconds=1"), "other=5 seconds=1", "what is not known stays as it is");
});

test("words say a number once, with one minus sign", () => {
  assert.equal(number(-0.001, 2), "0.00", "a zero has no sign");
  assert.equal(number(5.14674e-30, 2, true), "0.00");
  assert.equal(number(-2168, 0), "−2,168");
  assert.equal(number(12, 1, true), "+12.0");
  assert.equal(number(Infinity), "–");
  assert.equal(percent(-0.0217, 2), "−2.17 %");
  assert.equal(percent(null), "–");
});

test("two computed lines are the same up to the point before the first that differs", () => {
  const line = (/** @type {number[]} */ x, /** @type {(number | null)[]} */ y) => ({ x, y });
  const known = line([10, 20, 30], [1, null, 3]);
  assert.equal(sameUntil(known, line([10, 20, 30], [1, null, 3])), Infinity);
  assert.equal(sameUntil(known, line([10, 20, 30, 40], [1, null, 3, 4])), 30);
  assert.equal(sameUntil(line([10, 20, 30, 40], [1, null, 3, 4]), known), 30);
  assert.equal(sameUntil(known, line([10, 20, 31], [1, null, 3])), 20);
  assert.equal(sameUntil(known, line([10, 20, 30], [1, 2, 3])), 10);
  assert.equal(sameUntil(known, line([11, 20, 30], [1, null, 3])), -Infinity);
  assert.equal(sameUntil(undefined, known), -Infinity);
  assert.equal(sameUntil(known, undefined), -Infinity);
  assert.equal(sameUntil(undefined, undefined), Infinity);
});

test("a first full message gives places of version 1, and a stream of which nothing is said moves and is live", () => {
  const [{ content, buffers }] = vectors.messages;
  const bare = { ...content };
  delete bare.moves;
  delete bare.live;
  const stream = new Stream();
  stream.take(bare, buffers.map(view));
  assert.equal(stream.rows.version, 1);
  assert.deepEqual([stream.moves, stream.live], [true, true]);
});
