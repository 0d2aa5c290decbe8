"""A reader's choice in a dashboard, as a value for Python, and the callbacks that are called with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pandas as pd

from ccwatch.dashboard.weak_callbacks import weakly
from ccwatch.stream.callback_errors import Failures
from ccwatch.stream.view import View

Chosen = tuple[pd.Timestamp | None, pd.Timestamp | None, pd.Timestamp | None]
"""Start and end of the zoomed range, and the pinned moment; None where there is none."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A range of time chosen by zoom (else all that the view holds) and a moment chosen by crosshair or play head; times in UTC.

    Attributes:
        start: the first time; None where nothing has arrived.
        end: the last time; the range is closed at both ends.
        cursor: the pinned moment; None where there is none.
        row: the newest packet at or before the cursor, as a row of the view's frame; None without a cursor.
    """

    start: pd.Timestamp | None
    end: pd.Timestamp | None
    cursor: pd.Timestamp | None = None
    row: pd.Series | None = None

    @property
    def slice(self) -> slice:
        """Return the range as a slice for `frame.loc[selection.slice]`."""
        return slice(self.start, self.end)


def select(view: View, start: pd.Timestamp | None, end: pd.Timestamp | None, cursor: pd.Timestamp | None) -> Selection:
    """Return the selection of a range (None: all that the view holds) and a moment."""
    frame: Any = view.frame()
    if not len(frame):
        return Selection(start, end, cursor)
    if start is None or end is None:
        start, end = frame.index[0], frame.index[-1]
    row = None
    if cursor is not None:
        place = int(frame.index.searchsorted(cursor, side="right")) - 1
        row = frame.iloc[place] if place >= 0 else None
    return Selection(start, end, cursor, row)


class Choices:
    """The choice in the page now, and its listeners. Any thread."""

    def __init__(self) -> None:
        """Begin with nothing chosen."""
        self.chosen: Chosen = (None, None, None)
        self._callbacks: tuple[Callable[[Selection], object], ...] = ()  # replaced, never changed
        self._failures = Failures("a callback on selections")

    @property
    def trouble(self) -> str:
        """Return the newest failure of a callback and how many there were, in a line; empty without any."""
        failed = self._failures
        return f"{failed.last} ({failed.count:,} in all)" if failed.count else ""

    def listen(self, callback: Callable[[Selection], object]) -> Callable[[], None]:
        """Call a function, on a thread of its own, whenever something else is chosen; return a function that ends this."""
        self._callbacks = (*self._callbacks, callback)

        def unsubscribe() -> None:
            self._callbacks = tuple(other for other in self._callbacks if other is not callback)

        return unsubscribe

    def choose(self, view: View, chosen: Chosen) -> None:
        """Store the page's selection, and call the callbacks if it has changed."""
        if chosen != self.chosen:
            self.chosen = chosen
            if self._callbacks:
                Thread(target=weakly(self._call), args=(view, chosen), name="ccwatch-select", daemon=True).start()

    def _call(self, view: View, chosen: Chosen) -> None:
        found = select(view, *chosen)
        for callback in self._callbacks:
            self._failures.guard(callback, found)
