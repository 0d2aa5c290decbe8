"""The share of the account that stands in the market."""

from __future__ import annotations

import numpy as np

from ccwatch.domain.exposure import exposure


def test_exposure_is_signed() -> None:
    """Long, flat, short, leveraged."""
    assert exposure([100.0, 100.0, 100.0, 100.0], [40.0, 100.0, 150.0, -100.0]).tolist() == [0.6, 0.0, -0.5, 2.0]


def test_what_cannot_be_told_is_missing() -> None:
    """Without nav or cash, of a debt, and of what no amount can be."""
    nav = [np.nan, 100.0, 0.0, -0.0, -5.0, 1e308, 100.0, 5e-324]
    cash = [1.0, np.nan, 1.0, 1.0, 1.0, 1.0, 1.2e19, 1e9]
    with np.errstate(all="raise"):
        assert np.isnan(exposure(nav, cash)).all()
