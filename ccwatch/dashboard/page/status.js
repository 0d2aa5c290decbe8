// The status line: what the market and the account do, at the time that is shown, and how the connection is. One line, of fixed places.

/** @import { Facts, Status } from "./types.js" */
/** @import { Stream } from "./stream.js" */
/** @import { View } from "./view.js" */

import { attribute, hide, element, write } from "./dom.js";
import { clock, day, known, lasting, number, percent } from "./words.js";

/** @param {number | null} value */
function tone(value) {
  return known(value) && value < 0 ? "bad" : known(value) && value > 0 ? "good" : "";
}

/** One stream's line. */
class StatusLine {
  /** @param {View} view @param {Stream} stream @param {number} place */
  constructor(view, stream, place) {
    this.view = view;
    this.stream = stream;
    this.el = element("div", "ccw-status");
    this.el.dataset.stream = String(place);
    /** @type {Record<string, HTMLElement>} */
    this.cells = {};
    const left = element("div", "ccw-market");
    this.left = left;
    const right = element("div", "ccw-connection");
    for (const key of ["name", "symbol", "status", "regime", "price", "change", "pnl", "drawdown", "exposure"]) left.append(this.cell(key));
    for (const key of ["note", "trouble", "age", "state", "recording", "origin", "clock"]) right.append(this.cell(key));
    this.el.append(left, right);
    this.haltedAt = /** @type {number | null} */ (null);
  }

  /** @param {string} key */
  cell(key) {
    const made = element("span", "ccw-cell");
    made.dataset.ccw = key;
    this.cells[key] = made;
    return made;
  }

  /** @param {string} key @param {string} words @param {string} mood @param {string} title */
  put(key, words, mood = "", title = "") {
    const el = /** @type {HTMLElement} */ (this.cells[key]);
    write(el, words);
    if (el.dataset.mood !== mood) el.dataset.mood = mood;
    if (el.title !== title) el.title = title;
    hide(el, !words);
  }

  show() {
    const { view, stream } = this;
    const { now } = view;
    const status = stream.tables.status;
    const facts = stream.facts(now);
    hide(this.left, facts.time === null); // nothing is known yet
    this.market(facts, status);
    this.connection(status, facts);
    const dead = view.gone.isGone || Boolean(status && ["bad", "idle"].includes(status.mood) && stream.moves);
    const calm = status?.stopped ?? false;
    this.el.dataset.mood = dead && !calm ? (status?.mood ?? "") : "";
    this.el.classList.toggle("ccw-stale", dead);
  }

  /** Since when the status is HALT. @param {Facts} facts */
  halted(facts) {
    if (facts.status !== "HALT") return null;
    const found = this.view.changes.filter((item) => item.kind === "halt" && item.time <= this.view.now);
    return found[found.length - 1]?.time ?? null;
  }

  /** @param {Facts} facts @param {Status | null} status */
  market(facts, status) {
    const { view } = this;
    this.put("name", view.store.streams.length > 1 ? this.stream.name || (status?.name ?? "") : "");
    this.put("symbol", facts.symbol ?? "–", "", `symbol ${facts.symbol ?? "not known"}`);
    const since = this.halted(facts);
    const halted = facts.status === "HALT";
    this.put("status", (facts.status ?? "–") + (since === null ? "" : ` ${lasting((view.cursor.reads ?? view.clockNow) - since)}`), halted ? "halt" : facts.status === "ACTIVE" ? "good" : "warn", since === null ? `status ${facts.status ?? "not known"}` : `halted since ${clock(since)}`);
    this.put("regime", facts.regime === "Critical" ? "CRITICAL" : (facts.regime ?? "–"), facts.regime === "Critical" ? "critical" : facts.regime?.startsWith("L") ? "levy" : "", "regime");
    this.put("price", number(facts.price), "", "price, USD");
    const change = known(facts.price) && known(facts.first) && facts.first !== 0 ? facts.price / facts.first - 1 : null;
    this.put("change", known(change) ? percent(change, 1, true) : "", tone(change), "since the day's first price that is held");
    this.put("pnl", `P&L ${known(facts.daily_pnl) ? `${number(facts.daily_pnl, 0, true)} (${percent(facts.pnl, 2, true)})` : "–"}`, tone(facts.daily_pnl), "the day's profit and loss, USD and share of the account");
    const near = known(facts.drawdown) && facts.drawdown <= -0.02 ? "halt" : known(facts.drawdown) && facts.drawdown <= -0.015 ? "bad" : "";
    this.put("drawdown", `DD ${known(facts.drawdown) ? `${number(facts.drawdown * 100)} of ${number(-2)} %` : "–"}`, near, "drawdown from the account's peak, and the limit at which the engine halts");
    this.put("exposure", `exp ${percent(facts.exposure, 0)}`, "", "exposure: the share of the account that is not cash, implied from nav and cash");
  }

  /** @param {Status | null} status @param {Facts} facts */
  connection(status, facts) {
    const { view } = this;
    const plays = !this.stream.moves;
    const { isGone } = view.gone;
    const mood = isGone ? "bad" : (status?.mood ?? "");
    const playing = view.controls.playing ? "playing" : "at the play head";
    this.put("note", view.head === null ? (status?.note ?? "") : playing, "warn");
    this.put("trouble", status?.trouble ?? "", "bad", status?.trouble ?? "");
    attribute(/** @type {HTMLElement} */ (this.cells.trouble), "role", status?.trouble ? "alert" : "presentation");
    const age = status && known(status.age_s) && !plays && !status.stopped ? `${number(view.age(this.stream, status), 1)} s` : "";
    const since = age && mood === "bad" && facts.time !== null ? ` since ${clock(facts.time)} ${status?.zone ?? "UTC"}` : "";
    this.put("age", age ? `● ${age}${since}` : "", mood, "since the last packet");
    this.put("state", plays && (view.head !== null || status?.note) ? "" : isGone ? "kernel gone" : (status?.words ?? ""), mood, [status?.error ?? "", status?.gaps ? `${status.gaps} gaps, reconnected ${status.reconnects}×` : ""].filter(Boolean).join("; "));
    this.put("recording", status?.recording ? (status.recording.startsWith("recording to") ? "●REC" : "recorded") : "", "record", status?.recording ?? "");
    this.put("origin", status?.origin.toLowerCase().includes("synthetic") ? "SYNTHETIC" : "", "synthetic", "made up: no real market");
    const time = view.cursor.reads ?? facts.time;
    this.put("clock", time === null ? "" : `${clock(time)} ${status?.zone ?? "UTC"}`, "", time === null ? "" : day(time));
  }
}

export class StatusBar {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.el = element("div", "ccw-header");
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", "Status");
    /** @type {StatusLine[]} */
    this.lines = [];
  }

  show() {
    const { streams } = this.view.store;
    while (this.lines.length < streams.length) {
      const place = this.lines.length;
      const line = new StatusLine(this.view, /** @type {Stream} */ (streams[place]), place);
      this.lines.push(line);
      this.el.append(line.el);
    }
    for (const line of this.lines) line.show();
  }
}
