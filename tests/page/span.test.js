// Which stretch of time is shown while a stream goes on, and what a forecast ahead of it asks for.

import assert from "node:assert/strict";
import test from "node:test";
import { around, follow, foreseen, widened } from "../../ccwatch/dashboard/page/span.js";

const HOUR = 3_600_000;
const WINDOW = 1_800_000;

test("a window keeps its edges until the newest row passes the right one, then steps on by a tenth", () => {
  const shown = follow(null, 0, HOUR, WINDOW, true);
  assert.deepEqual(shown, [HOUR + 0.1 * WINDOW - WINDOW, HOUR + 0.1 * WINDOW]);
  assert.equal(follow(shown, 0, HOUR + 0.09 * WINDOW, WINDOW, true), shown);
  const next = HOUR + 0.11 * WINDOW;
  assert.deepEqual(follow(shown, 0, next, WINDOW, true), [next + 0.1 * WINDOW - WINDOW, next + 0.1 * WINDOW]);
});

test("a young stream has a minute, and what has ended no room ahead", () => {
  assert.deepEqual(follow(null, 0, 5_000, WINDOW, true), [0, 60_000]);
  assert.deepEqual(follow(null, 0, 5_000, WINDOW, false), [0, 5_000]);
  assert.deepEqual(follow(null, 0, HOUR, WINDOW, false), [HOUR - WINDOW, HOUR]);
});

test("the play head is always in sight, in a window that rests while it holds the head", () => {
  const shown = around(null, 2 * HOUR, 0, 4 * HOUR, WINDOW);
  assert.deepEqual(shown, [2 * HOUR - 0.9 * WINDOW, 2 * HOUR + 0.1 * WINDOW]);
  assert.equal(around(shown, shown[0], 0, 4 * HOUR, WINDOW), shown);
  assert.equal(around(shown, shown[1], 0, 4 * HOUR, WINDOW), shown);
  assert.deepEqual(around(shown, shown[1] + 1, 0, 4 * HOUR, WINDOW), [shown[1] + 1 - 0.9 * WINDOW, shown[1] + 1 + 0.1 * WINDOW]);
  assert.deepEqual(around(shown, 60_000, 0, 4 * HOUR, WINDOW), [0, WINDOW], "not before the first row");
  assert.deepEqual(around(shown, 4 * HOUR, 0, 4 * HOUR, WINDOW), [4 * HOUR - WINDOW, 4 * HOUR], "nor after the last");
  assert.deepEqual(around(shown, 60_000, 0, 4 * HOUR, 0), [0, 4 * HOUR]);
  assert.deepEqual(around(null, 500, 0, 500, WINDOW), [0, 1000], "all of what is shorter");
});

test("a forecast ahead of the newest row is in sight, as far as a third of the window", () => {
  assert.equal(foreseen(HOUR, null, WINDOW, HOUR), HOUR);
  assert.equal(foreseen(HOUR, HOUR - 1, WINDOW, HOUR), HOUR, "one that the stream has passed asks for nothing");
  assert.equal(foreseen(HOUR, HOUR + 60_000, WINDOW, HOUR), HOUR + 60_000);
  assert.equal(foreseen(HOUR, 9 * HOUR, WINDOW, HOUR), HOUR + WINDOW / 3);
  assert.equal(foreseen(HOUR, 9 * HOUR, 0, HOUR), HOUR + HOUR / 3, "of all that is held");
  assert.equal(foreseen(5_000, 90_000, WINDOW, 5_000), 25_000, "of a young stream's minute");
});

test("a range is at least 20 ms long", () => {
  assert.deepEqual(widened([5, 5]), [-5, 15]);
  assert.deepEqual(widened([0, 20]), [0, 20]);
});
