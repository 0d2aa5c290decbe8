"""Forward returns and hit rates: the return after a moment, never across a gap. It knows prices, not signals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from ccwatch.analysis.usable_rows import SECOND_NS, Bools, Floats, Ints


def forward_returns(times: Ints, price: Floats, broken: Bools, rows: npt.NDArray[np.integer], horizon_s: float) -> Floats:
    """Return the return from the packet after each row to the first packet at least `horizon_s` later.

    Args:
        times: ns, ascending, one per packet.
        price: USD, above zero, nothing missing.
        broken: whether a gap lies before each packet.
        rows: the packets in which something was decided; entry is one packet later, since a packet cannot be traded on before it came.
        horizon_s: seconds from entry to exit.

    Returns:
        Fractions, one per row; NaN where the stream ends, or has a gap, before the exit.
    """
    entry = np.minimum(rows + 1, len(times) - 1)
    wanted = np.searchsorted(times, times[entry] + round(horizon_s * SECOND_NS), side="left")
    leaves = np.minimum(wanted, len(times) - 1)
    stretch = np.cumsum(broken)
    whole = (rows + 1 < len(times)) & (wanted < len(times)) & (stretch[leaves] == stretch[rows])
    with np.errstate(over="ignore"):
        found = price[leaves] / price[entry] - 1.0
    return np.where(whole & np.isfinite(found), found, np.nan)


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a share of hits among n; NaN without any."""
    if n == 0:
        return math.nan, math.nan
    z = float(stats.norm.ppf((1.0 + level) / 2.0))
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
