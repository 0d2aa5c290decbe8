"""What a reader has chosen in a dashboard, as a value for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ccwatch.dashboard.panels import View


@dataclass(frozen=True, slots=True)
class Selection:
    """What is chosen: a range of time by zoom, else all that the view holds, and a moment by crosshair or play head. Times UTC.

    Attributes:
        start: the first time; None where nothing has arrived.
        end: the last time; the range is closed at both ends.
        cursor: the moment that was pinned; None where none was.
        row: the newest packet at or before the cursor, as a row of the view's frame; None without a cursor.
    """

    start: pd.Timestamp | None
    end: pd.Timestamp | None
    cursor: pd.Timestamp | None = None
    row: pd.Series | None = None

    @property
    def slice(self) -> slice:
        """The range as `frame.loc[selection.slice]` takes it."""
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
