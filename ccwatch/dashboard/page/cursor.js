// One crosshair over all panels, whose readout stands in the legends; dragging a range; the keys. It must not know the kernel.

const LOOK_BACK = 200; // rows: a partial packet does not carry every value
const DRAG_PX = 6; // what moves less is a click
const KEYS =
  "Keys: Space pause or play, arrows move the view, Shift with arrows the crosshair, + and − zoom, Home all, End live, comma and full stop step, M mark, " +
  "A ask why, R begin a range at the crosshair: Enter zooms to it, A asks about it, Escape lets go.";

function tell(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text; // text, never markup: much of it is the stream's
  return made;
}

/** A time of the display zone's wall clock, which the axis takes for UTC. */
function clock(ms, digits = 0) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, digits ? 23 : 19) : "–";
}

function ordered(one, other) {
  return one < other ? [one, other] : [other, one];
}

function reading(value, { unit, digits, scale }) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const number = (value * scale).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return unit ? `${number} ${unit}` : number;
}

class Cursor {
  constructor(view) {
    this.view = view;
    this.time = null; // ms, where the crosshair stands; null: at the newest row
    this.pinned = false;
    this.anchor = null; // ms, where a range was begun by key
    this.line = tell("div", "ccw-cursor");
    this.label = tell("span", "ccw-cursor-time");
    this.line.append(this.label);
    this.band = tell("div", "ccw-band");
    this.line.hidden = this.band.hidden = true;
    const { plot } = view;
    plot.append(this.line, this.band);
    plot.tabIndex = 0;
    plot.setAttribute("role", "application");
    plot.setAttribute("aria-label", `Live charts over one time axis. ${KEYS}`);
    plot.addEventListener("pointermove", (event) => this.moved(event));
    plot.addEventListener("pointerleave", () => this.pinned || this.drag || this.put(null));
    plot.addEventListener("pointerdown", (event) => {
      // Whatever the modifier: JupyterLab takes a Shift for its own, and would have the keys that follow.
      if (!event.target.closest("button, input, select")) plot.focus({ preventScroll: true });
      this.down(event);
    });
    plot.addEventListener("pointerup", (event) => this.up(event));
    plot.addEventListener("pointercancel", () => {
      this.drag = null;
      this.band.hidden = true;
    });
    plot.addEventListener("dblclick", () => view.live());
    plot.addEventListener("keydown", (event) => this.key(event));
  }

  /** The time under a place of the page; null outside the panels. */
  at(event) {
    const box = this.view.plot.getBoundingClientRect();
    const range = this.view.shown;
    if (!range) return null;
    const share = (event.clientX - box.left - this.left) / (box.width - this.left - this.view.right);
    return share < 0 || share > 1 ? null : range[0] + share * (range[1] - range[0]);
  }

  get left() {
    return this.view.left;
  }

  x(time) {
    const [from, to] = this.view.shown;
    return this.left + ((time - from) / (to - from)) * (this.view.plot.clientWidth - this.left - this.view.right);
  }

  moved(event) {
    const time = this.at(event);
    if (this.drag && time !== null) {
      this.drag.to = time;
      this.shade(this.drag.from, time, DRAG_PX);
    }
    if (!this.pinned && time !== null) this.put(time);
  }

  /** Shade a range; one that is too narrow is a click. */
  shade(from, to, least) {
    const [a, b] = [this.x(from), this.x(to)].sort((one, other) => one - other);
    this.band.hidden = b - a < least;
    Object.assign(this.band.style, { left: `${a}px`, width: `${b - a}px` });
  }

  down(event) {
    if (event.button !== 0 || event.target.closest("button")) return;
    const time = this.at(event);
    if (time === null) return;
    this.view.plot.setPointerCapture(event.pointerId); // else plotly lays a cover over the page, which gets the rest of the drag
    this.anchor = null;
    this.drag = { from: time, to: time };
  }

  up(event) {
    const { drag } = this;
    this.drag = null;
    const wide = drag && !this.band.hidden;
    this.band.hidden = true;
    if (!drag) return;
    const range = ordered(drag.from, drag.to);
    if (event.shiftKey) this.view.ask(wide ? range : [drag.to, drag.to]);
    else if (wide) this.view.zoomTo(range);
    else {
      this.pinned = !this.pinned;
      this.put(drag.to);
    }
  }

