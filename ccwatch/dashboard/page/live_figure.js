// Draws what the kernel sends: thins rows to pixels and hands them to plotly, once per animation frame.
// It must not know what the numbers mean: traces, layout and labels come from the kernel as a skeleton, filled by `meta`.
// One module with the files beside it, which LiveFigure reads before this one.

const BARS = new Set(["gaps", "ribbon"]); // drawn on axes of their own
const MARGIN = { t: 8, b: 58 }; // px; the legends stand outside

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
    this.head = null; // ms up to which a recording is shown; null: all of it
    this.shown = null; // [from, to] that was drawn last
    this.traces = []; // that were drawn last
    this.left = 76; // px beside the panels,
    this.right = 28; // on either side
    this.revision = 0;
    this.onScreen = true;
    this.closed = false;
    this.undo = [];
    el.classList.add("ccwatch-live-figure");
    this.note("Waiting for the kernel …");
    this.plot = document.createElement("div");
    this.plot.className = "ccw-plot";
    this.charts = document.createElement("div");
    this.charts.className = "ccw-charts";
    this.charts.append(this.plot);
    this.legends = new Legends(el, this.plot, () => this.schedule());
    this.cursor = new Cursor(this);
    this.timeline = new Timeline(this);
    this.side = new Side(this);
    this.alerts = new AlertStrip(this);
    this.commands = new CommandBar(this);
    this.spoken = tell("div", "ccw-spoken");
    this.spoken.setAttribute("aria-live", "polite");
    this.answers = new Answer(this);
    this.charts.append(this.timeline.el, this.answers.el, this.spoken);
    el.append(this.commands.el, this.alerts.el, this.charts, this.side.el);
    this.zoom = store.model.get("zoom")?.length === 2 ? [...store.model.get("zoom")] : null;
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
    size.observe(this.charts); // a side that moves below them changes their width alone
    document.addEventListener("visibilitychange", wake);
    // Else the notebook would take M and the arrows for its own; Ctrl+S and the like stay the notebook's. Asked before it looks.
    const guard = (event) => {
      const home = this.el.closest(".ccw-dashboard") ?? this.el;
      const ours = !(event.ctrlKey || event.metaKey || event.altKey);
      // On the focused element too: the notebook's own selectors match that one before they come to its parents.
      for (const el of home.contains(event.target) ? [home, event.target] : [home]) el.toggleAttribute("data-lm-suppress-shortcuts", ours);
    };
    window.addEventListener("keydown", guard, true);
    const window_ = () => {
      this.live();
    };
    const zoomed = () => {
      const zoom = this.model.get("zoom");
      if (JSON.stringify(zoom) === JSON.stringify(this.zoom ?? [])) return;
      this.zoom = zoom.length === 2 ? [...zoom] : null;
      this.schedule();
    };
    // The notebook would select cells by it, and take the focus back.
    const keep = (event) => event.stopPropagation();
    this.el.addEventListener("mousedown", keep);
    this.model.on("change:window_s", window_);
    this.model.on("change:zoom", zoomed);
    this.undo.push(
      () => themes.disconnect(),
      () => screen.disconnect(),
      () => size.disconnect(),
      () => document.removeEventListener("visibilitychange", wake),
      () => window.removeEventListener("keydown", guard, true),
      () => this.model.off("change:window_s", window_),
      () => this.model.off("change:zoom", zoomed),
    );
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    for (const undo of this.undo) undo();
    this.timeline.close();
    this.alerts.close();
    this.commands.close();
    if (this.Plotly) this.Plotly.purge(this.plot);
    this.store.leave(this);
    delete this.el.ccwatch;
  }

  /** Draw soon: once per animation frame at most, after a pause as long as the last draw took, and only if seen. */
  schedule() {
    this.dirty = true;
    if (!this.draws && this.store.figure) this.el.style.minHeight = `${this.store.figure.light.layout.height}px`; // seen or not: no jump later
    if (this.waiting || this.closed || document.hidden || !this.onScreen) return;
    this.waiting = true;
    const pause = Math.max(0, this.drawnAt + this.lastDraw - performance.now());
    this.timer = setTimeout(() => {
      this.frame = requestAnimationFrame(() => {
        this.waiting = false;
        if (this.dirty && !this.closed && !document.hidden && this.onScreen) this.draw();
      });
    }, pause);
  }

  /** Follow the stream again. */
  live() {
    this.head = null;
    this.timeline.playing = false;
    this.zoomTo(null);
  }

  all() {
    if (this.timeline.whole) this.zoomTo(this.timeline.whole);
  }

  /** Show a range of time and keep it while the stream goes on; null follows the stream. A reload finds it again. */
  zoomTo(range) {
    this.zoom = range && range[1] - range[0] < 20 ? [range[0] - 10, range[1] + 10] : range;
    this.revision += 1;
    this.schedule();
    clearTimeout(this.saving);
    this.saving = setTimeout(() => {
      if (this.closed || JSON.stringify(this.model.get("zoom")) === JSON.stringify(this.zoom ?? [])) return;
      this.model.set("zoom", this.zoom ?? []);
      this.model.save_changes();
    }, 250);
  }

  pan(share) {
    const range = this.shown;
    if (range) this.zoomTo(range.map((time) => time + share * (range[1] - range[0])));
  }

  zoomBy(factor) {
    const range = this.shown;
    if (!range) return;
    const middle = this.cursor.time ?? (range[0] + range[1]) / 2;
    this.zoomTo(range.map((time) => middle + (time - middle) * factor));
  }

  /** Show what surrounds a time; a wide view becomes a narrower one where that is asked for. */
  centre(time, narrow = false) {
    const range = this.shown;
    if (!range) return;
    const half = (narrow && !this.zoom ? Math.min(range[1] - range[0], 240_000) : range[1] - range[0]) / 2;
    this.zoomTo([time - half, time + half]);
    this.cursor.pinned = true;
    this.cursor.put(time, true);
  }

  say(words) {
    this.spoken.textContent = words;
  }

  /** Ask the kernel why; its answer opens beside the charts. */
  ask(range) {
    if (!range) return;
    this.answers.awaited = true;
    this.answers.show({ title: `Asking about ${clock(range[0], 3)}${range[1] > range[0] ? ` to ${clock(range[1], 3)}` : ""} …`, lines: [], code: "" });
    this.answers.awaited = true;
    this.model.send({ type: "ask", page: this.store.page, from: range[0], to: range[1] });
  }

  get dark() {
    const light = document.body.dataset.jpThemeLight;
    return light === undefined ? window.matchMedia("(prefers-color-scheme: dark)").matches : light === "false";
  }

  range() {
    if (this.zoom) return this.zoom;
    const rows = this.store.rows;
    if (!rows || !rows.count) return null;
    const last = this.head ?? rows.held.time[rows.end - 1];
    const span = this.model.get("window_s") * 1000;
    const first = rows.held.time[rows.first];
    const from = span > 0 ? last - span : first;
    const to = Math.max(last, from + 1000);
    return [span > 0 && first > from ? first : from, to]; // a young stream fills the width
  }

  draw() {
    const { rows, figure } = this.store;
    const width = this.charts.clientWidth;
    if (!this.Plotly || !figure || !rows || width < 50) return;
    const began = performance.now();
    this.dirty = false;
    const skeleton = this.dark ? figure.dark : figure.light;
    const range = this.range();
    const margin = { ...skeleton.layout.margin, ...MARGIN };
    this.left = margin.l;
    this.right = margin.r;
    this.shown = range;
    const layout = {
      ...skeleton.layout,
      hovermode: "closest",
      dragmode: false,
      shapes: [...(skeleton.layout.shapes ?? []), ...this.flags(skeleton.layout.font.color)],
      width,
      height: skeleton.layout.height - skeleton.layout.margin.t - skeleton.layout.margin.b + margin.t + margin.b,
      margin,
      showlegend: false,
      uirevision: this.revision,
      datarevision: this.draws + 1,
      xaxis: { ...skeleton.layout.xaxis, ...(range ? { range } : {}), autorange: false, showspikes: false },
    };
    for (const [key, axis] of Object.entries(layout)) if (key.startsWith("yaxis") && axis.title) layout[key] = { ...axis, title: undefined };
    const looks = [...this.store.looks.values()].flatMap((look) => (this.dark ? look.dark : look.light));
    const all = looks.length ? [...skeleton.data, ...looks] : skeleton.data;
    const data = range ? this.fill(all, range, Math.max(50, width - margin.l - margin.r)) : all;
    this.traces = data;
    if (!range) layout.xaxis = skeleton.layout.xaxis;
    this.lastThin = performance.now() - began;
    const { hidden } = this.legends;
    // What is not seen is left out, with the axis that nothing else is drawn on: plotly pays for an empty one as for a full one.
    const seen = data.filter((trace) => trace.visible !== false && !hidden.has(trace.meta.label));
    const used = new Set(seen.map((trace) => trace.yaxis));
    for (const { yaxis, meta } of data) if (BARS.has(meta.role) && !used.has(yaxis)) delete layout[`yaxis${yaxis.slice(1)}`];
    this.Plotly.react(this.plot, seen, layout, { displayModeBar: false, doubleClick: false, responsive: false, scrollZoom: false });
    this.legends.show(data, layout, skeleton.layout);
    this.cursor.show();
    this.timeline.show();
    this.alerts.tick();
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
    const until = this.head === null ? rows.end : rows.find(this.head + 0.001);
    const to = Math.max(from, Math.min(until, rows.find(end) + 1));
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
        return { ...trace, ...line, hoverinfo: "skip", hovertemplate: undefined };
      }
      if (role === "computed") {
        const { x, y } = this.store.computed.get(column) ?? { x: [], y: [] };
        const past = this.head === null ? x.length : x.findIndex((time) => time > this.head);
        return { ...trace, x: past < 0 ? x : x.slice(0, past), y: past < 0 ? y : y.slice(0, past), hoverinfo: "skip", hovertemplate: undefined };
      }
      if (role === "signals") {
        let free = start; // a mark that would cover the one before is left out until the view is narrower
        const mine = marks.filter(([time, , side, of]) => {
          if (side !== code || of !== symbol || time < free || time > end || (this.head !== null && time > this.head)) return false;
          free = time + 8 * narrowest;
          return true;
        });
        return { ...trace, visible: mine.length > 0, x: mine.map((mark) => mark[0]), y: mine.map((mark) => mark[1]), text: mine.map((mark) => mark[4]), marker: { ...trace.marker, size: mine.map((mark) => mark[5]), symbol: mine.map((mark) => mark[6]) } };
      }
      const bars = role === "gaps" ? gaps : ribbon.filter((bar) => bar[0] === code).map((bar) => [bar[1], bar[2]]);
      return { ...trace, visible: bars.length > 0, x: bars.map((bar) => bar[0]), width: bars.map((bar) => bar[1] - bar[0]), y: bars.map(() => 1) };
    });
  }

  /** A thin line at each of the user's marks. */
  flags(color) {
    return this.store.tables.marks
      .filter(([time]) => this.head === null || time <= this.head)
      .map(([x]) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color, width: 1, dash: "dashdot" } }));
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
      get windowMs() {
        return view.model.get("window_s") * 1000;
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
      put: (time) => view.cursor.put(time),
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
