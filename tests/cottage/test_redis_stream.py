"""A stream of Redis as the carrier, beside a real redis-server: what is missing is a gap with its size, and readers stand by."""

from __future__ import annotations

import json
import os
import re
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
from ccwatch.errors import ConfigError
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.stream.source import Stop
from tests.cottage.conftest import Redis

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.redis


def raws(count: int) -> list[bytes]:
    source = messages(seed=4)
    return [next(source) for _ in range(count)]


def address(server: Redis, more: str = "") -> str:
    return f"{server.url}?stream=desk{more}"


def test_what_is_written_is_read_byte_for_byte_from_the_newest_on_and_from_the_beginning(server, until):
    server.start()
    sent = raws(40)
    with StreamWriter(StreamAddress.parse(address(server))) as writer:
        for raw in sent[:20]:
            writer.add(raw)
        assert writer.flush(5)
        with cw.connect(address(server)) as late, cw.connect(address(server, "&start=0"), name="whole") as whole:
            late.wait()
            whole.wait(20)
            got: list[bytes] = []
            late.on_packet(lambda packet: got.append(packet.raw))
            for raw in sent[20:]:
                writer.add(raw)
            late.wait(21)
            whole.wait(40)
            until(lambda: len(got) >= 20)
            assert [bytes(raw) for raw in got[-20:]] == sent[20:]
            assert whole.health().packets == 40
            assert whole.health().gaps == 0
            assert late.url == address(server)


@pytest.mark.slow
def test_messages_wait_while_redis_is_gone_and_readers_go_on_by_id(server, until):
    server.start()
    with StreamWriter(StreamAddress.parse(address(server))) as writer, cw.connect(address(server)) as feed:
        SyntheticSource(seed=1, packets=30, pace="max").stream(writer, Stop())
        feed.wait()
        until(lambda: feed.health().packets and writer.flush(0.1))
        server.kill()
        for raw in raws(20):
            writer.add(raw)
        server.start()  # restarted empty
        assert writer.flush(15)
        before = feed.health().packets
        until(lambda: feed.health().packets >= before)
        until(lambda: any(kind == "disconnect" for kind in feed.events()["kind"]))
        assert not any("messages=" in detail for detail in feed.events()["detail"])


def test_what_was_trimmed_beyond_a_reader_is_a_gap_of_its_size(server, until):
    server.start()
    sent = raws(60)
    with StreamWriter(StreamAddress.parse(address(server))) as writer, redis.Redis(port=server.port) as client:
        writer.add(sent[0])
        assert writer.flush(5)
        with cw.connect(address(server)) as feed:
            feed.wait()
            with client.pipeline(transaction=True) as pipe:  # between two looks of the reader: written and trimmed at once
                for n, raw in enumerate(sent[1:51], 2):
                    pipe.xadd("desk", {"raw": raw, "n": n, "epoch": epoch(client), "at": time.time_ns()})
                pipe.xtrim("desk", maxlen=10, approximate=False)
                pipe.execute()
            until(lambda: feed.health().packets >= 11)
            gaps = [detail for kind, detail in feed.events()[["kind", "detail"]].itertuples(index=False) if kind == "gap"]
            assert [re.search(r"messages=(\d+) reason=missing", gap)[1] for gap in gaps if "messages=" in gap] == ["40"]
            assert feed.health().gaps >= 1


def epoch(client: redis.Redis) -> bytes:
    return client.xrevrange("desk", count=1)[0][1][b"epoch"]


def test_another_writers_epoch_is_a_gap_of_unknown_size(server, until):
    server.start()
    with redis.Redis(port=server.port) as client, cw.connect(address(server, "&start=0")) as feed:
        for name in (b"one", b"two"):
            client.xadd("desk", {"raw": raws(1)[0], "n": 1, "epoch": name, "at": time.time_ns()})
        feed.wait(2)
        until(lambda: any("messages=unknown reason=restarted" in detail for detail in feed.events()["detail"]))


@pytest.mark.parametrize("fields", [{"payload": "RAW"}, {"anything": "RAW"}, {"symbol": "SPY", "price": "450.25", "status": "ACTIVE"}])
def test_streams_of_others_are_read(server, fields):
    server.start()
    state = json.dumps({"symbol": "SPY", "price": 450.25, "status": "ACTIVE"})
    with redis.Redis(port=server.port) as client:
        client.xadd("desk", {name: state if value == "RAW" else value for name, value in fields.items()})
    with cw.connect(address(server)) as feed:
        feed.wait()
        assert (feed.latest.symbol, feed.latest.price, feed.latest.status) == ("SPY", 450.25, "ACTIVE")


def test_a_stream_is_bounded_by_its_length(server):
    server.start()
    with StreamWriter(StreamAddress.parse(address(server)), max_length=100) as writer, redis.Redis(port=server.port) as client:
        for raw in raws(600):
            writer.add(raw)
        assert writer.flush(10)
        assert 100 <= client.xlen("desk") <= 300


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://h/0?stream=", "redis://h:port/0?stream=x", "redis://:passw0rd@h/0?strea=x", "rediss:///0?stream=x"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(ConfigError, match=r"expected redis://HOST:PORT/DB\?stream=NAME") as refused:
        cw.connect(url)
    assert "passw0rd" not in str(refused.value)


def test_a_redis_that_is_not_there_is_said(until):
    with cw.connect("redis://:passw0rd@127.0.0.1:1/0?stream=x") as feed:
        until(lambda: feed.error is not None)
        assert "passw0rd" not in f"{feed.error}{feed.url}{feed!r}{feed.health()}"


@pytest.mark.slow
def test_two_recorders_of_a_group_stand_by_for_each_other_and_each_packet_is_recorded_once(server, tmp_path, until):
    """The one that reads is killed; what its recording does not hold is recorded by the other."""
    server.start()
    command = [sys.executable, "-m", "ccwatch", "record", address(server, "&group=desk"), "--path"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    recorders = [
        subprocess.Popen([*command, str(tmp_path / name)], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for name in ("a", "b")
    ]
    sent = raws(200)
    with redis.Redis(port=server.port) as client, StreamWriter(StreamAddress.parse(address(server))) as writer:
        until(lambda: client.exists("desk:desk:reader"), 60)
        for n, raw in enumerate(sent):
            writer.add(raw)
            time.sleep(0.01)
            if n == 100:
                held = {name: packets(tmp_path / name) for name in ("a", "b")}
                recorders["ab".index(max(held, key=lambda name: len(held[name])))].send_signal(signal.SIGKILL)
        assert writer.flush(30)
        until(lambda: is_settled(client), 60)
    for recorder in recorders:
        recorder.terminate()
        recorder.wait(60)
    assert sorted(packets(tmp_path / "a") + packets(tmp_path / "b")) == sorted(sent)


def is_settled(client: redis.Redis) -> bool:
    (group,) = client.xinfo_groups("desk")
    return not group["pending"] and not group["lag"]


def packets(folder: Path) -> list[bytes]:
    return [bytes(packet.raw) for path in folder.glob("*/session.json") for packet in cw.open_recording(path.parent).packets()]
