from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.figures import figures, panels, theme
from ccwatch.figures.figure_data import SignalMarker
from ccwatch.stream import dataframes
from ccwatch.stream.source import Stop

FOUR = ("price", "drawdown", "alpha", "latency")


@pytest.fixture(scope="module")
def stream():
    """Ten minutes of the seeded market, as a feed holds it."""
    buffer = RollingBuffer()
    SyntheticSource(seed=3, rate=1.0, packets=600, pace="max").stream(buffer, Stop())
    return buffer


@pytest.fixture(scope="module")
def overview(stream):
    return figures.overview(
        stream.frame([*dataframes.default_columns("packets"), "reasoning"]), stream.long("agents"), stream.long("events"), panels=FOUR
    )


def trace(figure, role, **meta):
    return next(t for t in figure.data if t.meta["role"] == role and all(t.meta.get(k) == v for k, v in meta.items()))


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, ground: str) -> float:
    low, high = sorted((luminance(colour), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_four_panels_stand_on_one_time_axis(overview):
    assert {t.xaxis for t in overview.data} == {"x"}
    assert overview.layout.xaxis.type == "date"
    domains = [overview.layout[f"yaxis{n or ''}"].domain for n in ("", 2, 3, 4)]
    assert all(above[0] > below[1] for above, below in itertools.pairwise(domains))


def test_every_axis_says_its_unit_and_the_time_axis_its_zone(overview, stream):
    titles = [overview.layout[f"yaxis{n or ''}"].title.text for n in ("", 2, 3, 4)]
    assert titles == ["price (USD)", "drawdown (%)", "alpha, tail index (no unit)", "agent latency (ms)"]
    assert overview.layout.xaxis.title.text == "time (UTC)"
    shifted = figures.price_figure(stream.frame(), tz="America/New_York")
    assert shifted.layout.xaxis.title.text == "time (America/New_York, UTC-05:00)"
    assert pd.Timestamp(trace(shifted, "line", column="price").x[0]) == stream.frame().index[0].tz_convert("America/New_York").tz_localize(
        None
    )


def test_the_lines_carry_the_frames_own_values(overview, stream):
    frame = stream.frame()
    assert np.array_equal(trace(overview, "line", column="price").y, frame["price"].to_numpy())
    assert np.array_equal(trace(overview, "line", column="alpha").y, frame["alpha"].to_numpy())
    ours = trace(overview, "line", column="drawdown").y
    assert ours == pytest.approx(frame["nav"].to_numpy() / frame["nav"].cummax().to_numpy() - 1)
    agents = stream.long("agents")
    for name, rows in agents.groupby("agent", observed=True):
        assert np.array_equal(trace(overview, "line", column=f"latency:{name}").y, rows["latency_ms"].to_numpy())


def test_a_gap_is_hatched_and_never_bridged(stream):
    frame = stream.frame().iloc[:20].copy()
    frame["connection"] = np.repeat(np.array([1, 2], dtype=np.int32), 10)
    figure = figures.overview(frame, panels=FOUR)
    for column in ("price", "drawdown", "max_drawdown", "alpha"):
        line = trace(figure, "line", column=column)
        assert len(line.y) == 21
        assert np.isnan(line.y[10])
        assert not line.connectgaps
    hatched = trace(figure, "gaps")
    assert hatched.width.tolist() == [(frame.index[10] - frame.index[9]).total_seconds() * 1000]
    assert hatched.marker.pattern.shape == "/"


def test_the_line_breaks_where_the_symbol_changes_and_shows_the_latest_one(stream):
    frame = stream.frame().iloc[:9].copy()
    frame["symbol"] = pd.Categorical(["SPY"] * 3 + ["QQQ"] * 3 + ["SPY"] * 3)
    line = trace(figures.price_figure(frame), "line", column="price")
    expected = frame["price"].to_numpy()[[0, 1, 2, 6, 7, 8]]
    assert np.isnan(line.y[3])
    assert np.array_equal(np.delete(line.y, 3), expected)


def test_a_packet_that_does_not_carry_a_value_does_not_break_its_line(stream):
    frame = stream.frame().iloc[:5].copy()
    frame.iloc[2, frame.columns.get_loc("price")] = np.nan
    assert not np.isnan(trace(figures.price_figure(frame), "line", column="price").y).any()


def test_the_ribbon_covers_the_regimes_for_as_long_as_they_held(overview, stream):
    frame = stream.frame()
    held = np.diff(frame.index.asi8) / 1e6
    assert len(stream.long("events")) == 1  # no gap in this stream: every interval belongs to a regime
    for code, word in enumerate(theme.REGIMES):
        expected = held[(frame["regime"] == word).to_numpy()[:-1]].sum()
        assert np.sum(trace(overview, "ribbon", code=code).width) == pytest.approx(expected)


def test_regimes_differ_by_pattern_and_reach_the_contrast_on_both_grounds(overview):
    shapes = [trace(overview, "ribbon", code=code).marker.pattern.shape for code in range(4)]
    assert shapes == ["", "/", "x", "."]
    for style in theme.REGIMES.values():
        assert contrast(style.colour, "#ffffff") >= 3.1
        assert contrast(style.colour, "#111111") >= 3.1


@pytest.mark.parametrize(("colours", "ground"), [(theme.LIGHT, "#ffffff"), (theme.DARK, "#111111")])
def test_every_line_can_be_seen_on_its_ground(colours, ground):
    for colour in (
        colours.text,
        colours.muted,
        colours.line,
        colours.line_engine,
        colours.buy,
        colours.sell,
        colours.flat,
        *colours.agents,
    ):
        assert contrast(colour, ground) >= 3.0, colour


def test_agents_differ_by_dash_as_well_as_by_colour(overview):
    lines = [t for t in overview.data if str(t.meta.get("column", "")).startswith("latency:")]
    assert len(lines) == 6
    assert len({t.line.dash for t in lines}) == 6
    assert len({t.line.color for t in lines}) == 6


def test_signals_differ_by_shape_and_tell_confidence_size_and_reasoning(overview, stream):
    marks = [trace(overview, "signals", code=code) for code in range(3)]
    assert [set(m.marker.symbol) - {"triangle-up-open", "triangle-down-open"} for m in marks] == [
        {"triangle-up"},
        {"triangle-down"},
        {"circle"},
    ]
    side = stream.frame()["side"].dropna()
    changes = side[(side != side.shift()).to_numpy() & (np.arange(len(side)) > 0)]
    assert sum(len(m.x) for m in marks) == len(changes) > 3
    buy = marks[0].text[0]
    assert "confidence 0." in buy
    assert "approved size" in buy
    assert "velocity" in buy


def test_what_the_stream_wrote_is_never_markup(stream):
    frame = stream.frame([*dataframes.default_columns("packets"), "reasoning"]).iloc[:300].copy()
    agents = stream.long("agents").copy()
    frame["reasoning"] = pd.array(["<img src=x onerror=alert(1)> & <b>bold</b>"] * len(frame), dtype="str")
    agents["agent"] = pd.Categorical(["<script>alert(1)</script>"] * len(agents))
    figure = figures.overview(frame, agents, panels=FOUR)
    shown = [t.name for t in figure.data] + [text for t in figure.data for text in (t.text if t.text is not None else ())]
    assert any("&lt;img src=x onerror=alert(1)&gt; &amp; &lt;b&gt;" in text for text in shown)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    ours = ("<b>BUY</b>", "<b>SELL</b>", "<b>FLAT</b>", "<br>")
    for text in shown:
        for markup in ours:
            text = text.replace(markup, "")  # noqa: PLW2901 - what is left is the stream's
        assert "<" not in text


def test_an_endless_reasoning_is_cut():
    mark = SignalMarker(seq=1, time_ms=0.0, price=1.0, side=0, symbol=0, confidence=float("nan"), size=0.1, text="word " * 10_000)
    assert len(panels.hover_text(mark)) < 700
    assert "confidence not given" in panels.hover_text(mark)


def test_an_empty_stream_still_gives_a_figure_with_its_axes():
    empty = dataframes.build("packets", dataframes.packet_columns([]))
    figure = figures.overview(empty)
    assert figure.layout.yaxis.title.text == "price (USD)"
    assert all(len(t.x) == 0 for t in figure.data)


def test_one_panel_can_be_had_alone(stream):
    assert figures.latency_figure(stream.frame(), stream.long("agents")).layout.yaxis.title.text == "agent latency (ms)"
    assert "yaxis2" not in figures.alpha_figure(stream.frame()).to_dict()["layout"]
    assert figures.drawdown_figure(stream.frame()).layout.yaxis.tickformat == ".2%"


def test_a_legend_of_many_lines_has_room_on_a_page_of_700_px():
    (success,) = figures.resolve(["success"])
    nine = [{"meta": {"label": f"SentimentAgent {n} success"}} for n in range(9)]
    assert figures._space_px(success, nine) >= 5 * figures._LEGEND_LINE_PX, "two entries stand in a line"
    assert figures._space_px(success, nine[:1]) == figures._SPACE_PX


def test_a_wide_interval_does_not_flatten_alpha(stream):
    shape = figures.alpha_figure(stream.frame()).layout.yaxis
    assert (shape.autorangeoptions.minallowed, shape.autorangeoptions.clipmax) == (0.0, panels.ALPHA_SHOWN)


def test_alphas_zones_end_at_the_regimes_cuts_and_where_the_third_moment_begins(stream):
    shapes = [shape for shape in figures.alpha_figure(stream.frame()).layout.shapes if shape.type == "rect"]
    assert [(shape.y0, shape.y1, shape.label.text) for shape in shapes] == [
        (0.0, 1.5, "Critical"),
        (1.5, 2.0, "Lévy Stable"),
        (2.0, 3.0, "no third moment"),
    ]
    assert len({shape.fillcolor for shape in shapes}) == 3
