// What the page holds of one widget, whatever number of views shows it; and plotly, once per page.

const SOURCE_PATIENCE_MS = 15000; // then another dashboard of the page asks for plotly's source
// Seen with ipykernel 7.4: it may hand nothing to a subshell that JupyterLab makes while it deletes another, as at a reload.
const UNANSWERED = "The kernel has not answered yet. If it is idle, it lost what this page asked: reload the page.";

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
    this.tables = new Tables();
    this.looks = new Map(); // how a panel's computed lines look, light and dark
    this.computed = new Map(); // their points, by column
    this.moves = true; // whether more may come
    this.live = true;
    this.older = 0;
    this.painted = false;
    this.asking = false;
    this.shared = sharedPlotly(model.get("plotly_version"));
    this.onMessage = (content, buffers) => this.take(content, buffers);
    model.on("msg:custom", this.onMessage);
    this.onHide = () => this.views.size && this.sleep();
    this.onShow = (event) => event.persisted && this.views.size && this.ask();
    window.addEventListener("pagehide", this.onHide);
    window.addEventListener("pageshow", this.onShow);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    window.removeEventListener("pagehide", this.onHide);
    window.removeEventListener("pageshow", this.onShow);
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
      if (!this.views.size || (!this.asking && this.shared.loaded)) return;
      if (this.asking) for (const view of this.views) view.note(UNANSWERED);
      this.ask();
    }, SOURCE_PATIENCE_MS + 1000);
  }

  /** Nobody looks: the kernel need not send. Else a server keeps what is sent to a page that was closed, for ever. */
  sleep() {
    try {
      this.model.send({ type: "asleep", page: this.page });
    } catch {
      // a page that closes may have let go of its kernel before, as Voila's does
    }
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
      this.moves = content.moves ?? true;
      this.live = content.live ?? true;
      this.looks.clear();
      this.computed.clear();
      this.beside(content.side, "replace");
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
      this.beside(content.side, "append");
      this.changed();
    } else if (content.kind === "side") {
      this.beside(content.replace, "replace");
      this.beside(content.append, "append");
    } else if (content.kind === "computed") {
      this.compute(content, buffers[0]);
    } else if (content.kind === "armed") {
      if (content.page === this.page) for (const view of this.views) view.commands.armed(content);
    } else if (content.kind === "answer") {
      for (const view of this.views) view.answers.show(content);
    }
  }

  beside(parts, how) {
    if (!parts) return;
    this.tables[how](parts);
    for (const view of this.views) {
      view.side.show();
      if (parts.alerts) view.alerts.show();
      if (parts.commands !== undefined || parts.symbols) view.commands.show();
    }
    if (parts.marks) this.changed();
  }

  compute({ panel, counts, traces }, view) {
    if (traces) this.looks.set(panel, traces);
    const looks = this.looks.get(panel);
    if (!looks) return;
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const times = new Float64Array(bytes, 0, total);
    const values = new Float32Array(bytes, total * 8, total);
    let at = 0;
    counts.forEach((count, place) => {
      const y = Array.from(values.subarray(at, at + count), (value) => (Number.isNaN(value) ? null : value));
      this.computed.set(looks.light[place].meta.column, { x: Array.from(times.subarray(at, at + count)), y });
      at += count;
    });
    this.changed();
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
      this.sleep();
    }
  }
}

