// The strip below the charts: the whole history with the part that is shown, and the controls of time. It must not know the kernel.

const SPEEDS = [1, 2, 5, 10, 60, 600, Infinity];
const STRIP_PX = 34;

class Timeline {
  constructor(view) {
    this.view = view;
    this.el = tell("div", "ccw-timeline");
    this.speed = 1;
    this.playing = false;
    this.play = this.button("▶", "Play (Space)", () => this.toggle());
    this.back = this.button("⇤", "One packet back (,)", () => this.step(-1));
    this.on = this.button("⇥", "One packet on (.)", () => this.step(1));
    this.speeds = document.createElement("select");
    this.speeds.setAttribute("aria-label", "Speed");
    for (const speed of SPEEDS) this.speeds.append(new Option(speed === Infinity ? "max" : `${speed}×`, String(speed)));
    this.speeds.addEventListener("change", () => {
      this.speed = Number(this.speeds.value);
    });
    this.el.append(this.speeds);
    this.player = [this.play, this.back, this.on, this.speeds];
    this.button("◀", "Earlier (←)", () => view.pan(-0.5));
    this.button("▶|", "Later (→)", () => view.pan(0.5));
    this.button("−", "Show more time (−)", () => view.zoomBy(2));
    this.button("+", "Show less time (+)", () => view.zoomBy(0.5));
    this.follow = this.button("Go live", "Follow the stream (End)", () => view.live());
    this.markButton = this.button("Mark", "Note something at this time (M)", () => this.mark());
    this.askButton = this.button("Ask why", "What differs in what is shown (A); Shift and drag, or R, for a range", () => view.ask(view.cursor.subject));
    this.words = tell("span", "ccw-span");
    this.el.append(this.words);
    this.canvas = document.createElement("canvas");
    this.canvas.className = "ccw-strip";
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "slider");
    this.canvas.setAttribute("aria-label", "Time shown");
    this.canvas.addEventListener("pointerdown", (event) => this.scrub(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.el.append(this.canvas);
    // Told, not asked for at each drawing: to ask makes the page lay out what plotly has just drawn.
    this.width = 0;
    this.size = new ResizeObserver(([{ contentRect }]) => {
      this.width = Math.round(contentRect.width);
      this.view.schedule();
    });
    this.size.observe(this.canvas);
  }

  close() {
    this.playing = false;
    this.size.disconnect();
  }

  button(words, title, action) {
    const made = tell("button", "ccw-key", words);
    made.type = "button";
    made.title = title;
    made.setAttribute("aria-label", title);
    made.addEventListener("click", action);
    this.el.append(made);
    return made;
  }

  get whole() {
    const { rows } = this.view.store;
    return rows && rows.count ? [rows.held.time[rows.first], Math.max(rows.held.time[rows.end - 1], rows.held.time[rows.first] + 1000)] : null;
  }

  scrub(event) {
    const move = (moved) => {
      const { whole } = this;
      if (!whole) return;
      const box = this.canvas.getBoundingClientRect();
      const time = whole[0] + Math.min(1, Math.max(0, (moved.clientX - box.left) / box.width)) * (whole[1] - whole[0]);
      if (this.view.store.moves) this.view.centre(time);
      else this.seek(time);
    };
    this.canvas.setPointerCapture(event.pointerId);
    move(event);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }

  /** The keys of a slider seek in a recording; in a stream that goes on they move the view, as in the charts. */
  key(event) {
    const { whole, view } = this;
    const share = { ArrowLeft: -0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    const bare = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    if (!share || !bare || !whole || view.store.moves) {
      view.cursor.key(event);
      return;
    }
    this.playing = false;
    this.seek((view.head ?? whole[1]) + share * (whole[1] - whole[0]));
    event.preventDefault();
    event.stopPropagation();
  }

  /** Show a recording up to a time. */
  seek(time) {
    const { whole } = this;
    if (!whole) return;
    this.view.head = time >= whole[1] ? null : Math.max(whole[0], time);
    if (this.view.zoom && this.view.head !== null) this.view.centre(this.view.head);
    this.view.side.follow(this.view.head);
    this.view.schedule();
  }

  toggle() {
    if (this.view.store.moves) {
      this.view.store.model.send({ type: "pause", page: this.view.store.page });
      return;
    }
    this.playing = !this.playing;
    if (!this.playing) return;
    if (this.view.head === null) this.view.head = this.whole?.[0] ?? null;
    let before = performance.now();
    const tick = () => {
      if (!this.playing || this.view.closed) return;
      const now = performance.now();
      const head = this.view.head;
      if (head === null) this.playing = false;
      else this.seek(this.speed === Infinity ? Infinity : head + (now - before) * this.speed);
      before = now;
      this.show();
      if (this.playing) setTimeout(() => requestAnimationFrame(tick), 50);
    };
    tick();
  }

  step(by) {
    const { rows, moves } = this.view.store;
    if (moves || !rows || !rows.count) return;
    this.playing = false;
    const { time } = rows.held;
    const here = this.view.head ?? time[rows.end - 1];
    const row = by > 0 ? rows.find(here + 0.001) : rows.find(here) - 1;
    this.seek(row >= rows.end ? Infinity : time[Math.max(rows.first, row)]);
  }

  mark() {
    if (this.note) return;
    const time = this.view.cursor.time ?? this.view.head ?? this.whole?.[1];
    if (time === undefined) return;
    this.note = document.createElement("input");
    this.note.className = "ccw-note-input";
    this.note.maxLength = 300;
    this.note.setAttribute("aria-label", `Note at ${clock(time)}; Enter keeps it, Escape does not`);
    this.note.placeholder = `note at ${clock(time)}`;
    const close = () => {
      const note = this.note;
      this.note = null;
      note?.remove();
      this.view.plot.focus({ preventScroll: true });
    };
    this.note.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && this.note.value.trim()) this.view.store.model.send({ type: "mark", page: this.view.store.page, time, text: this.note.value.trim() });
      if (event.key === "Enter" || event.key === "Escape") close();
    });
    this.el.append(this.note);
    this.note.focus();
  }

  show() {
    const { view, whole } = this;
    const { moves, live } = view.store;
    for (const part of this.player) part.hidden = moves;
    this.play.textContent = this.playing ? "❚❚" : "▶";
    this.follow.textContent = moves ? "Go live" : "Show all";
    const words = moves ? "Follow the stream (End)" : "Show all of it (End)";
    if (this.follow.title !== words) {
      this.follow.title = words;
      this.follow.setAttribute("aria-label", words);
    }
    this.follow.setAttribute("aria-pressed", String(!view.zoom && view.head === null));
    const range = view.shown;
    if (!range || !whole) return;
    this.words.textContent = `${clock(range[0])} – ${clock(range[1])}${view.zoom ? "" : moves && live ? " · live" : ""}`;
    this.canvas.setAttribute("aria-valuemin", String(Math.round(whole[0])));
    this.canvas.setAttribute("aria-valuemax", String(Math.round(whole[1])));
    this.canvas.setAttribute("aria-valuenow", String(Math.round(view.head ?? range[1])));
    this.canvas.setAttribute("aria-valuetext", this.words.textContent);
    this.paint(range, whole);
  }

  paint([from, to], [first, last]) {
    const { width } = this;
    if (!width) return;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== STRIP_PX) this.canvas.height = STRIP_PX;
    const pen = this.canvas.getContext("2d");
    const x = (time) => ((time - first) / (last - first)) * width;
    pen.clearRect(0, 0, width, STRIP_PX);
    pen.drawImage(this.history(first, last, width), 0, 0);
    pen.fillStyle = "rgba(58, 123, 213, 0.25)";
    pen.fillRect(x(from), 0, Math.max(2, x(to) - x(from)), STRIP_PX);
    if (this.view.head !== null) {
      pen.fillStyle = "#C72C76";
      pen.fillRect(x(this.view.head) - 1, 0, 2, STRIP_PX);
    }
  }

  /** The line of all prices, broken at gaps; drawn anew where it would move by a pixel, or its rows, its width or the theme changed. */
  history(first, last, width) {
    const { rows } = this.view.store;
    const { dark } = this.view;
    const pixel = (last - first) / width;
    const { made } = this;
    const same = made && made.rows === rows && made.exact === rows.exact && made.dark === dark && made.canvas.width === width;
    if (same && Math.abs(made.first - first) < pixel && Math.abs(made.last - last) < pixel) return made.canvas;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = STRIP_PX;
    const pen = canvas.getContext("2d");
    const { time, price } = rows.held;
    const stride = Math.max(1, Math.floor(rows.count / (2 * width)));
    let least = Infinity;
    let most = -Infinity;
    for (let row = rows.first; row < rows.end; row += stride) {
      if (price[row] < least) least = price[row];
      if (price[row] > most) most = price[row];
    }
    pen.beginPath();
    let broken = true; // no line over a gap
    for (let row = rows.first; row < rows.end; row += 1) {
      broken ||= rows.held.broken[row] !== 0;
      if ((row - rows.first) % stride || Number.isNaN(price[row])) continue;
      const at = [((time[row] - first) / (last - first)) * width, STRIP_PX - 3 - ((price[row] - least) / Math.max(1e-9, most - least)) * (STRIP_PX - 6)];
      if (broken) pen.moveTo(...at);
      else pen.lineTo(...at);
      broken = false;
    }
    pen.strokeStyle = getComputedStyle(this.canvas).color;
    pen.stroke();
    this.made = { canvas, rows, dark, first, last, exact: rows.exact };
    return canvas;
  }
}
