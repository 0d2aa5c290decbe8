from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed

from ccwatch.cottage import Cottage
from ccwatch.cottage.access import AccessRules
from ccwatch.cottage.cottage_options import Listen, Options
from ccwatch.cottage.redis_bridge import RedisBridge
from ccwatch.errors import ConfigError
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import read_clock


def first(count, **arguments):
    return list(itertools.islice(messages(**arguments), count))


def read_on(client):
    while True:
        client.recv(timeout=5)


def hurried(packets, **arguments):
    """A Cottage whose stream begins with its first client and is as fast as that client."""
    return Cottage(SyntheticSource(packets=packets, pace="max", **arguments), Options(virtual_clock=True, start_on_first_client=True))


class Broken:
    """A source that breaks after one packet."""

    def stream(self, sink, _stop):
        session = StreamReader()
        session.opened(read_clock())
        sink.receive(session.receive(first(1)[0], read_clock()))
        raise RuntimeError("the disk is full")


class Deaf:
    """A source that does not care about being asked to stop."""

    def __init__(self):
        self.release = threading.Event()

    def stream(self, _sink, _stop):
        self.release.wait(20)


# ── what is streamed ──


@pytest.mark.parametrize("scenario", ["calm", "gap", "malformed", "duplicate", "drawdown-halt"])
def test_a_client_of_the_bff_gets_welcome_and_then_every_message_byte_for_byte(ws, scenario):
    expected = first(300, seed=7, scenario=scenario)
    with hurried(300, seed=7, scenario=scenario) as cottage:
        client = ws(cottage.url)
        assert json.loads(client.recv(timeout=5))["type"] == "WELCOME"
        assert [client.recv(timeout=5).encode() for _ in expected] == expected


def test_a_client_of_the_engine_gets_the_same_bytes(ws):
    expected = first(300, seed=7)
    with hurried(300, seed=7) as cottage:
        client = ws(cottage.engine_url)
        assert [client.recv(timeout=5).encode() for _ in expected] == expected


def test_nothing_is_streamed_before_the_first_client_came_on_either_site(ws, rest, until):
    for site in ("url", "engine_url"):
        with hurried(20) as cottage:
            assert rest(cottage.engine_url, "/api/system/state/current") == (200, {"error": "No state available", "status": "offline"})
            ws(getattr(cottage, site))
            until(lambda cottage=cottage: "error" not in rest(cottage.engine_url, "/api/system/state/current")[1])


@pytest.mark.slow
def test_on_a_virtual_clock_a_client_that_rests_misses_nothing_because_the_source_waits(lazy_ws, rest):
    count = 6000
    with hurried(count, seed=2) as cottage:
        client = lazy_ws(cottage.url)
        client.recv(timeout=5)
        sent = -1
        while sent != (sent := rest(cottage.url, "/api/health")[1]["sent"]):
            time.sleep(0.2)  # until the server has come to rest
        assert sent < count, "the source waits"
        received = [client.recv(timeout=5).encode() for _ in range(count)]
        assert received == first(count, seed=2)
        assert rest(cottage.url, "/api/health")[1]["skipped"] == 0


def test_on_the_wall_clock_packets_come_at_their_rate(ws):
    with Cottage(SyntheticSource(rate=100.0, packets=200)) as cottage:
        client = ws(cottage.url)
        client.recv(timeout=5)
        begin = time.monotonic()
        for _ in range(40):
            client.recv(timeout=5)
        assert 0.3 < time.monotonic() - begin < 2.0


@pytest.mark.slow
def test_fifty_clients_get_the_same_stream():
    expected = first(400, seed=5, rate=50.0)

    async def watch(url):
        async with websockets.asyncio.client.connect(url, compression=None) as client:
            return [(await asyncio.wait_for(client.recv(), 5)).encode() for _ in range(20)]

    async def crowd(url):
        return await asyncio.gather(*(watch(url) for _ in range(50)))

    # On a thread of its own: another test's Playwright may hold this thread's event loop.
    rules = AccessRules(per_ip=None)
    with Cottage(SyntheticSource(seed=5, rate=50.0, packets=400), Options(access=rules)) as cottage, ThreadPoolExecutor(1) as pool:
        views = pool.submit(asyncio.run, crowd(cottage.url)).result()
    assert len(views) == 50
    for welcome, *telemetry in views:
        assert json.loads(welcome)["type"] == "WELCOME"
        begin = expected.index(telemetry[0])
        assert telemetry == expected[begin : begin + 19]


def test_a_welcome_carries_the_last_state_once_there_is_one(ws):
    with hurried(30) as cottage:
        early = ws(cottage.url)
        for _ in range(31):
            early.recv(timeout=5)
        late = ws(cottage.url)
        assert json.loads(late.recv(timeout=5)) == {"type": "WELCOME", "data": json.loads(first(30)[-1])["data"]}


# ── stopping ──


def test_every_client_is_closed_with_1001_when_the_cottage_stops(ws):
    with Cottage(SyntheticSource(rate=1.0)) as cottage:
        clients = [ws(url) for url in (cottage.url, cottage.engine_url) for _ in range(5)]
        cottage.stop()
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                read_on(client)
            assert closed.value.rcvd.code == 1001


