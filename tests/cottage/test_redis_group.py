"""A group of readers beside a real redis-server: whichever is killed, each packet is in one recording, once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from ccwatch.cottage import RedisStreamSource, StreamAddress, StreamWriter
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.stream.source import Held, Stop

pytestmark = pytest.mark.redis


class Kept:
    """A recorder that is on no disk: it says what the test sets."""

    def __init__(self, held=None, durable=0):
        self.durable, self.found, self.asked = durable, held, []

    def durable_seq(self):
        return self.durable

    def places(self):
        return (f"place of {id(self)}",)

    def held(self, places, /):
        self.asked.append(places)
        return self.found


class Reader:
    """A source of the group in a thread of its own, whose items are kept in memory."""

    def __init__(self, server, keeper=None):
        self.source = RedisStreamSource(StreamAddress.parse(f"{server.url}?stream=desk&group=g&start=0"))
        if keeper is not None:
            self.source.kept_by(keeper)
        self.items, self.stop = [], Stop()

    def receive(self, items):
        self.items += items

    @property
    def packets(self):
        return [bytes(item.raw) for item in self.items if isinstance(item, Packet)]

    @property
    def heard(self):
        return [item.detail for item in self.items if isinstance(item, Event) and item.kind in {EventKind.MARK, EventKind.GAP}]

    def read(self, until, packets):
        """Read until so many packets came, then end without a word, as a killed process would."""
        import threading  # noqa: PLC0415

        thread = threading.Thread(target=self.source.stream, args=(self, self.stop), name="reader")
        thread.start()
        try:
            until(lambda: len(self.packets) >= packets)
        finally:
            self.stop.set()
            thread.join()
        return self


@pytest.fixture
def sent(server):
    """Ten entries in the stream."""
    server.start()
    source = messages(seed=4)
    raws = [next(source) for _ in range(10)]
    with StreamWriter(StreamAddress.parse(f"{server.url}?stream=desk")) as writer:
        for raw in raws:
            writer.add(raw)
        assert writer.flush(20)
    return raws


@pytest.mark.parametrize("held", [0, 4, 10])
def test_the_next_reader_reads_what_the_recording_of_the_former_one_does_not_hold(server, sent, until, held):
    assert Reader(server, Kept()).read(until, 10).packets == sent
    keeper = Kept(Held(held))
    second = Reader(server, keeper)
    with redis.Redis(port=server.port) as client:
        assert client.xpending("desk", "g")["pending"] == 10
        second.read(lambda _: until(lambda: client.xpending("desk", "g")["pending"] == 10 - held and len(second.packets) == 10 - held), 0)
        assert client.hlen("desk:g:handed") == 10 - held
    assert second.packets == sent[held:]
    assert second.heard == []
    assert len(keeper.asked) == 1


def test_where_the_recording_cannot_be_looked_at_packets_come_again_and_a_mark_says_how_many(server, sent, until):
    Reader(server, Kept(durable=3)).read(until, 10)
    second = Reader(server, Kept(Held(None))).read(until, 7)
    assert second.packets == sent[3:]
    assert second.heard[0].startswith("up to 7 messages may be recorded twice")


def test_a_reader_that_still_runs_finishes_what_it_took(server, sent, until):
    Reader(server, Kept()).read(until, 10)
    keeper = Kept(Held(None, is_growing=True))
    second = Reader(server, keeper)

    def look(_):
        until(lambda: keeper.asked)
        keeper.found = Held(8)  # it has ended now
        until(lambda: len(second.packets) == 2)

    second.read(look, 0)
    assert second.packets == sent[8:]


def test_what_was_trimmed_before_it_was_recorded_is_a_gap_of_its_size(server, sent, until):
    Reader(server, Kept()).read(until, 10)
    with redis.Redis(port=server.port) as client:
        client.xtrim("desk", maxlen=4, approximate=False)
    second = Reader(server, Kept(Held(2))).read(until, 4)
    assert second.packets == sent[6:]
    assert second.heard == ["messages=4 reason=trimmed"]


def test_a_message_whose_answer_was_lost_is_not_written_twice(server, sent):
    with StreamWriter(StreamAddress.parse(f"{server.url}?stream=desk")) as writer:
        writer.add(sent[0])
        assert writer.flush(20)
        written = writer.written
        writer._waiting.append((writer._asked, sent[0], time.time_ns(), writer._epoch))  # as if Redis had gone before it answered
        with writer._address.client() as client:
            writer._forget_written_before(client)
            assert client.xlen("desk") == len(sent) + 1
        assert writer.written == written + 1


@pytest.mark.slow
@pytest.mark.skipif("CCWATCH_FULL" not in os.environ, reason="minutes; test_redis_stream kills one recorder")
def test_whatever_is_killed_each_packet_is_recorded_exactly_once(server, tmp_path):  # noqa: ARG001 - asks for a redis-server
    """The stated count of kills is for python -m tests.cottage.kills, which forks: so does this, in a process without threads."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.cottage.kills", str(tmp_path), "--kills", "60", "--seed", str(int(time.time()))]
    heard = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900, check=True).stdout
    assert "\n0 missing, 0 twice, 0 of no entry" in heard
