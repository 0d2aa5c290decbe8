from __future__ import annotations

import json
import logging
import socket
import struct

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource


@pytest.fixture
def cottage(caplog):
    """A Cottage whose stream has one packet and then rests."""
    caplog.set_level(logging.DEBUG, "ccwatch.cottage")
    with Cottage(SyntheticSource(packets=1)) as running:
        yield running


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "ccwatch.cottage"]


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_ping_commands_and_junk_get_no_answer_and_end_nothing(cottage, ws, site):
    client = ws(getattr(cottage, site))
    client.recv(timeout=5)
    for said in ('{"type":"PING"}', '{"type":"SUBSCRIBE","symbol":"AAPL"}', '{"type":"HALT"}', "{not json", "", b"\x00\xff"):
        client.send(said)
    assert client.ping().wait(5), "RFC 6455's ping is answered"
    with pytest.raises(TimeoutError):  # the pong came after everything that was sent before it
        client.recv(timeout=0)


def test_what_a_client_says_is_logged_at_debug_in_the_contracts_words_and_on_one_line(cottage, ws, caplog):
    client = ws(cottage.engine_url)
    client.recv(timeout=5)
    client.send('{"type":"PING"}')
    client.send("forged\nINFO: nothing happened")
    assert client.ping().wait(5)
    assert ("DEBUG", '🧠 BrainStream: Received {"type":"PING"}') in lines(caplog)
    assert ("DEBUG", "🧠 BrainStream: Received forged�INFO: nothing happened") in lines(caplog)


def test_connecting_and_leaving_are_logged_in_the_contracts_words(cottage, ws, caplog, until):
    ws(cottage.engine_url).close()
    until(lambda: ("INFO", "🧠 BrainStream: Client Disconnected") in lines(caplog))
    assert ("INFO", "🧠 BrainStream: Client Connected") in lines(caplog)
    assert not any(level == "WARNING" for level, _ in lines(caplog)), "a client that says goodbye is no trouble"


def test_a_reset_is_logged_in_the_contracts_words(cottage, raw, caplog, until):
    client, _ = raw(cottage.engine_url)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: ("WARNING", "🧠 BrainStream: Connection Closed (Connection reset by peer)") in lines(caplog))
    until(lambda: ("INFO", "🧠 BrainStream: Client Disconnected") in lines(caplog))


def test_lines_of_the_bff_contain_telemetry(cottage, ws, caplog, until):
    ws(cottage.url).close()
    until(lambda: [message for _, message in lines(caplog) if "Telemetry" in message and message.endswith("Client Disconnected")])


def test_a_message_above_64_kilobytes_is_refused_with_1009_and_the_others_are_served(cottage, ws):
    other = ws(cottage.url)
    other.recv(timeout=5)
    client = ws(cottage.url)
    client.recv(timeout=5)
    client.send("x" * 65_537)
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=5)
    assert closed.value.rcvd.code == 1009
    assert other.ping().wait(5)


def test_a_message_of_64_kilobytes_is_taken(cottage, ws):
    client = ws(cottage.url)
    client.recv(timeout=5)
    client.send("x" * 65_535)
    assert client.ping().wait(5)


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_pages_of_other_sites_are_refused_and_those_of_this_machine_are_not(cottage, ws, rest, site):
    url = getattr(cottage, site)
    for foreign in ("http://evil.example", "https://localhost.evil.example", "null", "http://[", "http://127.0.0.1.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            ws(url, origin=foreign)
        assert refused.value.response.status_code == 403
        assert rest(url, "/api/health", Origin=foreign)[0] == 403
    for local in ("http://localhost:8888", "http://127.0.0.1:8888", "http://[::1]:8888"):
        assert ws(url, origin=local).recv(timeout=5)


def test_the_handshake_tells_where_the_data_come_from(cottage, ws):
    headers = ws(cottage.url).response.headers
    assert headers["X-Ccwatch-Origin"] == "synthetic"
    assert "X-Ccwatch-Clock" not in headers


def test_the_handshake_tells_of_a_virtual_clock(ws):
    with Cottage(SyntheticSource(packets=1, pace="max"), Options(virtual_clock=True)) as cottage:
        for url in (cottage.url, cottage.engine_url):
            assert ws(url).response.headers["X-Ccwatch-Clock"] == "virtual"


@pytest.mark.parametrize("asked", [True, False])
def test_messages_are_compressed_for_those_alone_who_ask(asked, cottage, raw):
    _, head = raw(cottage.url, *(["Sec-WebSocket-Extensions: permessage-deflate"] if asked else []))
    assert head.startswith("HTTP/1.1 101")
    assert ("sec-websocket-extensions: permessage-deflate" in head.lower()) == asked


def test_a_token_is_answered_by_its_scheme_and_never_logged(cottage, raw, caplog):
    caplog.set_level(logging.DEBUG)
    _, head = raw(cottage.url, "Sec-WebSocket-Protocol: token, aaa.SECRET.zzz")
    assert "Sec-WebSocket-Protocol: token\r\n" in head
    assert "SECRET" not in head
    assert "SECRET" not in caplog.text


def test_a_plain_request_for_a_stream_is_told_to_upgrade(cottage, rest):
    status, text = rest(cottage.engine_url, "/ws/stream")
    assert status == 426
    assert "WebSocket" in text


def test_health_counts_clients_and_messages(cottage, ws, rest):
    client = ws(cottage.url)
    client.recv(timeout=5)
    status, health = rest(cottage.url, "/api/health")
    assert status == 200
    assert (health["status"], health["service"], health["clients"], health["dropped"]) == ("healthy", "bff", 1, 0)
    assert health["sent"] >= 1
    assert json.dumps(rest(cottage.engine_url, "/api/health")[1]["service"]) == '"engine"'
