from __future__ import annotations

import itertools
import json
import threading

import pytest

from ccwatch.cottage import Cottage
from ccwatch.cottage.broadcaster import Message, SlowPolicy
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import read_clock


class Scripted:
    """A source of given messages, one after the other."""

    def __init__(self, raws):
        self.raws = raws

    def stream(self, sink, stop):
        session = StreamReader()
        session.opened(read_clock())
        for raw in self.raws:
            if stop.is_set():
                return
            sink.receive(session.receive(raw, read_clock()))


def sized(n, size):
    """A contract message whose log line pads it to exactly this many bytes."""
    body = {"type": "TELEMETRY", "data": {"timestamp": f"2026-01-02T14:{n // 60:02}:{n % 60:02}Z", "pad": ""}}
    empty = len(json.dumps(body, separators=(",", ":")))
    body["data"]["pad"] = "x" * (size - empty)
    return json.dumps(body, separators=(",", ":")).encode()


@pytest.mark.parametrize("size", [125, 126, 127, 65_535, 65_536, 200_000])
def test_messages_of_every_length_arrive_whole(ws, size):
    with Cottage(Scripted([sized(1, size)]), Options(start_on_first_client=True)) as cottage:
        client = ws(cottage.engine_url)
        assert client.recv(timeout=5).encode() == sized(1, size)


def test_what_is_no_utf8_goes_out_as_binary_because_text_would_end_the_connection(ws):
    with Cottage(Scripted([b"\xff\xfe broken", sized(1, 500)]), Options(start_on_first_client=True)) as cottage:
        client = ws(cottage.engine_url)
        assert client.recv(timeout=5) == b"\xff\xfe broken"
        assert client.recv(timeout=5).encode() == sized(1, 500)


def test_a_message_is_framed_once():
    message = Message.of(b"{}")
    assert message.frame == b"\x81\x02{}"
    assert message.payload == b"{}"


class Flood(Scripted):
    """Sends on the wall clock without caring who reads, and starts when told."""

    def __init__(self, raws, begin):
        super().__init__(raws)
        self.begin = begin

    def stream(self, sink, stop):
        while not (stop.is_set() or self.begin.is_set()):
            stop.wait(0.005)
        super().stream(sink, stop)


@pytest.mark.slow
def test_a_slow_client_skips_to_the_newest_and_the_skipped_are_counted(lazy_ws, rest, until):
    begin = threading.Event()
    count = 400
    raws = [sized(n, 60_000) for n in range(count)]
    policy = SlowPolicy(skip_above_bytes=200_000, drop_above_bytes=1_000_000, drop_after_s=30)
    with Cottage(Flood(raws, begin), Options(slow=policy)) as cottage:
        client = lazy_ws(cottage.engine_url)
        until(lambda: rest(cottage.engine_url, "/api/health")[1]["clients"] == 1)
        begin.set()
        until(
            lambda: rest(cottage.engine_url, "/api/system/state/current")[1].get("timestamp") == json.loads(raws[-1])["data"]["timestamp"]
        )
        received = []
        while not received or received[-1] != raws[-1]:
            received.append(client.recv(timeout=5).encode())
        health = rest(cottage.engine_url, "/api/health")[1]
        assert health["skipped"] > 0
        assert health["skipped"] + len(received) == count
        assert health["dropped"] == 0
        assert received[:-1] == raws[: len(received) - 1], "up to where it stalled it missed nothing"


@pytest.mark.slow
def test_a_client_that_never_reads_is_dropped_and_the_others_miss_nothing(ws, lazy_ws, rest, until, caplog):
    count = 6000
    source = SyntheticSource(seed=9, packets=count, pace="max")
    with Cottage(source, Options(virtual_clock=True, start_on_first_client=True, slow=SlowPolicy(drop_after_s=0.3))) as cottage:
        lazy_ws(cottage.engine_url)
        reader = ws(cottage.url)
        reader.recv(timeout=5)
        until(lambda: rest(cottage.engine_url, "/api/health")[1]["dropped"] == 1)
        assert "A client is dropped" in caplog.text
        last = list(itertools.islice(messages(seed=9), count))[-1]
        while reader.recv(timeout=5).encode() != last:
            pass
        assert rest(cottage.url, "/api/health")[1]["skipped"] == 0
