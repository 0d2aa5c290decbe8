from __future__ import annotations

import arch.data.sp500
import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import drawdowns
from ccwatch.errors import AnalysisError, MissingColumns, MixedSymbols, NotEnoughData
from ccwatch.feed.scenarios import planted

CENTS = st.lists(st.integers(1, 400), min_size=2, max_size=60)


def frame_of(values, *, start="2026-01-02T14:30:00Z", column="nav"):
    index = pd.date_range(start, periods=len(values), freq="s", unit="ns", name="time")
    return pd.DataFrame({column: np.asarray(values, dtype=float)}, index=index)


def by_definition(values):
    """Episodes by the definition, row by row: peak, start, trough, recovery (or None)."""
    found, peak_at, run = [], 0, None
    for i, value in enumerate(values):
        peak = max(values[: i + 1])
        if value < peak:
            if run is None:
                run = [peak_at, i, i, None]
            if value < values[run[2]]:
                run[2] = i
        else:
            if run is not None:
                found.append((*run[:3], i))
                run = None
            peak_at = i
    return found if run is None else [*found, tuple(run)]


def closes():
    data = arch.data.sp500.load()
    return pd.DataFrame({"price": data["Close"].to_numpy()}, index=pd.DatetimeIndex(data.index).tz_localize("UTC"))


def test_the_published_episodes_of_the_sp500_come_out():
    found = drawdowns(closes()).to_frame().nsmallest(5, "depth")
    published = [
        ("2007-10-10", "2009-03-09", "2013-03-28", -0.5678),
        ("2000-03-27", "2002-10-09", "2007-05-30", -0.4915),
        ("2018-09-21", "2018-12-24", None, -0.1978),
        ("2015-05-22", "2016-02-11", "2016-07-11", -0.1416),
        ("1999-07-19", "1999-10-15", "1999-11-16", -0.1208),
    ]
    for row, (start, trough, recovery, depth) in zip(found.to_dict("records"), published, strict=True):
        assert row["start_time"] == pd.Timestamp(start, tz="UTC")
        assert row["trough_time"] == pd.Timestamp(trough, tz="UTC")
        assert row["recovery_time"] is pd.NaT if recovery is None else row["recovery_time"] == pd.Timestamp(recovery, tz="UTC")
        assert round(row["depth"], 4) == depth


def test_the_depth_of_the_sp500_agrees_with_empyrical():
    prices = closes()
    expected = empyrical.max_drawdown(prices["price"].pct_change().dropna())
    assert drawdowns(prices).max_drawdown == pytest.approx(expected, abs=1e-9)


def test_episodes_of_closes_last_as_long_as_the_calendar_says():
    worst = drawdowns(closes()).worst
    assert worst["peak_time"] == pd.Timestamp("2007-10-09", tz="UTC")
    assert worst["decline_s"] == (pd.Timestamp("2009-03-09") - pd.Timestamp("2007-10-09")).total_seconds()
    assert worst["duration_s"] == (pd.Timestamp("2013-03-28") - pd.Timestamp("2007-10-09")).total_seconds()


@pytest.mark.slow
@given(CENTS)
@settings(max_examples=150, deadline=None)
def test_episodes_are_those_of_the_definition(values):
    found = drawdowns(frame_of(values)).to_frame()
    start = pd.Timestamp("2026-01-02T14:30:00Z")
    places = [
        tuple(None if pd.isna(row[name]) else int((row[name] - start).total_seconds()) for name in found.columns[:4])
        for row in found.to_dict("records")
    ]
    assert places == by_definition(values)
    assert all(-1.0 <= depth < 0.0 for depth in found["depth"])
    assert found["n"].sum() == sum(value < max(values[: i + 1]) for i, value in enumerate(values))


@pytest.mark.slow
@given(CENTS)
@settings(max_examples=60, deadline=None)
def test_max_drawdown_agrees_with_empyrical(values):
    returns = pd.Series(values, dtype=float).pct_change().dropna()
    assert drawdowns(frame_of(values)).max_drawdown == pytest.approx(empyrical.max_drawdown(returns), abs=1e-9)


@pytest.mark.slow
@given(CENTS, st.sampled_from([0.25, 2.0, 1024.0]))
@settings(max_examples=40, deadline=None)
def test_scaling_the_prices_changes_amounts_and_nothing_else(values, factor):
    plain, scaled = drawdowns(frame_of(values)).to_frame(), drawdowns(frame_of(np.array(values) * factor)).to_frame()
    amounts = ["peak", "trough", "depth_usd"]
    pd.testing.assert_frame_equal(plain.drop(columns=amounts), scaled.drop(columns=amounts))
    pd.testing.assert_frame_equal(plain[amounts] * factor, scaled[amounts])


