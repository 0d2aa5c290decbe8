"""The status line's content: a connection's state in words, its ages and errors. Market and account come with the rows. No widget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from ccwatch.domain.burst_status import HALT
from ccwatch.errors import FeedClosed
from ccwatch.protocol.messages import ConnectionState
from ccwatch.stream.view import OVER, LiveView, View, is_growing, name_of, report_of

TEXT_LIMIT: Final = 300
"""Characters of an error that are shown."""
_MOODS: Final = {
    ConnectionState.OPEN: "good",
    ConnectionState.LATE: "warn",
    ConnectionState.STALE: "bad",
    ConnectionState.DISCONNECTED: "bad",
    ConnectionState.CONNECTING: "warn",
}
_WORDS: Final = {
    ConnectionState.OPEN: "Connected",
    ConnectionState.LATE: "Connected, but the next packet is late",
    ConnectionState.STALE: "Stale: connected, but nothing comes",
    ConnectionState.DISCONNECTED: "Disconnected",
    ConnectionState.CONNECTING: "Connecting",
    ConnectionState.ENDED: "The stream has ended",
    ConnectionState.STOPPED: "Stopped",
}


@dataclass(frozen=True, slots=True)
class Status:
    """A view's connection at a moment; times in seconds, None where not known."""

    state: str = ""
    """The connection's state; empty for a recording."""
    mood: str = "idle"
    """One of good, warn, bad, idle."""
    words: str = "Recording"
    age_s: float | None = None
    """Age of the newest packet."""
    retry_s: float | None = None
    error: str = ""
    origin: str = ""
    name: str = ""
    gaps: int = 0
    reconnects: int = 0
    packets: int = 0
    zone: str = "UTC"

    def to_json(self, **more: Any) -> dict[str, Any]:
        """Return the status for the page, with the dashboard's own facts: recording, trouble, note, paused, hidden, stopped, records."""
        return asdict(self) | more


def observe(view: View, tz: str = "UTC") -> Status:
    """Return the status of a view's connection now."""
    health = report_of(view)
    live = view if isinstance(view, LiveView) else None
    state = None if live is None else live.state
    error = _text((live and live.error) or health.get("error"))
    words, mood = ("Recording in progress", "good") if is_growing(view) else ("Recording", "idle")
    if live is not None:
        words, mood = _said(live, health, tz)
    latest = None if live is None else live.latest
    return Status(
        state="" if state is None else str(state),
        mood=mood,
        words=words,
        age_s=_seconds(health.get("age_s")),
        retry_s=_seconds(health.get("retry_in_s")),
        error=error if state not in {ConnectionState.OPEN, *OVER} else "",
        origin=view.origin,
        name=_text(name_of(view)),
        gaps=int(health.get("gaps") or 0),
        reconnects=int(health.get("reconnects") or 0),
        packets=int(health.get("packets") or 0),
        zone=zone_name(tz, None if latest is None else latest.time),
    )


def status_of(view: View, tz: str, *, is_stopped: bool) -> tuple[Status, str]:
    """Return the status of a view, and why it was stopped, or why the status cannot be had, which must not end the dashboard."""
    try:
        seen, trouble = observe(view, tz), _closed(view)
    except Exception as error:  # noqa: BLE001 - whatever a source raises
        seen = Status(state=str(view.state) if isinstance(view, LiveView) else "")
        trouble = f"the status could not be updated: {error}"
    if is_stopped and seen.state and seen.state not in OVER:
        seen = replace(seen, words=f"{seen.words}, when the view was stopped", mood="idle")
    return seen, trouble


def zone_name(tz: str, at: datetime | None) -> str:
    """Return a zone's short name at a time (EST, CET), or its full name where the short one is not made of letters."""
    moment = at if isinstance(at, datetime) and at.tzinfo is not None else datetime.now(UTC)
    name = moment.astimezone(ZoneInfo(tz)).tzname() or tz
    return name if name.isalpha() else tz


def _said(view: LiveView, health: Mapping[str, Any], tz: str) -> tuple[str, str]:
    """Return the state of a live view in words, and its mood."""
    state, latest = view.state, view.latest
    is_silent = bool(health.get("silence")) or state in {ConnectionState.LATE, ConnectionState.STALE}
    if is_silent and latest is not None and latest.status == HALT:
        return f"halted, silent since {latest.time.astimezone(ZoneInfo(tz)):%H:%M:%S}", "warn"
    words = _WORDS.get(state, str(state))
    retry = _seconds(health.get("retry_in_s"))
    if state == ConnectionState.DISCONNECTED:
        words += f", next try in {math.ceil(retry)} s" if retry is not None else ""
        error = _text(view.error or health.get("error"))
        words += f" ({error})" if error else ""
    return words, _MOODS.get(state, "idle")


def _closed(view: View) -> str:
    """Return why a view was stopped by something other than its owner; empty where it was not."""
    is_closed = isinstance(view, LiveView) and view.state == ConnectionState.STOPPED and isinstance(view.error, FeedClosed)
    return _text(view.error) if isinstance(view, LiveView) and is_closed else ""


def _seconds(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else max(0.0, float(value))


def _text(value: Any) -> str:
    words = "" if value is None else str(value)
    return words if len(words) <= TEXT_LIMIT else words[: TEXT_LIMIT - 1] + "…"
