"""Exposure: the share of the account that is invested, from its net asset value and its cash."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ccwatch.domain.limits import LARGEST_AMOUNT


def exposure(nav: npt.ArrayLike, cash: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (nav - cash)/nav, signed: above zero is long, below zero short, beyond ±1 leveraged.

    Args:
        nav: net asset value, USD.
        cash: of the same shape, USD; proceeds of a short sale are cash, so they make the exposure negative.

    Returns:
        Fractions of nav; NaN where one of the two is missing or no amount, or where nav is not above zero: a share of nothing, or of a
        debt, has no sign that means anything.
    """
    worth, held = (np.asarray(values, dtype=np.float64) for values in (nav, cash))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        known = (worth > 0.0) & (worth <= LARGEST_AMOUNT) & (np.abs(held) <= LARGEST_AMOUNT)
        share = np.where(known, (worth - held) / worth, np.nan)
    return np.where(np.isfinite(share), share, np.nan)
