// The legends and titles of the panels, as HTML: plotly's own cost a third of each drawing, and legends do not wrap on a narrow page.
// Read before live_figure.js, as one module with it. A swatch shows what its trace shows: dash, pattern or mark, never colour alone.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = { dash: "6 3", dot: "1.5 2.5", dashdot: "6 2.5 1.5 2.5", longdash: "11 3", longdashdot: "11 2.5 1.5 2.5" };
const MARKS = { "triangle-up": "M14 1 L19 10 H9 Z", "triangle-down": "M14 11 L19 2 H9 Z", circle: "M14 2.5 a3.5 3.5 0 1 0 0.01 0 Z" };
const HATCHES = {
  "/": "M0 12 L12 0 M8 12 L20 0 M16 12 L28 0",
  x: "M0 12 L12 0 M8 12 L20 0 M16 12 L28 0 M0 0 L12 12 M8 0 L20 12 M16 0 L28 12",
  ".": "M4 6 h1.6 M11 6 h1.6 M18 6 h1.6 M25 6 h1.6",
};

function element(parent, name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function swatch(trace) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 28 12");
  const { line, marker } = trace;
  if (trace.type === "bar") {
    element(picture, "rect", { width: 28, height: 12, fill: marker.color });
    const path = HATCHES[marker.pattern.shape];
    if (path) element(picture, "path", { d: path, stroke: marker.pattern.fgcolor, "stroke-width": 1.6, fill: "none" });
  } else if (trace.mode === "markers") {
    element(picture, "path", { d: MARKS[Array.isArray(marker.symbol) ? marker.symbol[0] : marker.symbol] ?? MARKS.circle, fill: marker.color });
  } else {
    const path = { d: "M0 6 H28", stroke: line.color, "stroke-width": 2, fill: "none" };
    element(picture, "path", { ...path, "stroke-dasharray": DASHES[line.dash] ?? "none" });
  }
  return picture;
}

/** The legends of a picture: the first above it, the last one of many lines below it, the others over their panels. */
class Legends {
  constructor(el, plot, changed) {
    this.el = el;
    this.plot = plot;
    this.changed = changed;
    this.hidden = new Set(); // labels that were clicked away
    this.shown = "";
    this.boxes = [];
    this.titles = [];
    this.values = []; // [trace, element] of each line, whose value is read at the crosshair
  }

  /** Write each line's value beside its name. */
  read(words) {
    for (const [trace, place] of this.values) place.textContent = words(trace);
  }

  /** Show the legends of these traces; costs nothing where they are as they were. */
  show(traces, layout, skeleton) {
    const listed = traces.filter((trace) => trace.showlegend !== false && trace.visible !== false);
    const shown = JSON.stringify([layout.height, listed.map((trace) => [trace.meta.label, trace.line, trace.marker]), [...this.hidden]]);
    if (shown === this.shown) return;
    this.shown = shown;
    for (const box of this.boxes) box.remove();
    for (const title of this.titles) title.remove();
    this.values = [];
    const room = layout.height - layout.margin.t - layout.margin.b;
    this.titles = Object.values(skeleton)
      .filter((axis) => axis?.domain && axis.title?.text && axis.anchor === "x")
      .map(({ domain, title }) => {
        const made = document.createElement("div");
        made.className = "ccw-title";
        made.textContent = title.text;
        made.style.bottom = `${layout.margin.b + (room * (domain[0] + domain[1])) / 2}px`;
        this.plot.append(made);
        return made;
      });
    const names = [...new Set(listed.map((trace) => trace.legend))];
    this.boxes = names.map((name) => {
      const box = document.createElement("div");
      box.className = "ccw-legend";
      box.append(...listed.filter((trace) => trace.legend === name).map((trace) => this.entry(trace)));
      const { y, yref } = skeleton[name];
      if (yref === "container") this.plot.after(box);
      else if (y >= 1) this.plot.before(box);
      else {
        box.classList.add("ccw-legend-over");
        box.style.bottom = `${layout.margin.b + y * room}px`;
        this.plot.append(box);
      }
      return box;
    });
  }

  entry(trace) {
    const { label } = trace.meta;
    const value = document.createElement("b");
    value.dataset.column = trace.meta.column ?? "";
    if (trace.meta.role === "line" || trace.meta.role === "computed") this.values.push([trace, value]);
    const button = document.createElement("button");
    button.type = "button";
    button.title = "show or hide";
    button.setAttribute("aria-pressed", String(!this.hidden.has(label)));
    button.append(swatch(trace), label, value); // text, never markup: an agent's name is the stream's
    button.addEventListener("click", () => {
      if (!this.hidden.delete(label)) this.hidden.add(label);
      this.changed();
    });
    return button;
  }
}

