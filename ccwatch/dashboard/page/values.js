// The column beside the charts: each line's value at the crosshair, else the newest one; its buttons show and hide. It must not know plotly.

/** @import { Trace } from "./types.js" */
/** @import { View } from "./view.js" */

import { swatch } from "./cursor.js";
import { attribute, element, write } from "./dom.js";
import { ROWS } from "./heat.js";
import { clock, known, number, reading } from "./words.js";

/** The name under which a trace is listed and hidden: the lines of a forecast go together. @param {Trace} trace */
export function nameOfLine({ meta }) {
  return meta.ahead ?? meta.label;
}

/** Whether a trace has an entry: of the lines of one forecast, the last, which is its median where it has one. @param {Trace} trace @param {Trace[]} later */
function isListed({ meta }, later) {
  return !meta.ahead || !later.some((other) => other.meta.ahead === meta.ahead);
}

export class Values {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-values");
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", "Values at the crosshair");
    this.at = element("div", "ccw-at");
    this.titles = element("div", "ccw-titles");
    /** @type {Set<string>} */
    this.hidden = new Set(); // labels that were clicked away
    this.version = 0;
    this.shown = "";
    /** @type {[Trace, HTMLElement][]} */
    this.cells = [];
    /** @type {{ name: HTMLElement, ratio: HTMLElement, ms: HTMLElement }[]} */
    this.services = [];
    this.more = element("div", "ccw-more");
    this.el.append(this.at);
    view.charts.plot.append(this.titles);
  }

  /** Lay the groups beside their panels. */
  place() {
    const { charts } = this.view;
    const { traces, places } = charts;
    const listed = traces.filter((trace) => trace.meta.role !== "strip");
    const shown = JSON.stringify([places, listed.map((trace) => [trace.meta.label, trace.meta.column, trace.line?.color, trace.marker?.color]), [...this.hidden]]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.cells = [];
    this.services = [];
    const groups = places.map(({ spec, top, height }) => {
      const group = element("div", "ccw-group");
      group.style.top = `${top}px`;
      group.style.maxHeight = `${height + (spec.ribbon ? 30 : 4)}px`;
      if (spec.strip) this.strip(group, height);
      else {
        const mine = listed.filter((trace) => trace.yaxis === spec.axis || (spec.ribbon && trace.yaxis === spec.ribbon));
        const lines = mine.filter((trace, at) => (trace.meta.role === "line" || trace.meta.role === "computed") && isListed(trace, mine.slice(at + 1)));
        const marks = mine.filter((trace) => trace.meta.role !== "line" && trace.meta.role !== "computed");
        group.append(...lines.map((trace) => this.entry(trace)));
        if (spec.name === "pnl") group.append(...this.account());
        if (marks.length) {
          const row = element("div", "ccw-marks");
          row.append(...marks.map((trace) => this.entry(trace)));
          const hatch = listed.find((trace) => trace.meta.role === "gaps");
          if (hatch) row.append(this.entry(hatch));
          group.append(row);
        }
      }
      return group;
    });
    this.el.replaceChildren(this.at, ...groups);
    this.el.style.height = `${charts.height}px`;
    this.titles.replaceChildren(
      ...places.flatMap(({ spec, top, height }) => {
        const made = element("div", "ccw-title", height < 90 ? spec.name : spec.title);
        made.title = spec.title;
        made.style.top = `${top + height / 2}px`;
        return spec.strip ? [] : [made];
      }),
      ...this.services.map(({ name }) => name),
    );
    this.read();
  }

  /** Facts of the account that have no line of their own. */
  account() {
    return [["daily_pnl", "USD", 2, 1], ["drawdown", "%", 2, 100], ["exposure", "%", 1, 100]].map(([column, unit, digits, scale]) => {
      const row = element("div", "ccw-fact");
      const value = document.createElement("b");
      value.dataset.column = String(column);
      row.append(element("span", "", column === "daily_pnl" ? "P&L" : String(column)), value);
      const meta = { role: "line", label: String(column), column: String(column), unit: String(unit), digits: Number(digits), scale: Number(scale) };
      this.cells.push([{ meta }, value]);
      return row;
    });
  }

  /** @param {HTMLElement} group @param {number} height px */
  strip(group, height) {
    const place = this.view.charts.places.find(({ spec }) => spec.strip);
    for (let row = 0; row < ROWS; row += 1) {
      const line = element("div", "ccw-served");
      line.style.height = `${height / ROWS}px`;
      const [ratio, ms] = [document.createElement("b"), element("span", "")];
      line.append(ratio, ms);
      const name = element("div", "ccw-service");
      name.style.top = `${(place?.top ?? 0) + (row * height) / ROWS}px`;
      group.append(line);
      this.services.push({ name, ratio, ms });
    }
    group.append(this.more);
    group.style.maxHeight = "none";
  }

  /** @param {Trace} trace */
  entry(trace) {
    const label = nameOfLine(trace);
    const made = element("button", "ccw-entry");
    made.type = "button";
    made.title = `${label}: show or hide`;
    made.setAttribute("aria-pressed", String(!this.hidden.has(label)));
    const name = element("span", "", label); // text, never markup: an agent's name is the stream's
    made.append(swatch(trace), name);
    if (trace.meta.role === "line" || trace.meta.role === "computed") {
      const value = document.createElement("b");
      value.dataset.column = trace.meta.column ?? "";
      this.cells.push([trace, value]);
      made.append(value);
    }
    made.addEventListener("click", () => {
      if (!this.hidden.delete(label)) this.hidden.add(label);
      this.version += 1;
      this.view.schedule();
    });
    return made;
  }

  /** The value of a trace at the crosshair, else the newest. @param {Trace} trace */
  value(trace) {
    const stream = this.view.store.streams[trace.meta.stream ?? 0] ?? this.view.store.main;
    const { reads } = this.view.cursor;
    if (trace.meta.ahead && (reads === null || reads <= this.view.now)) return stream.value(trace.meta.column ?? "", Infinity); // where it ends
    return stream.value(trace.meta.column ?? "", this.view.cursor.reads ?? this.view.now);
  }

  /** Write each line's value. */
  read() {
    const { reads } = this.view.cursor;
    const at = reads ?? this.view.head;
    write(this.at, at === null ? "newest" : `at ${clock(at)}`);
    for (const [trace, place] of this.cells) write(place, reading(this.value(trace), trace.meta.ahead ? { ...trace.meta, unit: "" } : trace.meta));
    const { services } = this.view.charts;
    const { main } = this.view.store;
    this.services.forEach(({ name, ratio, ms }, row) => {
      const of = services[row];
      const value = of ? main.value(of.column, reads ?? this.view.now) : null;
      write(name, of ? of.name.replace(/(.)(Agent|Model|Service)$/, "$1") : "");
      attribute(name, "title", of ? `${of.name}, usual ${number(of.usual, 0)} ms` : "");
      const times = of && known(value) ? value / of.usual : null;
      write(ratio, known(times) ? `${number(times, 1)}×` : "");
      attribute(ratio, "class", known(times) && times >= 3 ? "ccw-slow" : "");
      write(ms, known(value) ? `${number(value, 0)} ms` : "");
    });
    const others = services.length - this.services.length;
    const slow = services.slice(ROWS).filter((of) => of.worst >= 3).length;
    write(this.more, others > 0 ? `+ ${others} ${slow ? `more, ${slow} slow` : "normal"}` : "");
  }
}

