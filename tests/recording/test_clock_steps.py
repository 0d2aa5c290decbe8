"""The wall clock is stepped while a stream is recorded: nothing is lost, and the recording tells the same as the feed."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest
from pandas.testing import assert_frame_equal

from ccwatch.feed.feed import Feed
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import EventKind, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording, list_recordings, recorder as recorder_module, recover, writer

HOUR_S = 3600
START_NS = 1_767_364_200 * 10**9
EVERY = [column.name for column in TABLES["packets"][1:]]
STEPS = {
    "forward by hours": (0, 5 * HOUR_S),
    "back by hours": (0, -5 * HOUR_S),
    "there and back": (0, 3 * HOUR_S, -3 * HOUR_S, 0),
    "daylight saving at midnight": (0, HOUR_S, 0),
}


class Clock:
    """Both clocks of a machine whose wall clock is stepped; the monotonic one goes on."""

    def __init__(self):
        self.mono_ns, self.step_s = 10**9, 0

    def __call__(self):
        return Instant(START_NS + self.mono_ns + self.step_s * 10**9, self.mono_ns)


class Stepped:
    """A source of 120 packets, one a second, under a clock that is stepped between them."""

    def __init__(self, clock, steps):
        self.clock, self.steps = clock, steps

    def stream(self, sink, stop):
        session = StreamReader()
        sink.receive(session.opened(self.clock()))
        for n, raw in enumerate(islice(messages(3, "calm", 1.0), 120)):
            self.clock.mono_ns += 10**9
            self.clock.step_s = self.steps[n * len(self.steps) // 120]
            sink.receive(session.tick(self.clock()))
            sink.receive(session.receive(raw, self.clock()))
            if stop.is_set():
                return


@pytest.mark.slow
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_step_of_the_wall_clock_loses_nothing_and_the_recording_is_the_feeds(tmp_path, monkeypatch, steps):
    clock = Clock()
    for module in (recorder_module, writer):
        monkeypatch.setattr(module, "read_clock", clock)
    feed = Feed(Stepped(clock, steps), name=f"steps {steps}", url="test", on_demand=True)
    recorder = Recorder(tmp_path / "s", url="", origin="live")
    feed.add_sink(recorder)
    feed.start()
    feed.join(60)
    recorder.stop(finish=False)
    recording = Recording(recorder.path)
    packets = [item for item in recording.items() if isinstance(item, Packet)]
    assert [packet.seq for packet in packets] == list(range(1, 121))
    assert recorder.dropped == 0
    live = {"clean": feed.frame(), "every": feed.frame(EVERY, clean=False), "last": feed.frame(last="20s"), "events": feed.events()}
    for _ in ("killed", "recovered"):
        assert_frame_equal(recording.frame(), live["clean"])
        assert_frame_equal(recording.frame(EVERY, clean=False), live["every"])
        assert_frame_equal(recording.frame(last="20s"), live["last"])
        for last in ("50s", "2min"):
            assert_frame_equal(recording.frame(last=last), feed.frame(last=last))
            assert_frame_equal(recording.agents(last), feed.agents(last))
        assert_frame_equal(recording.events(), live["events"])
        gaps = recording.events().loc[lambda rows: rows["kind"] != EventKind.CONNECT, ["kind", "detail"]].to_numpy().tolist()
        assert all(kind == EventKind.GAP and "reason=sleep" in detail for kind, detail in gaps)
        assert len(gaps) == sum(after > before for before, after in pairwise(steps)), "a leap forward may have been a sleep, one back not"
        info = recording.info()
        assert (info.packets, info.gaps, info.damaged, info.duration_s) == (120, len(gaps), 0, 119.0)
        assert recording.verify(deep=True).ok
        recover(recorder.path)
    assert list_recordings(tmp_path).loc["s", "packets"] == 120
    feed.stop()
