// Draws lines, bars and marks on a canvas where plotly would: its dashes, patterns and symbols. It must not know a stream or a widget.

/** @import { Box, Range } from "./types.js" */

const DASHES = /** @type {Record<string, number[]>} */ ({
  dash: [3, 3], dot: [1, 1], dashdot: [3, 1, 1, 1], longdash: [5, 5], longdashdot: [5, 2, 1, 2],
});

const PATH_POINTS = 48; // a noisy line of a thousand points in one path takes five times as long to fill as in short ones

/** A line's dash as plotly makes it, px. @param {string | undefined} name @param {number} width @returns {number[]} */
export function dash(name, width) {
  const unit = Math.max(width, 3);
  const parts = DASHES[name ?? ""];
  if (!parts) return [];
  return parts.map((part) => part * unit);
}

/** How times and values lie in px: the axes of plotly, read once for each base. */
export class Scale {
  /**
   * @param {number} left px
   * @param {number} width px
   * @param {number} from ms
   * @param {number} to ms
   */
  constructor(left, width, from, to) {
    this.left = left;
    this.width = width;
    this.from = from;
    this.to = to;
    this.perMs = width / (to - from);
  }

  /** @param {number} time */
  x(time) {
    return this.left + (time - this.from) * this.perMs;
  }

  /** @param {number} x @returns {number} */
  time(x) {
    return this.from + (x - this.left) / this.perMs;
  }

  /** @param {Box} box @param {number} value */
  static y(box, value) {
    return box.top + box.height * (1 - (value - box.low) / (box.high - box.low));
  }
}

