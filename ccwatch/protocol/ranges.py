"""The range of each column, and values without those outside it: a value outside its own column's range enters no answer.

A column without a range in the table is bounded by the precision of float64: the account's amounts to the cent, counts by one, and of other
numbers the sum of squares.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ccwatch.domain.limits import LARGEST_AMOUNT, LARGEST_COUNT, LARGEST_NUMBER
from ccwatch.protocol.columns import TABLES

Floats = npt.NDArray[np.float64]

_AMOUNTS: Final = frozenset({"nav", "cash", "daily_pnl"})
_COUNTS: Final = frozenset({"invocations"})
_LEAST: Final = float(np.finfo(np.float64).tiny)


@cache
def bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of a column, by its name; those of the first table that has it."""
    for column in (column for table in TABLES.values() for column in table if column.name == name):
        widest = LARGEST_AMOUNT if name in _AMOUNTS else float(LARGEST_COUNT) if name in _COUNTS else LARGEST_NUMBER
        return (-widest if column.low is None else column.low, widest if column.high is None else column.high)
    return -LARGEST_NUMBER, LARGEST_NUMBER


def within(name: str, values: Floats) -> Floats:
    """Return the values with NaN for any missing, infinite or out of range; do not write to the result, which may be `values` itself.

    A number so small that float64 holds it with fewer digits (a denormal) is zero, and zero has no sign.
    """
    low, high = bounds(name)
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        fits = (values >= low) & (values <= high)
        tiny = (size < _LEAST) & ((size > 0.0) | np.signbit(values))
    found = values if fits.all() else np.where(fits, values, np.nan)
    return np.where(tiny, 0.0, found) if tiny.any() else found
