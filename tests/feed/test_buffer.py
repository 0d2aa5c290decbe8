"""The rolling buffer against a plain list of packets, from which `ccwatch.stream.dataframes` builds what each frame must be."""

from __future__ import annotations

import os
import sys
import threading
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ccwatch.errors import ConfigError
from ccwatch.feed import buffer_table as module, slab
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.protocol.columns import PACKETS
from ccwatch.protocol.messages import (
    NAN,
    UNCLEAN,
    AgentMetric,
    Event,
    EventKind,
    Flag,
    ForecastPoint,
    LogLine,
    ModelMetric,
    Packet,
    StateChange,
)
from ccwatch.stream import dataframes

SECOND = 1_000_000_000
START = 1_767_348_000 * SECOND
MORE = 20 if os.environ.get("CCWATCH_FULL") else 1
ALL = [column.name for column in PACKETS[1:]]
BLANK = Packet(
    *(START, 1, 1, START, 0, "TELEMETRY", "contract", 0, "ACTIVE", "SPY", "Gaussian", "BUY"),
    *[NAN] * 12,
    *[None] * 10,
    *({}, (), (), (), (), (), (), (), (), (), {}, b""),
)


def packet(n, **changes):
    """The n-th packet: one second after the one before, its price n."""
    at = START + n * SECOND
    given = {"time_ns": at, "received_at_ns": at, "received_mono_ns": n * SECOND, "seq": n, "price": float(n)}
    return BLANK._replace(**(given | changes))


def filled(packets, **limits):
    buffer = RollingBuffer(**limits)
    for start in range(0, len(packets), 50):
        buffer.receive(packets[start : start + 50])
    return buffer


class Reference:
    """What the buffer must hold, kept as lists."""

    def __init__(self, window_s, max_rows):
        self.window_ns, self.max_rows = window_s * SECOND, max_rows
        self.items = []

    def kept(self):
        """Packets and, per long table, rows with their receive time."""
        packets = [item for item in self.items if isinstance(item, Packet)]
        long = {name: [] for name in ("agents", "models", "logs", "forecasts", "events")}
        for item in self.items:
            for name, rows in long.items():
                rows += [(item.received_at_ns, row) for row in dataframes.long_rows(name, item)]
        newest = self.items[-1].received_at_ns if self.items else 0
        packets = [item for item in packets if item.received_at_ns >= newest - self.window_ns][-self.max_rows :]
        for name, rows in long.items():
            long[name] = [row for at, row in rows[-8 * self.max_rows :] if at >= newest - self.window_ns]
        return packets, long

    def frame(self, columns=None, last=None, *, clean=True, fill=False, symbol=None):
        packets, _ = self.kept()
        if clean:
            packets = [item for item in packets if not item.flags & UNCLEAN]
        if last is not None and packets:
            received = np.array([item.received_at_ns for item in packets])
            packets = packets[len(packets) - last :] if isinstance(last, int) and last <= len(packets) else packets
            if not isinstance(last, int):
                packets = [item for item in packets if item.received_at_ns >= received[-1] - dataframes.span_ns(last)]
        names = dataframes.resolve("packets", columns)
        wanted = [*names, *(name for name in ("flags", "symbol", "connection") if name not in names)]
        frame = dataframes.build("packets", dataframes.packet_columns(packets, ["time", *wanted]), wanted)
        return dataframes.tidy(frame, clean=clean, fill=fill, symbol=symbol)[names]

    def long(self, name, last=None):
        _, long = self.kept()
        rows = long[name]
        values = {column.field: [row[i] for row in rows] for i, column in enumerate(dataframes.TABLES[name])}
        assert last is None
        return dataframes.build(name, values)


def same(found, expected):
    pd.testing.assert_frame_equal(found, expected)


