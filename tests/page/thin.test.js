// Thinning: what a picture of some width shows of rows, whole or as they come.

import assert from "node:assert/strict";
import test from "node:test";
import { Rows } from "../../ccwatch/dashboard/page/rows.js";
import { BUCKET_PX, GAP, gaps, OTHER_SYMBOL, stretches, Thinning } from "../../ccwatch/dashboard/page/thin.js";

/** Rows of given columns. */
function rowsOf(columns) {
  const { time } = columns;
  const whole = { broken: time.map(() => 0), symbol: time.map(() => 0), regime: time.map(() => 255), ...columns };
  const types = { time: "f8", broken: "u1", symbol: "u1", regime: "u1" };
  const rows = new Rows(Object.keys(whole).map((name) => [types[name] ?? "f4", name]), 1e6, time.length);
  for (const [name, values] of Object.entries(whole)) rows.column(name).set(values);
  rows.end = time.length;
  return rows;
}

const range = (count, of = (at) => at) => Array.from({ length: count }, (_, at) => of(at));

test("few rows are shown one by one", () => {
  const rows = rowsOf({ time: [0, 10, 20, 30], price: [5, 3, NaN, 7] });
  const thinning = new Thinning(rows, 0, 4, 0, 30, 100);
  assert.equal(thinning.exact, true);
  assert.deepEqual(thinning.starts, [0, 1, 2, 3]);
  const line = thinning.line("price", null);
  assert.deepEqual([line.x, line.y], [[0, 10, 30], [5, 3, 7]]);
  assert.deepEqual([line.low, line.high], [3, 7]);
});

test("as many rows as two per bucket are shown one by one, one more is not", () => {
  const rows = rowsOf({ time: range(11), price: range(11) });
  assert.equal(BUCKET_PX, 2);
  assert.equal(new Thinning(rows, 0, 10, 0, 10, 10).exact, true);
  assert.equal(new Thinning(rows, 0, 11, 0, 10, 10).exact, false);
});

test("many rows become the minimum and the maximum of each two pixels, in their order", () => {
  const rows = rowsOf({ time: range(100), price: range(100, (at) => (at % 10 === 3 ? 50 : at % 10 === 7 ? -50 : 0)) });
  const thinning = new Thinning(rows, 0, 100, 0, 100, 20);
  assert.deepEqual(thinning.starts, range(10, (at) => at * 10));
  assert.deepEqual(thinning.cuts, range(10, () => 0));
  const line = thinning.line("price", null);
  assert.deepEqual(line.x, range(10, (at) => [at * 10 + 3, at * 10 + 7]).flat());
  assert.deepEqual(line.y, range(10, () => [50, -50]).flat());
  assert.deepEqual([line.low, line.high], [-50, 50]);
});

test("the range of a line is that of its values, also where all lie on one side of zero", () => {
  const of = (price) => new Thinning(rowsOf({ time: range(3), price }), 0, 3, 0, 2, 10).line("price", null);
  assert.deepEqual([of([-3, -1, -2]).low, of([-3, -1, -2]).high], [-3, -1]);
  assert.deepEqual([of([3, 1, 2]).low, of([3, 1, 2]).high], [1, 3]);
  assert.deepEqual([of([NaN, NaN, NaN]).low, of([NaN, NaN, NaN]).high], [Infinity, -Infinity]);
});

test("buckets are counted from the window's beginning, wherever that lies", () => {
  const rows = rowsOf({ time: range(100, (at) => 5_000 + at), price: range(100) });
  const thinning = new Thinning(rows, 0, 100, 5_000, 5_100, 20);
  assert.equal(thinning.scale, 0.1);
  assert.deepEqual(thinning.starts, range(10, (at) => at * 10));
});

test("a bucket of one value is one point, and one of none is no point", () => {
  const rows = rowsOf({ time: range(40), price: range(40, (at) => (at < 10 ? 7 : at < 20 ? NaN : at)) });
  const line = new Thinning(rows, 0, 40, 0, 40, 8).line("price", null);
  assert.deepEqual([line.x, line.y], [[0, 20, 29, 30, 39], [7, 20, 29, 30, 39]]);
});

test("a gap whose own bucket holds no value still cuts the line where the bucket after it grows", () => {
  const rows = rowsOf({ time: range(40), price: range(40, (at) => (at < 10 ? 1 : at < 20 ? NaN : at)), broken: range(40, (at) => Number(at === 10)) });
  const thinning = new Thinning(rows, 0, 25, 0, 40, 8);
  assert.equal(thinning.exact, false);
  assert.deepEqual([thinning.line("price", null).x, thinning.line("price", null).y], [[0, 20, 20, 24], [1, null, 20, 24]]);
  assert.equal(thinning.extend(28), true);
  assert.deepEqual([thinning.line("price", null).x, thinning.line("price", null).y], [[0, 20, 20, 27], [1, null, 20, 27]]);
});

