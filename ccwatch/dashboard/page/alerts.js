// The strip of alerts above the charts, and their history for the tab beside them. All words are written as text.
// Severity is told by shape, by word and by colour. It must not know plotly.

const SHAPES = {
  info: "M7 1.2 a5.8 5.8 0 1 0 0.01 0 Z M6.2 3.6 h1.6 v1.6 h-1.6 Z M6.2 6.2 h1.6 v4.4 h-1.6 Z",
  warning: "M7 0.8 L13.6 13 H0.4 Z M6.2 5 h1.6 v4 h-1.6 Z M6.2 10 h1.6 v1.6 h-1.6 Z",
  critical: "M4.3 0.6 h5.4 l3.7 3.7 v5.4 l-3.7 3.7 h-5.4 l-3.7 -3.7 v-5.4 Z M6.2 3 h1.6 v5 h-1.6 Z M6.2 9.2 h1.6 v1.6 h-1.6 Z",
};

const nameOf = (alert) => (alert.subject ? `${alert.rule} · ${alert.subject}` : alert.rule);

function lasting(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Rows of the tab: when, how serious, and what became of it as far as that was known at a time. */
function told(tables, until) {
  const all = [...tables.fired, ...(tables.alerts?.open ?? [])].sort((one, other) => one.fired - other.fired);
  return all.map((alert) => {
    const over = alert.resolved !== null && alert.resolved <= until;
    const end = over ? `resolved ${clock(alert.resolved)} after ${lasting(alert.resolved - alert.fired)}` : "still fires";
    const values = alert.at ? `: ${alert.at}${over || alert.resolved === null ? `, worst ${alert.worst}` : ""}` : "";
    return [alert.fired, alert.severity, `${nameOf(alert)}${values}; ${end}${alert.acknowledged ? ", acknowledged" : ""} (${alert.meaning})`];
  });
}

class AlertStrip {
  constructor(view) {
    this.view = view;
    this.badges = new Map(); // by key: an element that stays while its alert does, and with it the focus
    this.known = null; // keys that were said already
    this.clockAt = [null, 0];
    this.el = tell("div", "ccw-alerts");
    this.el.setAttribute("role", "group");
    this.el.setAttribute("aria-label", "Alerts");
    this.quiet = tell("span", "ccw-quiet", "Alerts: waiting for packets");
    this.polite = tell("div", "ccw-spoken");
    this.polite.setAttribute("aria-live", "polite");
    this.assertive = tell("div", "ccw-spoken");
    this.assertive.setAttribute("role", "alert");
    this.el.append(this.quiet, this.polite, this.assertive);
    this.timer = setInterval(() => document.hidden || this.el.closest(".jupyter-widgets-disconnected") || this.tick(), 1000);
  }

  close() {
    clearInterval(this.timer);
  }

  /** The time that the strip speaks of: the stream's now; in a recording that of the player, or of a crosshair that stands. */
  get now() {
    const { view } = this;
    const { rows, moves } = view.store;
    const newest = rows?.count ? rows.held.time[rows.end - 1] : 0;
    if (!moves) return (view.cursor.pinned ? view.cursor.time : null) ?? view.head ?? Math.max(newest, ...this.all.map((alert) => alert.fired));
    const [told, since] = this.clockAt;
    return Math.max(newest, told === null ? 0 : told + performance.now() - since);
  }

  get all() {
    const { alerts, fired } = this.view.store.tables;
    return [...(alerts?.open ?? []), ...(this.view.store.moves ? [] : fired)];
  }

  show() {
    const { alerts } = this.view.store.tables;
    if (alerts && alerts.now !== this.clockAt[0]) this.clockAt = [alerts.now, performance.now()];
    this.tick();
  }

  tick() {
    const { alerts } = this.view.store.tables;
    if (!alerts || this.view.closed) return;
    const { now } = this;
    const still = this.view.store.moves || (this.view.head === null && !this.view.cursor.pinned);
    const firing = this.all.filter((alert) => still ? alert.resolved === null : alert.fired <= now && (alert.resolved === null || alert.resolved > now));
    const keys = new Set();
    let last = this.quiet;
    for (const alert of firing) {
      const key = `${alert.rule}\n${alert.subject}\n${alert.fired}`;
      keys.add(key);
      if (!this.badges.has(key)) this.badges.set(key, this.badge());
      const badge = this.badges.get(key);
      badge.write(alert, now, still);
      if (last.nextSibling !== badge.el) last.after(badge.el);
      last = badge.el;
    }
    for (const [key, badge] of this.badges) {
      if (keys.has(key)) continue;
      if (badge.el.contains(document.activeElement)) this.view.plot.focus({ preventScroll: true });
      badge.el.remove();
      this.badges.delete(key);
    }
    this.quiet.textContent = this.words(alerts, firing);
    this.speak(firing, still);
  }

  words({ begun, rules, silent, more }, firing) {
    if (!begun) return "Alerts: waiting for packets";
    const missing = silent.length ? `; no data for ${silent.length > 3 ? `${silent.length} of them` : silent.join(", ")}` : "";
    this.quiet.title = silent.length ? `No data for: ${silent.join(", ")}` : "";
    if (!firing.length) return `No alert · ${rules} rules${missing}`;
    const seen = firing.filter((alert) => alert.acknowledged).length;
    return `${firing.length + more} alert${firing.length + more > 1 ? "s" : ""}${seen ? `, ${seen} acknowledged` : ""}${more ? `; ${more} are not shown` : ""}`;
  }

  /** Say what is new; at first only how many there are. */
  speak(firing, still) {
    const keys = firing.map((alert) => `${nameOf(alert)} ${alert.fired}`);
    const news = still && this.known ? firing.filter((alert, place) => !this.known.has(keys[place])) : [];
    if (!this.known && firing.length) this.polite.textContent = `${firing.length} alerts fire`;
    if (still) this.known = new Set(keys);
    const say = (serious) => news.filter((alert) => (alert.severity === "critical") === serious).map((alert) => `${alert.severity}: ${nameOf(alert)} ${alert.at}, ${alert.meaning}`).join(". ");
    if (say(true)) this.assertive.textContent = say(true);
    if (say(false)) this.polite.textContent = say(false);
  }

  badge() {
    const el = tell("span", "ccw-alert");
    el.setAttribute("role", "group");
    const shape = document.createElementNS(SVG, "svg");
    shape.setAttribute("viewBox", "0 0 14 14");
    shape.setAttribute("aria-hidden", "true");
    const path = element(shape, "path", { fill: "currentColor", "fill-rule": "evenodd" });
    const severity = tell("b", "ccw-severity");
    const name = tell("button", "ccw-alert-name");
    name.type = "button";
    const value = tell("span", "ccw-alert-value");
    const since = tell("span", "ccw-alert-since");
    const seen = tell("button", "ccw-key ccw-seen", "Acknowledge");
    seen.type = "button";
    el.append(shape, severity, name, value, since, seen);
    let shown = null;
    name.addEventListener("click", (event) => {
      this.view.centre(shown.fired, true);
      if (event.shiftKey) this.view.ask([shown.fired, shown.fired]);
    });
    seen.addEventListener("click", () => {
      if (shown.acknowledged) return;
      seen.textContent = "…";
      this.view.store.model.send({ type: "acknowledge", page: this.view.store.page, rule: shown.rule, subject: shown.subject });
    });
    const write = (alert, now, still) => {
      const muted = still && alert.acknowledged;
      if (shown !== alert) {
        el.dataset.severity = alert.severity;
        path.setAttribute("d", SHAPES[alert.severity] ?? SHAPES.warning);
        severity.textContent = alert.severity.toUpperCase();
        name.textContent = nameOf(alert);
        name.title = `${alert.meaning}; show the moment at which it fired; with Shift, ask why too`;
        el.setAttribute("aria-label", `${alert.severity} alert ${nameOf(alert)}`);
        seen.textContent = alert.acknowledged ? "✓ seen" : "Acknowledge";
        seen.setAttribute("aria-label", alert.acknowledged ? `${nameOf(alert)} was acknowledged` : `Acknowledge ${nameOf(alert)}`);
        seen.setAttribute("aria-disabled", String(alert.acknowledged));
      }
      shown = alert;
      el.classList.toggle("ccw-muted", muted);
      seen.hidden = !still;
      value.textContent = still ? (alert.state === "NO_DATA" ? "no data" : alert.value) : alert.at;
      value.title = alert.at ? `${alert.at} when it fired${still ? `, worst ${alert.worst}` : ""}` : "";
      since.textContent = `${lasting(now - alert.fired)}, since ${clock(alert.fired)}`;
    };
    return { el, write };
  }
}