WORD = st.sampled_from([None, "SPY", "AAPL", "QQQ"])
NUMBER = st.one_of(st.just(NAN), st.floats(-1e9, 1e9))
TEXT = st.one_of(st.none(), st.text(max_size=5))
LISTS = {
    "agents": st.lists(st.builds(AgentMetric, st.sampled_from(["Macro", "Quant"]), NUMBER, NUMBER, NUMBER), max_size=2).map(tuple),
    "models": st.lists(st.builds(ModelMetric, st.text(max_size=2), NUMBER, NUMBER, NUMBER), max_size=2).map(tuple),
    "forecasts": st.lists(st.builds(ForecastPoint, st.integers(1, 9), NUMBER, NUMBER, NUMBER), max_size=2).map(tuple),
    "new_logs": st.lists(
        st.builds(LogLine, st.sampled_from([None, "INFO", "odd"]), st.text(max_size=5), st.one_of(st.none(), st.just(START)), st.none()),
        max_size=2,
    ).map(tuple),
}
CHANGES = st.fixed_dictionaries(
    {"moved_s": st.sampled_from([0, 0, 0, 1, -5]), "paused_s": st.sampled_from([1, 1, 1, 0, 40])},
    optional={
        "flags": st.sampled_from([0, Flag.REPEAT, Flag.REPLAYED, Flag.PLACEHOLDER, Flag.FROZEN, Flag.RANGE | Flag.REPEAT]).map(int),
        "kind": st.sampled_from(["WELCOME", "STATE"]),
        "symbol": WORD,
        "sentiment_label": WORD,
        "regime": st.sampled_from([None, "Critical", "Unheard-of"]),
        "price": NUMBER,
        "nav": NUMBER,
        "reasoning": TEXT,
        "regime_raw": TEXT,
        "extra": st.dictionaries(st.text(max_size=2), st.integers(0, 9), max_size=2),
        "connection": st.integers(1, 3),
        **LISTS,
    },
)
DRAWN = st.tuples(st.sampled_from(["packet"] * 6 + ["event"]), CHANGES)
STREAM = st.one_of(st.lists(DRAWN, max_size=8), st.lists(DRAWN, min_size=25, max_size=50))


def items_of(drawn):
    at, seq, items = START, 0, []
    for what, drawn_changes in drawn:
        changes = dict(drawn_changes)
        at += changes.pop("paused_s") * SECOND
        moved = changes.pop("moved_s") * SECOND
        if what == "event":
            items.append(Event(at + moved, seq, EventKind.GAP, f"seconds={seq}", 1, at, at - START))
        else:
            seq += 1
            base = packet(seq)._replace(time_ns=at + moved, received_at_ns=at, received_mono_ns=at - START)
            items.append(base._replace(**changes))
    return items


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    """Slabs of a few rows, so that they are switched all the time."""
    monkeypatch.setattr(module, "ROWS_AT_FIRST", 4)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)


OPTIONS = st.fixed_dictionaries(
    {
        "columns": st.sampled_from([None, ALL, ["price"], ["extra", "symbol", "regime", "reasoning"]]),
        "last": st.sampled_from([None, 0, 1, 5, "10s", timedelta(minutes=2)]),
        "clean": st.booleans(),
        "fill": st.booleans(),
        "symbol": st.sampled_from([None, "SPY", "nowhere"]),
    }
)


@pytest.mark.slow
@settings(deadline=None, max_examples=15 * MORE, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    STREAM,
    st.lists(st.integers(1, 15), min_size=1, max_size=9),
    st.sampled_from([5, 60, 10_000]),
    st.sampled_from([1, 3, 20, 1000]),
    st.lists(OPTIONS, min_size=1, max_size=5),
)
def test_every_frame_is_the_one_that_a_plain_list_of_packets_gives(drawn, batches, window_s, max_rows, choices):
    items, reference = items_of(drawn), Reference(window_s, max_rows)
    buffer = RollingBuffer(window=f"{window_s}s", max_rows=max_rows)
    at = 0
    while at < len(items):
        batch = items[at : at + batches[at % len(batches)]]
        buffer.receive([*batch, StateChange("OPEN", None)])
        reference.items += batch
        for options in ({}, choices[at % len(choices)]):
            same(buffer.frame(**options), reference.frame(**options))
        at += len(batch)
    for name in ("agents", "models", "logs", "forecasts", "events"):
        same(buffer.long(name), reference.long(name))
    assert buffer.dropped == 0


