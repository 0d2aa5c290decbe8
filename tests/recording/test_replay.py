from __future__ import annotations

import threading
import time

import pytest

from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import ConnectionState, Packet, StateChange
from ccwatch.recording import Recorder, Recording, ReplaySource
from ccwatch.source import Stop


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


def test_text_without_a_zone_is_utc_and_a_naive_datetime_is_refused(recorded, usual, packets_of):
    packets = packets_of(usual)
    recording = recorded(usual)
    sink = Collector()
    text = packets[10].time.strftime("%Y-%m-%d %H:%M:%S.%f")
    ReplaySource(recording, speed="max", start=text).stream(sink, Stop())
    assert [item for item in sink.items if isinstance(item, Packet)] == packets[10:]
    with pytest.raises(ConfigError, match="no time zone"):
        ReplaySource(recording, start=packets[0].time.replace(tzinfo=None))
    with pytest.raises(ConfigError, match="not a moment"):
        ReplaySource(recording, end="soon")


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), "fast", True, None])
def test_a_speed_that_is_none_is_refused(recorded, usual, speed):
    with pytest.raises(ConfigError, match="speed"):
        ReplaySource(recorded(usual[:3]), speed=speed)


def test_it_keeps_the_pace_of_the_monotonic_clock_and_catches_up_what_it_owes(recorded, conversation, usual, packets_of):
    raws = [packet.raw for packet in packets_of(usual)[:40]]
    recording = recorded(conversation([raws], step_ns=100_000_000))
    sink = Collector()
    began = time.monotonic()
    ReplaySource(recording, speed=10).stream(sink, Stop())
    took = time.monotonic() - began
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
    thread.join(1)
    assert not thread.is_alive()
    assert time.monotonic() - began < 0.5
