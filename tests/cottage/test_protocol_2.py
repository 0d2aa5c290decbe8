"""Protocol 2 between a Cottage and its clients over real sockets: the same rows as the contract's, and what peers of today never notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import urlsplit

import numpy as np
import pytest
import websockets
from pandas.testing import assert_frame_equal

import ccwatch as cw
from ccwatch.cottage import AccessRules, Cottage, Options
from ccwatch.feed.address import parse_url
from ccwatch.feed.feed import Feed
from ccwatch.feed.live import LiveSource
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Flag
from ccwatch.protocol.wire.receiver import Receiver

PACKETS, RATE = 250, 400.0
SCENARIO = "drawdown-halt+malformed@0.2+duplicate@0.3"
TABLES = ("agents", "models", "logs", "forecasts", "trades", "scanner", "bars")
RECEIVED = ["received_at", "received_mono_ns"]
PATIENCE_S = 60.0


def until(is_so, seconds=PATIENCE_S):
    """Wait until something is so; return whether it is."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def feed_of(url, name, *, compress=False, **wanted):
    return Feed(LiveSource(parse_url(url), compress=compress, receiver=Receiver(**wanted)), name=name, url=url)


def played(**options):
    """The rows of a whole seeded stream, as a feed with these options has them, and its health."""
    compress = options.pop("compress", False)
    source = SyntheticSource(seed=7, scenario=SCENARIO, packets=PACKETS, rate=RATE)
    with (
        Cottage(source, Options(start_on_first_client=True)) as cottage,
        feed_of(cottage.engine_url, "played", compress=compress, **options) as feed,
    ):
        feed.start()
        last = first_and_last()[1]
        assert until(lambda: feed.latest is not None and feed.latest.time_ns == last)
        names = [*feed.frame().columns, "flags", "kind", "reasoning", "extra", "timestamp_raw"]
        rows = feed.frame(dict.fromkeys(names), clean=False).drop(columns=RECEIVED, errors="ignore")
        rows["flags"] &= ~np.uint32(Flag.CLOCK_SKEW)  # a busy machine falls behind the stream's stamps
        return rows, {table: getattr(feed, table)() for table in TABLES}, feed.health()


_LAST = []


def first_and_last():
    if not _LAST:
        stream = messages(7, SCENARIO, RATE)
        times = []
        for _ in range(PACKETS):
            try:
                times.append(codec.decode(next(stream)).time_ns)
            except cw.CcwatchError:
                continue
        _LAST.extend((times[0], times[-1]))
    return _LAST


@pytest.fixture(scope="module")
def contract_rows():
    return played(protocol=1)


@pytest.mark.slow
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("encodings", [("json",), ("msgpack",)])
def test_rows_are_those_of_the_contract_for_every_encoding_delta_and_compression(contract_rows, encodings, delta, compress):
    rows, tables, health = played(encodings=encodings, delta=delta, compress=compress)
    assert health.protocol.startswith(f"2: {encodings[0]}, {'deltas' if delta else 'whole'}")
    assert (health.compression != "none") == compress
    assert_frame_equal(rows, contract_rows[0])
    for table in TABLES:
        assert_frame_equal(tables[table], contract_rows[1][table])
    assert (health.malformed, health.gaps) == (contract_rows[2].malformed, contract_rows[2].gaps)


class Cutting:
    """A proxy in front of a server that cuts all its connections when asked. A context manager."""

    def __init__(self, url):
        self._target = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            theirs = socket.create_connection(self._target)
            self._open += [ours, theirs]
            thread = threading.Thread(target=self._carry, args=(ours, theirs))
            self._threads.append(thread)
            thread.start()

    @staticmethod
    def _carry(ours, theirs):
        with ours, theirs, selectors.DefaultSelector() as selector:
            selector.register(ours, selectors.EVENT_READ, theirs)
            selector.register(theirs, selectors.EVENT_READ, ours)
            try:
                while True:
                    for key, _ in selector.select():
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        key.data.sendall(data)
            except OSError:
                return

    def cut(self):
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open = []