@pytest.mark.slow
@given(CENTS)
@settings(max_examples=40, deadline=None)
def test_shifting_time_shifts_the_times_and_nothing_else(values):
    plain, later = drawdowns(frame_of(values)).to_frame(), drawdowns(frame_of(values, start="2031-07-01T00:00:00Z")).to_frame()
    times = ["peak_time", "start_time", "trough_time", "recovery_time"]
    shift = pd.Timestamp("2031-07-01T00:00:00Z") - pd.Timestamp("2026-01-02T14:30:00Z")
    pd.testing.assert_frame_equal(plain.drop(columns=times), later.drop(columns=times))
    pd.testing.assert_frame_equal(plain[times] + shift, later[times])


@pytest.mark.slow
@given(st.permutations(range(12)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_arrival_of_distinct_times_does_not_matter(order):
    frame = frame_of([10, 12, 11, 9, 13, 12, 8, 14, 14, 13, 15, 2])
    pd.testing.assert_frame_equal(drawdowns(frame).to_frame(), drawdowns(frame.iloc[list(order)]).to_frame())


def test_ulcer_index_is_the_root_of_the_mean_square():
    found = drawdowns(frame_of([100.0, 90.0, 80.0, 100.0]))
    assert found.ulcer_index == pytest.approx(np.sqrt((0.1**2 + 0.2**2) / 4), abs=1e-15)
    assert found.under_water_s == 2.0


def test_an_open_episode_has_no_recovery():
    row = drawdowns(frame_of([100.0, 110.0, 99.0, 105.0])).to_frame().iloc[0]
    assert row["is_open"]
    assert pd.isna(row["recovery_time"])
    assert np.isnan(row["recovery_s"])
    assert row["duration_s"] == 2.0
    assert row["depth"] == pytest.approx(-0.1)
    assert row["depth_usd"] == -11.0
    assert not row["left_censored"]


def test_an_episode_from_the_first_sample_is_left_censored():
    assert drawdowns(frame_of([100.0, 99.0, 101.0, 100.0])).to_frame()["left_censored"].tolist() == [True, False]


def test_regimes_and_alpha_are_those_seen_under_water(rows):
    frame = rows(
        nav=[100, 99, 98, 101, 100],
        regime=["Gaussian", "Critical", "Lévy Stable", "Gaussian", "Gaussian"],
        alpha=[3.0, np.nan, 1.7, 0.1, np.nan],
    )
    found = drawdowns(frame).to_frame()
    assert found["regimes"].tolist() == ["Critical, Lévy Stable", "Gaussian"]
    np.testing.assert_equal(found["min_alpha"].to_numpy(), [1.7, np.nan])


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_the_planted_drawdown_is_recovered_exactly(stream, at, rate):
    truth = next(incident for incident in planted("drawdown-halt", rate) if incident.kind == "drawdown")
    source = stream("drawdown-halt", rate=rate, count=260)
    worst = drawdowns(source.frame(clean=False), source.events()).worst
    assert worst["trough_time"] == at(truth.end_s - 1 / rate)
    assert worst["depth"] == pytest.approx(-0.022, abs=1e-6)
    assert worst["is_open"]
    assert worst["regimes"] == "Gaussian, Lévy Stable, Critical"


# ── input that is not as one would wish ──


def test_a_constant_value_has_no_episode():
    found = drawdowns(frame_of([100.0] * 5))
    assert len(found.to_frame()) == 0
    assert found.max_drawdown == 0.0
    assert found.headline() == "The nav never stood below its running peak."
    found.figure()


def test_missing_values_are_left_out_and_counted():
    values = [np.nan, 100.0, np.nan, np.nan, 90.0, np.inf, 100.0, np.nan]
    found = drawdowns(frame_of(values))
    assert found.to_frame()["n"].tolist() == [1]
    assert found.basis.n == 3
    assert found.basis.coverage == 3 / 8


def test_a_negative_nav_is_deeper_than_minus_one_and_a_peak_below_zero_has_no_drawdown():
    assert drawdowns(frame_of([100.0, 0.0, -50.0])).max_drawdown == pytest.approx(-1.5)
    found = drawdowns(frame_of([-100.0, -150.0, -90.0]))
    assert len(found.to_frame()) == 0
    assert np.isnan(found.current)
    assert np.isnan(found.ulcer_index)
    assert any("without a drawdown" in note for note in found.notes)


def test_without_nav_the_price_is_measured_and_said():
    found = drawdowns(frame_of([10.0, 0.0, 9.0], column="price"))
    assert found.column == "price"
    assert found.max_drawdown == pytest.approx(-0.1)  # a price of 0 is no price
    assert "no nav" in found.notes[0]


def test_repeats_replays_and_placeholders_are_left_out(rows):
    found = drawdowns(rows(nav=[100.0, 1.0, 2.0, 3.0, 99.0], flags=np.array([0, 4, 8, 16, 0], dtype=np.uint32)))
    assert found.max_drawdown == pytest.approx(-0.01)
    assert found.basis.left_out == 3


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (frame_of([]), NotEnoughData),
        (frame_of([1.0]), NotEnoughData),
        (frame_of([np.nan, np.nan]), MissingColumns),
        (frame_of([1.0, 2.0], column="alpha"), MissingColumns),
        (frame_of([1.0, 2.0]).assign(flags=np.uint32(4)), NotEnoughData),
        (frame_of([1.0, 2.0], column="price").assign(symbol=["SPY", "QQQ"]), MixedSymbols),
        (frame_of([1.0, 2.0]).tz_localize(None), AnalysisError),
        (frame_of([1.0, 2.0]).reset_index(drop=True), AnalysisError),
    ],
)
def test_what_cannot_be_answered_says_why(frame, error):
    with pytest.raises(error):
        drawdowns(frame)


