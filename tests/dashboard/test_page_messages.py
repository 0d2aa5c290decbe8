from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from ccwatch.dashboard.page_messages import (
    AGENTS,
    CHUNK_ROWS,
    EXACT_ROWS,
    FIRST_ROWS,
    PAGE_MARKS,
    SKETCH_ROWS,
    Encoder,
    FullNeeded,
    Message,
)
from ccwatch.dashboard.publisher import Publisher
from ccwatch.figures.panels import PANELS
from ccwatch.protocol.messages import AgentMetric, Flag, LogLine, ModelMetric
from tests.dashboard.conftest import SteppedView, Tap


def size(message) -> int:
    return len(json.dumps(message.content, ensure_ascii=False).encode()) + sum(len(buffer) for buffer in message.buffers)


def mirrored(mirror_of, *messages):
    for message in messages:
        mirror_of.take(message.content, message.buffers)
    return mirror_of


def everything(encoder):
    """A full message and all the older rows after it."""
    return [encoder.full(), *iter(encoder.older, None)]


@pytest.fixture
def tap(view):
    return Tap(view)


@pytest.fixture
def mirror(sent):
    return sent.mirror()


@pytest.mark.slow
def test_full_and_new_rows_rebuild_the_frame_in_the_page(view, mirror, tap):
    encoder = Encoder(view)
    mirrored(mirror, encoder.full())
    for packets in (1, 7, 30, 2, 150):
        view.step(packets)
        mirrored(mirror, encoder.new(tap.take()))
    frame = view.frame()
    assert mirror.missed == 0
    assert len(mirror) == len(frame) == 240
    assert np.array_equal(mirror.rows["time"], frame.index.asi8 / 1e6)
    assert np.array_equal(mirror.rows["price"], frame["price"])
    assert np.array_equal(mirror.rows["alpha"], frame["alpha"].astype("float32"))
    assert np.array_equal(mirror.rows["drawdown"], (frame["nav"] / frame["nav"].cummax() - 1).astype("float32"))
    agents = view.agents()
    for name in agents["agent"].unique():
        expected = agents.loc[agents["agent"] == name, "latency_ms"].astype("float32")
        assert np.array_equal(mirror.rows[f"latency:{name}"], expected)
    assert mirror.seq == view.latest.seq
    assert len(mirror.marks) > 0


@pytest.mark.slow
def test_what_a_page_holds_does_not_depend_on_when_it_was_loaded(view, sent, tap):
    early, late = Encoder(view), Encoder(view)
    first = mirrored(sent.mirror(), early.full())
    for _ in range(20):
        view.step(9)
        mirrored(first, early.new(tap.take()))
    view.reconnect()
    view.step(5)
    mirrored(first, early.new(tap.take()))
    second = mirrored(sent.mirror(), late.full())
    assert list(first.rows) == list(second.rows)
    for name, values in first.rows.items():
        assert np.array_equal(values, second.rows[name], equal_nan=True), name
    assert first.rows["broken"].sum() == 1
    assert first.marks == second.marks


def test_nothing_new_is_no_message(view, tap):
    encoder = Encoder(view)
    encoder.full()
    assert encoder.new(tap.take()) is None


def test_repeats_are_no_rows_and_the_next_row_follows_the_last(view, mirror, tap):
    encoder = Encoder(view)
    mirrored(mirror, encoder.full())
    for _ in range(200):
        view.change(flags=int(Flag.REPEAT))
    assert encoder.new(tap.take()) is None
    view.step()
    mirrored(mirror, encoder.new(tap.take()))
    assert mirror.missed == 0
    assert len(mirror) == len(view.frame())