test("a line that was asked for before the first row has all of them later, and a range of a millisecond has its scale", () => {
  const rows = rowsOf({ time: range(4), price: range(4) });
  const thinning = new Thinning(rows, 0, 0, 0, 1, 10);
  assert.equal(thinning.scale, 5);
  assert.deepEqual(thinning.line("price", null).x, []);
  thinning.extend(4);
  assert.deepEqual(thinning.line("price", null).x, range(4));
});

test("a column that is not there has no points", () => {
  const rows = rowsOf({ time: range(4), price: range(4) });
  assert.deepEqual(new Thinning(rows, 0, 4, 0, 4, 10).line("none", null).x, []);
});

test("no line is drawn across a gap, also where the row after it carries no value", () => {
  const rows = rowsOf({ time: [0, 1, 2, 3, 4], price: [1, 2, NaN, 4, 5], broken: [0, 0, 1, 0, 0] });
  const thinning = new Thinning(rows, 0, 5, 0, 4, 100);
  assert.deepEqual(thinning.cuts, [0, 0, GAP, 0, 0]);
  const line = thinning.line("price", null);
  assert.deepEqual(line.y, [1, 2, null, 4, 5]);
  assert.deepEqual(line.x, [0, 1, 3, 3, 4]);
});

test("a gap before the first row that is shown cuts nothing", () => {
  const rows = rowsOf({ time: [0, 1, 2], price: [1, 2, 3], broken: [1, 1, 0] });
  assert.deepEqual(new Thinning(rows, 1, 3, 0, 2, 100).line("price", null).y, [2, 3]);
  assert.deepEqual(new Thinning(rows, 0, 3, 0, 2, 100).line("price", null).y, [1, null, 2, 3]);
});

test("a bucket never reaches across a gap or another symbol", () => {
  const rows = rowsOf({ time: range(100), price: range(100), broken: range(100, (at) => Number(at === 55)), symbol: range(100, (at) => Number(at >= 75)) });
  const thinning = new Thinning(rows, 0, 100, 0, 100, 20);
  assert.deepEqual(thinning.starts, [0, 10, 20, 30, 40, 50, 55, 60, 70, 75, 80, 90]);
  assert.deepEqual([thinning.cuts[6], thinning.cuts[9]], [GAP, OTHER_SYMBOL]);
  assert.deepEqual(thinning.line("price", null).y.filter((value) => value === null).length, 1, "a line of all symbols is cut by the gap alone");
  const one = thinning.line("price", 1);
  assert.deepEqual([one.x, one.y], [[75, 79, 80, 89, 90, 99], [75, 79, 80, 89, 90, 99]]);
});

test("of two symbols that take turns one is shown, cut where the other was", () => {
  const rows = rowsOf({ time: range(6), price: range(6), symbol: [0, 0, 1, 1, 0, 0] });
  const line = new Thinning(rows, 0, 6, 0, 6, 100).line("price", 0);
  assert.deepEqual([line.x, line.y], [[0, 1, 4, 4, 5], [0, 1, null, 4, 5]]);
});

test("a line that grew is what it would be if thinned at once, whatever the steps", () => {
  const values = range(997, (at) => (at % 37 === 5 ? NaN : Math.sin(at * 1.7) * 100));
  const columns = { time: range(997, (at) => at * 3), price: values, broken: range(997, (at) => Number(at % 211 === 9)), symbol: range(997, (at) => Number(at > 600)) };
  const rows = rowsOf(columns);
  for (const pixels of [40, 400]) {
    for (const step of [1, 7, 50]) {
      const grown = new Thinning(rows, 3, 4 + 2 * pixels, 9, 2900, pixels);
      for (const only of [null, 1]) grown.line("price", only);
      for (let to = grown.to; to < 997; to += step) {
        assert.equal(grown.extend(to), true);
        for (const only of [null, 1]) {
          const line = grown.line("price", only);
          const once = new Thinning(rows, 3, to, 9, 2900, pixels).line("price", only);
          assert.deepEqual([line.x, line.y, line.low, line.high], [once.x, once.y, once.low, once.high]);
          assert.ok(line.settled <= line.x.length);
          assert.deepEqual(line.x.slice(0, line.settled), new Thinning(rows, 3, 997, 9, 2900, pixels).line("price", only).x.slice(0, line.settled));
        }
      }
    }
  }
});

test("what was settled is not thinned again", () => {
  const rows = rowsOf({ time: range(100), price: range(100) });
  const thinning = new Thinning(rows, 0, 60, 0, 100, 20);
  const line = thinning.line("price", null);
  assert.equal(line.done, 5, "the last bucket may grow");
  assert.equal(line.settled, 10);
  rows.column("price")[5] = 1e6;
  thinning.extend(100);
  assert.equal(Math.max(...thinning.line("price", null).y), 99);
  assert.equal(thinning.line("price", null), line, "one line per column and symbol");
  assert.notEqual(thinning.line("price", 0), line);
});

