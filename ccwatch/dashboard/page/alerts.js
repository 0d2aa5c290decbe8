// The firing alerts, in one line: grouped by subject, the most serious first, of fixed places; it opens into the list of all.

/** @import { Alert, AlertStrip } from "./types.js" */
/** @import { View } from "./view.js" */

import { attribute, button, hide, picture, shape, element, write } from "./dom.js";
import { alertWords, clock, lasting } from "./words.js";

const RANK = /** @type {Record<string, number>} */ ({ critical: 0, warning: 1, info: 2 });
const SHAPES = /** @type {Record<string, string>} */ ({
  critical: "M4.1 0 H9.9 L14 4.1 V9.9 L9.9 14 H4.1 L0 9.9 V4.1 Z M6 3 V8 H8 V3 Z M6 9.5 V11.5 H8 V9.5 Z",
  warning: "M7 0 L14 13 H0 Z M6.2 4.5 V9 H7.8 V4.5 Z M6.2 10 V11.6 H7.8 V10 Z",
  info: "M7 0 A7 7 0 1 0 7.01 0 Z M6 6 V11 H8 V6 Z M6 3 V5 H8 V3 Z",
});

/** @param {Alert} alert */
export function nameOf(alert) {
  return alert.subject ? `${alert.rule}: ${alert.subject}` : alert.rule;
}

/**
 * The desk's facts about an alert: who silenced or saw it, how its rule did when it was tried, what to do.
 * @param {Alert} alert
 */
export function noteOf(alert) {
  const { silenced } = alert;
  return [
    silenced ? `silenced until ${clock(silenced[0])} by ${silenced[1]}: ${silenced[2]}` : "",
    alert.by ? `seen by ${alert.by}` : "",
    alert.certificate ? `rule ${alert.certificate}` : "",
    alert.runbook ? "runbook" : "",
  ].filter(Boolean).join(" · ");
}

/** @param {Alert} alert */
function keyOf(alert) {
  return `${alert.rule}\n${alert.subject}\n${alert.fired}`;
}

/**
 * Alerts of one subject each, the most serious and then the oldest first.
 * @param {Alert[]} firing
 * @returns {Alert[][]}
 */
export function grouped(firing) {
  /** @type {Map<string, Alert[]>} */
  const groups = new Map();
  for (const alert of firing) {
    const key = alert.group ?? alert.subject;
    groups.set(key, [...(groups.get(key) ?? []), alert]);
  }
  const rank = (/** @type {Alert} */ alert) => (RANK[alert.severity] ?? 1) + (alert.acknowledged || alert.silenced ? 10 : 0);
  const order = (/** @type {Alert} */ one, /** @type {Alert} */ other) => rank(one) - rank(other) || one.fired - other.fired;
  const first = (/** @type {Alert[]} */ group) => /** @type {Alert} */ (group[0]);
  return [...groups.values()].map((group) => group.sort(order)).sort((one, other) => order(first(one), first(other)));
}

/** One alert of the list. */
class Badge {
  /** @param {AlertLine} line @param {Alert} alert */
  constructor(line, alert) {
    this.line = line;
    this.alert = alert;
    this.el = element("span", "ccw-alert");
    this.el.setAttribute("role", "group");
    const icon = picture("0 0 14 14");
    this.path = shape(icon, "path", { fill: "currentColor", "fill-rule": "evenodd", d: SHAPES[alert.severity] ?? SHAPES.warning ?? "" });
    this.severity = element("b", "ccw-severity", alert.severity.toUpperCase());
    this.name = element("button", "ccw-alert-name");
    this.name.type = "button";
    this.value = element("span", "ccw-alert-value");
    this.since = element("span", "ccw-alert-since");
    this.note = element("span", "ccw-alert-note");
    this.seen = button("Ack", "Acknowledge", () => this.acknowledge());
    this.seen.classList.add("ccw-seen");
    this.why = button("Why", `Ask why ${nameOf(alert)} fired`, () => line.view.ask([alert.fired, alert.fired]));
    this.quiet = button("Silence", `Silence ${nameOf(alert)} for half an hour`, () => this.silence());
    this.el.append(icon, this.severity, this.name, this.value, this.since, this.note, this.why, this.seen, this.quiet);
    this.name.addEventListener("click", (event) => {
      line.view.centre(this.alert.fired, true);
      if (event.shiftKey) line.view.ask([this.alert.fired, this.alert.fired]);
    });
  }

  acknowledge() {
    if (this.alert.acknowledged) return;
    this.seen.textContent = "…";
    this.line.view.store.send({ type: "acknowledge", rule: this.alert.rule, subject: this.alert.subject });
  }