@pytest.mark.slow
@pytest.mark.parametrize(("compress", "encodings"), [(True, ("json",)), (False, ("msgpack",))])
def test_after_a_cut_the_stream_goes_on_without_a_gap_and_without_a_replay(compress, encodings):
    with contextlib.ExitStack() as stack:
        cottage = stack.enter_context(Cottage(SyntheticSource(rate=40.0), Options()))
        proxy = stack.enter_context(Cutting(cottage.url))
        feed = stack.enter_context(feed_of(proxy.url, "cut", compress=compress, encodings=encodings))
        whole = stack.enter_context(feed_of(cottage.url, "whole", protocol=1))
        whole.start().wait(1, timeout=PATIENCE_S)
        feed.start().wait(20, timeout=PATIENCE_S)
        proxy.cut()
        assert until(lambda: feed.health().reconnects == 1 and feed.health().protocol.startswith("2"))
        mark = whole.latest.time_ns
        assert until(lambda: feed.latest.time_ns > mark and whole.latest.time_ns > mark)
        rows, expected = (one.frame(["price", "nav", "kind", "reasoning"], clean=False) for one in (feed, whole))
        health, events = feed.health(), feed.events()
    begin, end = max(rows.index[1], expected.index[1]), min(rows.index[-1], expected.index[-1])
    assert_frame_equal(rows.loc[begin:end], expected.loc[begin:end])
    assert (health.gaps, health.replayed, health.malformed, health.resyncs) == (0, 0, 0, 0)
    assert list(events["kind"]) == ["connect", "disconnect", "connect"]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [("logs", "trades"), ("state", "logs"), ("market", "logs", "heartbeat")])
def test_channels_carry_their_tables_as_the_contract_does(channels):
    source = SyntheticSource(seed=7, scenario=SCENARIO, packets=PACKETS, rate=RATE)
    _, last = first_and_last()
    with (
        Cottage(source, Options(start_on_first_client=True)) as cottage,
        feed_of(cottage.url, "channels", channels=channels) as feed,
        feed_of(cottage.url, "contract", protocol=1) as whole,
    ):
        feed.start()
        assert until(lambda: feed.health().protocol.startswith("2"))
        whole.start()
        assert until(lambda: whole.latest is not None and whole.latest.time_ns == last)
        assert until(lambda: set(whole.logs()["message"][-5:]) <= set(feed.logs()["message"]))
        begin = whole.frame(["price"]).index[1]
        assert_frame_equal(since(feed.logs(), begin), since(whole.logs(), begin))
        if "trades" in channels:
            assert_frame_equal(since(feed.trades(), begin), since(whole.trades(), begin))
        if "state" in channels:
            assert_frame_equal(since(feed.frame(), begin), since(whole.frame(), begin))
        if "market" in channels:
            columns = ["symbol", "price", "alpha", "regime", "velocity", "acceleration"]
            assert until(lambda: feed.latest.time_ns == last)
            assert_frame_equal(since(feed.frame(columns), begin), since(whole.frame(columns), begin))
            assert set(feed.frame(["kind"]).loc[begin:]["kind"]) == {"PARTIAL"}
        if channels == ("logs", "trades"):
            assert len(feed.frame(clean=False)) < 5  # what came before the HELLO was answered
        assert feed.health().gaps == 0


def since(frame, begin):
    """The rows after a time, without when they were received and the feed's own numbers."""
    return frame.loc[frame.index > begin].drop(columns=[*RECEIVED, "seq"], errors="ignore")


@pytest.mark.slow
def test_the_recording_of_a_stream_has_the_contracts_texts_and_rows_of_channels_are_recorded_too(tmp_path):
    with Cottage(SyntheticSource(seed=7, rate=100.0), Options()) as cottage, contextlib.ExitStack() as stack:
        feeds = [
            stack.enter_context(feed_of(cottage.url, str(n), **wanted)) for n, wanted in enumerate(({}, {"channels": ("logs", "trades")}))
        ]
        recorders = [cw.record(feed, tmp_path) for feed in feeds]
        for feed in feeds:
            feed.start()
        assert until(lambda: feeds[0].health().packets > 100 and len(feeds[1].trades()) > 2 and len(feeds[1].logs()) > 15)
        for recorder in recorders:
            recorder.stop()
        whole, parts = (cw.open_recording(recorder.path) for recorder in recorders)
        texts = [packet.raw for packet in whole.packets() if packet.kind == "TELEMETRY"]
        assert set(texts) <= set(islice(messages(7, "calm", 100.0), 20_000))
        for table in ("logs", "trades"):
            recorded = getattr(parts, table)()
            assert len(recorded) > 2
            assert_frame_equal(recorded, getattr(feeds[1], table)().iloc[: len(recorded)])


# ── by hand ──


def talk(url, *texts):
    """Say texts to a server, one after the other; return what it answers that is no message of the stream."""

    async def play():
        async with websockets.connect(url, max_size=None) as peer:
            answers = []
            for text in texts:
                await peer.send(text if isinstance(text, str) else json.dumps(text))
                while True:
                    said = await asyncio.wait_for(peer.recv(), 20)
                    found = json.loads(said) if isinstance(said, str) else {}
                    if found.get("type") in {"HELLO", "ACK", "NACK"}:
                        answers.append(found)
                        break
            return answers

    return asyncio.run(play())


