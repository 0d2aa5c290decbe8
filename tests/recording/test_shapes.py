"""Deployed servers' shapes: a recording's frames and packets equal the live ones, whatever state it is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import Instant, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording, recover

SHAPES = Path(__file__).parent / "shapes"
STREAMS = ("bff-over-database-engine", "engine-socket", "others", "all")
START_NS = 1_795_788_000_000_000_000


def messages(name):
    if name == "all":
        return [raw for stream in STREAMS[:-1] for raw in messages(stream)]
    if name == "others":
        return [text.encode("utf-8", "surrogatepass") for text in json.loads((SHAPES / "others.json").read_text())]
    return (SHAPES / f"{name}.txt").read_bytes().splitlines()


@pytest.fixture(scope="module", params=STREAMS)
def items(request):
    """The stream, twice: the second connection repeats what the first one brought, as servers do."""
    session = StreamReader()
    found, n = [], 0
    for _ in range(2):
        found += session.opened(Instant(START_NS + n * 10**9, n * 10**9))
        for raw in messages(request.param):
            n += 1
            found += session.receive(raw, Instant(START_NS + n * 10**9, n * 10**9))
        found += session.closed(Instant(START_NS + n * 10**9, n * 10**9), "code=1006")
    return [item for item in found if not isinstance(item, StateChange)]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["finished", "killed", "recovered", "half"])
@pytest.mark.parametrize("raw", ["auto", "always", "never"])
def test_a_recordings_frames_equal_the_live_ones(items, state, raw, tmp_path):
    recorder = Recorder(tmp_path / "s", url="", origin="live", raw=raw)
    recorder.receive(items[: len(items) // 2])
    if state == "half":
        recorder.rotate()
    recorder.receive(items[len(items) // 2 :])
    recorder.stop(finish=state == "finished")
    if state == "recovered":
        assert recover(recorder.path).is_whole
    recording = Recording(recorder.path)
    live = RollingBuffer(window="3650D")
    live.receive(items)
    every = [column.name for column in TABLES["packets"] if column.name != "time"]
    assert_frame_equal(recording.frame(every, clean=False), live.frame(every, clean=False))
    assert_frame_equal(recording.frame(), live.frame())
    for table in TABLES:
        if table != "packets":
            assert_frame_equal(getattr(recording, table)(), live.long(table), obj=table)
    if raw != "never":
        assert list(recording.items()) == items
    assert recording.verify(deep=True).ok


def test_calls_stay_known_across_reconnects_and_within_a_recording(tmp_path):
    """A call that the server sends again, in each packet and after a reconnect, is one row."""
    session = StreamReader()
    found, n = [], 0
    for _ in range(3):
        found += session.opened(Instant(START_NS + n * 10**9, n * 10**9))
        for raw in messages("bff-over-database-engine"):
            n += 1
            found += session.receive(raw, Instant(START_NS + n * 10**9, n * 10**9))
    with Recorder(tmp_path / "s", url="", origin="live") as recorder:
        recorder.receive(found)
    agents = Recording(recorder.path).agents()
    assert len(agents) > 0
    calls = agents.reset_index()[["time", "agent", "latency_ms"]]
    sent = {
        (name, call["timestamp"], call["latency_ms"])
        for raw in messages("bff-over-database-engine")
        for name, list_ in json.loads(raw)["data"].get("agents", {}).items()
        for call in list_
    }
    assert len(calls) == len(sent)
    assert agents.groupby("agent", observed=True)["invocations"].apply(lambda counts: list(counts) == list(range(1, len(counts) + 1))).all()
