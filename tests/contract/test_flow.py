"""Sections 1.2, 4, 5 and 9 of the contract: who polls whom and when, what fails and comes back, what is logged and counted."""

from __future__ import annotations

import itertools
import re
import shlex
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
from websockets.sync.client import connect

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.address import parse_url
from ccwatch.feed.feed import Feed
from ccwatch.feed.live import LiveSource
from tests.contract.conftest import wait_until
from tests.contract.contract import fences, section
from tests.contract.test_handshake import request_of
from tests.feed.servers import CLOSE, TEXT, frame, free_port, telemetry

ARROWS = re.findall(r"^\s+(\w+)-?->>(\w+): (.*)$", fences("4", "mermaid")[0], re.MULTILINE)
"""Who says what to whom, from the contract's diagram."""
STATE = orjson.loads(fences("2.1", "json")[0])["data"]
"""The state of the contract's example."""


@pytest.fixture
def foreign_engine() -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """Another program's engine, with the contract's state in its three parts; its url, and what it was asked when."""
    asked: list[tuple[float, str]] = []
    parts = {
        "/api/system/state/current": {key: value for key, value in STATE.items() if key not in {"agents", "models"}},
        "/api/system/metrics/agents": STATE["agents"],
        "/api/system/metrics/models": STATE["models"],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((time.monotonic(), f"{self.command} {self.path}"))
            body = orjson.dumps(parts.get(self.path))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


# ── section 4 ──


@pytest.mark.slow
def test_the_bff_asks_its_engine_for_exactly_the_contracts_three_parts_once_a_second(foreign_engine):
    url, asked = foreign_engine
    gets = [what for who, whom, what in ARROWS if (who, whom) == ("BFF", "Engine")]
    assert len(gets) == 3
    seconds = int(re.search(r"loop Every (\d+) second", section("4"))[1])
    with Cottage(None, Options(engine_url=url)):
        wait_until(lambda: len(asked) >= 9)
    assert {what for _, what in asked} == set(gets)
    for get in gets:
        times = [moment for moment, what in asked if what == get]
        assert times[2] - times[0] == pytest.approx(2 * seconds, rel=0.2)


@pytest.mark.slow
def test_a_feed_gets_welcome_first_and_then_what_the_bff_made_of_state_and_metrics(foreign_engine):
    url, _ = foreign_engine
    said = [what for who, whom, what in ARROWS if (who, whom) == ("BFF", "Client")]
    assert said[0] == "WELCOME packet (initial state)"
    with Cottage(None, Options(engine_url=url)) as cottage, cw.connect(cottage.url) as feed:
        feed.wait(2)
        frame = feed.frame(["kind"], clean=False)
        assert frame["kind"].tolist()[:2] == [what.split()[0] for what in said[:2]] == ["WELCOME", "TELEMETRY"]
        assert orjson.loads(feed.latest.raw) == {"type": "TELEMETRY", "data": STATE}
        assert feed.agents()["agent"].unique().tolist() == list(STATE["agents"])
        assert feed.models()["model"].unique().tolist() == list(STATE["models"])
    with Cottage(None, Options(engine_url=url)) as cottage:
        with connect(cottage.url) as early:
            while orjson.loads(early.recv(timeout=5))["type"] != "TELEMETRY":
                pass
        with connect(cottage.url) as late:
            assert orjson.loads(late.recv(timeout=5)) == {"type": "WELCOME", "data": STATE}, "its initial state is the last one"


# ── section 5.1 ──


def test_attempts_follow_the_contracts_backoff():
    *first, most = (float(number) for number in re.findall(r"(\d+)s", section("5.1").split("reconnection")[1].splitlines()[0]))
    assert (first, most) == ([1, 2, 4, 8], 30)
    asked: list[float] = []

    def pause(stop, seconds):
        asked.append(seconds)
        return stop.wait(60 if len(asked) == 8 else 0)

    url = f"ws://127.0.0.1:{free_port()}"
    with Feed(LiveSource(parse_url(url), pause=pause), name="backoff", url=url) as feed:
        feed.start()
        wait_until(lambda: len(asked) == 8)
        assert feed.state == "DISCONNECTED"
    assert asked[:4] == first
    assert all(later == min(2 * earlier, most) for earlier, later in itertools.pairwise(asked))
    assert asked[-1] == most


@pytest.mark.slow
def test_an_unavailable_backend_is_shown_as_disconnected_and_found_once_it_is_there():
    def shown(feed):
        with cw.watch(feed) as dashboard:
            return str(dashboard._publisher._side_content["status"])

    port = free_port()
    with cw.connect(f"ws://127.0.0.1:{port}") as feed:
        wait_until(lambda: "Disconnected, next try in" in shown(feed))
        with cw.serve(port=port):
            feed.wait(1, timeout=10)
            assert "Connected" in shown(feed)
            assert "Disconnected" not in shown(feed)


# ── what the server logs ──


@pytest.fixture
def visit(raw_client: Callable, said: Callable[[], list[str]]) -> Callable[[str], object]:
    """Opens a raw client whose connecting has been logged."""

    def connect_to(url):
        before = sum("Client Connected" in line for line in said())
        client = raw_client(url)
        client.ask(request_of(url))
        wait_until(lambda: sum("Client Connected" in line for line in said()) > before)
        return client

    return connect_to


def test_connecting_is_logged_word_for_word(visit, said):
    (printed,) = fences("1.2")
    with cw.serve() as cottage:
        visit(cottage.engine_url)
        assert said().count(printed.strip()) == 1


def test_a_reset_is_logged_word_for_word(visit, said):
    (printed,) = fences("5.1")
    with cw.serve() as cottage:
        client = visit(cottage.engine_url)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
        client.sock.close()
        wait_until(lambda: printed.strip() in said())


def test_malformed_messages_are_logged_word_for_word_and_ignored(visit, said):
    level, template = re.fullmatch(r'logger\.(\w+)\(f"(.*)"\)', fences("5.2", "python")[0].strip()).groups()
    with cw.serve(rate=20) as cottage:
        client = visit(cottage.engine_url)
        for data in ("{not json", '{"type":"NOBODY KNOWS"}', "[]", "null", '"' + "x" * 100):
            client.send(TEXT, data.encode())
            line = f"{level.upper()}: {template.format(data=data)}"
            wait_until(lambda line=line: line in said())
        for _ in range(15):  # beyond what was sent before
            assert client.frame()[0] == TEXT
        assert not any(line.startswith(("ERROR", "WARNING")) for line in said())


def test_a_client_that_leaves_is_closed_gracefully_unsubscribed_and_logged_word_for_word(visit, said, rest_health):
    (printed,) = fences("5.3")
    goodbye = (1000).to_bytes(2, "big")
    with cw.serve(rate=20) as cottage:
        client = visit(cottage.engine_url)
        assert rest_health(cottage.engine_url)["clients"] == 1
        client.send(CLOSE, goodbye)
        while (received := client.frame())[0] == TEXT:
            pass
        assert received == (CLOSE, goodbye), "a close frame is answered by a close frame (RFC 6455, 5.5.1)"
        assert client.sock.recv(1) == b"", "and the server ends the connection"
        wait_until(lambda: rest_health(cottage.engine_url)["clients"] == 0)
        wait_until(lambda: printed.strip() in said())
        assert not any("Connection Closed" in line for line in said())


# ── section 9 ──


def test_the_contracts_greps_find_the_lines_of_each_server_and_none_of_the_other(visit, said, tmp_path):
    log, found = tmp_path / "cottage.log", []
    with cw.serve() as cottage:
        for url in (cottage.engine_url, cottage.url):
            client = visit(url)
            client.send(TEXT, b"hello")
            client.send(CLOSE, b"")
        wait_until(lambda: sum("Client Disconnected" in line for line in said()) == 2)
    log.write_text("\n".join(said()) + "\n", encoding="utf-8")
    for printed in fences("9.2", "bash"):
        docker, grep = printed.strip().split(" | ")
        assert docker.startswith("docker logs -f cc_")
        done = subprocess.run([*shlex.split(grep), str(log)], capture_output=True, text=True, check=True)
        found.append(done.stdout.splitlines())
    engine, bff = found
    for lines in found:
        assert [line.split(": ")[2] for line in lines][:3] == ["Client Connected", "Received hello", "Client Disconnected"]
    assert sorted(engine + bff) == sorted(said())


def test_a_feed_counts_reconnections_and_the_mean_size_of_messages(raw_server):
    raws = [telemetry(0), telemetry(1, symbol="A" * 500)]

    def script(peer):
        raw = raws[len(server.peers) - 1]
        peer.shake()
        peer.send(frame(raw))
        if len(server.peers) > 1:
            peer.until_gone()

    server = raw_server(script)
    with cw.connect(server.url) as feed:
        feed.wait(2)
        health = feed.health().to_dict()
    assert health["reconnects"] == 1
    assert health["message_bytes_mean"] == pytest.approx(sum(map(len, raws)) / 2)
