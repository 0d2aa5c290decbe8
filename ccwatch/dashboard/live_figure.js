// Draws what the kernel sends: keeps rows in typed columns, thins them to pixels and hands them to plotly.
// It must not know what the numbers mean: traces, layout and labels come from the kernel as a skeleton, filled by `meta`.
// One module with legend.js, which stands before it.

const UNKNOWN = 255;
const SOURCE_PATIENCE_MS = 15000; // then another dashboard of the page asks for plotly's source
const BUCKET_PX = 2; // a minimum and a maximum in each: a point per pixel, where a line is 1.4 px wide
const MARGIN = { t: 8, b: 58 }; // px; the legends stand outside
const TYPES = { f8: Float64Array, f4: Float32Array, u1: Uint8Array };

// ── plotly, once per page ─────────────────────────────────────────────────────────────────────────────────────────────

/** The page's one plotly of this version: `ready` resolves to it once some dashboard's kernel has sent the source. */
function sharedPlotly(version) {
  const key = Symbol.for(`ccwatch.plotly.${version}`);
  if (!window[key]) {
    const shared = { loaded: false, asked: -Infinity };
    shared.ready = new Promise((resolve) => {
      shared.resolve = resolve;
    });
    window[key] = shared;
  }
  return window[key];
}

async function loadPlotly(shared, gzipped) {
  if (shared.loaded) return;
  shared.loaded = true;
  try {
    const stream = new Blob([gzipped]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = await new Response(stream).text();
    const before = Object.getOwnPropertyDescriptor(window, "Plotly");
    // As a module with a `module` of its own, plotly exports itself there; the page's own Plotly, if any, is put back.
    const parts = ["const module = { exports: {} };\n", source, "\nexport default module.exports;"];
    const url = URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
    try {
      shared.resolve((await import(/* webpackIgnore: true */ url)).default);
    } finally {
      URL.revokeObjectURL(url);
      if (before) Object.defineProperty(window, "Plotly", before);
      else delete window.Plotly;
    }
  } catch (error) {
    shared.loaded = false;
    throw error;
  }
}

// ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

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

// ── what the page holds of one widget, whatever number of views shows it ──────────────────────────────────────────────

class Store {
  constructor(model) {
    this.model = model;
    this.page = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
    this.views = new Set();
    this.seq = 0;
    this.received = 0;
    this.rows = null;
    this.marks = [];
    this.figure = null;
    this.older = 0;
    this.painted = false;
    this.asking = false;
    this.shared = sharedPlotly(model.get("plotly_version"));
    this.onMessage = (content, buffers) => this.take(content, buffers);
    model.on("msg:custom", this.onMessage);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    clearTimeout(this.patience);
  }

  /** Ask for everything; for plotly's source too where nobody of this page has it or waits for it. */
  ask() {
    const now = performance.now();
    const source = !this.shared.loaded && now - this.shared.asked > SOURCE_PATIENCE_MS;
    if (source) this.shared.asked = now;
    this.asking = true;
    this.model.send({ type: "ready", page: this.page, seq: this.seq, source });
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      if (this.views.size && (this.asking || !this.shared.loaded)) this.ask();
    }, SOURCE_PATIENCE_MS + 1000);
  }

  take(content, buffers) {
    if (content.kind === "source") {
      loadPlotly(this.shared, buffers[0]).catch((error) => this.fail(error));
    } else if (content.kind === "full") {
      this.asking = false;
      this.rows = new Rows(content.columns, content.limit, content.total);
      this.rows.begin(buffers[0], content.rows, content.sketched, content.total);
      this.marks = content.marks;
      this.figure = content.figure;
      this.seq = content.seq;
      this.painted = false;
      this.changed();
    } else if (content.kind === "older" && this.rows) {
      if (!this.rows.prepend(buffers[0], content.at, content.rows, content.sketched)) return;
      this.older += 1;
      if (content.marks) this.marks = content.marks.concat(this.marks);
      this.changed();
    } else if (content.kind === "rows" && this.rows && this.views.size) {
      if (content.after !== this.seq) {
        // A row was lost, or this page slept. What is older than what is held (a full message overtook it) is no loss.
        if (content.seq > this.seq && !this.asking) this.ask();
        return;
      }
      this.received += 1;
      this.rows.append(buffers[0], content.rows);
      if (content.marks) this.marks = this.marks.concat(content.marks).slice(-2000);
      this.seq = content.seq;
      this.changed();
    }
  }

  changed() {
    for (const view of this.views) view.schedule();
  }

  /** A view has drawn: the kernel may send the older rows. */
  drawn() {
    if (this.painted) return;
    this.painted = true;
    this.model.send({ type: "painted", page: this.page });
  }

  fail(error) {
    for (const view of this.views) view.note(`The charts could not be loaded: ${error.message}`);
  }

  enter(view) {
    this.views.add(view);
    if (this.views.size === 1) this.ask();
    else view.schedule();
  }

  leave(view) {
    this.views.delete(view);
    if (!this.views.size) {
      clearTimeout(this.patience);
      this.model.send({ type: "asleep", page: this.page });
    }
  }
}

