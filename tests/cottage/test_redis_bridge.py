"""The bridge from Redis, beside a real redis-server: what is read, what becomes of it, and what happens when Redis goes."""

from __future__ import annotations

import json

import pytest
import redis

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource

STATE = {"timestamp": "2026-01-02T10:00:00Z", "status": "ACTIVE", "market": {"symbol": "SPY", "price": 450.25, "regime": "Gaussian"}}


# ── with a server ──


def subscribed(server):
    with redis.Redis(port=server.port) as client:
        return client.pubsub_numsub("state_update")[0][1]


@pytest.mark.redis
def test_the_bridge_starts_with_the_first_client(server, ws, until):
    server.start()
    with Cottage(None, Options(redis_url=server.url)) as cottage:
        assert subscribed(server) == 0
        ws(cottage.engine_url)
        until(lambda: subscribed(server) == 1)


@pytest.mark.redis
@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"type": "TELEMETRY", "data": s}, lambda s: {"data": json.dumps(s), "headers": {}}]
)
def test_a_state_update_reaches_the_clients_of_both_sites_as_telemetry(server, ws, until, wrap):
    server.start()
    with Cottage(None, Options(redis_url=server.url)) as cottage:
        bff, engine = ws(cottage.url), ws(cottage.engine_url)
        bff.recv(timeout=5)
        until(lambda: subscribed(server) == 1)
        server.publish("state_update", wrap(STATE))
        for client in (bff, engine):
            assert json.loads(client.recv(timeout=5)) == {"type": "TELEMETRY", "data": STATE}
        assert json.loads(ws(cottage.url).recv(timeout=5)) == {"type": "WELCOME", "data": STATE}


@pytest.mark.slow
@pytest.mark.redis
def test_the_stream_of_an_engine_goes_on_while_redis_is_absent_comes_goes_and_is_back_and_the_gap_is_announced(server, until, metric):
    with Cottage(SyntheticSource(rate=20.0), Options(redis_url=server.url)) as cottage, cw.connect(cottage.engine_url) as feed:
        feed.wait(3)
        server.start()
        until(lambda: metric(cottage, "ccwatch_redis_up") == 1, 20)
        server.kill()
        until(lambda: metric(cottage, "ccwatch_redis_up") == 0, 20)
        before = feed.health().packets
        feed.wait(before + 5)
        server.start()
        until(lambda: metric(cottage, "ccwatch_redis_up") == 1, 20)
        assert metric(cottage, "ccwatch_redis_gaps_total") == 1
        assert metric(cottage, "ccwatch_redis_gap_seconds_total") > 0

        def said(part):
            return any(part in message for message in feed.logs().message)

        until(lambda: said("Redis is gone"))
        until(lambda: said("gap of"))
        server.publish("physics.forces", {"symbol": "SPY", "price": 451.5, "alpha_coefficient": 1.7, "momentum": 0.1})
        until(lambda: feed.frame(clean=False).price.eq(451.5).any())


@pytest.mark.redis
def test_what_is_malformed_on_redis_is_counted_and_hurts_nobody(server, ws, until, metric):
    server.start()
    with Cottage(None, Options(redis_url=server.url)) as cottage:
        client = ws(cottage.engine_url)
        until(lambda: subscribed(server) == 1)
        for raw in (b"junk", b"\x89BIN\r\n\x1a\n", b"[]", b"\xff" * 100, b'{"a":"' + b"x" * 2_000_000 + b'"}'):
            server.publish("state_update", raw)
        server.publish("state_update", STATE)
        assert json.loads(client.recv(timeout=5))["data"] == STATE
        assert metric(cottage, "ccwatch_redis_malformed_total") == 5


@pytest.mark.slow
@pytest.mark.redis
def test_a_flood_on_redis_leaves_the_other_clients_served_and_loses_nothing_unannounced(server, ws, until, metric):
    server.start()
    with Cottage(SyntheticSource(rate=20.0), Options(redis_url=server.url)) as cottage:
        witness = ws(cottage.url)
        until(lambda: subscribed(server) == 1)
        count = 5_000
        with redis.Redis(port=server.port) as client, client.pipeline(transaction=False) as pipe:
            for n in range(count):
                pipe.publish("market.tick.SPY", json.dumps({"price": 400 + n / 100}))
            pipe.execute()
        for _ in range(10):
            assert witness.recv(timeout=5)
        until(lambda: metric(cottage, 'ccwatch_redis_messages_total{channel="market.tick.*"}') == count, 30)


