"""Gone: the stand-in for a feed that was replaced and let go, with its name and empty tables. No data, no thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import pandas as pd

from ccwatch.errors import FeedClosed
from ccwatch.protocol.messages import ConnectionState
from ccwatch.stream import dataframes
from ccwatch.stream.source import Sink
from ccwatch.stream.view import LiveView


class Gone(LiveView):
    """A feed's name, url and origin, with empty tables in place of its data."""

    state = ConnectionState.STOPPED
    latest = None
    origin: str = ""
    error: FeedClosed | None = None
    virtual_clock = is_replay = takes_commands = False

    def __init__(self, feed: LiveView) -> None:
        """Keep the feed's name, url and origin, and no reference to it."""
        self.name, self.url, self.origin = feed.name, feed.url, feed.origin
        self.error = FeedClosed("the cell that made this view was run again; its newer output shows the stream")

    def frame(self, columns: Sequence[str] | None = None, last: Any = None, *, clean: bool = True) -> pd.DataFrame:
        """Return an empty frame of packets."""
        del last, clean
        return dataframes.build("packets", dataframes.packet_columns([]), columns)

    def agents(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of the agents."""
        return self._none("agents", last)

    def models(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of the models."""
        return self._none("models", last)

    def logs(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of log lines."""
        return self._none("logs", last)

    def forecasts(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of forecasts."""
        return self._none("forecasts", last)

    def health(self) -> Self:
        """Return no counters."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return no counters."""
        return {}

    def add_sink(self, sink: Sink, /) -> Callable[[], None]:
        """Deliver nothing."""
        del sink
        return lambda: None

    def events(self, last: Any = None) -> pd.DataFrame:
        """Return an empty table of events."""
        return self._none("events", last)

    def stop(self) -> None:
        """Do nothing: the feed has stopped."""

    def _none(self, table: str, last: Any) -> pd.DataFrame:
        del last
        return dataframes.build(table, dataframes.long_columns(table, []))
