// The notice where there is nothing to draw yet: why, when the next try comes, and what to do. It must not draw axes.

/** @import { Status } from "./types.js" */
/** @import { View } from "./view.js" */

import { element, write } from "./dom.js";
import { known, number } from "./words.js";

export class Waiting {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-waiting");
    this.el.setAttribute("role", "status");
    this.el.hidden = true;
    this.head = element("p", "ccw-waiting-head");
    this.why = element("p", "");
    const steps = document.createElement("ol");
    this.steps = ["ccwatch doctor", 'cw.watch("ws://HOST:PORT")', "ccwatch serve"].map((code) => {
      const step = document.createElement("li");
      const words = element("span", "");
      step.append(element("code", "", code), words);
      steps.append(step);
      return words;
    });
    this.el.append(this.head, this.why, steps);
  }

  show() {
    const { main } = this.view.store;
    const { status } = main.tables;
    const isEmpty = Boolean(main.figure) && !main.rows?.count;
    this.el.hidden = !isEmpty;
    this.view.main.classList.toggle("ccw-is-empty", isEmpty);
    this.view.controls.el.classList.toggle("ccw-is-empty", isEmpty);
    if (!isEmpty) return;
    if (!this.view.words.hidden) this.view.note("");
    write(this.head, this.words(status));
    write(this.why, status?.error ?? "");
    const url = status?.name ?? "";
    const says = [` ${url} in a terminal says what is wrong with the address, the token or the stream`, ` watches another address; now it is ${url}`, " makes a stream of your own to try with: cw.watch() then finds it"];
    this.steps.forEach((step, place) => write(step, says[place] ?? ""));
  }

  /** Say in one line why nothing is seen, and when the next try comes. @param {Status | null} status */
  words(status) {
    const state = status?.state ?? "";
    if (status?.stopped || state === "STOPPED") return "The view was stopped before a packet came";
    if (state === "ENDED") return "The stream has ended without a packet";
    if (state === "OPEN" || state === "LATE" || state === "STALE") return "Connected; no packet has come yet";
    if (state === "") return "The recording has no packet";
    if (status && known(status.retry_s)) return `Not connected; next try in ${number(Math.max(0, Math.ceil(status.retry_s - this.view.sinceStatus)), 0)} s`;
    return state === "CONNECTING" ? "Connecting …" : "Not connected, and not tried again: trying cannot mend this";
  }
}
