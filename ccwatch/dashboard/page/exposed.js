// The parts of a view that tests and benchmarks may read.

/** @import { View } from "./view.js" */

/** Hang it on the view's element as `ccwatch`. @param {View} view */
export function expose(view) {
  const { store, charts } = view;
  /** @type {any} */ (view.el).ccwatch = {
    get lastSeq() {
      return store.main.seq;
    },
    get newest() {
      return view.now;
    },
    get draws() {
      return charts.draws;
    },
    get bases() {
      return charts.base.made;
    },
    get moves() {
      return charts.base.moved;
    },
    get rests() {
      return !view.isMoving && !charts.base.isShifted;
    },
    get lastDrawMs() {
      return view.lastDraw;
    },
    get lastThinMs() {
      return charts.lastThin;
    },
    get rows() {
      return store.main.rows ? store.main.rows.count : 0;
    },
    get missing() {
      return store.main.rows ? store.main.rows.exact : 0;
    },
    get older() {
      return store.main.older;
    },
    get frames() {
      return store.main.received;
    },
    get streams() {
      return store.streams.length;
    },
    get pointsDrawn() {
      return charts.points;
    },
    get dark() {
      return view.dark;
    },
    get windowMs() {
      return view.windowMs;
    },
    get zoom() {
      return view.zoom;
    },
    get head() {
      return view.head;
    },
    get cursor() {
      return view.cursor.time;
    },
    get items() {
      return view.items;
    },
    put: (/** @type {number} */ time) => view.cursor.put(time),
    x: (/** @type {number} */ time) => charts.scale?.x(time),
    range: () => view.range(),
    facts: () => store.main.facts(view.now),
    line: (/** @type {string} */ column) => charts.thinned[0]?.line(column, null).x.length ?? 0,
    points: (/** @type {string} */ name) => (store.main.rows ? Array.from(store.main.rows.column(name).subarray(store.main.rows.first, store.main.rows.end)) : []),
    drawNow: () => view.draw(),
    /** Draw all of the canvas again, on the same axes. */
    again: () => {
      charts.thinned = [];
      view.draw();
    },
    /** Have plotly draw all of it, or make axes for the canvas again. */
    still: (/** @type {boolean} */ on) => {
      view.still = on;
      [charts.key, charts.base.rest] = ["", ""];
      view.draw();
    },
  };
}
