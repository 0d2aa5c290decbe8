// The page's state of one widget, for any number of its views: its streams, and the messages from and to the kernel.

/** @import { Content, Model } from "./types.js" */
/** @import { View } from "./view.js" */

import { loadPlotly, sharedPlotly, SOURCE_PATIENCE_MS } from "./plotly.js";
import { Stream } from "./stream.js";

// Seen with ipykernel 7.4: it may hand nothing to a subshell that JupyterLab makes while it deletes another, as at a reload.
const UNANSWERED = "The kernel has not answered yet. If it is idle, it lost what this page asked: reload the page.";

export class Store {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.page = typeof crypto.randomUUID === "function" ? crypto.randomUUID() : String(Math.random());
    /** @type {Set<View>} */
    this.views = new Set();
    /** @type {Stream[]} */
    this.streams = [new Stream()];
    this.painted = false;
    /** @type {number[]} */
    this.heardAt = []; // when rows of each stream came last
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
    this.heard = performance.now(); // when anything came from the kernel last
    this.isCut = false; // the notebook says that the kernel was restarted
    this.shared = sharedPlotly(model.get("plotly_version"));
    this.onMessage = (/** @type {Content} */ content, /** @type {DataView[]} */ buffers) => this.take(content, buffers);
    model.on("msg:custom", this.onMessage);
    this.onCut = () => this.cut();
    model.on("comm_live_update", this.onCut);
    this.onHide = () => this.views.size && this.sleep();
    this.onShow = (/** @type {PageTransitionEvent} */ event) => event.persisted && this.views.size && this.ask();
    window.addEventListener("pagehide", this.onHide);
    window.addEventListener("pageshow", this.onShow);
  }

  /** The stream that the status line, the alerts and the tables speak of first. */
  get main() {
    return /** @type {Stream} */ (this.streams[0]);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onCut);
    window.removeEventListener("pagehide", this.onHide);
    window.removeEventListener("pageshow", this.onShow);
    clearTimeout(this.patience);
  }

  /** @param {object} content */
  send(content) {
    this.model.send({ page: this.page, ...content });
  }

  /** Ask for everything; for plotly's source too where no view of this page has it or waits for it. */
  ask() {
    const now = performance.now();
    const source = !this.shared.loaded && now - this.shared.asked > SOURCE_PATIENCE_MS;
    if (source) this.shared.asked = now;
    for (const stream of this.streams) stream.asking = true;
    this.painted = false;
    this.send({ type: "ready", seq: this.main.seq, source });
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      if (!this.views.size || (!this.main.asking && this.shared.loaded)) return;
      if (this.main.asking) for (const view of this.views) view.note(UNANSWERED);
      this.ask();
    }, SOURCE_PATIENCE_MS + 1000);
  }

  /** No view is left: the kernel need not send. Else a server keeps what is sent to a page that was closed, for ever. */
  sleep() {
    try {
      this.send({ type: "asleep" });
    } catch {
      // a page that closes may have let go of its kernel before, as Voila's does
    }
  }

  cut() {
    this.isCut = true;
    for (const view of this.views) view.tick();
  }

  /** @param {Content} content @param {DataView[]} buffers */
  take(content, buffers) {
    this.heard = performance.now();
    this.isCut = false;
    if (content.kind === "source") {
      loadPlotly(this.shared, /** @type {DataView} */ (buffers[0])).catch((error) => this.fail(error));
    } else if (content.kind === "armed") {
      if (content.page === this.page) for (const view of this.views) view.commands.armed(/** @type {any} */ (content));
    } else if (content.kind === "found") {
      for (const view of this.views) view.side.found(content.text, content.rows);
    } else if (content.kind === "answer") {
      for (const view of this.views) view.answers.show(/** @type {any} */ (content));
    } else {
      const place = content.stream ?? 0;
      while (this.streams.length <= place) this.streams.push(new Stream());
      const stream = /** @type {Stream} */ (this.streams[place]);
      const found = content.kind === "rows" && !this.views.size ? null : stream.take(content, buffers);
      if (content.kind === "rows" || content.kind === "full") this.heardAt[place] = performance.now();
      if (found === "ask") this.ask();
      else if (found) for (const view of this.views) view.heard(found, content.replace ?? null);
    }
  }

  /** A view has drawn: the kernel may send the older rows. */
  drawn() {
    if (this.painted) return;
    this.painted = true;
    this.send({ type: "painted" });
  }

  /** @param {Error} error */
  fail(error) {
    for (const view of this.views) view.note(`The charts could not be loaded: ${error.message}`);
  }

  /** @param {View} view */
  enter(view) {
    this.views.add(view);
    if (this.views.size === 1) this.ask();
    else view.heard("changed", this.main.tables);
  }

  /** @param {View} view */
  leave(view) {
    this.views.delete(view);
    if (!this.views.size) {
      clearTimeout(this.patience);
      this.sleep();
    }
  }
}
