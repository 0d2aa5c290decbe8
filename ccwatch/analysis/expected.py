"""Expectations to compare a session with: a recording, a path, a name, "latest", a frame or a CSV file, read to one frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ccwatch.analysis.session_tables import SessionTables
from ccwatch.config import Settings, default_expected, recordings_folder
from ccwatch.errors import ConfigError, RecordingNotFound
from ccwatch.recording import Recording, locate
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.user_frames import is_file, read_given


class Expected(NamedTuple):
    """An expectation: its frame, its name, and notes on how it was read."""

    frame: pd.DataFrame
    name: str
    said: tuple[str, ...]


def read_expected(expected: Any, *, symbol: str | None = None) -> Expected:
    """Read an expectation from any of its forms into one frame.

    Args:
        expected: a Recording or a Feed; the path or the name of a recording, or "latest"; the path of a CSV file; a frame or a series of
            nav, price, returns or side over time; None is `[expected]` of ccwatch.toml.
        symbol: the one to take where a file or a frame has several.

    Raises:
        RecordingNotFound: no recording of that name.
        ConfigError: something else, or a frame without times.
        MixedSymbols: several symbols, and none was chosen.
    """
    if expected is None and (plan := default_expected()) is not None:
        expected, symbol = plan.path, symbol or plan.symbol
    if isinstance(expected, str | Path) and not is_file(expected):
        try:
            expected = Recording(locate(expected, recordings_folder(Settings.load())))
        except RecordingNotFound as error:
            raise RecordingNotFound(f"expected: {error}, and the path of a CSV file of nav, returns or signals does as well") from None
    if not isinstance(expected, str | Path | pd.DataFrame | pd.Series):
        if not isinstance(expected, TableReader):
            raise ConfigError(
                f"expected={expected!r}: a Recording, its path or name, 'latest', a CSV file, or a frame of nav, price, returns or side"
            )
        tables = SessionTables(expected)
        return Expected(tables.packets, tables.name, ())
    found = read_given(expected, symbol=symbol, what="expected")
    if not isinstance(found.frame.index, pd.DatetimeIndex):
        raise ConfigError("expected: there are no times: an index or a column time, date or timestamp is needed")
    name = Path(expected).name if isinstance(expected, str | Path) else "the frame handed in"
    return Expected(found.frame, name, found.said)