  /** Ask for the reason, then have the kernel write the silence into the recording's journal. */
  silence() {
    const reason = element("input", "ccw-note-input");
    reason.maxLength = 300;
    reason.placeholder = "why? Enter silences it for half an hour";
    reason.setAttribute("aria-label", `Reason to silence ${nameOf(this.alert)}; Enter keeps it, Escape does not`);
    reason.addEventListener("keydown", (event) => {
      event.stopPropagation();
      const words = reason.value.trim();
      if (event.key === "Enter" && words) this.line.view.store.send({ type: "silence", rule: this.alert.rule, subject: this.alert.subject, reason: words });
      if (event.key !== "Enter" && event.key !== "Escape") return;
      reason.remove();
      this.why.focus();
    });
    this.el.append(reason);
    reason.focus();
  }

  /** @param {Alert} alert @param {number} now @param {boolean} still */
  write(alert, now, still) {
    this.alert = alert;
    hide(this.quiet, !still || !alert.keeps || Boolean(alert.silenced));
    const { acknowledged } = alert;
    const name = nameOf(alert);
    this.el.dataset.severity = alert.severity;
    attribute(this.el, "aria-label", `${alert.severity} alert ${name}`);
    write(this.name, name);
    attribute(this.name, "title", `${alert.meaning}; show the moment at which it fired; with Shift, ask why too`);
    write(this.seen, acknowledged ? "✓ seen" : "Ack");
    attribute(this.seen, "aria-label", acknowledged ? `${name} was acknowledged` : `Acknowledge ${name}`);
    attribute(this.seen, "title", acknowledged ? "acknowledged" : "Acknowledge");
    attribute(this.seen, "aria-disabled", String(acknowledged));
    hide(this.seen, !still);
    this.el.classList.toggle("ccw-muted", still && (acknowledged || Boolean(alert.silenced)));
    write(this.note, still ? noteOf(alert) : "");
    attribute(this.note, "title", alert.runbook ? `runbook: ${alert.runbook}` : "");
    write(this.value, still ? (alert.state === "NO_DATA" ? "no data" : alert.value) : alert.at);
    attribute(this.value, "title", alert.at ? `${alert.at} when it fired${still ? `, worst ${alert.worst}` : ""}` : "");
    write(this.since, `${lasting(now - alert.fired)}, since ${clock(alert.fired)}`);
  }
}