@pytest.mark.slow
def test_a_frame_of_ten_packets_stays_below_two_kilobytes_whatever_the_window_holds(view, tap):
    encoder = Encoder(view)
    sizes = {}
    for rows in (1_000, 10_000):
        while len(view.frame(["seq"])) < rows:
            view.step(1_000)
        encoder.full()
        found = []
        for _ in range(10):
            view.step(10)
            message = encoder.new(tap.take())
            assert message is not None
            if "marks" not in message.content:
                found.append(size(message))
        sizes[rows] = sorted(found)[len(found) // 2]
    assert sizes[10_000] <= 2048
    assert abs(sizes[10_000] - sizes[1_000]) < 16


@pytest.mark.slow
def test_a_flood_is_thinned_to_rows_that_keep_every_minimum_and_maximum(view, sent, tap):
    encoder = Encoder(view)
    mirror = mirrored(sent.mirror(), encoder.full())
    known = len(mirror)
    view.step(5_000)
    message = encoder.new(tap.take())
    assert size(message) < 64 * 1024
    mirrored(mirror, message)
    assert len(mirror) - known < 1_000
    exact = mirrored(sent.mirror(), *everything(Encoder(view)))
    for name in ("price", "alpha", "drawdown", *(name for name in exact.rows if name.startswith("latency:"))):
        assert mirror.rows[name][known:].min() == exact.rows[name][known:].min(), name
        assert mirror.rows[name][known:].max() == exact.rows[name][known:].max(), name


@pytest.mark.slow
def test_a_long_stream_begins_with_a_sketch_that_keeps_every_minimum_maximum_and_gap(view, sent):
    view.step(FIRST_ROWS + 2 * CHUNK_ROWS)
    view.reconnect()
    view.step(CHUNK_ROWS)
    encoder = Encoder(view)
    messages = everything(encoder)
    first = mirrored(sent.mirror(), messages[0])
    exact = mirrored(sent.mirror(), *messages)
    assert len(messages) == 1 + 4
    assert len(first.sketch["time"]) < 2 * SKETCH_ROWS
    older = len(exact) - FIRST_ROWS
    for name in ("price", "alpha", "drawdown", *(name for name in exact.rows if name.startswith("latency:"))):
        assert first.sketch[name].min() == exact.rows[name][:older].min(), name
        assert first.sketch[name].max() == exact.rows[name][:older].max(), name
    assert first.sketch["broken"].sum() == 1
    assert first.sketch["time"][0] == exact.rows["time"][0]
    assert (np.diff(first.sketch["time"]) >= 0).all()


@pytest.mark.slow
def test_a_first_message_stays_small_and_older_rows_come_in_chunks_that_rebuild_the_frame(view, sent):
    view.step(FIRST_ROWS + 3 * CHUNK_ROWS)
    messages = everything(Encoder(view))
    assert size(messages[0]) < 400_000
    assert max(size(message) for message in messages[1:]) < 300_000
    mirror = mirrored(sent.mirror(), *messages)
    frame = view.frame()
    assert mirror.missing == 0
    assert len(mirror.sketch["time"]) == 0
    assert np.array_equal(mirror.rows["time"], frame.index.asi8 / 1e6)
    assert np.array_equal(mirror.rows["price"], frame["price"])
    assert np.array_equal(mirror.rows["drawdown"], (frame["nav"] / frame["nav"].cummax() - 1).astype("float32"))
    times = [mark[0] for mark in mirror.marks]
    assert times == sorted(times)
    assert len(times) == min(PAGE_MARKS, turns(frame["side"]))


def turns(side) -> int:
    known = side.dropna().to_numpy()
    return int((known[1:] != known[:-1]).sum())


@pytest.mark.slow
def test_what_a_view_has_grown_by_is_what_its_items_would_have_been(view, sent, tap):
    by_items, by_frames = Encoder(view), Encoder(view)
    one, two = mirrored(sent.mirror(), by_items.full()), mirrored(sent.mirror(), by_frames.full())
    for packets in (1, 40, 150):
        view.step(packets)
        if packets == 40:
            view.reconnect()
            view.step()
        mirrored(one, by_items.new(tap.take()))
        mirrored(two, by_frames.grown())
    assert by_frames.grown() is None
    assert one.marks == two.marks
    assert one.rows["broken"].sum() == 1
    for name, values in one.rows.items():
        assert np.array_equal(values, two.rows[name], equal_nan=True), name


def test_a_gap_within_a_flood_is_not_lost(view, sent, tap):
    encoder = Encoder(view)
    mirror = mirrored(sent.mirror(), encoder.full())
    view.step(EXACT_ROWS)
    view.reconnect()
    view.step(EXACT_ROWS)
    mirrored(mirror, encoder.new(tap.take()))
    assert mirror.rows["broken"].sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("packets", [10, 300, 3_000])
def test_a_frame_stays_below_64_kb_whatever_arrives_at_once(view, packets):
    """Of a flood of wild values from 24 agents and as many models, signals that change with each packet, and a log line with each."""
    names = [f"service {n}" for n in range(AGENTS)]
    rng, numbers = np.random.default_rng(packets), itertools.count()

    def wild(view) -> None:
        n = next(numbers)
        agents = tuple(AgentMetric(name, latency, 1.0, 1.0) for name, latency in zip(names, rng.exponential(20, AGENTS), strict=True))
        models = tuple(ModelMetric(name, latency, 1.0, 1.0) for name, latency in zip(names, rng.exponential(20, AGENTS), strict=True))
        line = LogLine("ERROR", "<" * 600, None, None)
        view.change(
            price=rng.uniform(90, 110), alpha=rng.uniform(1, 3), nav=rng.uniform(1, 2), velocity=rng.normal(), acceleration=rng.normal(),
            confidence=rng.uniform(), approved_size=rng.uniform(), max_drawdown=-rng.uniform(), agents=agents, models=models,
            new_logs=(line,), side=("BUY", "SELL")[n % 2], regime=("Gaussian", "Critical")[n % 2], symbol=f"S{n % 250}" + "x" * 40,
            reasoning="é<" * 300,
        )  # fmt: skip

    view.models = lambda last=None: view._buffer.long("models", last)
    wild(view)
    messages: list[Message] = []
    publisher = Publisher(view, Encoder(view, panels=list(PANELS)), messages.append, 0.0)
    publisher.listen()
    publisher.enter("page")
    messages.clear()
    for _ in range(packets):
        wild(view)
    while publisher.is_waiting:
        publisher.step()
    (message,) = messages
    assert size(message) <= 65_536
    assert message.content["kind"] == "rows"
    assert message.content["seq"] == view.latest.seq
    logs = message.content["side"]["logs"]
    assert ("more came at once" in logs[0][2]) == (packets > 10)
    assert len(logs) > 5


def test_a_row_that_belongs_before_the_last_one_asks_for_everything(view, tap):
    encoder = Encoder(view)
    encoder.full()
    view.change(time_ns=view.latest.time_ns - 60 * 1_000_000_000, flags=int(Flag.OUT_OF_ORDER))
    with pytest.raises(FullNeeded):
        encoder.new(tap.take())
    mirror_rows = encoder.full().content["rows"]
    assert mirror_rows == len(view.frame())


def test_a_new_agent_asks_for_everything(view, tap):
    encoder = Encoder(view)
    encoder.full()
    view.change(agents=(AgentMetric("NewcomerAgent", 5.0, 1.0, 1.0),))
    with pytest.raises(FullNeeded):
        encoder.new(tap.take())
    assert ["f4", "latency:NewcomerAgent"] in encoder.full().content["columns"]


@pytest.mark.slow
def test_a_change_of_the_zones_clock_asks_for_everything(view, tap):
    encoder = Encoder(view, tz="Europe/Berlin")
    assert "UTC+01:00" in json.dumps(encoder.full().content["figure"]["light"]["layout"]["xaxis"])
    view.change(time_ns=pd.Timestamp("2026-07-01", tz="UTC").value)
    with pytest.raises(FullNeeded):
        encoder.new(tap.take())
    assert "UTC+02:00" in json.dumps(encoder.full().content["figure"]["light"]["layout"]["xaxis"])


def test_rows_before_the_first_full_message_ask_for_it(view, tap):
    view.step()
    with pytest.raises(FullNeeded):
        Encoder(view).new(tap.take())


def test_a_paused_page_gets_the_rows_up_to_the_pause(view, mirror):
    held = view.latest.seq
    view.step(20)
    mirrored(mirror, Encoder(view).full(up_to=held))
    assert mirror.seq == held
    assert len(mirror) == len(view.frame()) - 20


def test_reasoning_reaches_the_page_as_it_came_since_the_page_writes_text(view, mirror, tap):
    encoder = Encoder(view)
    mirrored(mirror, encoder.full())
    view.change(side="SELL", reasoning="plain")
    view.change(side="BUY", reasoning="<img src=x onerror=alert(1)>")
    message = encoder.new(tap.take())
    mirrored(mirror, message)
    assert mirror.marks[-1][6] == "<img src=x onerror=alert(1)>"


def test_a_symbol_that_was_not_seen_before_is_named(view, mirror, tap):
    encoder = Encoder(view)
    mirrored(mirror, encoder.full())
    view.change(symbol="QQQ")
    message = encoder.new(tap.take())
    mirrored(mirror, message)
    assert message.content["symbols"][mirror.rows["symbol"][-1]] == "QQQ"
    assert message.content["symbols"][mirror.rows["symbol"][-2]] == "SPY"


def test_an_empty_view_gives_the_skeleton_without_rows(mirror):
    message = Encoder(SteppedView()).full()
    mirrored(mirror, message)
    assert len(mirror) == 0
    assert message.content["figure"]["dark"]["layout"]["yaxis"]["title"]["text"] == "price (USD)"
