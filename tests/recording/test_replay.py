from __future__ import annotations

import json
import shutil
import threading
import time

import pandas as pd
import pytest
from hypothesis import given, strategies as st

import ccwatch as cw
from ccwatch.errors import ConfigError
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import ConnectionState, Packet, StateChange
from ccwatch.recording import Recorder, Recording, ReplayClock, ReplaySource
from ccwatch.stream.source import Stop
from tests.protocol.shapes import SHAPES, examples


class Collector:
    def __init__(self):
        self.items, self.arrivals, self.batches = [], [], 0
        self.arrived = threading.Event()

    def receive(self, items, /):
        self.batches += 1
        self.items.extend(items)
        self.arrivals.extend([time.monotonic()] * len(items))
        self.arrived.set()

    def recorded(self):
        return [item for item in self.items if not isinstance(item, StateChange)]


@pytest.fixture
def recorded(tmp_path):
    def record(items, origin="synthetic"):
        with Recorder(tmp_path / "s", url="", origin=origin) as one:
            one.receive(items)
        return Recording(one.path)

    return record


def test_at_max_speed_everything_comes_in_order_as_it_was_received(recorded, varied):
    source = ReplaySource(recorded(varied), speed="max")
    assert source.origin == "synthetic"
    for _ in range(2):
        sink = Collector()
        source.stream(sink, Stop())
        assert sink.recorded() == varied


USUAL = json.loads(next(messages(4)))
EVERY = [shape for shapes in SHAPES.values() for shape in shapes]
NUMBERS = st.floats(0.001, 1e6) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**60) | st.sampled_from([0, 1.0, -0.0])


def leaves(value, path=()):
    """The path of each number of a message."""
    if isinstance(value, dict):
        return [found for key, below in value.items() for found in leaves(below, (*path, key))]
    return [path] if type(value) in (int, float) else []


@st.composite
def streams(draw):
    """Messages of one shape of a dialect, their numbers changed from one to the next, some sent twice, and some of other shapes."""
    message = draw(st.sampled_from([*EVERY, USUAL]))
    paths = leaves(message)
    sent = []
    for n in range(draw(st.integers(10, 30))):
        copy = json.loads(json.dumps(message))
        for path in paths:
            below = copy
            for key in path[:-1]:
                below = below[key]
            below[path[-1]] = draw(NUMBERS) if n % 3 == 0 else below[path[-1]]
        sent.append(codec.dumps(copy))
    others = draw(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([*map(codec.dumps, EVERY), b"no JSON", sent[0]])), max_size=4))
    for place, other in others:
        sent.insert(place, other)
    return sent


@pytest.mark.slow
@pytest.mark.parametrize("raw", ["auto", "always", "never"])
def test_what_is_replayed_is_what_was_received_in_every_dialect(tmp_path_factory, conversation, raw):
    @examples(6)
    @given(streams())
    def holds(sent):
        items = conversation([sent])
        path = tmp_path_factory.mktemp("replay") / "s"
        with Recorder(path, url="", origin="live", raw=raw) as one:
            one.receive(items)
        sink = Collector()
        ReplaySource(Recording(path), speed="max").stream(sink, Stop())
        kept = items if raw != "never" else [item._replace(raw=b"") if isinstance(item, Packet) else item for item in items]
        assert sink.recorded() == kept
        shutil.rmtree(path)

    holds()


def test_the_state_follows_the_events(recorded, varied):
    sink = Collector()
    ReplaySource(recorded(varied), speed="max").stream(sink, Stop())
    states = [item.state for item in sink.items if isinstance(item, StateChange)]
    assert states == [ConnectionState.OPEN, ConnectionState.DISCONNECTED] * 2
    assert isinstance(sink.items[1], StateChange)


def test_a_replay_from_the_middle_is_open(recorded, usual, packets_of):
    packets = packets_of(usual)
    sink = Collector()
    ReplaySource(recorded(usual), speed="max", start=packets[10].time, end=packets[20].time).stream(sink, Stop())
    assert [item for item in sink.items if isinstance(item, Packet)] == packets[10:21]
    assert next(item for item in sink.items if isinstance(item, StateChange)).state is ConnectionState.OPEN


