from __future__ import annotations

import numpy as np
import pytest

from ccwatch.analysis import drawdown_audit
from ccwatch.errors import MissingColumns, NotEnoughData

NAV = np.array([100.0, 104.0, 103.0, 101.4, 102.0, 106.0, 105.0, 99.0, 101.0])
PEAK = np.minimum.accumulate(NAV / np.maximum.accumulate(NAV) - 1.0)
START = np.minimum.accumulate(np.minimum(NAV / 100.0 - 1.0, 0.0))


def frame_of(rows, engine, **more):
    return rows(nav=NAV, max_drawdown=engine, **more)


@pytest.mark.parametrize("factor", [1.0, -1.0])
@pytest.mark.parametrize(("engine", "definition"), [(PEAK, "running peak"), (START, "starting capital")])
def test_the_definition_and_the_sign_are_found(rows, engine, definition, factor):
    found = drawdown_audit(frame_of(rows, np.round(factor * engine, 4)))
    assert (found.definition, found.statistic) == (definition, "worst so far")
    assert found.sign == ("negative" if factor > 0 else "positive")
    assert found.from_peak == pytest.approx(99.0 / 106.0 - 1.0)
    assert found.from_start == pytest.approx(-0.01)
    assert found.engine == pytest.approx(engine[-1], abs=1e-4)


def test_a_current_drawdown_is_told_from_the_worst_so_far(rows):
    found = drawdown_audit(frame_of(rows, NAV / np.maximum.accumulate(NAV) - 1.0))
    assert (found.definition, found.statistic, found.sign) == ("running peak", "current", "negative")


def test_a_breaker_on_the_starting_capital_stays_silent_and_the_audit_says_since_when(rows):
    found = drawdown_audit(frame_of(rows, START), limits=(-0.02,))
    breach = found.breaches.iloc[0]
    assert breach["peak_time"] == frame_of(rows, START).index[3]
    assert np.isnan(breach["silent_s"])
    assert "stayed silent from 14:30:03 UTC" in found.headline()


def test_what_follows_no_definition_is_called_so(rows):
    found = drawdown_audit(frame_of(rows, np.linspace(-0.3, -0.5, len(NAV))))
    assert found.definition == "none"
    assert found.to_frame()["max_abs_error"].iloc[0] > 0.1


def test_what_fits_several_definitions_is_undecided(rows):
    found = drawdown_audit(rows(nav=[100.0, 99.0, 98.0], max_drawdown=[0.0, -0.01, -0.02]))
    assert found.definition == "undecided"
    assert found.sign == "negative"


def test_the_starting_capital_is_the_nav_less_the_days_pnl(rows):
    late = NAV[3:]
    engine = np.minimum.accumulate(np.minimum(late / 105.0 - 1.0, 0.0))
    found = drawdown_audit(rows(nav=late, max_drawdown=engine, daily_pnl=late - 105.0))
    assert found.starting_capital == pytest.approx(105.0)
    assert found.definition == "starting capital"


def test_the_seeded_engine_follows_the_running_peak(stream):
    source = stream("drawdown-halt", count=260)
    found = drawdown_audit(source.frame(clean=False), source.events())
    assert (found.definition, found.statistic, found.sign) == ("running peak", "worst so far", "negative")
    assert found.starting_capital == pytest.approx(100_000.0)
    assert found.from_peak == pytest.approx(-0.022, abs=1e-6)
    assert found.breaches["silent_s"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"nav": [1.0, 2.0]}, MissingColumns),
        ({"max_drawdown": [0.0, 0.0]}, MissingColumns),
        ({"nav": [1.0, np.nan], "max_drawdown": [0.0, 0.0]}, NotEnoughData),
        ({"nav": [], "max_drawdown": []}, NotEnoughData),
    ],
)
def test_what_cannot_be_answered_says_why(rows, columns, error):
    with pytest.raises(error):
        drawdown_audit(rows(**columns))


def test_zero_and_negative_nav_give_no_warning_and_no_zero(rows):
    found = drawdown_audit(rows(nav=[0.0, -5.0, -3.0], max_drawdown=[0.0, -0.1, -0.2]))
    assert np.isnan(found.from_peak)
    assert np.isnan(found.from_start)
    assert found.definition == "none"
    found.figure()
