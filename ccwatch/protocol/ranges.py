"""The range of each column, and values without those outside it: a value outside its own column's range enters no answer.

What the column table does not bound is bounded by what float64 can tell: amounts to the cent, other numbers to one.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ccwatch.domain.limits import LARGEST_AMOUNT, LARGEST_COUNT
from ccwatch.protocol.columns import TABLES

Floats = npt.NDArray[np.float64]

MONEY: Final = "USD"
_LEAST: Final = float(np.finfo(np.float64).tiny)


@cache
def bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of a column, by its name; those of the first table that has it."""
    for column in (column for table in TABLES.values() for column in table if column.name == name):
        widest = LARGEST_AMOUNT if column.unit == MONEY else float(LARGEST_COUNT)
        return (-widest if column.low is None else column.low, widest if column.high is None else column.high)
    return -float(LARGEST_COUNT), float(LARGEST_COUNT)


def within(name: str, values: Floats) -> Floats:
    """Return the values with NaN where one is missing, infinite or outside the column's range; only to read, for it may be `values`.

    A number so small that float64 holds it with fewer digits (a denormal) is zero, and zero has no sign.
    """
    low, high = bounds(name)
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        fits = (values >= low) & (values <= high)
        tiny = (size < _LEAST) & ((size > 0.0) | np.signbit(values))
    found = values if fits.all() else np.where(fits, values, np.nan)
    return np.where(tiny, 0.0, found) if tiny.any() else found
