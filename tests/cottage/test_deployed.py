"""The deployed dialect: its shapes are those of the samples in tests/deployed, its engine never reads, its BFF tells the database."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

import ccwatch as cw
from ccwatch.cottage import Cottage, Options, endpoint
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.deployed import Database, burst
from ccwatch.cottage.dialect import Speaker
from ccwatch.feed.synthetic import SyntheticSource, messages

SAMPLES = Path(__file__).parents[1] / "deployed"
STATES = [json.loads(raw)["data"] for raw in itertools.islice(messages(seed=3, scenario="drawdown-halt@60"), 420)]


def sample(name: str) -> list[Any]:
    return [json.loads(json.loads(line)["message"]) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def kinds(value: Any) -> Any:
    """The shape of a message: names and types, of lists that of their first entry; whole numbers and fractions are the same to JSON."""
    if isinstance(value, dict):
        return {name: kinds(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def assert_is_part(ours: Any, theirs: Any, where: str = "") -> None:
    """Whatever we send has the same place and type there."""
    if isinstance(ours, dict):
        for name in ours:
            assert name in theirs, f"{where}.{name}"
            assert_is_part(ours[name], theirs[name], f"{where}.{name}")
    elif isinstance(ours, list) and ours and theirs:
        assert_is_part(ours[0], theirs[0], where)
    elif not isinstance(ours, list):
        assert ours == theirs, where


def test_the_engines_two_messages_have_the_shapes_that_were_seen() -> None:
    pipeline, loop = burst(STATES[100], [450.0, 450.1, 450.2])
    seen_pipeline, seen_loop = (kinds(message) for message in sample("engine-socket.jsonl")[-2:])
    assert loop.keys() == seen_loop.keys()
    assert_is_part(kinds(loop), seen_loop)
    known = kinds(pipeline)
    for name in ("nav", "daily_pnl"):  # field note 4 has them, the samples do not
        known.pop(name)
    assert_is_part(known, seen_pipeline)
    assert "timestamp" not in pipeline
    assert loop["timestamp"] == "now"
    assert len(pipeline["chronos_forecast"]["quantiles"]) == 9


def test_the_bffs_state_has_the_shape_that_was_seen() -> None:
    database = Database()
    heard = [database.state(state) for state in STATES]
    seen = kinds(sample("bff-over-database-engine.jsonl")[-1]["data"])
    ours = kinds(heard[-1])
    agent, model = next(iter(ours.pop("agents").values())), next(iter(ours.pop("models").values()))
    model.pop("last_thought")  # text or null
    agent[0].pop("error")
    agent[0].pop("output")
    model["invocations"][0].pop("prediction")
    assert_is_part(agent, next(iter(seen["agents"].values())))
    assert_is_part(model, next(iter(seen["models"].values())))
    assert_is_part(ours, seen)
    assert heard[0]["timestamp"] == "2026-01-02T14:30:00.000000"


def test_status_alternates_within_a_burst_while_a_drawdown_halt_lasts() -> None:
    halted = [state for state in STATES if state["status"] == "HALT"]
    assert halted
    pipeline, loop = burst(halted[0], [450.0])
    assert (pipeline["status"], loop["status"]) == ("HALTED_DRAWDOWN", "active")
    assert Database().state(halted[0])["status"] == "TradingStatus.HALTED_DRAWDOWN"


def test_each_call_is_told_with_its_own_time_and_again_until_ten_newer_ones_came() -> None:
    database = Database()
    heard: set[tuple[str, float, bool]] = set()
    for state in STATES:
        calls = database.state(state)["agents"]["RiskAgent"]
        assert len(calls) <= 10
        assert [call["timestamp"] for call in calls] == sorted((call["timestamp"] for call in calls), reverse=True)
        heard |= {(call["timestamp"], call["latency_ms"], call["success"]) for call in calls}
    first, last = (STATES[at]["agents"]["RiskAgent"] for at in (0, -1))
    assert len(heard) == last["invocations"] - first["invocations"] + 1
    good = [round(service["invocations"] * service["success_rate"]) for service in (first, last)]
    assert sum(not success for *_, success in heard) == (last["invocations"] - first["invocations"]) - (good[1] - good[0])


def test_dollars_and_a_drawdown_above_zero() -> None:
    state = next(state for state in STATES if state["governance"]["approved_size"] and state["portfolio"]["max_drawdown"])
    heard = Database().state(state)
    assert heard["governance"]["approved_size"] == pytest.approx(state["governance"]["approved_size"] * state["portfolio"]["nav"], abs=0.01)
    assert heard["portfolio"]["max_drawdown"] == -state["portfolio"]["max_drawdown"]


def test_what_is_no_contracts_state_passes_through() -> None:
    speaker = Speaker("deployed")
    for payload in (
        b'{"type":"TELEMETRY","data":{"logs":[]}}',
        b'{"symbol":"SPY","price":1.0}',
        b'{"type":"TELEMETRY","data":{"market":{}}}',
    ):
        message = Message.of(payload)
        assert list(speaker.speak(message)) == [message]


def test_the_engine_serves_under_api_alone_replays_ten_messages_and_the_bff_repeats_the_state_each_second(ws, rest) -> None:
    with Cottage(SyntheticSource(rate=4.0), Options(dialect="deployed")) as cottage:
        assert cottage.engine_url.endswith("/api/ws/stream")
        assert rest(cottage.engine_url, "/ws/stream")[0] == 403
        bff = ws(cottage.url)
        heard = [json.loads(bff.recv(timeout=5)) for _ in range(3)]
        assert {message["type"] for message in heard} == {"WELCOME", "TELEMETRY"}
        assert heard[-1]["data"]["status"] == "TradingStatus.ACTIVE"
        engine = ws(cottage.engine_url)
        first = [json.loads(engine.recv(timeout=0.2)) for _ in range(10)]
        assert [message.get("type") for message in first] == [None, "TELEMETRY"] * 5


@pytest.mark.slow
def test_a_text_ends_the_answers_to_pings_and_in_the_end_the_connection_with_1011(ws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "UNREAD_S", 1.0)
    with Cottage(SyntheticSource(rate=20.0), Options(dialect="deployed")) as cottage:
        client = ws(cottage.engine_url, ping_interval=None)
        assert client.ping().wait(2)
        client.send('{"type":"PING"}')
        time.sleep(0.1)
        assert not client.ping().wait(0.4)
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - packets go on until it ends
            while True:
                client.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "keepalive ping timeout")


def test_a_feed_sends_no_text_to_the_deployed_engine_although_it_names_a_cottage() -> None:
    with (
        Cottage(SyntheticSource(rate=20.0), Options(dialect="deployed")) as cottage,
        cw.connect(cottage.engine_url, commands=True) as feed,
    ):
        feed.wait(timeout=30)
        result = feed.subscribe("QQQ")
    assert not result.sent
    assert "reads" in str(result.error)
