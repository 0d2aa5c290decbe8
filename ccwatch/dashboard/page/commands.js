// Commands to the engine: armed by one gesture, given by holding for a second. It must not know plotly, nor what an engine is.
// Only what a person does counts: an event that a script made is not trusted. The kernel gives nothing that it has not armed itself.

/** @import { View } from "./view.js" */

import { element } from "./dom.js";

const KERNEL_PATIENCE_MS = 1500;

/** A button that is armed, and then held. */
class HoldButton {
  /** @param {CommandBar} bar @param {string} what */
  constructor(bar, what) {
    this.bar = bar;
    this.what = what;
    /** @type {"idle" | "arming" | "armed" | "holding"} */
    this.state = "idle";
    this.token = "";
    this.holdMs = 1000;
    this.until = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.el = element("button", `ccw-key ccw-hold ccw-hold-${what.toLowerCase()}`);
    this.el.type = "button";
    this.held = false; // the press that will end as a click began while it was armed: it does not arm again
    this.el.addEventListener("click", (event) => {
      if (event.detail && event.isTrusted && !this.held && this.state === "idle") this.arm(); // detail 0: a key's
    });
    this.el.addEventListener("pointerdown", (event) => {
      this.held = this.state !== "idle";
      if (event.isTrusted && event.button === 0) this.hold();
    });
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) this.el.addEventListener(name, () => this.release());
    this.el.addEventListener("contextmenu", (event) => {
      if (this.state !== "idle") event.preventDefault(); // a long touch
    });
    this.el.addEventListener("keydown", (event) => this.key(event));
    this.el.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.release();
      }
    });
    this.write();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && this.state !== "idle") this.disarm("disarmed");
    else if (event.key === "Enter" || event.key === " ") {
      if (!event.repeat && event.isTrusted) {
        // a key that is held repeats itself
        if (this.state === "idle") this.arm();
        else this.hold();
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {object} content */
  send(content) {
    this.bar.view.store.send({ type: "command", what: this.what, ...content });
  }

  arm() {
    this.bar.disarmOthers(this);
    this.state = "arming";
    this.send({ do: "arm" });
    this.timer = setTimeout(() => this.disarm("not armed: the kernel does not answer. Call the operator of the engine"), KERNEL_PATIENCE_MS);
    this.write();
  }

  /** @param {{ what: string, token: string, for_s: number, hold_s: number }} content */
  armed({ token, for_s: seconds, hold_s: hold }) {
    if (this.state !== "arming") return;
    clearTimeout(this.timer);
    this.state = "armed";
    this.token = token;
    this.holdMs = hold * 1000;
    this.until = performance.now() + seconds * 1000;
    this.wait();
    this.bar.say(`${this.what} is armed for ${seconds} s: press and hold to give it, Escape disarms`);
  }

  /** Armed, and not held: it ends by itself. */
  wait() {
    this.write();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.disarm("disarmed: it was not held"), Math.max(0, this.until - performance.now()));
  }

  hold() {
    if (this.state !== "armed") return;
    clearTimeout(this.timer);
    this.state = "holding";
    this.write();
    this.timer = setTimeout(() => this.give(), this.holdMs);
  }

  release() {
    if (this.state !== "holding") return;
    this.state = "armed";
    if (performance.now() >= this.until) this.disarm("released too early, and disarmed");
    else {
      this.bar.say(`${this.what}: released too early; hold for a second`);
      this.wait();
    }
  }

  give() {
    this.state = "idle";
    this.send({ do: "give", token: this.token });
    this.write();
    this.bar.expect(this.what);
  }

  disarm(why = "") {
    if (this.state === "idle") return;
    clearTimeout(this.timer);
    this.state = "idle";
    this.send({ do: "disarm" });
    this.write();
    if (why) this.bar.say(`${this.what}: ${why}`);
  }

  write() {
    const words = { idle: `${this.what} …`, arming: `${this.what}: arming`, armed: `Hold 1 s to ${this.what}`, holding: `Hold on: ${this.what}` };
    this.el.textContent = words[this.state];
    this.el.dataset.state = this.state;
    this.el.setAttribute("aria-label", this.state === "idle" ? `Arm ${this.what}` : `${words[this.state]}; Escape disarms`);
  }
}