// ── one view ──────────────────────────────────────────────────────────────────────────────────────────────────────────

class View {
  constructor(store, model, el) {
    this.store = store;
    this.model = model;
    this.el = el;
    this.draws = 0;
    this.lastDraw = 0; // ms, of which
    this.lastThin = 0; // ms were spent before plotly
    this.drawnAt = -Infinity;
    this.zoom = null; // [from, to] in ms, chosen by hand
    this.revision = 0;
    this.onScreen = true;
    this.closed = false;
    this.undo = [];
    el.classList.add("ccwatch-live-figure");
    this.note("Waiting for the kernel …");
    this.plot = document.createElement("div");
    this.plot.className = "ccw-plot";
    el.append(this.plot);
    this.legends = new Legends(el, this.plot, () => this.schedule());
    this.listen();
    this.expose();
    store.shared.ready.then((Plotly) => {
      this.Plotly = Plotly;
      this.schedule();
    });
    store.enter(this);
  }

  note(words) {
    if (!this.words) {
      this.words = document.createElement("div");
      this.words.className = "ccw-note";
      this.el.prepend(this.words);
    }
    this.words.textContent = words;
  }

  listen() {
    const wake = () => this.schedule();
    const themes = new MutationObserver(wake);
    themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const screen = new IntersectionObserver((entries) => {
      this.onScreen = entries[entries.length - 1].isIntersecting;
      wake();
    });
    screen.observe(this.el);
    const size = new ResizeObserver(wake);
    size.observe(this.el);
    document.addEventListener("visibilitychange", wake);
    const window_ = () => {
      this.live();
    };
    this.model.on("change:window_s", window_);
    this.undo.push(
      () => themes.disconnect(),
      () => screen.disconnect(),
      () => size.disconnect(),
      () => document.removeEventListener("visibilitychange", wake),
      () => this.model.off("change:window_s", window_),
    );
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    for (const undo of this.undo) undo();
    if (this.Plotly) this.Plotly.purge(this.plot);
    this.store.leave(this);
    delete this.el.ccwatch;
  }

  /** Draw soon: once per animation frame at most, after at least three times what the last draw took, and only if seen. */
  schedule() {
    this.dirty = true;
    if (!this.draws && this.store.figure) this.el.style.minHeight = `${this.store.figure.light.layout.height}px`; // seen or not: no jump later
    if (this.waiting || this.closed || document.hidden || !this.onScreen) return;
    this.waiting = true;
    const pause = Math.max(0, this.drawnAt + 3 * this.lastDraw - performance.now());
    this.timer = setTimeout(() => {
      this.frame = requestAnimationFrame(() => {
        this.waiting = false;
        if (this.dirty && !this.closed && !document.hidden && this.onScreen) this.draw();
      });
    }, pause);
  }

  /** Follow the stream again. */
  live() {
    this.zoom = null;
    this.revision += 1;
    this.schedule();
  }

  get dark() {
    const light = document.body.dataset.jpThemeLight;
    return light === undefined ? window.matchMedia("(prefers-color-scheme: dark)").matches : light === "false";
  }

  range() {
    if (this.zoom) return this.zoom;
    const rows = this.store.rows;
    if (!rows || !rows.count) return null;
    const last = rows.held.time[rows.end - 1];
    const span = this.model.get("window_s") * 1000;
    const first = rows.held.time[rows.first];
    const from = span > 0 ? last - span : first;
    const to = Math.max(last, from + 1000);
    return [span > 0 && first > from ? first : from, to]; // a young stream fills the width
  }

