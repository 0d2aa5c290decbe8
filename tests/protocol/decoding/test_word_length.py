"""Words of more than 256 characters: cut in columns and lists, whole in `extra`, so that a packet is written as it came."""

from __future__ import annotations

import json

import pytest

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.contract import read as read_contract
from ccwatch.protocol.messages import NAN, Flag, ModelMetric, Packet
from tests.protocol.shapes import NOW, contract, decode

LONG = "W" * 300
TWINS = (LONG + "a", LONG + "b")
"""Two names that are equal once they are cut."""
GAUGES = {"latency_ms": 1.5, "invocations": 3.0, "cache_hit_rate": 0.5}


@pytest.mark.parametrize(
    "sent",
    [
        contract(status=LONG),
        contract(market={"symbol": LONG, "regime": "Gaussian"}),
        contract(market={"regime": LONG}),
        contract(signal={"side": LONG, "strategy": LONG}),
        contract(sentiment={"label": LONG}),
        contract(execution_status=LONG, order_id=LONG),
        contract(
            logs=[
                "plain",
                {"level": LONG, "message": LONG, "timestamp": "2026-01-02T10:00:00Z"},
                {"level": LONG, "message": "m", "more": 1},
            ]
        ),
        contract(agents={LONG: {"latency_ms": 1.0}, "short": {"latency_ms": 2.0, "more": 1}}),
        contract(models=dict.fromkeys(TWINS, GAUGES)),
        contract(models={TWINS[0]: GAUGES, TWINS[1]: {"more": 1}}),
        contract(market={"symbol": LONG}, models={"W" * 256: GAUGES, "other": {"more": 1}}),
        contract(agents={LONG: [{"latency_ms": 1.0, "timestamp": "2026-01-02T10:00:00Z"}]}),
        contract(agents={"agents": [{"name": LONG, "latency_ms": 1.0}]}),
        contract(agents=[{"name": LONG, "latency_ms": 1.0, "last_run": "2026-01-02T10:00:00Z"}]),
        contract(trades=[{"id": LONG, "symbol": LONG, "side": "BUY", "quantity": 1, "price": 2.0, "status": LONG}]),
        contract(scanner=[{"symbol": LONG, "price": 1.0}]),
        {"symbol": LONG, "price": 1.0, "messages": [{"level": LONG, "message": "m", "timestamp": "2026-01-02T10:00:00Z"}]},
        {"market": {"symbol": LONG, "price": 1.0}, "signal": {"side": LONG}},
    ],
)
def test_a_packet_with_words_that_were_cut_is_written_as_it_came_and_read_again_the_same(sent):
    packet = decode(sent)
    assert json.loads(codec.encode(packet)) == sent
    again = codec.decode(codec.encode(packet), now=NOW)
    assert again[:-1] == packet[:-1]
    assert max(map(len, words_of(packet))) == 256
    assert packet.flags & Flag.CUT


def words_of(packet: Packet) -> list[str]:
    """Return all words of a packet that go into vocabularies."""
    words = [packet.status_raw, packet.symbol, packet.regime_raw, packet.side_raw, packet.strategy, packet.sentiment_label]
    words += [packet.execution_status, packet.order_id, *[line.level for line in packet.logs]]
    words += [metric[0] for metric in (*packet.agents, *packet.models)]
    words += [call.name for call in packet.calls] + [call.gauge[0] for call in packet.calls if call.gauge is not None]
    words += [part for entry in (*packet.trades, *packet.scanner) for part in entry if isinstance(part, str)]
    return [word for word in words if word is not None]


def test_two_names_that_are_equal_once_cut_are_two_rows():
    packet = decode(contract(models={TWINS[0]: GAUGES, TWINS[1]: {"latency_ms": 2.0}}))
    assert packet.models[-2:] == (ModelMetric("W" * 256, 1.5, 3.0, 0.5), ModelMetric("W" * 256, 2.0, NAN, NAN))


@pytest.mark.parametrize("length", [256, 257])
def test_the_contracts_decoder_leaves_long_words_to_the_tolerant_one(length):
    word = "W" * length
    for sent in (
        contract(market={"symbol": word}),
        contract(order_id=word),
        contract(agents={word: {"latency_ms": 1.0}}),
        contract(logs=[{"level": word, "message": "m", "timestamp": "2026-01-02T10:00:00Z"}]),
    ):
        read = read_contract(json.dumps(sent).encode(), seq=1, connection=1, now=NOW, server_tz="UTC")
        assert (read is not None) == (length == 256)
