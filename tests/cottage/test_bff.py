from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Listen, Options
from ccwatch.feed.synthetic import SyntheticSource, messages

PLACEHOLDER = {
    "timestamp": None,
    "status": "Initializing",
    "market": {"price": 0.0, "alpha": 0.0, "regime": "Unknown"},
    "sentiment": {"label": "Neutral", "score": 0.0},
    "signals": [],
    "logs": [],
}


def first(count, **arguments):
    return list(itertools.islice(messages(**arguments), count))


def receive(client):
    return json.loads(client.recv(timeout=5))


@contextlib.contextmanager
def foreign_engine(answers):
    """Another program's engine: plain HTTP of the standard library. `answers` maps a path to status and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("path", ["", "/", "/ws/stream", "/anything/at all"])
def test_any_path_upgrades_and_is_welcomed_at_once(ws, path):
    with Cottage(SyntheticSource(packets=1), Options(start_on_first_client=True)) as cottage:
        assert receive(ws(cottage.url + path.replace(" ", "%20"))) == {"type": "WELCOME", "data": PLACEHOLDER}


def test_a_polled_engine_arrives_as_the_same_bytes_that_it_streams(ws):
    expected = first(3, rate=0.001)
    with Cottage(SyntheticSource(rate=0.001, packets=3), Options(push=False)) as cottage:
        client = ws(cottage.url)
        assert receive(client)["type"] == "WELCOME"
        assert client.recv(timeout=5).encode() == expected[0]


def test_polling_sends_the_same_state_again_every_second_while_the_engine_is_idle(ws):
    with Cottage(SyntheticSource(packets=1), Options(push=False)) as cottage:
        client = ws(cottage.url)
        receive(client)
        once = client.recv(timeout=5)
        begin = time.monotonic()
        assert client.recv(timeout=5) == once
        assert 0.8 < time.monotonic() - begin < 3.0


def test_a_bff_polls_the_engine_of_another_cottage(ws):
    with Cottage(SyntheticSource(seed=4, packets=1)) as engine, Cottage(None, Options(engine_url=engine.engine_url)) as cottage:
        client = ws(cottage.url)
        assert receive(client)["type"] == "WELCOME"
        assert client.recv(timeout=5).encode() == first(1, seed=4)[0]
        assert cottage.engine_url == engine.engine_url


@pytest.mark.slow
def test_an_engine_that_is_down_is_said_once_nothing_is_sent_and_its_return_is_noticed(ws, caplog):
    caplog.set_level(logging.INFO, "ccwatch.cottage")
    engine = Cottage(SyntheticSource(seed=4)).start()
    url, port = engine.engine_url, urlsplit(engine.engine_url).port
    engine.stop()
    with Cottage(None, Options(engine_url=url)) as cottage:
        client = ws(cottage.url)
        assert receive(client) == {"type": "WELCOME", "data": PLACEHOLDER}
        with pytest.raises(TimeoutError):
            client.recv(timeout=1.2)
        assert client.ping().wait(5), "the socket stays open"
        assert caplog.text.count("no state from the engine") == 1
        with Cottage(SyntheticSource(seed=4, packets=1), Options(listen=Listen(engine_port=port))):
            assert client.recv(timeout=5).encode() == first(1, seed=4)[0]
        assert "the engine answers" in caplog.text


def test_a_foreign_engines_own_fields_are_passed_on_and_missing_routes_leave_their_part_out(ws):
    state = {"type": "TELEMETRY", "symbol": "SPY", "price": 450.3, "current_alpha": 2.1, "regime": "LÃ©vy Stable"}
    answers = {
        "/api/system/state/current": (200, json.dumps(state).encode()),
        "/api/system/metrics/agents": (500, b"oops"),
        "/api/system/metrics/models": (200, b'{"FinBERT":{"latency_ms":3.5}}'),
    }
    with foreign_engine(answers) as url, Cottage(None, Options(engine_url=url)) as cottage:
        client = ws(cottage.url)
        receive(client)
        del state["type"]
        assert receive(client) == {"type": "TELEMETRY", "data": state | {"models": {"FinBERT": {"latency_ms": 3.5}}}}


@pytest.mark.parametrize(
    "body", [b"not json", b"[1,2]", b'{"error":"No state available","status":"offline"}', b"", b'{"a":"' + b"x" * 4_200_000 + b'"}']
)
def test_an_engine_without_a_usable_state_sends_nothing_and_hurts_nobody(ws, caplog, until, body):
    with foreign_engine({"/api/system/state/current": (200, body)}) as url, Cottage(None, Options(engine_url=url)) as cottage:
        until(lambda: "no state from the engine" in caplog.text)
        client = ws(cottage.url)
        assert receive(client)["data"] == PLACEHOLDER
        assert client.ping().wait(5)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0)


def test_a_stream_that_is_passed_on_does_not_lose_what_it_is_made_of():
    with Cottage(SyntheticSource(seed=1, rate=20)) as engine, Cottage(None, Options(engine_url=engine.engine_url)) as bff:
        with cw.connect(bff.url) as early:
            early.wait(2, timeout=5)
        with cw.connect(bff.url) as feed:
            assert feed.wait(1, timeout=5).origin == "synthetic"