  draw() {
    const { rows, figure } = this.store;
    const width = this.el.clientWidth;
    if (!this.Plotly || !figure || !rows || width < 50) return;
    const began = performance.now();
    this.dirty = false;
    const skeleton = this.dark ? figure.dark : figure.light;
    const range = this.range();
    const margin = { ...skeleton.layout.margin, ...MARGIN };
    const layout = {
      ...skeleton.layout,
      width,
      height: skeleton.layout.height - skeleton.layout.margin.t - skeleton.layout.margin.b + margin.t + margin.b,
      margin,
      showlegend: false,
      uirevision: this.revision,
      datarevision: this.draws + 1,
      xaxis: { ...skeleton.layout.xaxis, ...(range ? { range } : {}), autorange: false },
    };
    const data = range ? this.fill(skeleton.data, range, Math.max(50, width - 92)) : skeleton.data;
    if (!range) layout.xaxis = skeleton.layout.xaxis;
    this.lastThin = performance.now() - began;
    const { hidden } = this.legends;
    const seen = hidden.size ? data.map((trace) => (hidden.has(trace.meta.label) ? { ...trace, visible: false } : trace)) : data;
    this.Plotly.react(this.plot, seen, layout, { displayModeBar: false, doubleClick: false, responsive: false, scrollZoom: false });
    this.legends.show(data, layout, skeleton.layout);
    if (this.draws === 0) this.hook();
    if (this.words) {
      this.words.remove();
      this.words = null;
    }
    this.draws += 1;
    this.drawnAt = performance.now();
    this.lastDraw = this.drawnAt - began;
    this.store.drawn();
  }

  fill(traces, [start, end], pixels) {
    const { rows, marks } = this.store;
    const from = Math.max(rows.first, rows.find(start) - 1); // one row beyond each edge, so that lines reach it
    const to = Math.min(rows.end, rows.find(end) + 1);
    const symbol = rows.count ? rows.held.symbol[rows.end - 1] : UNKNOWN;
    const buckets = plan(rows, from, to, pixels, start, end);
    const narrowest = (end - start) / pixels / 2;
    const ribbon = stretches(rows, "regime", from, to, narrowest);
    const gaps = [];
    for (let row = Math.max(rows.first + 1, from); row < to; row += 1) {
      if (rows.held.broken[row]) gaps.push([rows.held.time[row - 1], rows.held.time[row]]);
    }
    this.points = 0;
    // What is empty is hidden: an empty trace of bars costs plotly as much as a full one.
    return traces.map((trace) => {
      const { role, column, code } = trace.meta;
      if (role === "line") {
        const line = thin(rows, column, buckets, trace.meta.symbol ? symbol : null);
        this.points += line.x.length;
        return { ...trace, ...line };
      }
      if (role === "signals") {
        let free = start; // a mark that would cover the one before is left out until the view is narrower
        const mine = marks.filter(([time, , side, of]) => {
          if (side !== code || of !== symbol || time < free || time > end) return false;
          free = time + 8 * narrowest;
          return true;
        });
        return { ...trace, visible: mine.length > 0, x: mine.map((mark) => mark[0]), y: mine.map((mark) => mark[1]), text: mine.map((mark) => mark[4]) };
      }
      const bars = role === "gaps" ? gaps : ribbon.filter((bar) => bar[0] === code).map((bar) => [bar[1], bar[2]]);
      return { ...trace, visible: bars.length > 0, x: bars.map((bar) => bar[0]), width: bars.map((bar) => bar[1] - bar[0]), y: bars.map(() => 1) };
    });
  }

  hook() {
    this.plot.on("plotly_relayout", (change) => {
      const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
      const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
      if (from === undefined || to === undefined) return;
      // plotly writes dates without a zone and means UTC
      const ms = (value) => (typeof value === "number" ? value : Date.parse(`${String(value).replace(" ", "T")}Z`));
      this.zoom = [ms(from), ms(to)];
      this.schedule();
    });
    this.plot.on("plotly_doubleclick", () => this.live());
  }

  /** What tests and the curious may read. */
  expose() {
    const view = this;
    this.el.ccwatch = {
      get lastSeq() {
        return view.store.seq;
      },
      get draws() {
        return view.draws;
      },
      get lastDrawMs() {
        return view.lastDraw;
      },
      get lastThinMs() {
        return view.lastThin;
      },
      get rows() {
        return view.store.rows ? view.store.rows.count : 0;
      },
      get missing() {
        return view.store.rows ? view.store.rows.exact : 0;
      },
      get older() {
        return view.store.older;
      },
      get frames() {
        return view.store.received;
      },
      get pointsDrawn() {
        return view.points;
      },
      get dark() {
        return view.dark;
      },
      get zoom() {
        return view.zoom;
      },
      range: () => view.range(),
      points: (name) => (view.store.rows ? Array.from(view.store.rows.held[name].subarray(view.store.rows.first, view.store.rows.end)) : []),
      drawNow: () => view.draw(),
    };
  }
}

export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = new Store(model);
      return () => store.close();
    },
    render({ model, el }) {
      const view = new View(store, model, el);
      return () => view.close();
    },
  };
};
