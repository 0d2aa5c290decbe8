"""Messages about the guard itself: that it watches, from when to when it saw nothing, and the day in a few sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ccwatch.domain.hours import TradingHours
from ccwatch.guard.alert_messages import plain_body
from ccwatch.guard.guard_options import GuardOptions
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.state import GuardState
from ccwatch.recording import AlertJournal, Recording
from ccwatch.stream.view import name_of

SHORT_NS: Final = 2_000_000_000
"""Blindness shorter than this is not reported, except the one between two guards."""
AGAIN_NS: Final = 600_000_000_000
"""At most one message on blindness in so long: a guard that is started again and again reports several stretches at once."""


class Daybook:
    """The messages about the guard itself. Used by the guard's own thread."""

    def __init__(
        self, view: Any, outbox: Outbox, state: GuardState, options: GuardOptions, *, on_event: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Begin; where the state is of an earlier guard, nothing was seen since that guard was last alive.

        Args:
            view: the Feed or Recording that is watched.
            outbox: takes the messages.
            state: what is reported only once, and what was not reported yet.
            options: of which `notify`, `digest_at` and `digest_to` are used.
            on_event: called with the name and the facts of what happens, for a log.
        """
        self._view, self._outbox, self._state, self._options, self._on_event = view, outbox, state, options, on_event
        self._since_ns = state.alive_ns  # blind since; 0 while it sees
        self._is_restart = bool(state.alive_ns)

    def see(self, now_ns: int, *, is_blind: bool, hours: TradingHours | None, zone: Any) -> None:
        """Note whether the guard sees the stream now, and queue what is due: the day's first message, or what it has not seen."""
        if is_blind:
            self._since_ns = self._since_ns or now_ns
            return
        self._state.alive_ns = now_ns
        if self._since_ns and (self._is_restart or now_ns - self._since_ns >= SHORT_NS):
            self._note_blindness(self._since_ns, now_ns, hours, zone)
        self._since_ns, self._is_restart = 0, False
        if self._options.notify and (hours is None or hours.is_open(now_ns)):
            self._report(now_ns, zone)

    def digest(self, now_ns: int, hours: TradingHours | None, zone: Any, day_ns: int | None) -> None:
        """Queue the day's digest once its time has come, on days with trading; `day_ns` is when the stream's trading day began."""
        now = datetime.fromtimestamp(now_ns / 1e9, zone)
        to = self._options.digest_to or (self._options.notify[0] if self._options.notify else "")
        name = f"digest-{now:%Y%m%d}"
        if not self._options.digest_at or not to or f"{now:%H:%M}" < self._options.digest_at or self._outbox.has(name):
            return
        if hours is None or hours.session_of(now.date()):
            self._queue(name, "digest", f"ccwatch: {now:%Y-%m-%d}", self._day_in_words(day_ns), [to])

    def _note_blindness(self, since_ns: int, until_ns: int, hours: TradingHours | None, zone: Any) -> None:
        """Log a stretch without sight; one between two guards is for people, while a broken stream has an alert of its own."""
        self._on_event("blind", {"text": _nothing_seen([(since_ns, until_ns)], zone)})
        if self._is_restart and (hours is None or hours.is_open(since_ns) or (hours.next_open(since_ns) or until_ns) < until_ns):
            self._state.blind.append((since_ns, until_ns))

    def _report(self, now_ns: int, zone: Any) -> None:
        now = datetime.fromtimestamp(now_ns / 1e9, zone)
        spans = [(since, until) for since, until in self._state.blind]
        unseen = f" {_nothing_seen(spans, zone)}" if spans else ""
        today = f"watching-{now:%Y%m%d}"
        if not self._outbox.has(today):
            text = f"Watching {_name_of(self._view)} since {now:%H:%M} {now:%Z}.{unseen}"
            self._queue(today, "day", "ccwatch is watching", text, self._options.notify)
        elif not spans or now_ns - self._state.blind_told_ns < AGAIN_NS:
            return
        else:
            text = f"Watching {_name_of(self._view)} again since {now:%H:%M:%S} {now:%Z}.{unseen}"
            self._queue(f"blind-{spans[0][0]}", "blind", "ccwatch was blind", text, self._options.notify)
            self._state.blind_told_ns = now_ns
        self._state.blind = []

    def _day_in_words(self, day_ns: int | None) -> str:
        """Return the alerts of the trading day, and the first sentences of each of its recordings' reports."""
        from ccwatch.analysis import Report  # noqa: PLC0415 - scipy takes a second, and only the digest needs it

        sessions = [Path(path) for path in self._state.sessions if Path(path).exists()]
        alerts: dict[str, Any] = {}
        for folder in dict.fromkeys([*sessions, Path(self._state.journal)]):
            alerts |= AlertJournal(folder).book().alerts
        today = [a for a in alerts.values() if day_ns is None or datetime.fromisoformat(str(a["fired"])).timestamp() >= day_ns / 1e9]
        if today:
            named = ", ".join(f"{a['rule']}{' ' + a['subject'] if a['subject'] else ''}" for a in today)
            lines = [f"{len(today)} alert{'s' if len(today) > 1 else ''} fired today: {named}."]
        else:
            lines = ["No alert fired today."]
        for source in [Recording(path) for path in sessions] or [self._view]:
            try:
                lines += [sentence for _, sentence in Report(source).what_happened()]
            except Exception as error:  # noqa: BLE001 - the digest goes out without the report
                lines.append(f"The report of {_name_of(source)} could not be made: {type(error).__name__}.")
        return "\n".join(lines)

    def _queue(self, name: str, kind: str, title: str, text: str, receivers: Sequence[str]) -> None:
        self._outbox.queue(name, plain_body(kind, title, text, stream=_name_of(self._view)), receivers)
        self._on_event("message", {"name": name, "kind": kind, "receivers": list(receivers), "text": text.splitlines()[0]})


def _nothing_seen(spans: Sequence[tuple[int, int]], zone: Any) -> str:
    parts = []
    for since_ns, until_ns in spans:
        since, until = (datetime.fromtimestamp(ns / 1e9, zone) for ns in (since_ns, until_ns))
        ends = f"{until:%H:%M:%S}" if since.date() == until.date() else f"{until:%Y-%m-%d %H:%M:%S}"
        parts.append(f"from {since:%Y-%m-%d %H:%M:%S} to {ends} {until:%Z}")
    return f"It saw nothing {', and '.join(parts)}."


def _name_of(view: Any) -> str:
    """Return the view's url without secrets, or its path."""
    return name_of(view)
