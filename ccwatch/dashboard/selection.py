"""A reader's choice in a dashboard, as a value for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ccwatch.dashboard.panels import View


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
