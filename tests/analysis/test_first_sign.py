"""Planted precursors are found; calm sessions give no more than their share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError, NotEnoughData


def session(seed, *, planted=0, count=3000):
    """A fall at the end, `planted` seconds after alpha has left its usual range (0: never)."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-02T14:30:00Z", periods=count, freq="s", unit="ns", name="time")
    nav = 100_000.0 + rng.normal(0.0, 1.0, count)
    nav[-100:] -= np.linspace(0.0, 3000.0, 100)
    alpha = rng.normal(2.5, 0.1, count)
    if planted:
        alpha[count - 100 - planted : count - 100] -= 1.0
    return pd.DataFrame(
        {"nav": nav, "alpha": alpha, "price": 100.0 + rng.normal(0.0, 0.05, count), "confidence": rng.uniform(0, 1, count)}, index=index
    )


def test_a_planted_precursor_is_found_at_its_time():
    frame = session(0, planted=60)
    found = cw.analyze(frame).first_sign()
    assert found.first["measure"] == "alpha"
    assert abs((found.first["time"] - frame.index[3000 - 160]).total_seconds()) <= 5
    assert found.first["before_s"] == pytest.approx((found.start_time - found.first["time"]).total_seconds())
    assert "alpha left its usual range" in found.headline()


def test_a_precursor_that_begins_before_the_look_back_is_found_at_its_beginning():
    frame = session(0, planted=400)
    found = cw.analyze(frame).first_sign()
    assert found.first["measure"] == "alpha"
    assert abs((found.first["time"] - frame.index[3000 - 500]).total_seconds()) <= 5
    assert found.first["before_s"] > found.lead_s


@pytest.mark.slow
def test_calm_sessions_give_no_more_than_their_share():
    false = sum(cw.analyze(session(seed)).first_sign().first is not None for seed in range(1, 41))
    assert false <= 5  # 5 % of 40 are 2; more than 5 come by luck once in a hundred


def test_what_cannot_be_told_is_refused(rows):
    with pytest.raises(NotEnoughData, match="no drawdown"):
        cw.analyze(rows(nav=[1.0, 2.0, 3.0])).first_sign()
    report = cw.analyze(session(0))
    with pytest.raises(ConfigError, match="numbered from 0"):
        report.first_sign(10**6)
    with pytest.raises(NotEnoughData, match="begins with the session"):
        cw.analyze(rows(nav=[3.0, 2.0, 1.0] * 5)).first_sign()
    short = cw.analyze(rows(nav=[3.0] * 10 + [2.0, 1.0], alpha=np.arange(12.0))).first_sign()
    assert short.first is None
    assert short.signs["reason"].str.contains("too small").any()