export class Painter {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.ratio = 1;
    this.left = 0; // px of the charts at which the canvas begins
    /** @type {Map<string, CanvasPattern>} */
    this.patterns = new Map();
    /** @type {WeakMap<number[], { lengths: number[], at: number }>} */
    this.lengths = new WeakMap(); // of dashed lines, so that a dash goes on where it was
  }

  /** @param {number} width @param {number} height */
  size(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h || this.ratio !== ratio) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
      if (this.ratio !== ratio) this.patterns.clear();
      this.ratio = ratio;
    }
  }

  /** Put the canvas so far from the left edge of the charts. @param {number} left px, at a whole one of the screen's */
  place(left) {
    this.left = left;
    this.canvas.style.left = `${left}px`;
  }

  /** The px at or left of a place that begins with one of the screen's own. @param {number} x */
  whole(x) {
    return Math.floor(x * this.ratio) / this.ratio;
  }

  /**
   * Begin to draw what lies right of a place, which is cleared; but for a hole, that another canvas draws.
   * @param {number} from px
   * @param {Range | null} hole px
   */
  begin(from, hole = null) {
    const { ctx, ratio, canvas } = this;
    const at = (/** @type {number} */ x) => Math.round((x - this.left) * ratio);
    const first = Math.max(0, at(from));
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.save();
    ctx.clearRect(first, 0, canvas.width - first, canvas.height);
    ctx.beginPath();
    if (hole) {
      ctx.rect(first, 0, Math.max(0, at(hole[0]) - first), canvas.height);
      ctx.rect(at(hole[1]), 0, Math.max(0, canvas.width - at(hole[1])), canvas.height);
    } else ctx.rect(first, 0, canvas.width - first, canvas.height);
    ctx.clip();
    ctx.setTransform(ratio, 0, 0, ratio, -this.left * ratio, 0);
    ctx.lineJoin = "miter"; // as in plotly's own pictures
    ctx.miterLimit = 2;
  }

  end() {
    this.ctx.restore();
  }

  /**
   * Draw inside a box alone.
   * @param {Scale} scale
   * @param {Box} box
   * @param {() => void} draw
   */
  within(scale, box, draw) {
    const { ctx } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(scale.left, box.top, scale.width, box.height);
    ctx.clip();
    draw();
    ctx.restore();
  }

  /**
   * A line from its point `first` on.
   * @param {Scale} scale
   * @param {Box} box
   * @param {number[]} x
   * @param {(number | null)[]} y
   * @param {{ color: string, width: number, dash?: string }} look
   * @param {number} first
   * @param {number} past
   */
  line(scale, box, x, y, look, first = 0, past = x.length) {
    const { ctx } = this;
    const pattern = dash(look.dash, look.width);
    const per = box.height / (box.high - box.low);
    const bottom = box.top + box.height;
    let begin = first;
    ctx.strokeStyle = look.color;
    ctx.lineWidth = look.width;
    ctx.setLineDash(pattern);
    if (pattern.length) {
      ctx.lineDashOffset = this.along(scale, box, x, y, first, past);
    }
    ctx.beginPath();
    let pen = false;
    let drawn = 0; // points of this path
    let [lastX, lastY] = [0, 0];
    for (; begin < past; begin += 1) {
      const value = y[begin];
      if (value === null || value === undefined) {
        if (pen && pattern.length) {
          ctx.stroke(); // the dashes begin again after a gap, as in plotly's path
          ctx.beginPath();
          ctx.lineDashOffset = 0;
        }
        pen = false;
        continue;
      }
      const px = scale.left + (/** @type {number} */ (x[begin]) - scale.from) * scale.perMs;
      const py = bottom - (value - box.low) * per;
      if (pen) ctx.lineTo(px, py);
      else ctx.moveTo(px, py);
      drawn += 1;
      if (pen && drawn > PATH_POINTS && !pattern.length) {
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(lastX, lastY); // the last step again: it keeps both of its corners
        ctx.lineTo(px, py);
        drawn = 0;
      }
      [lastX, lastY] = [px, py];
      pen = true;
    }
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /**
   * How far along its path a line's point lies, px, since the last cut.
   * @param {Scale} scale @param {Box} box @param {number[]} x @param {(number | null)[]} y @param {number} first @param {number} past
   */
  along(scale, box, x, y, first, past) {
    let known = this.lengths.get(x);
    const key = box.low * 31 + box.high * 17 + box.height + scale.perMs * 1e6;
    if (!known || known.at !== key) {
      known = { lengths: [0], at: key };
      this.lengths.set(x, known);
    }
    const { lengths } = known;
    lengths.length = Math.min(lengths.length, Math.max(1, first)); // what follows may have changed
    const per = box.height / (box.high - box.low);
    for (let place = lengths.length; place < past; place += 1) {
      const [one, other] = [y[place - 1], y[place]];
      const cut = one === null || one === undefined || other === null || other === undefined;
      const step = cut ? 0 : Math.hypot((/** @type {number} */ (x[place]) - /** @type {number} */ (x[place - 1])) * scale.perMs, (other - one) * per);
      lengths.push(cut ? 0 : /** @type {number} */ (lengths[place - 1]) + step);
    }
    return lengths[first] ?? 0;
  }

  /**
   * The space between two lines of one x.
   * @param {Scale} scale
   * @param {Box} box
   * @param {{ x: number[], y: (number | null)[] }} lower
   * @param {{ x: number[], y: (number | null)[] }} upper
   * @param {string} color
   */
  fill(scale, box, lower, upper, color) {
    const { ctx } = this;
    ctx.fillStyle = color;
    ctx.beginPath();
    let pen = false;
    for (let place = 0; place < upper.x.length; place += 1) {
      const value = upper.y[place];
      if (value === null || value === undefined) continue;
      const at = /** @type {number} */ (upper.x[place]);
      if (pen) ctx.lineTo(scale.x(at), Scale.y(box, value));
      else ctx.moveTo(scale.x(at), Scale.y(box, value));
      pen = true;
    }
    for (let place = lower.x.length - 1; place >= 0; place -= 1) {
      const value = lower.y[place];
      if (value !== null && value !== undefined) ctx.lineTo(scale.x(/** @type {number} */ (lower.x[place])), Scale.y(box, value));
    }
    ctx.fill();
  }

  /**
   * Upright bars over a box's whole height, with plotly's pattern.
   * @param {Scale} scale
   * @param {Box} box
   * @param {[number, number][]} spans ms
   * @param {{ color: string, pattern?: any }} marker
   */
  bars(scale, box, spans, marker) {
    if (!spans.length) return;
    const { ctx } = this;
    for (const style of [marker.color, this.pattern(marker.pattern, scale.left, box.top)]) {
      if (!style) continue;
      ctx.fillStyle = style;
      for (const [start, end] of spans) {
        const from = scale.x(start);
        ctx.fillRect(from, box.top, scale.x(end) - from, box.height);
      }
    }
  }

  /**
   * @param {any} look of plotly's marker.pattern
   * @param {number} left px of the box, where plotly's pattern begins
   * @param {number} top px
   * @returns {CanvasPattern | null}
   */
  pattern(look, left, top) {
    if (!look?.shape) return null;
    const key = JSON.stringify(look);
    let made = this.patterns.get(key);
    if (!made) {
      const tile = document.createElement("canvas");
      const crossed = look.shape === "/" || look.shape === "x";
      const side = crossed ? look.size * Math.SQRT2 : look.size;
      const px = Math.max(1, Math.round(side * this.ratio));
      tile.width = px;
      tile.height = px;
      const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
      pen.scale(px / side, px / side);
      pen.strokeStyle = look.fgcolor;
      pen.fillStyle = look.fgcolor;
      if (crossed) {
        pen.lineWidth = look.shape === "/" ? look.solidity * look.size : look.size - look.size * Math.sqrt(1 - look.solidity);
        const up = [[-0.25, 0.25, 0.25, -0.25], [0, 1, 1, 0], [0.75, 1.25, 1.25, 0.75]];
        const down = look.shape === "x" ? [[0.75, -0.25, 1.25, 0.25], [0, 0, 1, 1], [-0.25, 0.75, 0.25, 1.25]] : [];
        for (const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] of [...up, ...down]) {
          pen.beginPath();
          pen.moveTo(x0 * side, y0 * side);
          pen.lineTo(x1 * side, y1 * side);
          pen.stroke();
        }
      } else {
        pen.beginPath();
        pen.arc(side / 2, side / 2, Math.sqrt((look.solidity * side * side) / Math.PI), 0, 2 * Math.PI);
        pen.fill();
      }
      made = /** @type {CanvasPattern} */ (this.ctx.createPattern(tile, "repeat"));
      this.patterns.set(key, made);
      /** @type {any} */ (made).side = side / px;
    }
    const by = /** @type {any} */ (made).side;
    made.setTransform(new DOMMatrix([by, 0, 0, by, left, top]));
    return made;
  }

  /**
   * Words in the middle of a box.
   * @param {Scale} scale
   * @param {Box} box
   * @param {string} words
   * @param {string} color
   */
  words(scale, box, words, color) {
    const { ctx } = this;
    ctx.font = "11px system-ui, sans-serif";
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillStyle = color;
    ctx.fillText(words, scale.left + scale.width / 2, box.top + box.height / 2);
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {string} symbol of plotly
   * @param {number} size px
   * @param {string} color
   * @param {number} width of the outline
   */
  symbol(x, y, symbol, size, color, width) {
    const { ctx } = this;
    const r = size / 2;
    const wide = (r * 2) / Math.sqrt(3);
    ctx.beginPath();
    if (symbol.startsWith("triangle-up")) {
      ctx.moveTo(x - wide, y + r / 2);
      ctx.lineTo(x + wide, y + r / 2);
      ctx.lineTo(x, y - r);
    } else if (symbol.startsWith("triangle-down")) {
      ctx.moveTo(x - wide, y - r / 2);
      ctx.lineTo(x + wide, y - r / 2);
      ctx.lineTo(x, y + r);
    } else ctx.arc(x, y, r, 0, 2 * Math.PI);
    ctx.closePath();
    ctx.fillStyle = color;
    ctx.strokeStyle = color;
    ctx.lineWidth = width;
    if (!symbol.endsWith("-open")) ctx.fill();
    ctx.stroke();
  }
}