export class CommandBar {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-commands");
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", "Commands to the engine");
    this.el.hidden = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
    this.listed = "";
    this.shown = "";
    this.buttons = ["HALT", "RESUME"].map((what) => new HoldButton(this, what));
    this.symbols = document.createElement("datalist");
    this.symbols.id = `ccw-symbols-${Math.random().toString(36).slice(2)}`;
    this.symbol = document.createElement("input");
    this.symbol.setAttribute("list", this.symbols.id);
    this.symbol.setAttribute("aria-label", "Symbol to subscribe to");
    this.symbol.placeholder = "symbol";
    this.symbol.maxLength = 32;
    this.symbol.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && event.isTrusted) this.subscribe();
    });
    const subscribe = element("button", "ccw-key", "Subscribe");
    subscribe.type = "button";
    subscribe.addEventListener("click", (event) => event.isTrusted && this.subscribe());
    this.words = element("div", "ccw-command-words");
    this.words.setAttribute("role", "status");
    this.results = element("div", "ccw-results");
    this.results.setAttribute("aria-live", "assertive");
    const engine = element("span", "ccw-quiet", "Engine");
    this.el.append(engine, ...this.buttons.map((button) => button.el), this.symbol, this.symbols, subscribe, this.words, this.results);
    this.blurred = () => this.buttons.forEach((button) => button.release());
    window.addEventListener("blur", this.blurred);
    document.addEventListener("visibilitychange", this.blurred);
  }

  close() {
    for (const button of this.buttons) button.disarm();
    clearTimeout(this.patience);
    window.removeEventListener("blur", this.blurred);
    document.removeEventListener("visibilitychange", this.blurred);
  }

  /** @param {{ what: string, token: string, for_s: number, hold_s: number }} content */
  armed(content) {
    this.buttons.find((button) => button.what === content.what)?.armed(content);
  }

  /** @param {HoldButton} one */
  disarmOthers(one) {
    for (const button of this.buttons) if (button !== one) button.disarm();
  }

  subscribe() {
    const symbol = this.symbol.value.trim();
    if (!symbol) return;
    this.view.store.send({ type: "command", do: "subscribe", symbol });
    this.expect(`SUBSCRIBE ${symbol}`);
  }

  /** A request was handed to the kernel, which may be busy. @param {string} what */
  expect(what) {
    this.say(`${what}: handed to the kernel`);
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.say(`${what}: the kernel does not answer; it may be busy, and refuses what comes late. Call the operator of the engine`), KERNEL_PATIENCE_MS);
  }

  /** @param {string} words */
  say(words) {
    this.words.textContent = words;
  }

  show() {
    const { commands, symbols } = this.view.store.main.tables;
    this.el.hidden = !commands;
    if (!commands) {
      for (const button of this.buttons) button.disarm();
      return;
    }
    if (symbols.join("\n") !== this.listed) {
      this.listed = symbols.join("\n");
      this.symbols.replaceChildren(...symbols.map((symbol) => new Option(symbol, symbol)));
    }
    const shown = JSON.stringify(commands.said);
    if (shown === this.shown) return;
    this.shown = shown;
    clearTimeout(this.patience);
    this.say("");
    this.results.replaceChildren(
      ...commands.said.map(({ what, state, words, remedy, at }) => {
        const line = element("div", "ccw-result");
        line.dataset.state = state;
        line.append(element("b", "", `${what}: ${state}`), element("span", "", ` ${at}${words ? `, ${words}` : ""}`));
        const [text, code] = remedy.split(/(?=curl )/);
        if (remedy) line.append(element("p", "", text));
        if (code) line.append(element("code", "ccw-code", code));
        return line;
      }),
    );
  }
}

