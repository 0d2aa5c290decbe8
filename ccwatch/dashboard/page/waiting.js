// The notice where there is nothing to draw yet: why, when the next try comes, and what to do. It must not draw axes.

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
    this.steps = ["ccwatch doctor", "dashboard.view.url", "ccwatch serve"].map((code) => {
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
    const state = status?.state ?? "";
    const retry = status && known(status.retry_s) ? `; next try in ${number(Math.max(0, Math.ceil(status.retry_s - this.view.sinceStatus)), 0)} s` : "";
    const words = status?.stopped || state === "STOPPED" ? "The view was stopped before a packet came" : state === "ENDED" ? "The stream has ended without a packet" : state === "OPEN" || state === "LATE" || state === "STALE" ? "Connected; no packet has come yet" : state === "" ? "The recording has no packet" : `Nothing to show yet: ${status?.words || "not connected"}`;
    write(this.head, `${words}${words.includes("next try") ? "" : retry}`);
    write(this.why, status?.error ?? "");
    const url = status?.name ?? "";
    const says = [` ${url} in a terminal says what is wrong with the address, the token or the stream`, " is the address that is tried; cw.watch(\"ws://HOST:PORT\") shows another one", " makes a stream of your own to try with: cw.watch() then finds it"];
    this.steps.forEach((step, place) => write(step, says[place] ?? ""));
  }
}
