// The tabs beside the charts: events, logs, services, health. All that the stream wrote is written as text. It must not know plotly.

const TABS = { events: "Events", logs: "Logs", alerts: "Alerts", services: "Agents and Models", health: "Stream" };
const MOST_SHOWN = 300;
const MOST_HELD = 2000;
const LEVELS = ["all levels", "INFO", "WARNING", "ERROR"];

/** The tables beside the charts, as the kernel sent them, for all views of a page. */
class Tables {
  constructor() {
    this.events = [];
    this.logs = [];
    this.services = [];
    this.health = [];
    this.marks = [];
    this.alerts = null; // what fires, see alerts.js
    this.fired = []; // and what did
    this.commands = null; // what became of commands; null where none can be given
    this.symbols = [];
  }

  replace(parts) {
    Object.assign(this, parts);
  }

  append(parts) {
    for (const [name, rows] of Object.entries(parts)) {
      const known = new Set(this[name].slice(-50).map((row) => JSON.stringify(row))); // what a full message carried already
      this[name] = this[name].concat(rows.filter((row) => !known.has(JSON.stringify(row)))).slice(-MOST_HELD);
    }
  }
}

function spark(values) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 60 14");
  picture.setAttribute("class", "ccw-spark");
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, place) => `${(place / Math.max(1, values.length - 1)) * 60},${13 - ((value - least) / Math.max(1e-9, most - least)) * 12}`);
  element(picture, "polyline", { points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": 1 });
  return picture;
}

class Side {
  constructor(view) {
    this.view = view;
    this.tab = "events";
    this.cursor = null;
    this.level = LEVELS[0];
    this.text = "";
    this.el = tell("div", "ccw-side");
    const list = tell("div", "ccw-tabs");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Beside the charts");
    this.tabs = Object.entries(TABS).map(([name, words]) => {
      const tab = tell("button", "ccw-tab", words);
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.dataset.tab = name;
      tab.addEventListener("click", () => this.open(name));
      tab.addEventListener("keydown", (event) => this.arrow(event));
      list.append(tab);
      return tab;
    });
    this.filter = tell("div", "ccw-filter");
    const level = document.createElement("select");
    level.setAttribute("aria-label", "Level");
    for (const word of LEVELS) level.append(new Option(word, word));
    level.addEventListener("change", () => this.set("level", level.value));
    const text = document.createElement("input");
    text.type = "search";
    text.placeholder = "filter";
    text.setAttribute("aria-label", "Filter the log");
    text.addEventListener("input", () => this.set("text", text.value.toLowerCase()));
    this.filter.append(level, text);
    this.body = tell("div", "ccw-body");
    this.body.setAttribute("role", "tabpanel");
    this.body.tabIndex = 0;
    this.el.append(list, this.filter, this.body);
    this.open(this.tab);
  }

  arrow(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const place = (this.tabs.indexOf(event.currentTarget) + by + this.tabs.length) % this.tabs.length;
    this.open(this.tabs[place].dataset.tab);
    this.tabs[place].focus();
    event.stopPropagation();
  }

  open(name) {
    this.tab = name;
    for (const tab of this.tabs) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    this.filter.hidden = name !== "logs";
    this.body.setAttribute("aria-label", TABS[name]);
    this.show();
  }

  set(name, value) {
    this[name] = value;
    this.show();
  }

  /** Follow the cursor: what came later is left out. */
  follow(time) {
    if (time === this.cursor) return;
    this.cursor = time;
    if (this.tab === "logs" || this.tab === "events" || this.tab === "alerts") this.show();
  }

  /** Draw soon: many messages in one frame are one drawing. */
  show() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => {
      this.waiting = null;
      if (!this.view.closed) this.draw();
    }, 100);
  }

  draw() {
    const { tables } = this.view.store;
    const until = this.cursor ?? this.view.head ?? Infinity;
    if (this.tab === "events") {
      const marks = tables.marks.map(([time, text]) => [time, "mark", text]);
      const rows = tables.events.filter(([, kind]) => kind !== "mark").concat(marks).sort((one, other) => one[0] - other[0]);
      this.rows(rows, until);
    } else if (this.tab === "logs") {
      const { level, text } = this;
      this.rows(
        tables.logs.filter(([, of, words]) => (level === LEVELS[0] || of === level) && (!text || words.toLowerCase().includes(text))),
        until,
      );
    } else if (this.tab === "alerts") this.rows(told(tables, until), until);
    else if (this.tab === "services") this.services(tables.services);
    else this.body.replaceChildren(this.table(["", ""], tables.health));
  }

  rows(rows, until) {
    const seen = rows.filter(([time]) => time < until + 1) // ms: a mark at the crosshair is kept by whole ones
      .slice(-MOST_SHOWN)
      .reverse();
    // A row that stays is the same element: it keeps the focus, and a click that began on it, while new ones come above it.
    const held = new Map([...this.body.children].filter((el) => el.key).map((el) => [el.key, el]));
    const times = new Map();
    const items = seen.map((row) => {
      const words = JSON.stringify(row);
      times.set(words, (times.get(words) ?? 0) + 1);
      const key = `${words}${times.get(words)}`;
      return held.get(key) ?? this.row(key, row);
    });
    const wanted = new Set(items);
    for (const el of [...this.body.children]) if (!wanted.has(el)) el.remove();
    let at = this.body.firstChild;
    for (const item of items) {
      if (item === at) at = at.nextSibling;
      else this.body.insertBefore(item, at);
    }
    if (!items.length) this.body.replaceChildren(tell("p", "ccw-empty", "nothing yet"));
  }

  row(key, [time, kind, words, own]) {
    const item = tell("button", "ccw-row");
    item.type = "button";
    item.key = key;
    item.title = "show this moment; with Shift, ask why too";
    // Before the first packet only the receiver's clock was known: what is shown is where that was by the stream's.
    if (own !== undefined) item.title += `; before the stream's first packet, at ${new Date(own).toISOString().slice(0, 19).replace("T", " ")} by the receiver's clock`;
    item.append(tell("time", "", `${own === undefined ? "" : "≈"}${clock(time, 3)}`), tell("b", `ccw-kind ccw-kind-${/^[a-zA-Z]+$/.test(kind ?? "") ? kind.toLowerCase() : "none"}`, kind ?? ""), tell("span", "", words));
    item.addEventListener("click", (event) => {
      this.view.centre(time, true);
      if (event.shiftKey) this.view.ask([time, time]);
    });
    return item;
  }

  services(services) {
    const number = (value, digits = 1) => (value === null ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: digits }));
    const rows = services.map((of) => [
      `${of.name}${of.kind === "model" ? " (model)" : ""}`,
      number(of.p50),
      number(of.p95),
      number(of.p99),
      number(of.n),
      of.good === null ? "–" : `${(100 * of.good).toFixed(1)} %`,
      number(of.invocations, 0),
      of.spark.length > 1 ? spark(of.spark) : "",
    ]);
    const table = this.table(["name", "p50 ms", "p95 ms", "p99 ms", "n", "success or hits", "invocations", "last calls"], rows);
    table.classList.add("ccw-services");
    this.body.replaceChildren(table);
  }

  table(heads, rows) {
    const table = tell("table", "ccw-table");
    const head = document.createElement("tr");
    head.append(...heads.map((words) => tell("th", "", words)));
    if (heads.some(Boolean)) table.append(head);
    for (const row of rows) {
      const line = document.createElement("tr");
      line.append(
        ...row.map((cell) => {
          const made = tell("td", "", cell instanceof Node ? "" : String(cell));
          if (cell instanceof Node) made.append(cell);
          return made;
        }),
      );
      table.append(line);
    }
    return table;
  }
}

