// Moments side by side in the lane of events.

import assert from "node:assert/strict";
import test from "node:test";
import { apart } from "../../ccwatch/dashboard/page/items.js";

const at = (/** @type {number} */ x, /** @type {string} */ kind) => ({ x, item: { time: 1000 * x, kind, glyph: "", words: "", important: true } });
const kept = (/** @type {ReturnType<typeof at>[]} */ seen, /** @type {number | null} */ chosen = null) => apart(seen, 7, chosen).map(({ item, x }) => `${item.kind} ${x}`);

test("of moments that would cover each other the weightier stays, else the earlier", () => {
  assert.deepEqual(kept([at(10, "regime"), at(12, "halt"), at(13, "alert"), at(19, "regime")]), ["halt 12", "regime 19"]);
  assert.deepEqual(kept([at(10, "alert"), at(12, "signal"), at(16, "regime"), at(17, "regime")]), ["alert 10", "regime 17"]);
  assert.deepEqual(kept([at(10, "regime"), at(12, "regime"), at(30, "gap")]), ["regime 10", "gap 30"]);
  assert.deepEqual(kept([]), []);
});

test("the moment that was chosen is always there", () => {
  assert.deepEqual(kept([at(10, "halt"), at(12, "regime")], 12_000), ["regime 12"]);
});