def test_the_missing_column_is_named():
    with pytest.raises(MissingColumns) as raised:
        drawdowns(frame_of([1.0, 2.0], column="alpha"))
    assert raised.value.columns == ("nav", "price")


def test_one_of_two_symbols_can_be_chosen_and_nav_needs_no_choice(rows):
    frame = rows(price=[10.0, 500.0, 9.0, 505.0], nav=[100.0, 101.0, 99.0, 102.0], symbol=["SPY", "QQQ", "SPY", "QQQ"])
    assert drawdowns(frame, column="price", symbol="SPY").max_drawdown == pytest.approx(-0.1)
    assert drawdowns(frame).max_drawdown == pytest.approx(99.0 / 101.0 - 1.0)
    with pytest.raises(MixedSymbols):
        drawdowns(frame, column="price")
    with pytest.raises(NotEnoughData, match="no packet of 'TSLA'"):
        drawdowns(frame, column="price", symbol="TSLA")


def test_the_frame_handed_in_and_the_one_handed_out_are_independent():
    frame = frame_of([100.0, 90.0, 100.0])
    before = frame.copy()
    found = drawdowns(frame)
    handed_out = found.to_frame()
    handed_out.loc[0, "depth"] = 1.0
    assert found.to_frame()["depth"].tolist() == [pytest.approx(-0.1)]
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.slow
def test_half_a_million_episodes_take_no_loop_over_them():
    found = drawdowns(frame_of(np.tile([100.0, 99.0], 500_000)).assign(regime="Gaussian", alpha=2.5))
    assert len(found.to_frame()) == 500_000
    assert found.to_frame()["n"].eq(1).all()


@pytest.mark.parametrize("words", [3, 62, 63, 64, 80])
def test_the_regimes_of_an_episode_are_told_whatever_the_size_of_the_vocabulary(rows, words):
    names = np.array([f"regime {n:02d}" for n in range(words)])
    at = np.arange(words * 3)
    nav = np.where(at % 3 == 0, 100.0, 90.0)  # one episode of two packets for each word
    found = drawdowns(rows(nav=nav, regime=names[at // 3])).episodes
    assert found["regimes"].tolist() == names.tolist()
    whole = drawdowns(rows(nav=100.0 - at, regime=names[at // 3])).episodes
    assert whole["regimes"].tolist() == [", ".join(names)]


def test_the_curve_is_a_copy_of_the_values_and_keeps_no_frame():
    block = np.array([[100.0, 90.0, 95.0], [1.0, 2.0, 3.0]])
    index = pd.date_range("2026-01-02T14:30:00Z", periods=3, freq="s", unit="ns")
    found = drawdowns(pd.DataFrame(block.T, columns=["nav", "alpha"], index=index, copy=False))
    block[:] = 0.0
    assert found.curve["value"].tolist() == [100.0, 90.0, 95.0]
    assert not np.shares_memory(found.curve["value"].to_numpy(), block)


def test_a_loss_before_the_first_packet_is_a_lower_bound(rows):
    found = drawdowns(rows(nav=[80.0, 79.0, 85.0], daily_pnl=[-20.0, -21.0, -15.0]))
    assert found.max_drawdown == -0.21
    assert found.worst["left_censored"]
    assert found.worst["depth_usd"] == -21.0
    assert any("lower bound" in note and "100.00 USD" in note for note in found.notes)
    assert "from the day's start, before the first packet, to" in found.headline()
    assert found.basis.n == 3
    assert len(found.curve) == 3
    assert drawdowns(rows(nav=[80.0, 81.0], daily_pnl=[20.0, 21.0])).max_drawdown == 0.0
