"""Who writes a stream of Redis, beside a real redis-server: one writer at a time, and the next one at once or when the right lapses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import ccwatch as cw
from ccwatch.cottage.redis_entries import StreamAddress
from ccwatch.cottage.redis_writer import StreamWriter
from ccwatch.feed.synthetic import messages
from tests.cottage.conftest import Redis

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.redis
RAW = next(messages(seed=4))


def address(server: Redis) -> StreamAddress:
    return StreamAddress.parse(f"{server.url}?stream=desk")


def numbers(server: Redis) -> list[tuple[bytes, int]]:
    """Epoch and number of every entry."""
    with redis.Redis(port=server.port) as client:
        return [(fields[b"epoch"], int(fields[b"n"])) for _, fields in client.xrange("desk")]


def test_a_second_writer_stands_by_and_goes_on_in_the_numbers_once_the_first_ends(server, until):
    server.start()
    with StreamWriter(address(server)) as first:
        first.add(RAW)
        assert first.flush(20)
        with StreamWriter(address(server)) as second:
            until(lambda: second.trouble and "stands by" in second.trouble)
            second.add(RAW)  # waits for the right
            assert not second.flush(0.3)
            assert [n for _, n in numbers(server)] == [1]
            first.stop()
            assert second.flush(20)
    (epoch, one), (other, two) = numbers(server)
    assert (one, two) == (1, 2)
    assert epoch != other, "what the first one had not written is missing"


@pytest.mark.slow
def test_a_killed_writers_right_lapses_but_its_successor_of_the_same_owner_goes_on_at_once(server):
    server.start()
    script = (
        "import sys; from ccwatch.cottage import StreamAddress, StreamWriter\n"
        "writer = StreamWriter(StreamAddress.parse(sys.argv[1]), owner='desk'); writer.add(b'{}'); print(writer.flush(20), flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, f"{server.url}?stream=desk"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as dead:
        assert dead.stdout is not None
        assert dead.stdout.readline() == b"True\n"
        os.kill(dead.pid, signal.SIGKILL)
    with StreamWriter(address(server)) as stranger:
        with StreamWriter(address(server), owner="desk") as successor:
            assert successor.begun.wait(20)
            assert not stranger.begun.is_set()
        assert stranger.begun.wait(20)


@pytest.mark.parametrize("again", [True, False])
def test_a_writer_that_was_paused_while_another_wrote_writes_nothing_more(server, until, again):
    server.start()
    with StreamWriter(address(server)) as paused, redis.Redis(port=server.port) as client:
        paused.add(RAW)
        assert paused.flush(20)
        with client.pipeline(transaction=True) as pipe:  # as if its right had lapsed, and the next one had it
            pipe.set("desk:writer", "another") if again else pipe.delete("desk:writer")
            pipe.incr("desk:writer:term")
            pipe.execute()
        paused.add(RAW)
        until(paused.lost.is_set)
        assert not paused.flush(0.2)
    assert len(numbers(server)) == 1


def test_a_redis_that_comes_back_empty_is_written_on_by_the_same_writer(server):
    server.start()
    with StreamWriter(address(server)) as writer:
        writer.add(RAW)
        assert writer.flush(20)
        server.kill()
        server.start()
        writer.add(RAW)
        assert writer.flush(20)
        assert not writer.lost.is_set()
    assert [n for _, n in numbers(server)] == [2]


def test_a_redis_that_is_full_is_written_on_once_it_has_room(server, until):
    server.start()
    with StreamWriter(address(server)) as writer, redis.Redis(port=server.port) as client:
        writer.add(RAW)
        assert writer.flush(20)
        client.config_set("maxmemory", 1)
        for _ in range(3):
            writer.add(RAW)
        until(lambda: writer.trouble and "OutOfMemory" in writer.trouble)
        client.config_set("maxmemory", 0)
        assert writer.flush(20)
    assert [n for _, n in numbers(server)] == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_a_seeded_engine_writes_cannot_pass_for_live(server, tmp_path):
    server.start()
    with (
        StreamWriter(address(server), origin="synthetic") as writer,
        cw.record(f"{server.url}?stream=desk", tmp_path / "alone") as alone,
        cw.record(f"{server.url}?stream=desk&group=g&start=0", tmp_path / "group") as group,
    ):
        deadline = time.monotonic() + 20
        while (alone.stats.durable_seq < 1 or group.stats.durable_seq < 1) and time.monotonic() < deadline:
            writer.add(RAW)
            time.sleep(0.1)
    assert cw.open_recording(alone.path).origin == "synthetic"
    assert cw.open_recording(group.path).origin == "synthetic"
