from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.figures.figures import overview
from ccwatch.figures.panels import PANELS, Line
from ccwatch.figures.still_figure import svg
from ccwatch.stream.source import Stop

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def stream():
    buffer = RollingBuffer()
    SyntheticSource(seed=2, scenario="drawdown-halt+gap@120", rate=1.0, packets=400, pace="max").stream(buffer, Stop())
    return buffer


def drawn(stream, **more):
    figure = overview(stream.frame(), stream.long("agents"), stream.long("events"), models=stream.long("models"), **more)
    return ET.fromstring(svg(figure, heading="a heading"))  # noqa: S314 - our own


def words(picture) -> list[str]:
    return [element.text for element in picture.iter() if element.tag.endswith("}text")]


@pytest.mark.slow
def test_a_picture_is_well_formed_and_says_every_panel_with_its_unit(stream):
    picture = drawn(stream, panels=tuple(PANELS))
    said = words(picture)
    assert {panel.title for panel in PANELS.values()} <= set(said)
    assert {"a heading", "time (UTC)", "−1.5%", "−2.0%", "Lévy Stable", "no data", "RiskAgent"} <= set(said)
    assert sum(bool(re.fullmatch(r"14:3\d", word or "")) for word in said) >= 5, "ticks of time"


def test_a_line_passes_through_the_frames_own_values_and_stops_at_a_gap(stream):
    picture = drawn(stream, panels=("alpha",))
    frame = stream.frame()
    (path,) = [e.get("d") for e in picture.iter() if e.tag.endswith("}path") and e.get("stroke-width") == "1.4"]
    assert path.count("M") == 2, "one gap"
    at = np.array([[float(n) for n in point.split()] for point in re.findall(r"[ML]([-\d.]+ [-\d.]+)", path)])
    assert len(at) == len(frame)
    scale = np.polyfit(frame["alpha"], at[:, 1], 1)
    assert scale[0] < 0, "upwards"
    assert at[:, 1] == pytest.approx(np.polyval(scale, frame["alpha"]), abs=0.11), "px, written with one digit"


def test_many_points_become_few_and_the_extremes_stay(stream):
    time_ms = np.arange(500_000, dtype=np.float64) * 100 + stream.frame().index[0].value / 1e6
    value = np.sin(time_ms / 1e6)
    value[123_456] = 50.0
    panel = PANELS["objective"]
    picture = svg(overview(stream.frame(), panels=(panel,), lines={panel.name: [Line(HOSTILE, time_ms, value)]}))
    assert len(picture) < 100_000
    assert ">50</text>" in picture or ">40" in picture, "the one high point is within the panel"
    assert "<img" not in picture
    assert "&lt;img src=x" in picture


def test_the_picture_of_nothing_has_its_axes(stream):
    empty = stream.frame().iloc[:0]
    assert {"price (USD)", "drawdown (%)"} <= set(words(ET.fromstring(svg(overview(empty, panels=("price", "drawdown"))))))  # noqa: S314 - our own


def test_the_axis_of_a_panel_has_room_beyond_its_levels(stream):
    options = overview(stream.frame(), panels=("drawdown",)).layout.yaxis.autorangeoptions
    assert options.include[0] < -0.02
    assert options.maxallowed == 0.0


def test_a_heading_with_control_characters_is_still_well_formed(stream):
    figure = overview(stream.frame(), stream.long("agents"), stream.long("events"), panels=("price",))
    assert "a\ufffdb" in words(ET.fromstring(svg(figure, heading="a\x00b")))  # noqa: S314 - our own


def test_two_pictures_in_one_page_do_not_share_an_id(stream):
    ids = [{e.get("id") for e in drawn(stream, panels=("price",)).iter() if e.get("id")} for _ in range(2)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "ends", [(-1e308, 1e308), (1.2e19, 1.2e19), (-0.0, 0.0), (0.0, 5e-324), (1e-310, 1.79e308), (1.79e308, 1.79e308), (-1.79e308, 3.0)]
)
def test_the_largest_and_the_smallest_numbers_are_drawn_in_their_order(stream, ends):
    time_ms = stream.frame().index[0].value / 1e6 + np.array([0.0, 1000.0])
    panel = PANELS["objective"]
    picture = ET.fromstring(svg(overview(stream.frame(), panels=(panel,), lines={panel.name: [Line("x", time_ms, np.array(ends))]})))  # noqa: S314
    (path,) = [e.get("d") for e in picture.iter() if e.tag.endswith("}path") and e.get("clip-path") and "L" in e.get("d")]
    (_, first), (_, last) = [[float(n) for n in point.split()] for point in re.findall(r"[ML]([-\d.]+ [-\d.]+)", path)]
    assert (last < first) == (ends[1] / 4 - ends[0] / 4 > 1e-300)
