// The answer to a question, in the side panel: why, in lines, and the code that says it again. All is written as text.

/** @import { View } from "./view.js" */

import { button, element } from "./dom.js";

export class Answer {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-answer");
    this.el.setAttribute("role", "region");
    this.el.setAttribute("aria-label", "Why");
    this.el.hidden = true;
    this.awaited = false; // this view asked
    this.el.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.close();
      event.stopPropagation();
    });
  }

  /** @param {{ title: string, lines: string[], code: string, more?: boolean }} said */
  show({ title, lines, code, more }) {
    /** @type {HTMLElement[]} */
    const parts = [element("h4", "", title), ...lines.map((words) => element("p", "", words))];
    const { asked } = this.view;
    if (more && asked && asked[1] > asked[0]) {
      const seen = button("Seen before?", "Search the recordings for what looks like this range", () => this.view.ask(asked, "seen"));
      seen.removeAttribute("aria-label");
      parts.push(seen);
    }
    if (code) {
      const shown = element("pre", "ccw-code", code);
      const copy = button("Copy as code", "Copy as code", () => this.copy(shown, copy));
      copy.removeAttribute("aria-label");
      parts.push(shown, copy);
    }
    const close = button("Close", "Close (Escape)", () => this.close());
    close.removeAttribute("aria-label");
    const held = this.el.contains(document.activeElement);
    this.el.replaceChildren(...parts, close);
    this.el.hidden = false;
    this.view.side.el.classList.add("ccw-answers");
    this.view.side.openPanel();
    if (this.awaited) this.el.scrollIntoView({ block: "nearest" }); // not in a view whose reader did not ask
    this.awaited = false;
    if (held) close.focus({ preventScroll: true }); // the button that had the focus is gone
    this.view.say(title);
  }

  /** Close, and let the keyboard go on in the charts. */
  close() {
    if (this.el.contains(document.activeElement)) this.view.charts.plot.focus({ preventScroll: true });
    this.el.hidden = true;
    this.view.side.el.classList.remove("ccw-answers");
  }

  /** @param {HTMLElement} shown @param {HTMLElement} made */
  async copy(shown, made) {
    try {
      await navigator.clipboard.writeText(shown.textContent ?? "");
      made.textContent = "Copied";
    } catch {
      // A page that came without TLS from another machine has no clipboard.
      window.getSelection()?.selectAllChildren(shown);
      made.textContent = "Selected: press Ctrl+C";
    }
    this.view.say(made.textContent ?? "");
  }
}
