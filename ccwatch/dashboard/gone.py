"""Gone: the stand-in for a feed that was replaced and let go, with its name and empty tables. No data, no thread."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ccwatch.protocol.messages import ConnectionState
from ccwatch.stream import frames


class Gone:
    """A feed's name, url and origin, with empty tables in place of its data."""

    state = ConnectionState.STOPPED
    latest = None

    def __init__(self, feed: Any) -> None:
        """Keep the feed's name, url and origin, and no reference to it."""
        self.name = str(getattr(feed, "name", ""))
        self.url = str(getattr(feed, "url", ""))
        self.origin = str(getattr(feed, "origin", "") or "")
        self.error = "the cell that made this view was run again; its newer output shows the stream"

    def frame(self, columns: list[str] | None = None, last: Any = None) -> pd.DataFrame:
        """Return an empty frame of packets."""
        del last
        return frames.build("packets", frames.packet_columns([]), columns)

    def agents(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of the agents."""
        return self._none("agents", last)

    def events(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of events."""
        return self._none("events", last)

    def stop(self) -> None:
        """Do nothing: the feed has stopped."""

    def _none(self, table: str, last: Any) -> pd.DataFrame:
        del last
        return frames.build(table, frames.long_columns(table, []))
