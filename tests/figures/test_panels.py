from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.figures.figure_data import SIDE_WORDS, SignalMarker
from ccwatch.figures.figures import overview, price_figure
from ccwatch.figures.panels import PANELS, is_veto, marker_px, marker_symbol
from ccwatch.stream.source import Stop


@pytest.fixture(scope="module")
def stream():
    buffer = RollingBuffer()
    SyntheticSource(seed=3, rate=1.0, packets=300, pace="max").stream(buffer, Stop())
    return buffer


def mark(side: str, size: float) -> SignalMarker:
    return SignalMarker(seq=1, time_ms=0.0, price=1.0, side=SIDE_WORDS.index(side), symbol=0, confidence=0.5, size=size)


def test_a_signals_shape_is_its_direction_its_size_what_was_approved_and_a_veto_is_hollow():
    assert marker_symbol(mark("BUY", 0.1)) == "triangle-up"
    assert marker_symbol(mark("SELL", 0.0)) == "triangle-down-open"
    assert marker_symbol(mark("FLAT", 0.0)) == "circle"
    assert not is_veto(mark("BUY", math.nan)), "a packet that says nothing of a size vetoes nothing"
    assert marker_px(mark("BUY", 0.2)) > marker_px(mark("BUY", 0.05)) > marker_px(mark("BUY", 0.0))


@pytest.mark.slow
def test_every_panel_says_its_unit_and_draws_the_frames_own_values(stream):
    frame, agents, models = stream.frame(), stream.long("agents"), stream.long("models")
    figure = overview(frame, agents, stream.long("events"), panels=tuple(PANELS), models=models)
    drawn = {trace.meta["column"]: trace for trace in figure.data if trace.meta["role"] == "line"}
    for column in ("price", "nav", "alpha", "velocity", "acceleration", "max_drawdown"):
        assert np.array_equal(drawn[column].y, frame[column].to_numpy()), column
    for kind, table, whose, gauge in (
        ("success", agents, "agent", "success_rate"),
        ("model", models, "model", "latency_ms"),
        ("cache", models, "model", "cache_hit_rate"),
    ):
        for name, rows in table.groupby(whose, observed=True):
            assert np.array_equal(drawn[f"{kind}:{name}"].y, rows[gauge].to_numpy()), (kind, name)
    interval = np.diff(frame["received_mono_ns"].to_numpy()) / 1e9
    assert drawn["interval"].y[-len(interval) :] == pytest.approx(interval)
    offset = (frame["received_at"] - frame.index).dt.total_seconds().to_numpy()
    assert drawn["lag"].y == pytest.approx(offset - np.minimum.accumulate(offset), abs=1e-5)
    titles = [figure.layout[f"yaxis{n if n > 1 else ''}"].title.text for n in range(1, len(PANELS) + 1)]
    assert all("(" in title for title in titles), titles


def test_a_limit_is_drawn_when_the_values_have_come_half_the_way_to_it(stream):
    frame = stream.frame()
    for depth, expected in ((0.005, []), (0.008, [-0.015]), (0.011, [-0.015, -0.02])):
        nav = np.linspace(1.0, 1.0 - depth, len(frame)) * 100_000.0
        figure = overview(frame.assign(nav=nav, max_drawdown=np.nan), panels=("drawdown",))
        assert [shape.y0 for shape in figure.layout.shapes if shape.type == "line"] == expected


def test_the_time_labels_of_a_panel_with_a_ribbon_stand_below_the_ribbon(stream):
    figure = price_figure(stream.frame())
    assert figure.layout.xaxis.anchor == "free"
    assert figure.layout.xaxis.position == 0
    assert figure.layout.yaxis41.domain[0] == 0


def test_a_delay_is_measured_against_each_connections_own_fastest_packet(stream):
    frame = stream.frame().iloc[:6].copy()
    frame["connection"] = np.array([1, 1, 1, 2, 2, 2], dtype=np.int32)
    frame["received_at"] = frame.index + pd.to_timedelta([5.0, 5.5, 5.0, 9.0, 9.0, 9.25], unit="s")
    figure = overview(frame, panels=("stream",))
    lag = next(trace for trace in figure.data if trace.meta.get("column") == "lag")
    assert [value for value in lag.y if not math.isnan(value)] == pytest.approx([0.0, 0.5, 0.0, 0.0, 0.0, 0.25], abs=1e-5)
