// The notice that nothing comes from the kernel any more: it was restarted, has ended, or cannot be reached.
// JupyterLab would mark the widget for it (jupyter-widgets-disconnected), but anywidget 0.11 drops the listener that does.

/** @import { View } from "./view.js" */

import { element, write } from "./dom.js";
import { number } from "./words.js";

const SILENT_S = 20; // the kernel says every 5 s that it lives

export class Gone {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.isGone = false;
    this.el = element("div", "ccw-gone-words");
    this.el.setAttribute("role", "alert");
    this.el.hidden = true;
  }

  show() {
    const { store, el } = this.view;
    const { main } = store;
    const silent = (performance.now() - store.heard) / 1000;
    const isCut = store.isCut || el.closest(".jupyter-widgets-disconnected") !== null;
    this.isGone = isCut || (silent > SILENT_S && !main.asking && !main.tables.status?.stopped); // nothing comes of a view that was stopped
    el.classList.toggle("ccw-gone", this.isGone);
    this.el.hidden = !this.isGone;
    if (!this.isGone) return;
    const why = isCut ? "The kernel was restarted or has ended" : `Nothing has come from the kernel for ${number(silent, 0)} s: it is busy, gone, or not reached`;
    write(this.el, `${why}. This picture does not move. ${isCut ? "To go on, run the cell again." : "If it does not go on, run the cell again."}`);
  }
}