@pytest.mark.slow
def test_text_without_a_zone_is_utc_and_a_naive_datetime_is_refused(recorded, usual, packets_of):
    packets = packets_of(usual)
    recording = recorded(usual)
    sink = Collector()
    text = packets[10].time.strftime("%Y-%m-%d %H:%M:%S.%f")
    ReplaySource(recording, speed="max", start=text).stream(sink, Stop())
    assert [item for item in sink.items if isinstance(item, Packet)] == packets[10:]
    with pytest.raises(ConfigError, match="no time zone"):
        ReplaySource(recording, start=packets[0].time.replace(tzinfo=None))
    with pytest.raises(ConfigError, match="'soon' is no time"):
        ReplaySource(recording, end="soon")
    with pytest.raises(ConfigError, match=r"'03:31:10' .* does not lie in this session"):
        ReplaySource(recording, start="03:31:10")


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), "fast", True, None])
def test_a_speed_that_is_none_is_refused(recorded, usual, speed):
    with pytest.raises(ConfigError, match="speed"):
        ReplaySource(recorded(usual[:3]), speed=speed)


def test_it_keeps_the_pace_of_the_monotonic_clock_and_catches_up_what_it_owes(recorded, conversation, usual, packets_of):
    raws = [packet.raw for packet in packets_of(usual)[:40]]
    recording = recorded(conversation([raws], step_ns=100_000_000))
    for _ in range(3):  # a machine may pause during one of them
        sink = Collector()
        began = time.monotonic()
        ReplaySource(recording, speed=10).stream(sink, Stop())
        took = time.monotonic() - began
        if took < 0.9:
            break
    assert 0.39 <= took < 0.9
    due = [(item.received_mono_ns - sink.recorded()[0].received_mono_ns) / 1e10 for item in sink.recorded()]
    arrived = [arrival for arrival, item in zip(sink.arrivals, sink.items, strict=True) if not isinstance(item, StateChange)]
    assert all(moment - began >= wanted - 0.001 for moment, wanted in zip(arrived, due, strict=True)), "nothing comes early"


def test_a_replay_that_waits_stops_at_once(recorded, usual):
    sink, stop = Collector(), Stop()
    thread = threading.Thread(target=ReplaySource(recorded(usual), speed=0.01).stream, args=(sink, stop))
    thread.start()
    assert sink.arrived.wait(5), "what is due is handed over before the wait"
    began = time.monotonic()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("spans", "begins"),
    [
        ([(0, 60), (10, 70)], [0.0, 10.0]),  # side by side
        ([(0, 60), (86_400, 86_460)], [0.0, 60.0]),  # a day apart: one after the other
        ([(86_400, 86_460), (0, 60), (30, 90)], [90.0, 0.0, 30.0]),
    ],
)
def test_replays_on_one_clock_begin_as_far_apart_as_they_were_recorded_without_the_idle_time(spans, begins, monkeypatch):
    class Recorded:
        def __init__(self, span):
            self.ends = lambda: tuple(pd.Timestamp(second, unit="s", tz="UTC").as_unit("ns") for second in span)

    clock = ReplayClock()
    placed = [clock.place(Recorded(span), None, 2.0) for span in spans]
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert [begin() for begin in placed] == [1000.0 + begin / 2.0 for begin in begins]
    monkeypatch.setattr(time, "monotonic", lambda: 2000.0)
    assert placed[0]() == 1000.0 + begins[0] / 2.0, "the clock has begun"


@pytest.mark.slow
def test_two_recordings_on_one_clock_are_two_feeds_that_end_with_the_rows_of_each(tmp_path):
    for seed, name in ((4, "20260102T100000Z-paper-0000"), (5, "20260102T100001Z-live-0000")):
        with Recorder(tmp_path / name, url="", origin="synthetic") as one:
            SyntheticSource(seed=seed, packets=40, rate=20, pace="max").stream(one, Stop())
    both = [cw.open_recording(path) for path in sorted(tmp_path.iterdir())]
    with cw.replay({"paper": both[0], "live": both[1]}, speed=200.0) as feeds:
        assert [feed.name for feed in feeds] == ["paper", "live"]
        assert feeds.join(30)
        for feed, recording in zip(feeds, both, strict=True):
            assert feed.state == "ENDED"
            pd.testing.assert_frame_equal(feed.frame(), recording.frame())
        with cw.watch(feeds) as shown:
            assert shown.view.name == "paper"
    with cw.replay(both, speed="max") as feeds:
        assert len({feed.name for feed in feeds}) == 2
        assert feeds.join(30)
    for wrong in ([], {}):
        with pytest.raises(ConfigError, match="expected several recordings"):
            cw.replay(wrong)
    with pytest.raises(ConfigError, match="expected a Recording, its path, its name"):
        cw.replay([both[0], 42])
