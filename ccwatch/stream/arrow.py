"""Frames for other libraries: Arrow tables, which polars, DuckDB and others take as they are. It knows no source of frames."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ccwatch.errors import ConfigError


def table_of(frame: pd.DataFrame) -> Any:
    """Return a frame as a pyarrow.Table: an index that has a name is its first column; missing numbers stay NaN, as in the frame.

    Columns of values of several types come as text.
    """
    import pyarrow as pa  # noqa: PLC0415 - not needed to watch

    whole = frame.reset_index() if frame.index.name is not None or isinstance(frame.index, pd.MultiIndex) else frame
    arrays = [_array(whole.iloc[:, place], pa) for place in range(whole.shape[1])]
    return pa.table(arrays, names=[str(name) for name in whole.columns])


def polars_of(table: Any) -> Any:
    """Return an Arrow table as a polars.DataFrame.

    Raises:
        ConfigError: polars is not installed.
    """
    try:
        import polars as pl  # noqa: PLC0415 - nothing of ours needs it
    except ImportError:
        raise ConfigError("to_polars() needs polars: pip install polars") from None
    return pl.from_arrow(table)


def _array(column: pd.Series, pa: Any) -> Any:
    try:
        return pa.array(column, from_pandas=column.dtype.kind != "f")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in column.tolist()], pa.string())
