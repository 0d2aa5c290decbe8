// The side panel: timeline, services, logs, stream; below them the decision under the cursor, and the answer of a question.
// All that the stream wrote is written as text. It must not know plotly.

/** @import { Service } from "./types.js" */
/** @import { View } from "./view.js" */
/** @typedef {{ time: number, kind: string, glyph: string, words: string, own?: number }} Moment */

import { button, picture, shape, element } from "./dom.js";
import { clock, known, number, percent } from "./words.js";

const TABS = /** @type {Record<string, string>} */ ({ timeline: "Timeline", services: "Services", logs: "Logs", stream: "Stream" });
const MOST_SHOWN = 300;
const ROWS_AHEAD = 40; // below the last one in sight: each new row moves all that are in the page
const LEVELS = ["all levels", "INFO", "WARNING", "ERROR"];
const LEAST_PX = 220;
const TYPING_MS = 300; // the kernel is asked once the typing rests

/** @param {number[]} values */
function spark(values) {
  const made = picture("0 0 60 14", "ccw-spark");
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, place) => `${(place / Math.max(1, values.length - 1)) * 60},${13 - ((value - least) / Math.max(1e-9, most - least)) * 12}`);
  shape(made, "polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": 1 });
  return made;
}

/** Compare the last calls with the ones before. @param {Service} of */
function trend(of) {
  const half = Math.floor(of.spark.length / 2);
  if (half < 3) return "";
  const middle = (/** @type {number[]} */ part) => part.slice().sort((one, other) => one - other)[Math.floor(part.length / 2)] ?? 0;
  const ratio = middle(of.spark.slice(half)) / Math.max(1e-9, middle(of.spark.slice(0, half)));
  return ratio > 1.25 ? "rising" : ratio < 0.8 ? "falling" : "steady";
}

