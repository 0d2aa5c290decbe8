"""Real uvicorn with an application that never reads, as deployed: one connection, however long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time

import pytest
import uvicorn

import ccwatch as cw
from ccwatch.protocol import connection_liveness
from tests.feed.conftest import wait_until
from tests.feed.servers import telemetry

WELCOME = json.dumps({"type": "WELCOME", "data": {"timestamp": "2026-01-02T10:00:00Z", "status": "ACTIVE"}})


def application(*, every_s, welcomes=False):
    """Accepts, and from then on only sends."""

    async def app(scope, receive, send):
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        n = 0
        with contextlib.suppress(Exception):  # the client is gone
            if welcomes:
                await send({"type": "websocket.send", "text": WELCOME})
            while True:
                await send({"type": "websocket.send", "text": telemetry(n).decode()})
                n += 1
                await asyncio.sleep(every_s)

    return app


@contextlib.contextmanager
def served(app, **options):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ws="websockets-sansio", **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join(5)


def watch(url, seconds):
    with cw.connect(url) as feed:
        feed.wait(timeout=20)
        time.sleep(seconds)
        health = feed.health()
        return health, [(event.kind, event.detail) for event in feed.events().itertuples()]


def test_one_connection_although_the_contracts_ping_is_due_many_times(monkeypatch):
    monkeypatch.setattr(connection_liveness, "PING_NS", connection_liveness.PING_NS // 50)
    monkeypatch.setattr(connection_liveness, "KEEPALIVE_NS", connection_liveness.KEEPALIVE_NS // 50)
    with served(application(every_s=0.05), ws_ping_interval=0.5, ws_ping_timeout=0.5) as url:
        health, events = watch(url, 3.0)
    assert (health.reconnects, health.state) == (0, "OPEN"), events
    assert [kind for kind, _ in events if kind != "gap"] == ["connect"], "a machine that pauses makes gaps"


@pytest.mark.slow
def test_one_that_welcomes_but_does_not_read_is_lost_once_and_then_never_again(monkeypatch):
    monkeypatch.setattr(connection_liveness, "PING_NS", connection_liveness.PING_NS // 50)
    monkeypatch.setattr(connection_liveness, "KEEPALIVE_NS", connection_liveness.KEEPALIVE_NS // 50)
    with served(application(every_s=0.05, welcomes=True), ws_ping_interval=0.5, ws_ping_timeout=0.5) as url, cw.connect(url) as feed:
        wait_until(lambda: "error" in list(feed.events()["kind"]), 20)
        wait_until(lambda: feed.health().reconnects == 1 and feed.state == "OPEN", 20)
        time.sleep(3.0)
        assert feed.health().reconnects == 1
        assert list(feed.events()["kind"]).count("error") == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CCWATCH_FULL"), reason="two minutes by the wall clock")
@pytest.mark.parametrize("implementation", ["websockets-sansio", "wsproto"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_connection_for_two_minutes(implementation):
    pytest.importorskip("wsproto" if implementation == "wsproto" else "websockets")
    server = uvicorn.Server(uvicorn.Config(application(every_s=5), port=0, log_level="critical", lifespan="off", ws=implementation))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        health, events = watch(f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", 120)
    finally:
        server.force_exit = server.should_exit = True
        thread.join(5)
    assert health.reconnects == 0, events
    assert [kind for kind, _ in events] == ["connect"]
