from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import ccwatch as cw
from ccwatch.analysis.tail import hill
from ccwatch.dashboard.computed import ALPHA_RETURNS, MOST_POINTS, alpha_interval, newest_forecast, of_function, of_objectives, to_lines
from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import Flag, ForecastPoint


@pytest.fixture(scope="module")
def feed():
    with cw.synthetic(seed=3, packets=3_000, pace="max") as running:
        assert running.join(60)
        yield running


@pytest.mark.slow
def test_the_band_of_alpha_is_hills_interval_of_the_returns_before_each_time(feed):
    low, high = alpha_interval(feed)
    price = feed.frame()["price"].to_numpy()
    expected = hill(np.abs(np.diff(np.log(price)))[-ALPHA_RETURNS:], ALPHA_RETURNS // 10)
    assert (low.value[-1], high.value[-1]) == pytest.approx((expected.low, expected.high))
    assert high.fills
    assert low.time_ms[-1] == feed.frame().index[-1].value / 1e6


@pytest.mark.slow
def test_quantiles_stand_against_the_objective_of_their_service_and_one_without_has_no_line(feed):
    lines = {line.label: line for line in of_objectives(feed)}
    assert list(lines) == ["ChronosService p95 / 150 ms", "FinBERT p95 / 25 ms"]
    calls = cw.analyze(feed).latency().observations
    mine = calls.loc[calls["name"] == "FinBERT", "latency_ms"].to_numpy()[-100:]
    assert lines["FinBERT p95 / 25 ms"].value[-1] == pytest.approx(np.quantile(mine, 0.95) / 25)


def test_the_forecast_of_the_last_burst_lies_ahead_of_the_price_and_a_mock_one_is_called_that(view):
    points = (ForecastPoint(1, 99.0, 100.0, 101.0), ForecastPoint(2, 98.0, 100.0, 102.0))
    assert newest_forecast(view) == []
    view.change(forecasts=points)
    assert [line.label for line in newest_forecast(view)] == ["forecast p10", "forecast p90", "forecast median"]
    assert {line.ahead for line in newest_forecast(view)} == {"forecast"}
    view.change(forecasts=points, flags=Flag.SYNTHETIC_FORECAST)
    lines = newest_forecast(view)
    assert {line.ahead for line in lines} == {"mock forecast"}
    assert all(line.time_ms[-1] > view.frame().index[-1].value / 1e6 for line in lines)
    view.step(20)  # a second on: no packet of the last burst has one
    assert newest_forecast(view) == []


def test_the_settings_objectives_hold(feed, monkeypatch):
    monkeypatch.setenv("CCWATCH_OBJECTIVES", "riskagent=20")
    assert [line.label for line in of_objectives(feed)] == ["RiskAgent p95 / 20 ms"]


@pytest.mark.parametrize(
    "function",
    [
        lambda frame: frame["price"] * 2,
        lambda frame: (frame["price"] * 2).to_frame(),
        lambda frame: {"price": frame["price"].to_numpy() * 2},
        lambda frame: go.Figure(go.Scatter(x=frame.index, y=frame["price"] * 2, name="price")),
    ],
)
def test_a_function_may_give_a_series_a_frame_a_dict_or_a_figure(feed, function):
    frame = feed.frame()
    lines = to_lines(function(frame), "doubled", frame.index)
    assert [line.label for line in lines] == ["price"]
    assert np.array_equal(lines[0].value, frame["price"] * 2)
    assert np.array_equal(lines[0].time_ms, frame.index.asi8 / 1e6)


def test_a_column_that_is_not_there_is_named_with_the_nearest_one(feed):
    with pytest.raises(ConfigError, match=r"the panel 'spread'.*'prise'.*'price'"):
        of_function(lambda frame: frame["prise"], "spread")(feed)


@pytest.mark.parametrize("made", [None, 7, [1.0, 2.0], "text"])
def test_what_a_function_must_not_give_is_told_with_its_name(feed, made):
    with pytest.raises((ConfigError, ValueError), match=r"mine|could not convert"):
        to_lines(made, "mine", feed.frame().index)


def test_a_long_line_is_thinned_to_points_that_keep_its_minimum_and_maximum(feed):
    line = of_function(lambda frame: frame["price"], "price")(feed)[0]
    price = feed.frame()["price"]
    assert len(line.value) <= MOST_POINTS < len(price)
    assert (line.value.min(), line.value.max()) == (price.min(), price.max())


def test_times_without_a_zone_are_taken_for_utc():
    index = pd.date_range("2026-01-02", periods=3, freq="s")
    line = to_lines(pd.Series([1.0, 2.0, 3.0], index=index), "x", index)[0]
    assert line.time_ms[0] == pd.Timestamp("2026-01-02", tz="UTC").value / 1e6
