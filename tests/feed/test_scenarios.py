"""Scenarios alone and combined: what is planted where, and that the truth beside the stream says so."""

from __future__ import annotations

import itertools
import json

import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError
from ccwatch.feed.scenarios import FLOOD, planted, plants
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.messages import Event, EventKind, Packet
from tests.feed.test_synthetic import play


def spans(scenario, rate=1.0):
    return {(incident.kind, incident.start_s, incident.end_s) for incident in planted(scenario, rate)}


def test_combined_scenarios_plant_what_each_plants():
    assert spans("slow-agent+gap") == spans("slow-agent") | spans("gap")


def test_a_scenario_is_moved_to_its_time():
    assert spans("gap@300") == {("gap", 300.0, 330.0)}
    assert spans("gap@300", 4.0) == {("gap", 300.0, 315.0)}
    assert spans("calm@7") == set()
    assert min(start for _, start, _ in spans("drawdown-halt@10")) == 10.0


def test_where_two_of_a_kind_would_act_at_once_the_later_does_and_the_truth_says_so():
    for n in range(600):
        acting = [plant for plant in plants("regime-flip+drawdown-halt", 1.0) if plant.acts_on(n)]
        assert len({plant.kind for plant in acting}) == len(acting)
    assert ("regime", 120.0, 180.0) in spans("regime-flip+drawdown-halt")


def test_a_combination_holds_in_the_bytes():
    states = [json.loads(raw)["data"] for raw in itertools.islice(messages(scenario="slow-agent@20+clock-skew@50"), 200)]
    plain = [json.loads(raw)["data"] for raw in itertools.islice(messages(scenario="slow-agent@20"), 200)]
    differing = [n for n in range(200) if states[n] != plain[n]]
    assert differing == list(range(50, 60))
    slow = sorted(state["agents"]["RiskAgent"]["latency_ms"] for state in states[20:140])
    assert slow[60] > 70


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("calm+nothing", "no scenario 'nothing'"),
        ("", "there are calm"),
        ("gap@", "seconds after the @"),
        ("gap@-5", "seconds after the @"),
        ("gap@nan", "seconds after the @"),
        ("gap@1e300", "seconds after the @"),
        ("drawdown-halt+drawdown-halt@900", "plants two drawdowns"),
    ],
)
def test_what_is_no_scenario_is_refused(scenario, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticSource(scenario=scenario)


def test_a_reconnect_storm_ends_and_opens_the_connection_at_its_planted_times():
    kept = play(SyntheticSource(scenario="reconnect-storm", packets=150, pace="max"))
    assert [event.kind for event in kept.of(Event)] == [EventKind.CONNECT] + [EventKind.DISCONNECT, EventKind.CONNECT] * 6
    firsts = [n for n, (a, b) in enumerate(itertools.pairwise(kept.of(Packet)), 1) if a.connection != b.connection]
    assert firsts == [int(incident.start_s) for incident in planted("reconnect-storm")]


def test_a_flood_has_many_packets_in_the_place_of_one_each_with_a_time_of_its_own():
    kept = play(SyntheticSource(scenario="flood", packets=60 + 10 * FLOOD + 20, pace="max"))
    packets = kept.of(Packet)
    begin = packets[0].time_ns
    flooded = [packet for packet in packets if 60 <= (packet.time_ns - begin) / 1e9 < 70]
    assert len(flooded) == 10 * FLOOD
    assert len({packet.time_ns for packet in packets}) == len(packets)
    assert not any(packet.flags for packet in packets)


def test_the_truth_stands_beside_a_feed_and_beside_a_cottage():
    with cw.synthetic(scenario="gap+slow-agent", packets=3, pace="max") as feed:
        assert feed.planted == planted("gap+slow-agent")
    with cw.serve(scenario="gap", rate=4) as cottage:
        assert cottage.planted == planted("gap", 4.0)
