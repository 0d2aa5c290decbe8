// Rows in typed columns: what is written, found, replaced and dropped.

import assert from "node:assert/strict";
import test from "node:test";
import { Rows } from "../../ccwatch/dashboard/page/rows.js";

/** @type {import("../../ccwatch/dashboard/page/types.js").Column[]} */
const COLUMNS = [["f8", "time"], ["f4", "price"], ["u1", "broken"]];

/** A message's buffer, at an odd place of a larger one. */
function packed(times, prices, broken = times.map(() => 0), columns = COLUMNS) {
  const held = { time: Float64Array.from(times), price: Float32Array.from(prices), broken: Uint8Array.from(broken) };
  const parts = columns.map(([, name]) => new Uint8Array(held[name].buffer));
  const bytes = new Uint8Array(3 + parts.reduce((sum, part) => sum + part.length, 0) + 5);
  let at = 3;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new DataView(bytes.buffer, 3, at - 3);
}

const held = (rows, name) => Array.from(rows.column(name).subarray(rows.first, rows.end));

test("new rows are empty and have room", () => {
  const rows = new Rows(COLUMNS, 100, 10);
  assert.deepEqual([rows.first, rows.end, rows.exact, rows.version, rows.count, rows.limit], [0, 0, 0, 0, 0, 100]);
  assert.equal(rows.capacity, 4106);
  assert.equal(rows.column("time").length, 4106);
  assert.ok(rows.column("time") instanceof Float64Array);
  assert.ok(rows.column("price") instanceof Float32Array);
  assert.ok(rows.column("broken") instanceof Uint8Array);
});

test("a first message holds the newest rows and a sketch of the older ones", () => {
  const rows = new Rows(COLUMNS, 100, 10);
  rows.begin(packed([1, 4, 8, 9, 10], [1, 4, 8, 9, 10], [0, 1, 0, 0, 1]), 5, 2, 10);
  assert.deepEqual([rows.first, rows.exact, rows.end, rows.count, rows.version], [5, 7, 10, 5, 1]);
  assert.deepEqual(held(rows, "time"), [1, 4, 8, 9, 10]);
  assert.deepEqual(held(rows, "price"), [1, 4, 8, 9, 10]);
  assert.deepEqual(held(rows, "broken"), [0, 1, 0, 0, 1]);
  assert.equal(rows.last, 10);
  assert.equal(rows.time(5), 1);
});

test("older rows take the place of their sketch, from the newest to the oldest", () => {
  const rows = new Rows(COLUMNS, 100, 10);
  rows.begin(packed([1, 4, 6, 8, 9, 10], [1, 4, 6, 8, 9, 10]), 6, 3, 10);
  assert.equal(rows.prepend(packed([3], [3]), 2, 1, 1), false, "a chunk that does not touch the exact rows");
  assert.deepEqual(held(rows, "time"), [1, 4, 6, 8, 9, 10]);
  assert.equal(rows.prepend(packed([5, 6, 7], [5, 6, 7]), 4, 3, 1), true);
  assert.deepEqual(held(rows, "time"), [1, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(held(rows, "price"), [1, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual([rows.first, rows.exact, rows.version], [3, 4, 2]);
  assert.equal(rows.prepend(packed([1, 2, 3, 4], [1, 2, 3, 4]), 0, 4, 0), true);
  assert.deepEqual(held(rows, "time"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual([rows.first, rows.exact], [0, 0]);
});

test("rows are appended, and the columns grow by twice their size", () => {
  const rows = new Rows(COLUMNS, 100_000, 0);
  const many = Array.from({ length: 4000 }, (_, at) => at);
  rows.append(packed(many, many), 4000);
  rows.append(packed(many.map((at) => at + 4000), many), 4000);
  assert.equal(rows.capacity, 8192);
  assert.equal(rows.end, 8000);
  assert.equal(rows.version, 0, "no row moved");
  assert.equal(rows.time(3999), 3999);
  assert.equal(rows.time(4000), 4000);
  const more = Array.from({ length: 20_000 }, (_, at) => at);
  rows.append(packed(more, more), 20_000);
  assert.equal(rows.capacity, 28_000);
  assert.equal(rows.last, 19_999);
});

test("a message that just fits grows nothing", () => {
  const rows = new Rows(COLUMNS, 100_000, 0);
  const many = Array.from({ length: 4096 }, (_, at) => at);
  rows.append(packed(many, many), 4096);
  assert.equal(rows.capacity, 4096);
});

test("at twice the limit the older half is dropped", () => {
  const rows = new Rows(COLUMNS, 4, 0);
  rows.append(packed([1, 2, 3, 4], [1, 2, 3, 4]), 4);
  rows.append(packed([5, 6, 7, 8], [5, 6, 7, 8]), 4);
  assert.equal(rows.count, 8, "twice the limit is held");
  rows.first = 1;
  rows.exact = 2;
  rows.append(packed([9], [9]), 1);
  assert.deepEqual(held(rows, "time"), [6, 7, 8, 9]);
  assert.deepEqual(held(rows, "price"), [6, 7, 8, 9]);
  assert.deepEqual([rows.first, rows.exact, rows.version], [0, 0, 1]);
  rows.append(packed([10, 11, 12, 13, 14], [0, 0, 0, 0, 0]), 5);
  assert.deepEqual(held(rows, "time"), [10, 11, 12, 13, 14], "a message beyond the limit is kept whole");
});

test("no more is kept than is held", () => {
  const rows = new Rows(COLUMNS, 4, 0);
  rows.append(packed([1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 0, 0, 0]), 7);
  rows.first = 6;
  rows.append(packed([8, 9], [0, 0]), 2);
  assert.deepEqual(held(rows, "time"), [7, 8, 9]);
});

test("a time is found among the rows that are held", () => {
  const rows = new Rows(COLUMNS, 100, 10);
  rows.begin(packed([10, 20, 20, 30], [1, 2, 3, 4]), 4, 0, 10);
  assert.deepEqual([5, 10, 11, 20, 21, 30, 31].map((time) => rows.find(time)), [6, 6, 7, 7, 9, 9, 10]);
});
