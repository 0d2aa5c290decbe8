"""Given prices for a seeded stream: from a frame, a series, a CSV file or a list. It knows no stream."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ccwatch.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

PRICE_COLUMNS: Final = ("price", "close", "adj close", "last")
"""Names of the column that is taken, in this order, whatever their case; else the only column of numbers."""
LOWEST: Final = 1.0
"""USD: the seeded engine's book counts whole cents."""

Prices = Any
"""A DataFrame, a Series, the path of a CSV file, or numbers."""


def read_prices(source: Prices) -> tuple[float, ...]:
    """The prices, in their order, one per packet.

    Args:
        source: a DataFrame or the path of a CSV file with a column price, close, adj close or last (or one column of numbers); a
            Series; or numbers. USD.

    Raises:
        ConfigError: no such column or file, no prices, or a price that is missing or below 1 USD.
    """
    import pandas as pd  # noqa: PLC0415 - a seeded stream without given prices does not need it

    if isinstance(source, str | Path):
        try:
            source = pd.read_csv(source)
        except (OSError, ValueError) as error:
            raise ConfigError(f"prices: {str(source)!r} cannot be read as CSV: {error}") from None
    if isinstance(source, pd.DataFrame):
        source = source[_column(source)]
    if not isinstance(source, Iterable):
        raise ConfigError(f"prices: expected a DataFrame, a Series, the path of a CSV file or numbers, got {type(source).__name__}")
    found = []
    for row, value in enumerate(source):
        try:
            price = float(value)
        except (TypeError, ValueError):
            price = math.nan
        if not LOWEST <= price < math.inf:
            raise ConfigError(f"prices: expected numbers from {LOWEST:g} USD, got {value!r} in row {row}")
        found.append(price)
    if not found:
        raise ConfigError("prices: there are none")
    return tuple(found)


def _column(frame: pd.DataFrame) -> Any:
    by_name = {str(name).strip().lower(): name for name in frame.columns}
    for name in PRICE_COLUMNS:
        if name in by_name:
            return by_name[name]
    numeric = list(frame.select_dtypes("number").columns)
    if len(numeric) == 1:
        return numeric[0]
    raise ConfigError(f"prices: expected a column {', '.join(PRICE_COLUMNS)}, got {', '.join(map(str, frame.columns))}")
