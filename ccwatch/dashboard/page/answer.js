// The answer to a question, below the charts: why, in lines, and the code that says it again. All is written as text. It must not know plotly.

class Answer {
  constructor(view) {
    this.view = view;
    this.el = tell("div", "ccw-answer");
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

  show({ title, lines, code }) {
    const parts = [tell("h4", "", title), ...lines.map((words) => tell("p", "", words))];
    if (code) {
      const shown = tell("pre", "ccw-code", code);
      const copy = this.button("Copy as code", () => this.copy(shown, copy));
      parts.push(shown, copy);
    }
    const close = this.button("Close", () => this.close());
    close.title = "Close (Escape)";
    const held = this.el.contains(document.activeElement);
    this.el.replaceChildren(...parts, close);
    this.el.hidden = false;
    if (this.awaited) this.el.scrollIntoView({ block: "nearest" }); // not in a view whose reader did not ask
    this.awaited = false;
    if (held) close.focus({ preventScroll: true }); // the button that had the focus is gone
    this.view.say(title);
  }

  button(words, action) {
    const made = tell("button", "ccw-key", words);
    made.type = "button";
    made.addEventListener("click", action);
    return made;
  }

  /** Close, and let the keyboard go on in the charts. */
  close() {
    if (this.el.contains(document.activeElement)) this.view.plot.focus({ preventScroll: true });
    this.el.hidden = true;
  }

  async copy(shown, button) {
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "Copied";
    } catch {
      // A page that came without TLS from another machine has no clipboard.
      window.getSelection().selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
    }
    this.view.say(button.textContent);
  }
}