@pytest.mark.slow
def test_it_stops_within_a_second_beside_silent_idle_and_stalled_clients(lazy_ws, raw, rest, caplog):
    cottage = hurried(None).start()
    silent = [raw(cottage.url)[0], raw(cottage.engine_url)[0]]  # never read
    stalled = lazy_ws(cottage.url)
    parts = urlsplit(cottage.url)
    with socket.create_connection((parts.hostname, parts.port)), socket.create_connection((parts.hostname, parts.port)) as mute:
        mute.sendall(b"GET / HTTP/1.1\r\nHos")  # never finishes its request
        sent = -1
        while sent != (sent := rest(cottage.url, "/api/health")[1]["sent"]):
            time.sleep(0.1)  # until the stream stalls
        begin = time.monotonic()
        cottage.stop()
        assert time.monotonic() - begin < 5.0
        assert "did not end" not in caplog.text
        for client in (*silent, mute):
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1_000_000):
                    pass
        with pytest.raises(ConnectionClosed):
            read_on(stalled)


def test_it_stops_within_a_second_while_its_source_is_deaf_and_says_so(caplog):
    deaf = Deaf()
    cottage = Cottage(deaf).start()
    begin = time.monotonic()
    cottage.stop()
    assert time.monotonic() - begin < 5.0
    assert "the source did not end within" in caplog.text
    deaf.release.set()
    for thread in threading.enumerate():
        if thread.name == "ccwatch-cottage-source":
            thread.join(10)


def test_stopping_twice_is_nothing_and_stopping_before_starting_too():
    cottage = Cottage(SyntheticSource())
    cottage.stop()
    with pytest.raises(ConfigError, match="was stopped"):
        cottage.start()
    running = Cottage(SyntheticSource()).start()
    assert running.start() is running
    running.stop()
    running.stop()


@pytest.mark.slow
def test_a_forgotten_cottage_warns_and_stops():
    cottage = Cottage(SyntheticSource()).start()
    url = cottage.url
    with pytest.warns(ResourceWarning, match=url):  # noqa: PT031 - it takes both
        del cottage
        gc.collect()


# ── troubles ──


@pytest.mark.parametrize("name", ["port", "engine_port"])
def test_a_port_in_use_is_an_error_that_names_the_way_out(name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} is in use.*--port 0"):
            Cottage(SyntheticSource(), Options(listen=Listen(**{name: port}))).start()


def test_a_failing_source_is_logged_and_the_server_goes_on_with_what_it_had(ws, rest, caplog, until):
    with Cottage(Broken()) as cottage:
        until(lambda: "the disk is full" in caplog.text)
        assert json.loads(ws(cottage.url).recv(timeout=5))["data"]["market"]["symbol"] == "SPY"
        for url in (cottage.url, cottage.engine_url):
            status, said = rest(url, "/health")
            assert status == 503
            assert "the disk is full" in said


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (None, {}, "either a source"),
        (SyntheticSource(), {"engine_url": "http://127.0.0.1:1"}, "either a source"),
        (SyntheticSource(), {"listen": {"host": "0.0.0.0"}}, "host: '0.0.0.0' is open to other machines, which needs a secret"),
        (SyntheticSource(), {"listen": {"host": "example.org"}}, "host: 'example.org' is open to other machines"),
        (SyntheticSource(), {"access": AccessRules(), "listen": {"host": "::"}}, "needs a secret"),
        (SyntheticSource(), {"dialect": "klingon"}, "dialect: expected one of contract, engine_loop, bridge, pipeline"),
        (SyntheticSource(), {"redis_url": "redis://:passw0rd@host:port"}, "redis: expected redis://"),
        (SyntheticSource(), {"listen": {"tls_cert": "nowhere.pem"}}, "tls_cert or tls_key cannot be used"),
        (SyntheticSource(), {"listen": {"port": -1}}, "port: expected 0 to 65535"),
        (SyntheticSource(), {"listen": {"engine_port": 70_000}}, "engine_port: expected 0 to 65535"),
        (None, {"engine_url": "ftp://127.0.0.1"}, "engine_url: expected http://HOST:PORT"),
        (None, {"engine_url": "http://"}, "engine_url: expected http://HOST:PORT"),
        (None, {"engine_url": "http://user:passw0rd@host:port"}, "engine_url: expected http://HOST:PORT"),
    ],
)
def test_options_that_cannot_be_used_are_refused_without_showing_secrets(source, options, message):
    with pytest.raises(ConfigError, match=message) as refused:
        Cottage(source, Options(**options | {"listen": Listen(**options.get("listen", {}))}))
    assert "passw0rd" not in str(refused.value)


def test_an_address_is_refused_before_there_is_one():
    with pytest.raises(ConfigError, match="not started"):
        _ = Cottage(SyntheticSource()).url


def test_both_sites_listen_on_the_loopback_only():
    with Cottage(SyntheticSource()) as cottage:
        assert urlsplit(cottage.url).hostname == urlsplit(cottage.engine_url).hostname == "127.0.0.1"
        assert urlsplit(cottage.engine_url).path == "/ws/stream"


def test_the_library_leaves_the_root_logger_alone(capfd):
    before = logging.getLogger().handlers[:]
    with Cottage(SyntheticSource()):
        pass
    assert logging.getLogger().handlers == before
    assert logging.getLogger("ccwatch.cottage").handlers == []
    assert capfd.readouterr() == ("", "")


def test_a_cancellation_that_a_library_swallows_does_not_keep_the_cottage_from_stopping(monkeypatch, ws, until):
    begun, swallowed = [], []

    async def run(_bridge):
        while True:
            try:
                begun.append(True)
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed.append(True)

    monkeypatch.setattr(RedisBridge, "run", run)
    cottage = Cottage(None, Options(redis_url="redis://localhost:1/0")).start()
    ws(cottage.engine_url)
    until(lambda: begun)
    stopping = threading.Thread(target=cottage.stop, daemon=True)
    stopping.start()
    stopping.join(10.0)
    assert swallowed
    assert not stopping.is_alive()
