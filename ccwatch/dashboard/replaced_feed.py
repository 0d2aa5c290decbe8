"""Gone: the stand-in for a feed that was replaced and let go, with its name and empty tables. No data, no thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import pandas as pd

from ccwatch.errors import FeedClosed
from ccwatch.protocol.messages import ConnectionState
from ccwatch.stream import dataframes
from ccwatch.stream.source import Sink
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import LiveView


class Gone(TableReader, LiveView):
    """A feed's name, url and origin, with empty tables in place of its data."""

    state = ConnectionState.STOPPED
    latest = None
    origin: str = ""
    error: FeedClosed | None = None
    virtual_clock = is_replay = takes_commands = False

    def __init__(self, feed: LiveView) -> None:
        """Copy the feed's name, url and origin; keep no reference to it."""
        self.name, self.url, self.origin = feed.name, feed.url, feed.origin
        self.error = FeedClosed("the cell that made this view was run again; its newer output shows the stream")

    def frame(self, columns: Sequence[str] | None = None, last: Any = None, *, clean: bool = True) -> pd.DataFrame:
        """Return an empty frame of packets."""
        del last, clean
        return dataframes.build("packets", dataframes.packet_columns([]), columns)

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

    def stop(self) -> None:
        """Do nothing: the feed has stopped."""

    def _long(self, table: str, last: Any) -> pd.DataFrame:
        del last
        return dataframes.build(table, dataframes.long_columns(table, []))