export class Side {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.tab = "timeline";
    /** @type {number | null} */
    this.cursor = null;
    /** @type {number | null} */
    this.chosen = null; // time of the moment that was chosen, here or in the lane
    this.level = LEVELS[0] ?? "";
    this.text = "";
    this.important = true;
    /** @type {ReturnType<typeof setTimeout> | null} */
    this.waiting = null;
    this.el = element("div", "ccw-side");
    this.handle = element("div", "ccw-handle");
    const bar = element("div", "ccw-tabs");
    const list = element("div", "ccw-tablist");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Beside the charts");
    this.body = element("div", "ccw-body");
    this.body.id = `ccw-side-${Math.random().toString(36).slice(2)}`;
    this.body.setAttribute("role", "tabpanel");
    this.body.tabIndex = 0;
    this.body.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.tabs = Object.entries(TABS).map(([name, words]) => {
      const tab = element("button", "ccw-tab", words);
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", this.body.id);
      tab.dataset.tab = name;
      tab.addEventListener("click", () => {
        this.view.answers.close();
        this.open(name);
      });
      tab.addEventListener("keydown", (event) => this.arrow(event));
      list.append(tab);
      return tab;
    });
    this.fold = button("×", "Fold the side panel away", () => this.collapse(true));
    this.unfold = button("‹ Timeline", "Open the side panel", () => this.collapse(false));
    this.unfold.classList.add("ccw-unfold");
    this.unfold.hidden = true;
    bar.append(list, this.fold);
    this.filter = this.makeFilter();
    this.decision = element("div", "ccw-decision");
    this.decision.setAttribute("role", "region");
    this.decision.setAttribute("aria-label", "The decision under the cursor");
    this.el.append(bar, this.filter, this.body, this.decision);
    this.resizable();
    this.open(this.tab);
  }

  makeFilter() {
    const filter = element("div", "ccw-filter");
    this.kinds = document.createElement("select");
    this.kinds.setAttribute("aria-label", "Moments");
    this.kinds.append(new Option("important", "important"), new Option("all", "all"));
    this.kinds.addEventListener("change", () => {
      this.important = this.kinds?.value === "important";
      this.show();
    });
    this.levels = document.createElement("select");
    this.levels.setAttribute("aria-label", "Level");
    for (const word of LEVELS) this.levels.append(new Option(word, word));
    this.levels.addEventListener("change", () => {
      this.level = this.levels?.value ?? "";
      this.show();
    });
    const text = document.createElement("input");
    text.type = "search";
    text.placeholder = "filter text…";
    text.setAttribute("aria-label", "Filter the moments, the agents' reasoning and the log");
    text.maxLength = 300;
    text.title = "In the timeline: also what the agents' reasoning says";
    text.addEventListener("input", () => {
      this.text = text.value.trim().toLowerCase();
      this.search();
      this.show();
    });
    filter.append(this.kinds, this.levels, text);
    return filter;
  }

  /** Have the kernel look for the text in the reasoning of all decisions; the page holds that of the changes alone. */
  search() {
    clearTimeout(this.searching);
    this.decisions = [];
    const { text } = this;
    if (text && this.tab === "timeline") this.searching = setTimeout(() => this.view.store.send({ type: "search", text }), TYPING_MS);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  searching = undefined;

  /** Decisions whose reasoning holds the text: time, side, reasoning. @type {[number, string | null, string][]} */
  decisions = [];

  /** @param {string} text @param {[number, string | null, string][]} rows */
  found(text, rows) {
    if (text !== this.text) return; // of an earlier text
    this.decisions = rows;
    this.show();
  }

  /** Drag the panel's left edge, or move it by key. */
  resizable() {
    const { handle } = this;
    handle.tabIndex = 0;
    handle.setAttribute("role", "separator");
    handle.setAttribute("aria-orientation", "vertical");
    handle.setAttribute("aria-label", "Width of the side panel");
    const least = () => Math.max(LEAST_PX, Math.min(700, Math.round(this.width)));
    const set = (/** @type {number} */ width) => {
      this.width = width;
      this.width = least();
      this.el.style.flexBasis = `${this.width}px`;
      this.el.style.width = `${this.width}px`;
      handle.setAttribute("aria-valuenow", String(this.width));
    };
    handle.setAttribute("aria-valuemin", String(LEAST_PX));
    handle.setAttribute("aria-valuemax", "700");
    handle.setAttribute("aria-valuenow", "310");
    handle.addEventListener("pointerdown", (event) => {
      const from = this.el.getBoundingClientRect().width;
      const move = (/** @type {PointerEvent} */ moved) => set(from + event.clientX - moved.clientX);
      handle.setPointerCapture(event.pointerId);
      handle.addEventListener("pointermove", move);
      handle.addEventListener("pointerup", () => handle.removeEventListener("pointermove", move), { once: true });
    });
    handle.addEventListener("keydown", (event) => {
      const by = event.key === "ArrowLeft" ? 20 : event.key === "ArrowRight" ? -20 : 0;
      if (!by) return;
      set(this.el.getBoundingClientRect().width + by);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  width = 310;

  /** @param {boolean} away */
  collapse(away) {
    this.el.hidden = this.handle.hidden = away;
    this.unfold.hidden = !away;
    (away ? this.unfold : this.fold).focus({ preventScroll: true });
  }

  openPanel() {
    this.el.hidden = this.handle.hidden = false;
    this.unfold.hidden = true;
  }

  /** @param {KeyboardEvent} event */
  arrow(event) {
    const by = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    if (!by) return;
    const at = this.tabs.indexOf(/** @type {HTMLButtonElement} */ (event.currentTarget));
    const tab = /** @type {HTMLButtonElement} */ (this.tabs[(at + by + this.tabs.length) % this.tabs.length]);
    this.open(tab.dataset.tab ?? "timeline");
    tab.focus();
    event.stopPropagation();
  }

  /** @param {string} name */
  open(name) {
    this.tab = name;
    this.reach = 0;
    for (const tab of this.tabs) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    this.filter.hidden = name !== "logs" && name !== "timeline";
    if (this.kinds) this.kinds.hidden = name !== "timeline";
    if (this.levels) this.levels.hidden = name !== "logs";
    this.body.setAttribute("aria-label", TABS[name] ?? "");
    this.search();
    this.show();
  }

  /** Follow the cursor: what came later is left out, and the decision is that of its moment. @param {number | null} time */
  follow(time) {
    if (time === this.cursor) return;
    this.cursor = time;
    this.show();
  }

  /** A moment was chosen in the lane. @param {number} time */
  choose(time) {
    this.chosen = time;
    this.openPanel();
    this.open("timeline");
    this.view.schedule(true);
  }

  isStale = true; // something came from the kernel since the last drawing

  shown = ""; // what is in the body, in a few words: it is made again only where they differ

  decided = ""; // what is in the decision

  /** Draw soon, since the reader chose something. */
  show() {
    this.shown = "";
    if (this.waiting !== null) return;
    this.waiting = setTimeout(() => this.flush(), 100);
  }

  /** Draw now what waits or came: in the charts' own frame, since each frame of the page costs as much again. */
  flush() {
    if (this.waiting === null && !this.isStale) return;
    clearTimeout(this.waiting ?? undefined);
    this.waiting = null;
    this.isStale = false;
    if (!this.view.closed) this.draw();
  }

  draw() {
    this.decide();
    if (this.el.hidden) return;
    const { tables } = this.view.store.main;
    const until = this.view.head ?? Infinity;
    const { items } = this.view;
    const held = { timeline: [items.length, items.at(-1)?.time, items.at(-1)?.words], logs: [tables.logs.length, tables.logs.at(-1)], services: tables.services, stream: tables.health }[this.tab];
    const shown = JSON.stringify([this.tab, held, until, this.cursor, this.chosen]);
    if (shown === this.shown) return;
    this.shown = shown;
    if (this.tab === "timeline") this.timeline(until);
    else if (this.tab === "logs") this.logs(until);
    else if (this.tab === "services") this.services(tables.services);
    else this.body.replaceChildren(this.table(["what", "value"], tables.health));
  }

  /** @param {string | null} words */
  fits(words) {
    return !this.text || (words ?? "").toLowerCase().includes(this.text);
  }

  /** @param {number} until ms */
  timeline(until) {
    const seen = this.view.items.filter((item) => item.time < until + 1 && (!this.important || item.important) && (this.fits(item.words) || this.fits(item.kind))).slice(-MOST_SHOWN);
    if (!this.decisions.length) {
      this.rows(seen);
      return;
    }
    const said = this.decisions.filter(([time]) => time < until + 1).map(([time, side, words]) => ({ time, kind: "reason", glyph: "“", words: `${side ?? "?"}: ${words}` }));
    this.rows([...seen, ...said].sort((one, other) => one.time - other.time));
  }

  /** @param {number} until ms */
  logs(until) {
    const { level } = this;
    const seen = this.view.store.main.tables.logs.filter(([time, of, words]) => time < Math.min(until, this.cursor ?? Infinity) + 1 && (level === LEVELS[0] || of === level) && this.fits(words));
    this.rows(seen.map(([time, kind, words]) => ({ time, kind: kind ?? "", glyph: "", words })));
  }

  /** The newest signal at the cursor: what was decided, how sure, and why. */
  decide() {
    const { main } = this.view.store;
    const at = this.cursor ?? this.view.now;
    const mark = main.marks.findLast(([time]) => time <= at);
    const decided = JSON.stringify(mark ?? null);
    if (decided === this.decided) return;
    this.decided = decided;
    const title = element("h4", "", "This decision");
    if (!mark) {
      this.decision.replaceChildren(title, element("p", "ccw-empty", "no change of the signal up to here"));
      return;
    }
    const [time, price, side, , confidence, size, text] = mark;
    const word = main.words.side[side] ?? "?";
    const vetoed = word !== "FLAT" && size === 0;
    const head = element("p", "");
    head.append(element("b", "", word), ` since ${clock(time)}${known(price) ? ` @ ${number(price)}` : ""}`);
    const facts = `conf ${number(confidence)} · size ${percent(size, 0)} · vetoed: ${vetoed ? "yes" : known(size) ? "no" : "not known"}`;
    this.decision.replaceChildren(title, head, element("p", "", facts), element("p", "ccw-reason", text ? `“${text}”` : "no reasoning given"));
  }

  /** @param {Moment[]} all */
  rows(all) {
    const most = all.slice(-MOST_SHOWN).reverse();
    const times = new Map();
    const keys = most.map((row) => {
      const words = `${row.time}\n${row.kind}\n${row.own ?? ""}\n${row.words}`;
      const time = (times.get(words) ?? 0) + 1;
      times.set(words, time);
      return `${words}\n${time}`;
    });
    // A row that stays is the same element: it keeps the focus, and a click that began on it, while new ones come above it.
    const held = new Map([...this.body.children].filter((el) => /** @type {any} */ (el).key).map((el) => [/** @type {any} */ (el).key, el]));
    const focused = keys.indexOf(/** @type {any} */ (document.activeElement)?.key);
    const chosenAt = most.findIndex((row) => row.time === this.chosen);
    const found = most.slice(0, Math.max(this.reach, chosenAt + 1, focused + 1) + ROWS_AHEAD).map((row, at) => {
      const key = keys[at] ?? "";
      const made = /** @type {HTMLElement} */ (held.get(key) ?? this.row(key, row));
      const name = `ccw-row${row.time === this.chosen ? " ccw-chosen" : ""}${this.cursor !== null && row.time > this.cursor ? " ccw-later" : ""}`;
      if (made.className !== name) made.className = name;
      return made;
    });
    const wanted = new Set(found);
    for (const el of [...this.body.children]) if (!wanted.has(/** @type {HTMLElement} */ (el))) el.remove();
    let at = this.body.firstChild;
    for (const item of found) {
      if (item === at) at = at.nextSibling;
      else this.body.insertBefore(item, at);
    }
    if (!found.length) this.body.replaceChildren(element("p", "ccw-empty", "nothing yet"));
    const chosen = this.body.querySelector(".ccw-chosen");
    if (chosen && this.scrolledTo !== this.chosen) chosen.scrollIntoView({ block: "nearest" });
    this.scrolledTo = this.chosen;
  }

  scrolledTo = /** @type {number | null} */ (null);

  reach = 0; // rows down to the last that was in sight: so many stay in the page, and some more

  /** Put more rows into the page where the reader has come near the last. */
  scrolled() {
    const { scrollTop, clientHeight, scrollHeight, children } = this.body;
    this.reach = Math.max(this.reach, Math.ceil((children.length * (scrollTop + clientHeight)) / Math.max(1, scrollHeight)));
    if (this.reach > children.length - ROWS_AHEAD / 2) this.show();
  }

  /** @param {string} key @param {Moment} row */
  row(key, { time, kind, glyph, words, own }) {
    const item = element("button", "ccw-row");
    item.type = "button";
    /** @type {any} */ (item).key = key;
    item.title = `${words}\n(show this moment; with Shift, ask why too)`;
    // Before the first packet only the receiver's clock was known: what is shown is where that was by the stream's.
    if (own !== undefined) item.title += `; before the stream's first packet, at ${new Date(own).toISOString().slice(0, 19).replace("T", " ")} by the receiver's clock`;
    const name = `ccw-kind ccw-kind-${/^[a-zA-Z]+$/.test(kind) ? kind.toLowerCase() : "none"}`;
    item.append(element("time", "", `${own === undefined ? "" : "≈"}${clock(time)}`), element("b", name, `${glyph ? `${glyph} ` : ""}${kind}`), element("span", "", words));
    item.addEventListener("click", (event) => {
      this.chosen = time;
      this.scrolledTo = time;
      this.view.centre(time, true);
      this.show();
      if (event.shiftKey) this.view.ask([time, time]);
    });
    return item;
  }

  /** @param {Service[]} services */
  services(services) {
    const rows = services.map((of) => [
      `${of.name}${of.kind === "model" ? " (model)" : ""}`,
      number(of.objective, 0),
      number(of.p50, 0),
      number(of.p95, 0),
      number(of.p99, 0),
      number(of.n, 0),
      of.good === null ? "–" : percent(of.good, 1),
      of.spark.length > 1 ? this.trend(of) : "",
    ]);
    const table = this.table(["name", "objective ms", "usual ms", "p95 ms", "p99 ms", "n", "success or hits", "trend"], rows);
    table.classList.add("ccw-services");
    this.body.replaceChildren(table);
  }

  /** @param {Service} of */
  trend(of) {
    const made = element("span", "ccw-trend");
    made.append(spark(of.spark), ` ${trend(of)}`);
    return made;
  }

  /** @param {string[]} heads @param {(string | Node)[][]} rows */
  table(heads, rows) {
    const table = element("table", "ccw-table");
    const head = document.createElement("tr");
    head.append(
      ...heads.map((words) => {
        const cell = element("th", "", words);
        cell.scope = "col";
        return cell;
      }),
    );
    table.append(head);
    for (const row of rows) {
      const line = document.createElement("tr");
      line.append(
        ...row.map((cell) => {
          const made = element("td", "");
          made.append(cell);
          return made;
        }),
      );
      table.append(line);
    }
    return table;
  }
}

