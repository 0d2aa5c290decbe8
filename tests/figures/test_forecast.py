from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ccwatch.figures.figures import overview, price_figure
from ccwatch.figures.forecast import forecast_lines
from ccwatch.figures.still_figure import svg
from ccwatch.protocol.messages import Flag
from ccwatch.stream import dataframes

START = pd.Timestamp("2026-01-02T14:30:00Z")
STEP_S = 2.0
LABELS = ["forecast p10", "forecast p90", "forecast median"]


def stream(seconds, **columns):
    """Packets at these times after START, priced 100, 101, …"""
    count = len(seconds)
    names = ["seq", "connection", "symbol", "regime", "side", "price", "nav", "confidence", "approved_size", "flags", "received_at"]
    values = {name: np.full(count, np.nan) for name in ("nav", "confidence", "approved_size")}
    time_ns = START.value + (np.asarray(seconds) * 1e9).astype(np.int64)
    values |= {"time_ns": time_ns, "received_at_ns": time_ns, "seq": np.arange(1, count + 1), "connection": np.ones(count)}
    values |= {"symbol": ["SPY"] * count, "regime": [None] * count, "side": [None] * count, "flags": np.zeros(count)}
    values |= {"price": 100.0 + np.arange(count), **columns}
    return dataframes.build("packets", values, names)


def forecast(seq, points):
    """A forecast's table: rows of step, p10, median, p90."""
    step, p10, median, p90 = zip(*points, strict=True)
    count = len(step)
    return dataframes.build(
        "forecasts", {"time_ns": [START.value] * count, "seq": [seq] * count, "step": step, "p10": p10, "median": median, "p90": p90}
    )


POINTS = [(1, 108.0, 110.0, 112.0), (2, 107.0, 111.0, 115.0), (3, 106.0, 112.0, 118.0)]


def test_a_forecast_begins_at_the_last_price_and_lies_step_times_the_interval_ahead():
    frame = stream(np.arange(10) * STEP_S)
    p10, p90, median = forecast_lines(frame, forecast(10, POINTS))
    assert [p10.label, p90.label, median.label] == LABELS
    assert [line.fills for line in (p10, p90, median)] == [False, True, False]
    last_ms = frame.index[-1].value / 1e6
    for line, values in ((p10, [109, 108, 107, 106]), (p90, [109, 112, 115, 118]), (median, [109, 110, 111, 112])):
        assert line.time_ms.tolist() == [last_ms + 1000 * STEP_S * step for step in range(4)]
        assert line.value.tolist() == values


def test_the_figure_and_its_picture_show_it_and_the_time_axis_reaches_its_end():
    frame = stream(np.arange(10) * STEP_S)
    figure = price_figure(frame, tz="America/New_York", forecasts=forecast(10, POINTS))
    drawn = {trace.meta["label"]: trace for trace in figure.data if trace.meta["role"] == "computed"}
    assert list(drawn) == LABELS
    assert [trace.fill for trace in drawn.values()] == [None, "tonexty", None]
    wall = (frame.index[-1] + pd.Timedelta(seconds=3 * STEP_S)).tz_convert("America/New_York").tz_localize(None)
    assert pd.Timestamp(figure.layout.xaxis.range[1]) == wall == pd.Timestamp(drawn["forecast p90"].x[-1])
    picture = svg(figure)
    assert all(label in picture for label in LABELS)
    assert "<polygon" in picture
    assert not [trace for trace in overview(frame).data if trace.meta["role"] == "computed"]


def test_a_mock_forecast_says_so():
    flags = np.array([0] * 9 + [int(Flag.SYNTHETIC_FORECAST)])
    lines = forecast_lines(stream(np.arange(10) * STEP_S, flags=flags), forecast(10, POINTS))
    assert [line.label for line in lines] == [f"mock {label}" for label in LABELS]


def test_a_forecast_of_any_packet_of_the_last_burst_counts_and_one_of_a_burst_before_does_not():
    seconds = (np.arange(6)[:, None] * 5.0 + np.arange(3) * 0.01).ravel()  # three packets every 5 s
    price = np.where(np.arange(18) % 3 == 0, 100.0, np.nan)
    frame = stream(seconds, price=price)
    (_, _, median) = forecast_lines(frame, forecast(17, POINTS))
    assert np.diff(median.time_ms) == pytest.approx([5000.0] * 3), "the interval is between bursts"
    assert median.time_ms[0] == START.value / 1e6 + 25_000
    assert forecast_lines(frame, forecast(14, POINTS)) == []


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([(1, np.nan, 110.0, np.nan)], LABELS[2:]),
        ([(1, 108.0, np.nan, 112.0)], LABELS[:2]),
        ([(1, 108.0, 110.0, np.nan)], LABELS[2:]),
        ([(1, np.nan, np.nan, np.nan)], []),
        ([(10**9, 108.0, 110.0, 112.0)], []),
        ([(0, 108.0, 110.0, 112.0), (-1, 108.0, 110.0, 112.0)], []),
    ],
)
def test_only_what_came_and_lies_ahead_is_drawn(points, labels):
    assert [line.label for line in forecast_lines(stream(np.arange(10) * STEP_S), forecast(10, points))] == labels


def test_without_a_price_an_interval_or_a_forecast_there_are_no_lines():
    frame = stream(np.arange(10) * STEP_S)
    assert forecast_lines(frame, None) == []
    assert forecast_lines(frame.iloc[:1], forecast(1, POINTS)) == []
    assert forecast_lines(stream(np.zeros(3)), forecast(3, POINTS)) == []
    assert forecast_lines(stream(np.arange(3.0), price=np.full(3, np.nan)), forecast(3, POINTS)) == []
    assert forecast_lines(stream(np.arange(3.0), symbol=["SPY", "SPY", None]), forecast(3, POINTS)), "a packet of the forecast alone"
    other = stream(np.arange(3.0), symbol=["SPY", "SPY", "QQQ"], price=np.array([1.0, 2.0, np.nan]))
    assert forecast_lines(other, forecast(3, POINTS)) == []
