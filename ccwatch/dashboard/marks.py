"""Marks: notes at a time, kept with a recording and shown in every view of it. No widget, no thread.

A recording keeps them beside its data. A feed's marks are kept here for as long as it lives, so that every dashboard on it shows
them; the dashboard passes them on to the recordings that are being made of the feed.
"""

from __future__ import annotations

import threading
import weakref
from datetime import datetime
from typing import Any, Final

import pandas as pd

from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import EventKind
from ccwatch.stream.view import RecordedView, View

Mark = tuple[int, str]
"""Time in ns since 1970, UTC, and the note."""

_OF_FEEDS: Final[weakref.WeakKeyDictionary[Any, list[Mark]]] = weakref.WeakKeyDictionary()
_ADDING: Final = threading.Lock()  # serialises two dashboards of one feed


def moment(view: View, time: datetime | pd.Timestamp | None) -> pd.Timestamp:
    """Return the moment of a mark: an aware time, or that of the newest packet for None.

    Raises:
        ConfigError: a time without a zone, or none where nothing has arrived.
    """
    try:
        found = pd.Timestamp(time) if time is not None else None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"time={time!r}: expected a time with a zone, for example 2026-01-02T14:39:00Z ({error})") from None
    if found is None:
        newest = view.frame(["seq"], 1).index
        found = newest[-1] if len(newest) else None
    if found is None or found.tzinfo is None:
        raise ConfigError(f"a mark at {time!r}: expected a time with a zone, or a stream that has begun")
    return found


def add(view: View, time: pd.Timestamp, text: str) -> None:
    """Mark a moment of a view; `time` is aware."""
    if isinstance(view, RecordedView):
        view.mark(time, text)
        return
    with _ADDING:
        _OF_FEEDS.setdefault(view, []).append((int(time.as_unit("ns").value), text))


def of(view: View) -> list[Mark]:
    """Return all marks of a view, in order of time."""
    if isinstance(view, RecordedView):
        return sorted((int(mark.time_ns), str(mark.text)) for mark in view.marks)
    with _ADDING:
        own = list(_OF_FEEDS.get(view, ()))
    events = view.events()
    if len(events):
        found = events[(events["kind"] == EventKind.MARK).to_numpy()]
        own += [
            (int(pd.Timestamp(time).as_unit("ns").value), str(detail)) for time, detail in zip(found.index, found["detail"], strict=True)
        ]
    return sorted(set(own))
