"""The tables of a view as methods: a Feed and a Recording read them by name, each in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ccwatch.stream import arrow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ccwatch.stream.dataframes import Last
    from ccwatch.stream.view import Marked


class TableReader(ABC):
    """A base class with one method per table. Any question can be asked of one."""

    @property
    def origin(self) -> str:
        """Return where the stream came from: "live", "synthetic" or "replay"; empty where that is not known."""
        return ""

    @property
    def label(self) -> str:
        """Return the name of the source in a report."""
        return type(self).__name__

    @property
    def marks(self) -> Sequence[Marked]:
        """Return the notes on its moments that lie beside its data."""
        return ()

    @abstractmethod
    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = True) -> pd.DataFrame:
        """Return the packets; clean ones sorted by time, or every row in order of arrival."""

    @abstractmethod
    def _long(self, table: str, last: Last) -> pd.DataFrame:
        """Return the last rows of the table of this name."""

    def to_arrow(self, columns: Sequence[str] | None = None) -> Any:
        """Return the rows of `frame` as a pyarrow.Table, with `time` as its first column; missing numbers are NaN."""
        return arrow.table_of(self.frame(columns))

    def to_polars(self, columns: Sequence[str] | None = None) -> Any:
        """Return the rows of `to_arrow` as a polars.DataFrame.

        Raises:
            ConfigError: polars is not installed.
        """
        return arrow.polars_of(self.to_arrow(columns))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows of `to_arrow` as an Arrow C stream, for any library that reads one."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def agents(self, last: Last = None) -> pd.DataFrame:
        """Return one row per agent and packet: index time; seq, agent, latency_ms, success_rate, invocations."""
        return self._long("agents", last)

    def models(self, last: Last = None) -> pd.DataFrame:
        """Return one row per model and packet: index time; seq, model, latency_ms, invocations, cache_hit_rate."""
        return self._long("models", last)

    def logs(self, last: Last = None) -> pd.DataFrame:
        """Return one row per log line, each once: index time; seq, level, message, log_time."""
        return self._long("logs", last)

    def trades(self, last: Last = None) -> pd.DataFrame:
        """Return one row per trade, each once: index time; seq, id, symbol, side, quantity, price, order_id, status."""
        return self._long("trades", last)

    def scanner(self, last: Last = None) -> pd.DataFrame:
        """Return one row per ticker of each scan: index time; seq, symbol, price, hurst, volatility, signal_potential."""
        return self._long("scanner", last)

    def bars(self, last: Last = None) -> pd.DataFrame:
        """Return one row per bar, each once: index time; seq, open, high, low, close (a list of prices has close alone)."""
        return self._long("bars", last)

    def forecasts(self, last: Last = None) -> pd.DataFrame:
        """Return one row per step of each forecast: index time; seq, step, p10, median, p90."""
        return self._long("forecasts", last)

    def events(self, last: Last = None) -> pd.DataFrame:
        """Return one row per event of the stream, such as a gap or a disconnect: index time; seq, kind, detail."""
        return self._long("events", last)