@pytest.fixture
def cottage():
    with cw.serve(rate=20) as served:
        yield served


HELLO = {"type": "HELLO", "ref": 1, "want": {"encodings": ["json"], "delta": True, "channels": ["state"]}}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"type": "HELLO", "ref": 2}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"encodings": ["protobuf"]}}, "encoding"),
        ({"type": "HELLO", "ref": 2, "want": {"encodings": "json"}}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"encodings": ["json"] * 100}}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"channels": ["orders"]}}, "channel"),
        ({"type": "HELLO", "ref": 2, "want": {"delta": "yes"}}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"resume": {"epoch": 5}}}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"resume": {"epoch": "e", "seq": {"state": -1}}}}, "malformed"),
        ({"type": "HELLO", "ref": 2, "want": {"resume": {"epoch": "e" * 1000, "seq": {}}}}, "malformed"),
    ],
)
def test_a_hello_that_cannot_be_granted_is_refused_and_a_good_one_still_may_follow(cottage, said, code):
    refusal, answer = talk(cottage.url, said, HELLO)
    assert (refusal["type"], refusal["ref"], refusal["code"]) == ("NACK", 2, code)
    assert (answer["type"], answer["protocol"], answer["got"]["channels"]) == ("HELLO", 2, ["state"])


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (HELLO, "NACK", "twice"),
        ({"type": "SUBSCRIBE", "ref": 7, "channels": ["logs", "orders"]}, "ACK", None),
        ({"type": "SUBSCRIBE", "ref": 7, "channels": ["orders"]}, "NACK", "channel"),
        ({"type": "SUBSCRIBE", "ref": 7, "channels": "logs"}, "NACK", "malformed"),
        ({"type": "UNSUBSCRIBE", "ref": 7, "channels": ["state"]}, "ACK", None),
        ({"type": "SUBSCRIBE", "ref": 7, "symbol": "AAPL"}, "ACK", None),
        ({"type": "RESYNC", "ref": 7, "channels": ["state"]}, "ACK", None),
        ({"type": "RESYNC", "ref": 7, "channels": ["orders"]}, "NACK", "channel"),
        ({"type": "RESYNC", "ref": "x" * 1000, "channels": ["state"]}, "NACK", "malformed"),
        ({"type": "DANCE", "ref": 7}, "NACK", "unknown"),
        ("{", "NACK", "malformed"),
        ("[" * 10_000, "NACK", "malformed"),
        ({"type": "HALT", "ref": 7, "key": 5}, "NACK", "malformed"),
        ({"type": "HALT", "ref": 7, "key": "k", "deadline": "soon"}, "NACK", "malformed"),
        ({"type": "HALT", "ref": 7, "key": "k", "deadline": "2026-01-02T14:30:00"}, "NACK", "malformed"),
        ({"type": "HALT", "ref": 7, "key": "k", "deadline": "2026-01-02T14:30:00Z"}, "NACK", "late"),
    ],
)
def test_every_request_is_acknowledged_or_refused_by_its_ref(cottage, said, kind, code):
    _, answer = talk(cottage.url, HELLO, said)
    assert (answer["type"], answer.get("code")) == (kind, code)
    ref = said.get("ref") if isinstance(said, dict) else None
    assert answer["ref"] == (ref if isinstance(ref, int) else None)
    if isinstance(said, dict) and "orders" in said.get("channels", ()) and kind == "ACK":
        assert (answer["channels"], list(answer["refused"])) == (["logs"], ["orders"])


def test_a_command_with_a_key_is_obeyed_once_and_a_queued_halt_cannot_act_after_a_resume():
    with cw.serve(rate=20) as served, cw.connect(served.url, name="obeyed") as feed:
        feed.wait(1, timeout=PATIENCE_S)
        later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        halt = {"type": "HALT", "ref": 2, "key": "one", "deadline": later}
        answers = talk(served.url, HELLO, halt, halt | {"ref": 3})
        assert [(answer["type"], answer["ref"]) for answer in answers[1:]] == [("ACK", 2), ("ACK", 3)]
        assert until(lambda: feed.latest.status == "HALT")
        assert talk(served.url, HELLO, {"type": "RESUME", "ref": 4, "key": "two"})[1]["type"] == "ACK"
        assert until(lambda: feed.latest.status == "ACTIVE")
        again, reused = talk(served.url, HELLO, halt | {"ref": 5}, {"type": "RESUME", "ref": 6, "key": "one"})[1:]
        assert again["type"] == "ACK"  # the answer that it was given before; it is not obeyed again
        assert reused["code"] == "key"
        seen = feed.health().packets
        assert until(lambda: feed.health().packets > seen + 5)
        assert feed.latest.status == "ACTIVE"


