"""Agents and models in all the shapes in which servers send them."""

from __future__ import annotations

import json

import pytest

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, AgentMetric, Flag, ModelMetric, ServiceCall
from tests.protocol import deployed
from tests.protocol.shapes import contract, decode

NINE_NS = 1_795_770_000 * 10**9  # 2026-11-27T09:00:00Z


def test_calls_have_their_own_times_and_the_latest_of_each_name_is_its_gauge():
    packet = decode(deployed.over_database(3, {"risk": [deployed.call(2, 3.25), deployed.call(1, 4.5, success=False, error="boom")]}))
    assert packet.calls == (
        ServiceCall("agents", "risk", NINE_NS + 2_050_000_000, 3.25, 1.0),
        ServiceCall("agents", "risk", NINE_NS + 1_050_000_000, 4.5, 0.0),
        ServiceCall("models", "risk", NINE_NS + 2_050_000_000, 3.25, 1.0),
        ServiceCall("models", "risk", NINE_NS + 1_050_000_000, 4.5, 0.0),
    )
    assert packet.agents == (AgentMetric("risk", 3.25, NAN, NAN),)
    assert packet.models == (ModelMetric("risk", 3.25, NAN, NAN),)
    assert packet.flags == Flag.NAIVE_TIME | Flag.UNIT
    assert packet.extra["agents"]["risk"][0]["output"] == {"n": 2}


@pytest.mark.parametrize(
    ("entry", "time_ns", "latency", "success", "flags"),
    [
        ({"latency_ms": "3.5", "timestamp": "1795770002"}, NINE_NS + 2 * 10**9, 3.5, NAN, Flag.COERCED),
        ({"latency_ms": 3, "timestamp": 1795770002138}, NINE_NS + 2_138_000_000, 3.0, NAN, 0),
        ({"latency_ms": 3.0}, None, 3.0, NAN, 0),
        ({"timestamp": "soon", "latency_ms": None, "success": "true"}, None, NAN, 1.0, 0),
        ({"latency_ms": [], "success": 0}, None, NAN, 0.0, Flag.WRONG_TYPE),
        ({"latency_ms": 1.0, "error": "boom"}, None, 1.0, 0.0, 0),
        ({"latency_ms": 1.0, "error": None}, None, 1.0, NAN, 0),
    ],
)
def test_a_call_of_any_kind_is_read_as_far_as_it_goes(entry, time_ns, latency, success, flags):
    packet = decode(contract(agents={"a": [entry]}))
    assert packet.calls[0][:4] == ("agents", "a", time_ns, latency)
    assert packet.calls[0].success is success or packet.calls[0].success == success
    assert packet.flags == flags


@pytest.mark.parametrize("listed", [[None], [5], ["x"], [[{}]]])
def test_entries_that_are_no_calls_are_flagged_and_kept(listed):
    packet = decode(contract(agents={"a": listed}))
    assert packet.calls == ()
    assert packet.flags == Flag.WRONG_TYPE
    assert packet.extra["agents"]["a"] == listed


@pytest.mark.parametrize("wrap", [lambda listed: {"agents": listed}, lambda listed: listed])
def test_a_list_of_named_gauges_is_each_agent_as_of_its_last_run(wrap):
    listed = [
        {"name": "risk", "latency_ms": 3.1, "success_rate": 0.99, "last_run": "2026-11-27T09:00:01+00:00"},
        {"name": "macro", "latency_ms": "7", "success_rate": 1.0, "last_run": None},
        {"latency_ms": 1.0},
    ]
    packet = decode(contract(agents=wrap(listed)))
    assert packet.agents[-2:] == (AgentMetric("risk", 3.1, 0.99, NAN), AgentMetric("macro", 7.0, 1.0, NAN))
    assert [(call.name, call.time_ns, call.gauge) for call in packet.calls] == [
        ("risk", NINE_NS + 10**9, packet.agents[-2]),
        ("macro", None, packet.agents[-1]),
    ]
    assert packet.flags == Flag.COERCED | Flag.WRONG_TYPE


def test_gauges_and_calls_stand_side_by_side():
    sent = contract(agents={"a": {"latency_ms": 1.0, "success_rate": 1.0, "invocations": 2}, "b": [deployed.call(1, 5.0)]})
    packet = decode(sent)
    assert packet.agents == (AgentMetric("MacroAgent", 45.2, 0.98, NAN), AgentMetric("a", 1.0, 1.0, 2.0), AgentMetric("b", 5.0, NAN, NAN))
    assert [call.name for call in packet.calls] == ["b"]


@pytest.mark.parametrize(
    "message",
    [
        json.loads(deployed.over_database(3, {"risk": [deployed.call(2, 3.25)], "quiet": []})),
        contract(agents={"a": {"latency_ms": 1.0}, "b": [deployed.call(1, 5.0)]}),
        contract(agents={"agents": [{"name": "risk", "latency_ms": 3.1}]}),
        contract(models=[{"name": "m", "latency_ms": 3.1, "cache_hit_rate": 0.5}]),
        deployed.RAW_STATE,
        deployed.LOOP,
    ],
)
def test_what_deployed_systems_send_comes_back_from_the_fields(message):
    packet = decode(message)
    again = json.loads(codec.encode(packet))
    assert again == message or packet.flags & Flag.COERCED
    assert decode(again)[:-1] == packet[:-1]