def test_an_empty_buffer_gives_empty_frames_of_the_right_dtypes():
    buffer = RollingBuffer()
    same(buffer.frame(ALL), dataframes.build("packets", dataframes.packet_columns([], ["time", *ALL]), ALL))
    same(buffer.frame(clean=False, fill=True), Reference(1, 1).frame())
    same(buffer.long("logs"), Reference(1, 1).long("logs"))


@pytest.mark.slow
def test_frames_stay_right_while_slabs_grow_and_are_switched_over_5000_packets():
    buffer, packets = RollingBuffer(max_rows=300), []
    for n in range(1, 5001):
        packets.append(packet(n, flags=int(Flag.REPEAT) if n % 7 == 0 else 0))
        buffer.receive(packets[-1:])
        if n % 97 == 0:
            kept = [item for item in packets[-300:] if not item.flags]
            assert list(buffer.frame()["price"]) == [item.price for item in kept]
            assert list(buffer.frame(clean=False)["seq"]) == [item.seq for item in packets[-300:]]


@pytest.mark.slow
def test_a_buffer_at_its_limit_has_room_for_a_quarter_more_and_for_twice_as_much_only_for_a_moment():
    """What a slab has room for is memory that grows long after the window is full."""
    buffer = RollingBuffer(max_rows=1000)
    table, moving = buffer._clean, 0
    for n in range(1, 3_001):
        buffer.receive([packet(n)])
        if n > 1_500:
            buffer.frame()
            assert table._slab.capacity < 1_300
            moving += table._next is not None
    assert 0 < moving < 1_500 / 8


@pytest.mark.slow
@pytest.mark.parametrize("back_s", [1, 40, 5 * 3600])
@pytest.mark.parametrize("at_once", [1, 7])
def test_rows_leave_the_window_after_the_clock_was_stepped_back(back_s, at_once):
    """A row from before the step is as old as the first one after it, at least: so it leaves with that one."""
    buffer = RollingBuffer(window="60s")
    items = [packet(n, received_at_ns=START + (n - back_s * (n >= 150)) * SECOND) for n in range(400)]
    for first in range(0, len(items), at_once):
        buffer.receive(items[first : first + at_once])
        seqs = buffer.frame(["seq"])["seq"].to_numpy()
        newest = min(first + at_once, len(items)) - 1
        assert seqs[-1] == newest
        assert len(seqs) <= 2 * 61 + at_once, "a window before the step, and one after it"
        assert seqs[0] >= newest - 60 or newest <= 150 + 60, "nothing from before the step is kept longer than a window after it"
    assert buffer.frame(["seq"])["seq"].tolist() == [*range(339, 400)]
    assert buffer.frame(["seq"], last="20s")["seq"].tolist() == [*range(379, 400)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [125, 126, 127, 128, 129, 300])
def test_a_vocabulary_may_outgrow_its_codes_and_later_rows_are_still_seen(count):
    """pandas widens codes at 127 words: a base frame made then would be a copy that never grows."""
    buffer, packets = RollingBuffer(), []
    for n in range(1, count + 1):
        packets.append(packet(n, symbol=f"S{n:03}"))
        buffer.receive(packets[-1:])
        buffer.frame()
    for n in range(count + 1, count + 200):
        packets.append(packet(n, symbol=packets[n % count].symbol))
        buffer.receive(packets[-1:])
    reference = Reference(10**6, 10**6)
    reference.items = packets
    same(buffer.frame(), reference.frame())
    same(buffer.frame(symbol="S003"), reference.frame(symbol="S003"))


def test_a_second_symbol_that_came_and_left_the_window_is_no_category_any_more():
    buffer = filled([*[packet(n) for n in range(1, 10)], packet(10, symbol="AAPL"), *[packet(n) for n in range(11, 200)]], max_rows=50)
    assert list(buffer.frame()["symbol"].cat.categories) == ["SPY"]