export class AlertLine {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** @type {Map<string, Badge>} */
    this.badges = new Map(); // by key: an element that stays while its alert does, and with it the focus
    /** @type {Set<string> | null} */
    this.known = null; // keys that were said already
    /** @type {[number | null, number]} */
    this.clockAt = [null, 0];
    this.isOpen = false;
    this.el = element("div", "ccw-alerts");
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", "Alerts");
    this.line = element("div", "ccw-alert-line");
    this.icon = picture("0 0 14 14");
    this.path = shape(this.icon, "path", { fill: "currentColor", "fill-rule": "evenodd" });
    this.head = element("span", "ccw-quiet", "Alerts: waiting for packets");
    this.why = button("Why", "Ask why the first alert fired", () => this.first && this.view.ask([this.first.fired, this.first.fired]));
    this.ack = button("Ack", "Acknowledge the first group", () => this.acknowledge());
    this.quiet = button("Silence", "Silence the first alert for half an hour", () => {
      this.open(true);
      if (this.first) this.badges.get(keyOf(this.first))?.silence();
    });
    this.toggle = button("", "All alerts", () => this.open(!this.isOpen));
    this.toggle.classList.add("ccw-more-alerts");
    this.list = element("div", "ccw-alert-list");
    this.list.id = `ccw-alerts-${Math.random().toString(36).slice(2)}`;
    this.toggle.setAttribute("aria-controls", this.list.id);
    this.polite = element("div", "ccw-spoken");
    this.polite.setAttribute("aria-live", "polite");
    this.assertive = element("div", "ccw-spoken");
    this.assertive.setAttribute("role", "alert");
    this.why.hidden = this.ack.hidden = this.quiet.hidden = this.toggle.hidden = true; // until something fires
    this.line.append(this.icon, this.head, this.why, this.ack, this.quiet, this.toggle);
    this.el.append(this.line, this.list, this.polite, this.assertive);
    /** @type {Alert[][]} */
    this.groups = [];
    this.open(false);
    this.away = (/** @type {PointerEvent} */ event) => {
      if (this.isOpen && !this.el.contains(/** @type {Node} */ (event.target))) this.open(false);
    };
    document.addEventListener("pointerdown", this.away, true);
    this.el.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isOpen) return;
      this.open(false);
      this.toggle.focus();
      event.stopPropagation();
    });
  }

  close() {
    document.removeEventListener("pointerdown", this.away, true);
  }

  get first() {
    return this.groups[0]?.[0] ?? null;
  }

  acknowledge() {
    for (const alert of this.groups[0] ?? []) {
      if (!alert.acknowledged) this.view.store.send({ type: "acknowledge", rule: alert.rule, subject: alert.subject });
    }
  }

  /** @param {boolean} open */
  open(open) {
    this.isOpen = open;
    this.list.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (this.groups.length) this.tick();
  }

  /** The time that the line speaks of: the stream's now; in a recording that of the player, or of a crosshair that is held. */
  get now() {
    const { view } = this;
    const { rows, moves } = view.store.main;
    const newest = rows?.count ? rows.last : 0;
    if (!moves) return (view.cursor.pinned ? view.cursor.time : null) ?? view.head ?? Math.max(newest, ...this.all.map((alert) => alert.fired));
    const [sent, since] = this.clockAt;
    const went = view.store.main.tables.status?.stopped ? 0 : performance.now() - since; // a view that was stopped knows no later time
    return Math.max(newest, sent === null ? 0 : sent + went);
  }

  get all() {
    const { moves, tables } = this.view.store.main;
    return [...(tables.alerts?.open ?? []), ...(moves ? [] : tables.fired)];
  }

  show() {
    const { alerts } = this.view.store.main.tables;
    if (alerts && alerts.now !== this.clockAt[0]) this.clockAt = [alerts.now, performance.now()];
    this.tick();
  }

  tick() {
    const { main } = this.view.store;
    const { alerts } = main.tables;
    if (!alerts || this.view.closed) return;
    const { now } = this;
    const still = main.moves || (this.view.head === null && !this.view.cursor.pinned);
    const firing = this.all.filter((alert) => (still ? alert.resolved === null : alert.fired <= now && (alert.resolved === null || alert.resolved > now)));
    this.groups = grouped(firing);
    this.summary(alerts, firing, still, now);
    const keys = new Set();
    /** @type {Element | null} */
    let last = null;
    for (const alert of this.groups.flat()) {
      const key = keyOf(alert);
      keys.add(key);
      const badge = this.badges.get(key) ?? new Badge(this, alert);
      this.badges.set(key, badge);
      badge.write(alert, now, still);
      /** @type {Node | null} */
      const after = last ? last.nextSibling : this.list.firstChild;
      if (after !== badge.el) this.list.insertBefore(badge.el, after);
      last = badge.el;
    }
    for (const [key, badge] of this.badges) {
      if (keys.has(key)) continue;
      if (badge.el.contains(document.activeElement)) this.view.charts.plot.focus({ preventScroll: true });
      badge.el.remove();
      this.badges.delete(key);
    }
    this.speak(firing, still);
  }

  /** @param {AlertStrip} alerts @param {Alert[]} firing @param {boolean} still @param {number} now */
  summary(alerts, firing, still, now) {
    const [group] = this.groups;
    const { first } = this;
    this.el.dataset.severity = first && !first.acknowledged ? first.severity : "";
    attribute(this.path, "d", first ? (SHAPES[first.severity] ?? "") : "");
    this.icon.toggleAttribute("hidden", !first);
    hide(this.why, !first);
    hide(this.quiet, !first?.keeps || !still || Boolean(first.silenced));
    hide(this.ack, !first || !still || (group ?? []).every((alert) => alert.acknowledged));
    if (!first || !group) {
      write(this.head, this.words(alerts));
      attribute(this.head, "title", alerts.silent.length ? `No data for: ${alerts.silent.join(", ")}` : "");
    } else {
      const value = first.value && still ? first.value : first.at;
      const more = group.length > 1 ? ` (and ${group.length - 1} more)` : "";
      write(this.head, `${first.severity.toUpperCase()} ${alertWords(first, value)}${more}, since ${clock(first.fired)} (${lasting(now - first.fired)})`);
      attribute(this.head, "title", group.map((alert) => `${nameOf(alert)}: ${alert.meaning}`).join("\n"));
    }
    const others = firing.length + alerts.more - (group?.length ?? 0);
    const next = this.groups[1]?.[0];
    hide(this.toggle, !firing.length);
    write(this.toggle, `${this.isOpen ? "▾" : "▸"} ${others && next ? `${others} more: ${nameOf(next)}` : `all ${firing.length}`}`);
  }

  /** @param {AlertStrip} alerts */
  words({ begun, rules, silent }) {
    if (!begun) return "Alerts: waiting for packets";
    const missing = silent.length ? `; no data for ${silent.length > 3 ? `${silent.length} of them` : silent.join(", ")}` : "";
    return `No alert · ${rules} rules${missing}`;
  }

  /** Say what is new; at first only how many there are. @param {Alert[]} firing @param {boolean} still */
  speak(firing, still) {
    const keys = firing.map((alert) => `${nameOf(alert)} ${alert.fired}`);
    const before = this.known;
    const news = still && before ? firing.filter((_, place) => !before.has(keys[place] ?? "")) : [];
    if (!before && firing.length) this.polite.textContent = `${firing.length} alerts fire`;
    if (still) this.known = new Set(keys);
    const say = (/** @type {boolean} */ serious) =>
      news.filter((alert) => (alert.severity === "critical") === serious).map((alert) => `${alert.severity}: ${nameOf(alert)} ${alert.at}, ${alert.meaning}`).join(". ");
    if (say(true)) this.assertive.textContent = say(true);
    if (say(false)) this.polite.textContent = say(false);
  }
}
