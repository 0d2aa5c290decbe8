"""Attacks that must fail while the others are served and memory stays flat."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from ccwatch.cottage import Cottage, server
from ccwatch.feed.synthetic import SyntheticSource

FULL = os.environ.get("CCWATCH_FULL") == "1"
MOST_GROWTH_BYTES = 40 * 1024 * 1024
"""Of this process, in which server, attacker and witness live; what is attacked with is several times as much."""


@pytest.fixture
def besieged(ws):
    """A Cottage and a witness, who must be served all the while; afterwards memory and state are judged."""
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        witness = ws(cottage.url)
        witness.recv(timeout=5)
        before = psutil.Process().memory_info().rss
        yield cottage
        for _ in range(20):
            assert json.loads(witness.recv(timeout=5))["data"]["status"] == "ACTIVE"
        assert psutil.Process().memory_info().rss - before < MOST_GROWTH_BYTES


def masked(opcode, payload, *, fin=True, announced=None):
    """A client's frame (RFC 6455, 5.2) with a mask of zeros."""
    size = len(payload) if announced is None else announced
    head = bytes([fin << 7 | opcode])
    if size < 126:
        return head + bytes([0x80 | size]) + bytes(4) + payload
    return head + bytes([0x80 | 127]) + size.to_bytes(8, "big") + bytes(4) + payload


def say_all(client, messages):
    """Say it all, and then listen until the server ends it."""
    for message in messages:
        client.send(message)
    while True:
        client.recv(timeout=5)


def close_code(client):
    """Read on until the server's closing frame; its code, or None where the connection was just cut."""
    data, deadline = b"", time.monotonic() + 10
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65_536):
            data += more
            assert time.monotonic() < deadline, "the server goes on streaming to it"
    at = 0
    while at + 2 <= len(data):
        size, skip = data[at + 1], 2
        if size == 126:
            size, skip = int.from_bytes(data[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, skip = int.from_bytes(data[at + 2 : at + 10], "big"), 10
        if data[at] & 0x0F == 8:
            return int.from_bytes(data[at + skip : at + skip + 2], "big")
        at += skip + size
    return None


@pytest.mark.parametrize("announced", [65_537, 2**31, 2**40, 2**63 - 1])
def test_a_message_that_announces_more_than_is_allowed_is_refused_with_1009_before_it_comes(besieged, raw, announced):
    client, _ = raw(besieged.engine_url)
    client.sendall(masked(1, b"x", announced=announced))
    assert close_code(client) == 1009


def test_endless_fragments_are_refused_with_1009(besieged, raw):
    client, _ = raw(besieged.engine_url)
    client.sendall(masked(1, b"x" * 1000, fin=False))
    with contextlib.suppress(ConnectionError):
        for _ in range(10_000):
            client.sendall(masked(0, b"x" * 1000, fin=False))
    assert close_code(client) in {1009, None}


def test_endless_empty_fragments_cost_no_memory_and_nobody_else(besieged, raw):
    client, _ = raw(besieged.engine_url)
    client.sendall(masked(1, b"", fin=False))
    with contextlib.suppress(ConnectionError):
        for _ in range(500):
            client.sendall(masked(0, b"", fin=False) * 100)


def test_a_slow_loris_is_cut_and_costs_nobody_else(monkeypatch, ws):
    monkeypatch.setattr(server, "HEAD_S", 0.5)
    with Cottage(SyntheticSource(rate=50.0)) as cottage, contextlib.ExitStack() as stack:
        parts = urlsplit(cottage.url)
        slow = [stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=10)) for _ in range(200)]
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        witness = ws(cottage.url)
        for client in slow:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"a")
                while client.recv(4096):
                    pass
        assert witness.recv(timeout=5)


def test_ten_thousand_malformed_commands_end_with_1008_and_are_counted(besieged, ws, metric):
    client = ws(besieged.engine_url)
    with pytest.raises(ConnectionClosed) as closed:
        say_all(client, (f'{{"type":"HALT","n":{n}' if n % 2 else b"\xff\x00junk" for n in range(10_000)))
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "too many messages")
    assert metric(besieged, 'ccwatch_client_messages_ignored_total{site="engine"}') >= 50
    assert metric(besieged, 'ccwatch_refused_total{code="1008",site="engine"}') == 1


def test_a_subscription_per_millisecond_ends_with_1008_and_leaves_no_symbol_behind(besieged, ws):
    client = ws(besieged.engine_url)
    with pytest.raises(ConnectionClosed) as closed:
        say_all(client, (json.dumps({"type": "SUBSCRIBE", "symbol": f"S{n}"}) for n in range(10_000)))
    assert closed.value.rcvd.code == 1008
    assert len(besieged._server._engine.broadcaster.symbols) <= 1


@pytest.mark.slow
def test_a_flood_of_pings_by_one_who_never_reads_is_cut(besieged, raw):
    client, _ = raw(besieged.engine_url)
    ping = masked(9, b"x" * 125)
    client.settimeout(0.5)
    with contextlib.suppress(ConnectionError, TimeoutError):
        for _ in range(20_000 if FULL else 5_000):
            client.sendall(ping * 20)


TRICKS = [
    "GET /../../../../etc/passwd HTTP/1.1",
    "GET /ws/stream/../../../etc/passwd HTTP/1.1",
    "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
    "GET //etc/passwd HTTP/1.1",
    "GET /api/system/halt HTTP/1.1",
    "PUT /api/system/halt HTTP/1.1",
    "DELETE /api/system/halt HTTP/1.1",
    "GET /api/system/state/history?limit=-1 HTTP/1.1",
    "GET /api/system/state/history?limit=99999999999999999999 HTTP/1.1",
    "GET /api/system/state/history?limit=%00 HTTP/1.1",
    "GET /ws/stream%00 HTTP/1.1",
    "GET http://169.254.169.254/latest HTTP/1.1",
    "CONNECT 127.0.0.1:22 HTTP/1.1",
    "GET / HTTP/9.9",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GET /" + "a" * 20_000 + " HTTP/1.1",
]


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_tricks_with_paths_and_methods_get_nothing_but_a_refusal(besieged, site):
    parts = urlsplit(getattr(besieged, site))
    for line in TRICKS:
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
            answer = b""
            with contextlib.suppress(ConnectionError):
                client.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
                while more := client.recv(65_536):
                    answer += more
        assert answer[9:12] in {b"", b"400", b"404", b"405", b"426"}, (line[:80], answer[:200])
        assert b"root:" not in answer