  /** Let the crosshair stand at a time; null takes it away. */
  put(time, spoken = false) {
    this.time = time;
    if (time === null) {
      this.pinned = false;
      this.anchor = null;
    }
    this.show();
    this.view.side.follow(time);
    if (spoken && time !== null) this.view.say(`${clock(time, 3)}: ${this.words()}`);
  }

  show() {
    const range = this.view.shown;
    const inside = this.time !== null && range && this.time >= range[0] && this.time <= range[1];
    this.line.hidden = !inside;
    if (inside) {
      this.line.style.transform = `translateX(${this.x(this.time)}px)`;
      this.label.textContent = clock(this.time, 3);
    }
    if (!this.drag) {
      if (range && this.range) this.shade(...this.range.map((end) => Math.min(range[1], Math.max(range[0], end))), 0);
      else this.band.hidden = true;
    }
    this.view.legends.read((trace) => reading(this.value(trace), trace.meta));
  }

  /** The value of a trace at the crosshair, else the newest: that of the last row at or before it which carries one. */
  value(trace) {
    const { rows, computed } = this.view.store;
    const range = this.view.shown; // a crosshair that is out of sight does not go on speaking
    const time = this.time !== null && range && this.time >= range[0] && this.time <= range[1] ? this.time : null;
    const until = time ?? this.view.head ?? Infinity;
    if (trace.meta.role === "computed") {
      const line = computed.get(trace.meta.column);
      if (!line) return null;
      let place = line.x.length - 1;
      while (place >= 0 && line.x[place] > until) place -= 1;
      return line.y[place] ?? null;
    }
    const held = rows?.held[trace.meta.column];
    if (!held) return null;
    let row = until === Infinity ? rows.end - 1 : rows.find(until + 0.001) - 1;
    for (const least = Math.max(rows.first, row - LOOK_BACK); row >= least; row -= 1) if (!Number.isNaN(held[row])) return held[row];
    return null;
  }

  words() {
    const lines = this.view.traces.filter((trace) => trace.meta.role === "line").slice(0, 6);
    return lines.map((trace) => `${trace.meta.label} ${reading(this.value(trace), trace.meta)}`).join(", ");
  }

  /** The range that was begun by key, up to the crosshair; null where none was. */
  get range() {
    return this.anchor === null || this.time === null ? null : ordered(this.anchor, this.time);
  }

  /** What a question is about: the range that was begun, else the crosshair's moment, else all that is shown. */
  get subject() {
    return this.range ?? (this.time === null ? this.view.shown : [this.time, this.time]);
  }

  /** Begin a range at the crosshair, or at the newest row. */
  begin() {
    const { rows } = this.view.store;
    if (!rows || !rows.count) return;
    const here = this.time ?? this.view.head ?? rows.held.time[rows.end - 1];
    this.pinned = true; // else the mouse takes it along
    this.anchor = here;
    this.put(here);
    this.view.say(`range begins at ${clock(here, 3)}`);
  }

  /** One row on, or back. */
  step(by) {
    const { rows } = this.view.store;
    if (!rows || !rows.count) return;
    const { time } = rows.held;
    const here = this.time ?? this.view.head ?? time[rows.end - 1];
    const row = by > 0 ? rows.find(here + 0.001) : rows.find(here) - 1;
    this.pinned = true;
    this.put(time[Math.min(rows.end - 1, Math.max(rows.first, row))], true);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button, input, select")) return;
    const { view } = this;
    const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (side && event.shiftKey) this.step(side);
    else if (side) view.pan(side * 0.2);
    else if (event.key === " ") view.timeline.toggle();
    else if (event.key === "+" || event.key === "=") view.zoomBy(0.5);
    else if (event.key === "-") view.zoomBy(2);
    else if (event.key === "End" || event.key === "l") view.live();
    else if (event.key === "Home") view.all();
    else if (event.key === "." || event.key === ",") view.timeline.step(event.key === "." ? 1 : -1);
    else if (event.key === "m") view.timeline.mark();
    else if (event.key === "a") view.ask(this.subject);
    else if (event.key === "r") this.begin();
    else if (event.key === "Enter" && this.range) {
      view.zoomTo(this.range);
      this.anchor = null;
      this.show();
    }
    else if (event.key === "Escape" && !this.view.answers.el.hidden) this.view.answers.close();
    else if (event.key === "Escape") this.put(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

