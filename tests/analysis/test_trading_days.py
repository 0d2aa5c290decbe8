from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ccwatch.analysis import drawdown_audit, drawdowns
from ccwatch.domain.hours import read_hours

HOURS = read_hours({"timezone": "America/New_York", "open": "09:30", "close": "16:00"})
NAV = np.array([100.0, 110.0, 99.0, 108.0, 107.0, 109.0, 103.55])
PNL = np.array([0.0, 10.0, -1.0, 0.0, -1.0, 1.0, -4.45])
TIMES = pd.DatetimeIndex(
    [f"2026-01-05 15:0{n}" for n in range(3)] + [f"2026-01-06 15:0{n}" for n in range(4)], tz="UTC", name="time"
).as_unit("ns")


def two_days(**columns):
    return pd.DataFrame({"nav": NAV, "daily_pnl": PNL, **columns}, index=TIMES)


def test_capital_peak_and_profit_begin_from_zero_on_each_trading_day():
    days = drawdowns(two_days(), hours=HOURS).days
    assert days["day"].tolist() == [pd.Timestamp(f"2026-01-0{day} 14:30", tz="UTC") for day in (5, 6)]
    assert days["capital"].tolist() == [100.0, 108.0]
    assert days["peak"].tolist() == [110.0, 109.0]
    assert days["pnl_usd"].tolist() == pytest.approx([-1.0, -4.45])
    assert days["from_peak"].tolist() == pytest.approx([-0.1, -0.05])
    assert days["from_start"].tolist() == pytest.approx([-0.01, 103.55 / 108.0 - 1.0])


def test_episodes_are_of_the_peak_since_the_first_packet_whatever_the_hours():
    with_hours, without = drawdowns(two_days(), hours=HOURS), drawdowns(two_days())
    pd.testing.assert_frame_equal(with_hours.episodes, without.episodes)
    assert without.episodes["peak"].tolist() == [110.0]
    assert not len(without.days)
    assert "days" not in without.to_dict()
    assert "2 trading days" in " ".join(with_hours.notes)


@pytest.mark.parametrize("definition", ["the trading day's peak", "running peak"])
def test_the_audit_tells_an_engine_that_begins_each_day_from_zero_from_one_that_does_not(definition):
    whole = NAV / np.maximum.accumulate(NAV) - 1.0
    daily = np.concatenate([part / np.maximum.accumulate(part) - 1.0 for part in (NAV[:3], NAV[3:])])
    engine = daily if definition != "running peak" else whole
    found = drawdown_audit(two_days(max_drawdown=engine), hours=HOURS)
    assert (found.definition, found.statistic) == (definition, "current")
    assert found.from_peak == pytest.approx(-0.1)
    assert found.from_start == pytest.approx(103.55 / 108.0 - 1.0)
    assert found.starting_capital == 108.0
    assert f"follows {'the ' if definition == 'running peak' else ''}{definition} (" in found.headline()


def test_the_desks_hours_are_used_where_none_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not len(drawdowns(two_days()).days)
    (tmp_path / "ccwatch.toml").write_text('[hours]\ntimezone = "America/New_York"\nopen = "09:30"\nclose = "16:00"\n')
    assert len(drawdowns(two_days()).days) == 2
    assert drawdown_audit(two_days(max_drawdown=np.zeros(7))).starting_capital == 108.0
