"""Sections 1 and 7.1 of the contract, byte by byte: what the client asks, what the server answers, where they meet."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from urllib.parse import urlsplit

import orjson
import pytest

import ccwatch as cw
from ccwatch.cli.serve_command import serve
from ccwatch.config import Settings
from tests.contract.conftest import port_of, wait_until
from tests.contract.contract import TEXT, fences
from tests.feed.servers import CLOSE, TEXT as TEXT_FRAME, frame, telemetry

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455's own example, 1.3
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJxdWFudCJ9.c2lnbmF0dXJl"


def one_packet(peer):
    peer.shake()
    peer.send(frame(telemetry(0)))
    peer.until_gone()


def request_of(url, *headers):
    """The contract's request as printed, for another host and with a key."""
    printed = fences("1.1", "http")[0].replace("localhost:8000", urlsplit(url).netloc).replace("<base64-encoded-key>", KEY)
    return "\r\n".join([*printed.splitlines(), *headers, "", ""])


def test_the_client_sends_every_line_of_the_contracts_request(raw_server):
    server = raw_server(one_packet)
    with cw.connect(f"ws://localhost:{server.port}/ws/stream") as feed:
        feed.wait()
    sent = server.peers[0].head.decode("ascii").split("\r\n")
    key = server.peers[0].header("Sec-WebSocket-Key")
    assert len(base64.b64decode(key, validate=True)) == 16
    printed = [
        line.replace("localhost:8000", f"localhost:{server.port}").replace("<base64-encoded-key>", key)
        for line in fences("1.1", "http")[0].splitlines()
    ]
    assert sent[0] == printed[0]
    for line in printed:
        assert sent.count(line) == 1, line


def test_every_connection_has_a_key_of_its_own(raw_server):
    server = raw_server(one_packet)
    for _ in range(2):
        with cw.connect(server.url) as feed:
            feed.wait()
    first, second = (peer.header("Sec-WebSocket-Key") for peer in server.peers)
    assert first != second


def test_the_server_answers_the_contracts_request_with_every_line_of_its_response(raw_client):
    with cw.serve() as cottage:
        answer = raw_client(cottage.engine_url).ask(request_of(cottage.engine_url))
    status, *printed = fences("1.1", "http")[1].splitlines()
    assert answer[0] == status
    headers = dict(line.lower().split(": ", 1) for line in answer[1:])
    for name, value in (line.split(": ") for line in printed):
        if value == "<computed-accept-key>":
            digest = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - RFC 6455 wants it
            assert f"{name}: {base64.b64encode(digest).decode()}" in answer
        else:  # tokens, of which RFC 6455 says in 4.2.2 that their case does not matter
            assert headers[name.lower()] == value.lower()


def test_client_and_server_meet_where_the_contract_says_without_being_told(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # away from any settings file
    engine = urlsplit(re.search(r"\*\*Endpoint:\*\* `(.*)`", TEXT)[1])
    bff = re.search(r"Client->>BFF: Connect (\S+)", TEXT)[1]
    assert Settings.load().url == bff
    ports = {option.name: option.default for option in serve.params}
    assert (ports["engine_port"], ports["port"]) == (engine.port, urlsplit(bff).port)
    with cw.serve() as cottage:
        assert urlsplit(cottage.engine_url).path == engine.path
        assert urlsplit(cottage.url).path == urlsplit(bff).path
        for url in (cottage.url, cottage.engine_url):
            with cw.connect(url) as feed:
                feed.wait()


def test_the_client_speaks_masked_frames_and_says_goodbye_as_rfc_6455_wants(raw_server):
    got = []

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        got.append(peer.frame())  # it fails an unmasked one

    server = raw_server(script)
    with cw.connect(server.url) as feed:
        feed.wait()
    wait_until(lambda: got)
    assert got == [(CLOSE, (1000).to_bytes(2, "big"))]


def test_the_server_sends_compact_json_as_text(raw_client):
    with cw.serve(rate=20) as cottage:
        for url in (cottage.url, cottage.engine_url):
            client = raw_client(url)
            client.ask(request_of(url))
            for _ in range(3):
                opcode, payload = client.frame()
                assert opcode == TEXT_FRAME
                assert orjson.dumps(orjson.loads(payload)) == payload


def test_a_client_that_connects_is_subscribed_and_streamed_to_and_one_that_leaves_is_not(raw_client, rest_health):
    with cw.serve(rate=20) as cottage:
        assert rest_health(cottage.engine_url)["clients"] == 0
        client = raw_client(cottage.engine_url)
        client.ask(request_of(cottage.engine_url))
        wait_until(lambda: rest_health(cottage.engine_url)["clients"] == 1)
        states = [orjson.loads(client.frame()[1])["data"] for _ in range(15)]  # beyond the ten that are replayed
        stamps = [datetime.fromisoformat(state["timestamp"]) for state in states]
        assert stamps == sorted(set(stamps)), "each state once, as it comes"
        client.send(CLOSE, (1000).to_bytes(2, "big"))
        wait_until(lambda: rest_health(cottage.engine_url)["clients"] == 0)


def test_a_token_is_sent_in_the_contracts_header(raw_server):
    server = raw_server(one_packet)
    with cw.connect(server.url, token=TOKEN) as feed:
        feed.wait()
    printed = fences("7.1", "http")[0].strip().replace("<JWT>", TOKEN)
    assert server.peers[0].head.decode().split("\r\n").count(printed) == 1


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_the_server_accepts_the_contracts_token_header_and_selects_its_scheme(raw_client, site):
    with cw.serve() as cottage:
        url = getattr(cottage, site)
        answer = raw_client(url).ask(request_of(url, fences("7.1", "http")[0].strip().replace("<JWT>", TOKEN)))
    assert answer[0].startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Protocol: token" in answer


def test_without_a_token_the_client_is_served_on_this_machine_only():
    with cw.serve() as cottage, cw.connect(cottage.url) as feed:
        feed.wait()
        assert urlsplit(cottage.url).hostname == "127.0.0.1"
        assert port_of(cottage.url) != port_of(cottage.engine_url)
    with pytest.raises(cw.ConfigError, match="needs a secret"):
        cw.serve(host="0.0.0.0")