@pytest.mark.redis
def test_a_bridge_that_redis_drops_announces_the_gap(server, ws, until, metric):
    server.start()
    with Cottage(None, Options(redis_url=server.url)) as cottage:
        client = ws(cottage.engine_url)
        until(lambda: subscribed(server) == 1)
        with redis.Redis(port=server.port) as admin:
            admin.client_kill_filter(_type="pubsub")  # as Redis does to a subscriber that does not keep up
        until(lambda: metric(cottage, "ccwatch_redis_gaps_total") == 1, 20)
        assert "Redis is gone" in json.loads(client.recv(timeout=5))["data"]["logs"][0]["message"]
        assert "gap of" in json.loads(client.recv(timeout=5))["data"]["logs"][0]["message"]


@pytest.mark.redis
def test_halt_and_resume_are_announced_on_redis_and_set_and_clear_its_key(server, until):
    server.start()
    with (
        Cottage(SyntheticSource(rate=50.0), Options(redis_url=server.url)) as cottage,
        cw.connect(cottage.url, commands=True) as feed,
        redis.Redis(port=server.port) as client,
        client.pubsub() as pubsub,
    ):
        feed.wait()
        pubsub.subscribe("system_events")
        pubsub.get_message(timeout=5)
        for give, event, key in (
            (lambda: feed.halt(confirm="HALT"), "SYSTEM_HALT", b"true"),
            (lambda: feed.resume(confirm="RESUME"), "SYSTEM_RESUME", None),
        ):
            assert give().confirmed
            message = until(lambda: pubsub.get_message(timeout=1))
            assert json.loads(message["data"])["event"] == event
            assert client.get("SYSTEM:HALT") == key


@pytest.mark.redis
def test_a_halt_of_what_redis_streams_is_confirmed_by_whoever_trades_there(server, until):
    server.start()
    with Cottage(None, Options(redis_url=server.url)) as cottage, cw.connect(cottage.engine_url, commands=True) as feed:
        until(lambda: subscribed(server) == 1)
        with redis.Redis(port=server.port) as client, client.pubsub() as trader:
            trader.subscribe(system_events=lambda _: client.publish("state_update", json.dumps(STATE | {"status": "HALTED_SYSTEM"})))
            thread = trader.run_in_thread(sleep_time=0.01)
            try:
                result = feed.halt(confirm="HALT")
            finally:
                thread.stop()
                thread.join()
    assert (result.accepted, result.confirmed, result.status) == (True, True, "HALT")


# ── halts ──


@pytest.mark.slow
@pytest.mark.redis
def test_a_halt_that_stood_before_anyone_listened_is_told_and_so_is_its_end(server, until):
    server.start()
    with redis.Redis(port=server.port) as client:
        client.set("SYSTEM:HALT", "true")
        with (
            Cottage(None, Options(redis_url=server.url)) as cottage,
            cw.connect(cottage.url) as bff,
            cw.connect(cottage.engine_url) as engine,
        ):
            for feed in (bff, engine):
                until(lambda feed=feed: feed.latest is not None and feed.latest.status == "HALT")
            with cw.connect(cottage.url, name="late") as late:
                until(lambda: late.latest is not None and late.latest.status == "HALT")
            client.delete("SYSTEM:HALT")
            until(lambda: bff.latest.status == "ACTIVE")


@pytest.mark.redis
def test_a_halt_announced_on_redis_is_the_status_and_halts_the_embedded_engine(server, until):
    server.start()
    with Cottage(SyntheticSource(rate=50.0), Options(redis_url=server.url)) as cottage, cw.connect(cottage.url) as feed:
        until(lambda: subscribed(server) == 1)
        server.publish("system_events", {"event": "SYSTEM_HALT", "data": {"reason": "Manual Kill Switch"}})
        until(lambda: feed.latest is not None and feed.latest.status == "HALT" and feed.latest.price > 0)
        assert "Manual Kill Switch" in " ".join(feed.logs()["message"])
        server.publish("system_events", {"event": "SYSTEM_RESUME", "data": {}})
        until(lambda: feed.latest.status == "ACTIVE")
