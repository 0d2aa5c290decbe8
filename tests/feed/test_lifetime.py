"""The life of a feed: it runs once, begins on demand, cannot be copied, and ends in a forked child."""

from __future__ import annotations

import copy
import os
import pickle
import sys

import pytest

import ccwatch as cw
from ccwatch.errors import FeedClosed
from ccwatch.protocol.messages import Packet
from tests.feed.conftest import wait_until
from tests.feed.servers import frame, telemetry
from tests.protocol.shapes import ENGINE_LOOP, PIPELINE, contract, decode

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_a_packet_can_be_pickled_and_copied():
    packets = [decode(contract(foreign={"deep": [1, None]})), decode(PIPELINE), decode(ENGINE_LOOP)]
    with cw.synthetic(packets=50, pace="max") as feed:
        feed.on_packet(packets.append)
        feed.join(10)
        wait_until(lambda: len(packets) == 53)  # a callback has a thread of its own
    for packet in packets:
        for again in (
            pickle.loads(pickle.dumps(packet)),  # noqa: S301 - our own bytes
            copy.copy(packet),
            copy.deepcopy(packet),
        ):
            assert type(again) is Packet
            assert again == packet
            assert hash(again.raw) == hash(packet.raw)
            with pytest.raises(TypeError):
                again.extra["x"] = 1


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_feed_and_a_recorder_say_why_they_cannot_be_copied(tmp_path, act):
    with cw.synthetic(packets=5, pace="max") as feed, cw.record(feed, tmp_path / "r") as recorder:
        with pytest.raises(TypeError, match="thread and a connection"):
            act(feed)
        with pytest.raises(TypeError, match="hand over its path"):
            act(recorder)


def test_a_feed_runs_once():
    with cw.synthetic(packets=3, rate=10) as feed:
        assert feed.start() is feed, "one that runs is left as it is"
        feed.join(5)
    with pytest.raises(FeedClosed, match="a feed runs once"):
        feed.start()


def test_a_stream_at_pace_max_begins_when_a_listener_is_added():
    with cw.synthetic(packets=200, pace="max") as feed:
        assert feed.health().packets == 0
        assert feed.state == "CONNECTING"
        seen = []
        feed.on_packet(seen.append)
        wait_until(lambda: len(seen) == 200)  # a callback has a thread of its own
    assert seen[0].seq == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda feed: feed.wait(200),
        lambda feed: feed.join(10),
        lambda feed: feed.frame(),
        lambda feed: feed.logs(),
        lambda feed: feed.latest,
    ],
    ids=["wait", "join", "frame", "logs", "latest"],
)
def test_it_begins_when_somebody_waits_joins_or_reads(act):
    with cw.synthetic(packets=200, pace="max") as feed:
        act(feed)
        feed.join(10)
        assert len(feed.frame()) == 200


@pytest.mark.slow
def test_a_recorder_of_it_gets_the_first_packet(tmp_path):
    with cw.synthetic(packets=500, pace="max") as feed, cw.record(feed, tmp_path) as recorder:
        feed.join(10)
    assert [packet.seq for packet in cw.open_recording(recorder.path).packets()] == list(range(1, 501))


def test_one_that_was_stopped_before_it_began_stays_empty():
    feed = cw.synthetic(packets=5, pace="max")
    feed.stop()
    assert len(feed.frame()) == 0
    assert feed.state == "STOPPED"
    with pytest.raises(FeedClosed, match="a feed runs once"):
        feed.start()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_in_a_forked_child_a_feed_is_stopped_with_the_reason_and_the_parents_goes_on(raw, live):
    def script(peer):
        peer.shake()
        for n in range(2):
            peer.send(frame(telemetry(n)))
        peer.frame()
        peer.send(frame(telemetry(2)))
        peer.until_gone()

    server = raw(script)
    feed = live(server.url).wait(2)
    child = os.fork()
    if child == 0:
        heard = 1
        try:
            reason = ""
            try:
                feed.wait(3, timeout=5)
            except FeedClosed as closed:
                reason = str(closed)
            is_stopped = feed.state == "STOPPED" and "forked" in str(feed.error) and "forked" in reason
            rows = len(feed.frame(clean=False))
            feed.stop()
            heard = 0 if is_stopped and rows == 2 else 2
        finally:
            os._exit(heard)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert feed.state == "OPEN"
    feed.wait(3, timeout=10)