def test_a_role_that_may_watch_only_is_refused_by_message_and_stays_connected():
    secret = "s" * 32
    with Cottage(SyntheticSource(rate=20.0), Options(access=AccessRules(secret=secret))) as served:
        watch, command = served.token("watch"), served.token("command")
        with cw.connect(served.url, token=watch, name="watches", commands=True) as feed:
            feed.wait(5, timeout=PATIENCE_S)
            result = feed.halt(confirm="HALT")
            assert (result.sent, result.accepted, result.confirmed) == (True, False, False)
            assert result.error.startswith("forbidden")
            assert feed.health().reconnects == 0
        with cw.connect(served.url, token=command, name="commands", commands=True) as feed:
            feed.wait(5, timeout=PATIENCE_S)
            result = feed.halt(confirm="HALT")
            assert (result.route.split()[0], result.accepted, result.evidence) == ("HALT", True, "stream")
            result = feed.resume(confirm="RESUME")
            assert (result.accepted, result.evidence) == (True, "stream")
            assert feed.subscribe("QQQ").confirmed
            assert until(lambda: feed.latest.symbol == "QQQ")
            assert feed.health().reconnects == 0


# ── old peers ──


def bytes_of(url, count):
    """The first bytes that a plain socket gets from a server, handshake included."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as peer:
        peer.sendall(
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        found = b""
        while len(found) < count:
            more = peer.recv(65536)
            assert more
            found += more
    return found[:count]


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_a_peer_of_the_contract_gets_the_same_bytes_with_protocol_2_as_with_1_but_for_a_header(site):
    found = []
    for protocol in (1, 2):
        source = SyntheticSource(seed=1, packets=40, pace="max")
        with Cottage(source, Options(virtual_clock=True, start_on_first_client=True, protocol=protocol)) as served:
            head, _, frames = bytes_of(getattr(served, site), 60_000).partition(b"\r\n\r\n")
        lines = {line for line in head.lower().split(b"\r\n") if not line.startswith(b"date:")}
        found.append((lines, frames[:50_000]))
    assert found[0][1] == found[1][1]
    assert found[1][0] - found[0][0] == {b"x-ccwatch-protocol: 2"}
    assert found[0][0] <= found[1][0]


@pytest.mark.slow
def test_a_server_of_protocol_1_answers_no_hello_and_a_feed_stays_with_the_contract():
    with cw.serve(rate=20, protocol=1) as served:

        async def play():
            async with websockets.connect(served.url) as peer:
                await peer.send(json.dumps(HELLO))
                return [json.loads(await peer.recv())["type"] for _ in range(15)]

        assert set(asyncio.run(play())) == {"WELCOME", "TELEMETRY"}
        with cw.connect(served.url, name="old") as feed, cw.connect(served.url, name="asks", protocol=2) as asks:
            feed.wait(3, timeout=PATIENCE_S)
            asks.wait(3, timeout=PATIENCE_S)
            assert (feed.health().protocol, asks.health().protocol) == ("1", "1")
            assert until(lambda: "error" in set(asks.events()["kind"]))
            assert "has not answered HELLO" in asks.events()["detail"].iloc[-1]
            assert set(feed.events()["kind"]) - {"gap"} == {"connect"}, "a machine that pauses makes gaps"
            assert asks.health().reconnects == 0


@pytest.mark.slow
def test_the_scenario_lossy_is_watched_as_gaps_and_resyncs_and_no_row_is_wrong():
    source = SyntheticSource(seed=2, scenario="lossy", rate=40.0)
    with Cottage(source, Options()) as served, feed_of(served.url, "lossy") as feed:
        feed.start()
        assert until(lambda: feed.health().gaps >= 2 and feed.health().resyncs >= 2)
        raws = []
        feed.on_packet(lambda packet: raws.append(packet.raw))
        assert until(lambda: len(raws) > 60)
        health, events = feed.health(), feed.events()
    assert set(raws) <= set(islice(messages(2, "lossy", 40.0), 20_000))
    assert health.malformed > 0
    assert events[events["kind"] == "gap"]["detail"].str.contains("channel=state").all()
    assert not (feed.frame(["flags"], clean=False)["flags"].to_numpy() & int(Flag.REPEAT | Flag.OUT_OF_ORDER)).any()
