"""Given prices for a seeded stream: from a frame, a series, a CSV file or a list. It knows no stream."""

from __future__ import annotations

import math
from typing import Any, Final

from ccwatch.errors import ConfigError

PRICE_COLUMNS: Final = ("price", "close", "adj close", "last")
"""Names of the column that is taken, in this order, whatever their case; else the only column of numbers."""
LOWEST: Final = 1.0
"""USD: the seeded engine's book counts whole cents."""

Prices = Any
"""A DataFrame, a Series, the path of a CSV file, or numbers."""


def read_prices(source: Prices) -> tuple[float, ...]:
    """Return the prices, in their order, one per packet.

    Args:
        source: a DataFrame or the path of a CSV file with a column price, close, adj close or last (or one column of numbers); a
            Series; or numbers. USD.

    Raises:
        ConfigError: no such column or file, no prices, or a price that is missing or below 1 USD.
    """
    from ccwatch.stream.user_frames import read_given  # noqa: PLC0415 - pandas: a seeded stream without given prices does not need it

    frame = read_given(source, what="prices").frame
    if "price" not in frame.columns:
        raise ConfigError(f"prices: expected a column {', '.join(PRICE_COLUMNS)}, got {', '.join(map(str, frame.columns))}")
    found = []
    for row, value in enumerate(frame["price"].tolist()):
        if not LOWEST <= value < math.inf:
            raise ConfigError(f"prices: expected numbers from {LOWEST:g} USD, got {value!r} in row {row}")
        found.append(value)
    if not found:
        raise ConfigError("prices: there are none")
    return tuple(found)