test("a thinning ends where rows moved, where fewer are wanted, and where one by one are too many", () => {
  const rows = rowsOf({ time: range(100), price: range(100) });
  const thinning = new Thinning(rows, 0, 60, 0, 100, 20);
  assert.equal(thinning.extend(60), true);
  assert.equal(thinning.extend(59), false);
  assert.equal(thinning.extend(70), true);
  rows.version += 1;
  assert.equal(thinning.extend(80), false);
  const exact = new Thinning(rows, 0, 20, 0, 100, 20);
  assert.equal(exact.exact, true);
  assert.equal(exact.extend(21), false);
  assert.deepEqual(exact.starts.length, 20);
  const from = new Thinning(rows, 50, 70, 0, 100, 20);
  assert.equal(from.exact, true);
});

test("a range without length is no error", () => {
  const rows = rowsOf({ time: range(50, () => 7), price: range(50) });
  const line = new Thinning(rows, 0, 50, 7, 7, 10).line("price", null);
  assert.deepEqual(line.y, [0, 49]);
});

test("stretches of a code end at the next one, at a gap, and at the last row", () => {
  const rows = rowsOf({ time: range(10, (at) => at * 100), regime: [255, 0, 0, 1, 1, 255, 1, 2, 2, 2], broken: [0, 0, 0, 0, 0, 0, 0, 0, 1, 0] });
  assert.deepEqual(stretches(rows, "regime", 0, 10, 0), [[0, 100, 300], [1, 300, 700], [2, 700, 700], [2, 800, 900]]);
  assert.deepEqual(stretches(rows, "regime", 4, 7, 0), [[1, 400, 600]]);
  assert.deepEqual(stretches(rows, "regime", 0, 1, 0), []);
});

test("a stretch that cannot be seen is left out, and so is such a space between two of one code", () => {
  const rows = rowsOf({ time: [0, 100, 101, 200, 300, 400], regime: [0, 1, 0, 1, 0, 0] });
  assert.deepEqual(stretches(rows, "regime", 0, 6, 10), [[0, 0, 200], [1, 200, 300], [0, 300, 400]]);
  assert.deepEqual(stretches(rows, "regime", 0, 6, 100), [[0, 0, 100], [1, 200, 300], [0, 300, 400]].map((bar) => bar), "just as narrow is seen");
});

test("gaps are the spaces before rows that a break stands before", () => {
  const rows = rowsOf({ time: [0, 10, 20, 30, 40], broken: [1, 0, 1, 0, 1] });
  assert.deepEqual(gaps(rows, 0, 5), [[10, 20], [30, 40]]);
  assert.deepEqual(gaps(rows, 3, 4), []);
  assert.deepEqual(gaps(rows, 2, 4), [[10, 20]]);
  rows.first = 2;
  assert.deepEqual(gaps(rows, 0, 5), [[30, 40]]);
});

test("a gap may lie right after the first row, and never before it", () => {
  assert.deepEqual(gaps(rowsOf({ time: [0, 10], broken: [0, 1] }), 0, 2), [[0, 10]]);
  assert.deepEqual(gaps(rowsOf({ time: [0, 10], broken: [1, 0] }), 0, 2), []);
});

test("what is too narrow to be seen does not part two stretches of one code, unless there is much of it", () => {
  const one = rowsOf({ time: [0, 10, 12, 20], regime: [1, 2, 1, 1] });
  assert.deepEqual(stretches(one, "regime", 0, 4, 3), [[1, 0, 20]]);
  const three = rowsOf({ time: [0, 10, 12, 14, 16, 20], regime: [1, 2, 3, 2, 1, 1] });
  assert.deepEqual(stretches(three, "regime", 0, 6, 3), [[1, 0, 10], [1, 16, 20]]);
  const two = rowsOf({ time: [0, 10, 12, 14, 20], regime: [1, 2, 3, 1, 1] });
  assert.deepEqual(stretches(two, "regime", 0, 5, 3), [[1, 0, 20]]);
});

test("buckets begin at the left edge, and rows of a later place are counted from the first of them", () => {
  const rows = rowsOf({ time: range(30), price: range(30) });
  assert.deepEqual(new Thinning(rows, 3, 23, 3, 23, 4).starts, [3, 13]);
  const few = new Thinning(rows, 20, 25, 20, 30, 10);
  assert.equal(few.exact, true);
  assert.equal(few.extend(30), true, "ten rows, each of which has its place");
  assert.equal(new Thinning(rows, 10, 15, 10, 30, 10).extend(21), false, "eleven rows");
});