def test_a_flood_of_words_is_dropped_and_counted_and_the_rest_is_kept(monkeypatch):
    monkeypatch.setattr(slab, "MOST_WORDS", 500)
    packets = [packet(n, symbol=f"S{n}", sentiment_label="fine") for n in range(1, 801)]
    buffer = filled([*packets, packet(801), packet(802, symbol="S3")])
    frame = buffer.frame()
    assert buffer.dropped == 301
    assert list(frame["symbol"])[:500] == [f"S{n}" for n in range(1, 501)]
    assert list(frame["seq"])[500:] == [802]


@pytest.mark.slow
def test_the_true_limit_of_words_is_reached_in_seconds_and_frames_stay_quick():
    count = slab.MOST_WORDS + 100
    buffer = RollingBuffer()
    agents = [packet(n, agents=tuple(AgentMetric(f"a{n}-{i}", 1.0, 1.0, 1.0) for i in range(100))) for n in range(1, count // 100 + 1)]
    buffer.receive(agents)
    assert len(buffer.long("agents")) == slab.MOST_WORDS
    assert buffer.dropped == 100
    assert buffer.long("agents")["agent"].nunique() == slab.MOST_WORDS


@pytest.mark.parametrize("last", [-1, "soon", "0s", "-5min", True, 1.5j])
def test_a_last_that_is_no_length_is_refused(last):
    buffer = filled([packet(1), packet(2)])
    for clean in (True, False):
        with pytest.raises(ConfigError):
            buffer.frame(last=last, clean=clean)


@pytest.mark.parametrize("window", ["", "soon", "0s", "-1h"])
def test_a_window_that_is_no_length_of_time_is_refused(window):
    with pytest.raises(ConfigError):
        RollingBuffer(window=window)


def test_an_unknown_column_is_refused_with_the_ones_there_are():
    with pytest.raises(ConfigError, match=r"no column 'prize' in packets; did you mean 'price'\? there are time, seq"):
        RollingBuffer().frame(["prize"])


# ── frames are the reader's own ──


@pytest.mark.slow
def test_a_frame_that_was_taken_never_changes_while_more_is_appended():
    buffer, taken = RollingBuffer(max_rows=200), []
    for n in range(1, 1500):
        lists = {"agents": (AgentMetric(f"a{n % 5}", float(n), 1.0, 1.0),)}
        buffer.receive([packet(n, symbol=f"S{n // 300}", reasoning=f"because {n}", regime=None if n % 3 else "Critical", **lists)])
        if n % 53 == 0:
            now = (buffer.frame(), buffer.frame(ALL, clean=False), buffer.frame(["price", "reasoning"], 10), buffer.long("agents"))
            taken += [(frame, frame.copy(deep=True)) for frame in now]
    for frame, then in taken:
        same(frame, then)


EDITS = {
    "loc": lambda frame: frame.__setitem__("price", -1.0),
    "cell": lambda frame: frame.iloc.__setitem__((0, list(frame.columns).index("price")), -1.0),
    "cells": lambda frame: frame.loc.__setitem__((slice(None), "price"), -1.0),
    "all cells": lambda frame: frame.loc.__setitem__((slice(None), ["price", "nav"]), 7.0),
    "add": lambda frame: frame.__setitem__("price", frame["price"].add(1)),
    "integer": lambda frame: frame.iloc.__setitem__((slice(None), list(frame.columns).index("seq")), 0),
    "time": lambda frame: frame.loc.__setitem__((slice(None), "received_at"), pd.Timestamp(0, tz="UTC")),
    "category": lambda frame: frame.loc.__setitem__((slice(None), "regime"), "Critical"),
    "open category": lambda frame: frame.iloc.__setitem__((0, list(frame.columns).index("symbol")), "SPY"),
    "drop": lambda frame: frame.pop("price"),
    "update": lambda frame: frame.update(frame[["price"]] * 0),
    "index": lambda frame: setattr(frame, "index", frame.index + pd.Timedelta("1h")),
    "name": lambda frame: setattr(frame.index, "name", "mine"),
    "columns": lambda frame: setattr(frame, "columns", [name.upper() for name in frame.columns]),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("rebuilt", ["no", "by a word", "by two words", "by a switch"])
@pytest.mark.parametrize("beside", [False, True])
def test_editing_a_frame_changes_neither_the_buffer_nor_another_frame(edit, symbols, rebuilt, beside):
    """Also where the base that the frame was sliced from has been replaced since."""
    buffer = filled([packet(n, symbol=f"S{n % symbols}", flags=0) for n in range(1, 40)] + [packet(40, symbol="SPY")])
    frame = buffer.frame()
    other = buffer.frame(last=20) if beside else None  # pandas copies before an edit where another frame shares its memory
    if rebuilt == "by a word":
        buffer.receive([packet(41, sentiment_label="fine")])
    elif rebuilt == "by two words":
        buffer.receive([packet(41, sentiment_label="fine", regime="Unheard-of")])
        buffer.frame()
        buffer.receive([packet(42, sentiment_label="worse", status="Odd")])
    elif rebuilt == "by a switch":
        buffer.receive([packet(n) for n in range(41, 400)])
    expected, other_then = buffer.frame(clean=False).copy(deep=True), beside and other.copy(deep=True)
    buffer.frame()
    EDITS[edit](frame)
    same(buffer.frame(clean=False), expected)
    same(buffer.frame(), expected)
    if beside:
        same(other, other_then)


def test_numpy_arrays_of_a_frame_cannot_be_written():
    frame = filled([packet(n) for n in range(1, 40)]).frame()
    for array in (
        frame["price"].to_numpy(),
        frame[["price", "nav"]].to_numpy(),
        frame["seq"].to_numpy(),
        frame["symbol"].cat.codes.to_numpy(),
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_usual_work_on_a_frame_is_possible():
    frame = filled([packet(n, nav=100.0 + n) for n in range(1, 100)]).frame()
    assert frame["price"].rolling("10s").mean().iloc[-1] == pytest.approx(94.5)
    assert frame.loc["2026-01-02 10:00:05":"2026-01-02 10:00:08", "price"].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert frame.resample("1min")["nav"].last().tolist() == [159.0, 199.0]
    assert frame.groupby("regime", observed=True)["price"].count().to_dict() == {"Gaussian": 99}
    assert len(pd.merge_asof(frame, frame[["nav"]], left_index=True, right_index=True)) == 99
    assert frame.reset_index().to_json(date_format="iso")
    assert frame.describe() is not None


# ── one writer, any reader ──


@pytest.fixture
def restless():
    """Threads take turns every hundredth of a millisecond, not every five."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.slow
@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("clean", [True, False])
def test_a_reader_that_hammers_sees_no_torn_snapshot_while_20000_packets_are_written(clean, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_FIRST", 256)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 64)
    count = 20_000
    buffer, faults, snapshots = RollingBuffer(max_rows=900), [], []
    done = threading.Event()

    def read():
        while not done.is_set():
            frame = buffer.frame(["seq", "price", "nav", "symbol", "reasoning", "received_mono_ns"], clean=clean)
            seq = frame["seq"].to_numpy().astype(np.int64)
            if not len(seq):
                continue
            snapshots.append(len(seq))
            if len(seq) > 900 or not (np.diff(seq) == 1).all():
                faults.append(("seq", seq))
            if not (frame["price"].to_numpy() == seq).all() or not (frame["nav"].to_numpy() == 2.0 * seq).all():
                faults.append(("values", seq))
            if not (frame["received_mono_ns"].to_numpy() == seq * SECOND).all() or frame["reasoning"].iloc[-1] != f"r{seq[-1]}":
                faults.append(("others", seq))
            if frame["symbol"].iloc[-1] != f"S{seq[-1] // 5000}":
                faults.append(("words", seq))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    batch = []
    for n in range(1, count + 1):
        flags = int(Flag.REPEAT) if not clean and n % 3 == 0 else 0
        batch.append(packet(n, nav=2.0 * n, symbol=f"S{n // 5000}", reasoning=f"r{n}", flags=flags))
        if n % 5 == 0:
            buffer.receive(batch)
            batch = []
    done.set()
    for thread in readers:
        thread.join()
    assert faults == []
    assert len(snapshots) >= 5, "on a busy machine; each of them was whole"
    assert buffer.frame(clean=False)["seq"].iloc[-1] == count
