"""The vocabulary: flags, times and what a packet says of itself."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime

import pytest

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, UNCLEAN, DeferredBytes, Flag, Packet, from_ns
from tests.protocol.shapes import CONTRACT, decode


def test_every_flag_is_a_bit_of_its_own_in_32():
    bits = [flag.value for flag in Flag]
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len(bits)
    assert max(bits) < 2**32


@pytest.mark.parametrize("flag", Flag)
def test_a_packet_is_clean_unless_it_is_a_repeat_a_replay_or_a_placeholder(flag):
    packet = decode(CONTRACT)._replace(flags=int(flag))
    assert packet.is_clean == (flag not in Flag.REPEAT | Flag.REPLAYED | Flag.PLACEHOLDER)
    assert packet.is_clean == (not flag & UNCLEAN)


def test_times_are_aware_and_in_utc_also_before_1970():
    assert from_ns(1_500) == datetime(1970, 1, 1, microsecond=1, tzinfo=UTC)
    assert from_ns(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    packet = decode(CONTRACT)
    assert packet.time == datetime(2025, 12, 21, 12, tzinfo=UTC)
    assert packet.received_at == datetime(2025, 12, 21, 12, microsecond=50_000, tzinfo=UTC)


def test_two_packets_of_the_same_bytes_are_equal_though_they_hold_what_is_no_number():
    first, second = decode(CONTRACT), decode(CONTRACT)
    assert first.sentiment_score is NAN
    assert first == second


def test_a_packet_cannot_be_changed():
    packet = decode({**CONTRACT, "foreign": 1})
    with pytest.raises(AttributeError):
        packet.price = 1.0
    with pytest.raises(TypeError):
        packet.extra["x"] = 1


def test_a_packet_in_a_cell_is_one_short_line():
    line = repr(decode(CONTRACT))
    assert "SPY" in line
    assert "price=450.32" in line
    assert "\n" not in line
    assert len(line) < 200


def test_a_packet_can_be_pickled_and_copied_and_shares_the_one_nan():
    sent = {"timestamp": "2025-12-21T12:00:00Z", "market": {"price": 1.0, "foreign": [1]}, "agents": {"A": {"latency_ms": 1.0}}}
    packet = codec.decode(json.dumps({"type": "TELEMETRY", "data": sent}).encode())
    again = pickle.loads(pickle.dumps(packet))  # noqa: S301 - our own bytes
    assert again == packet
    assert type(again) is Packet
    assert again.alpha is NAN
    assert again.agents[0].success_rate is NAN
    assert again.extra == {"market": {"foreign": [1]}}
    assert copy.copy(packet) is packet
    assert copy.deepcopy(packet) is packet


def test_bytes_that_are_made_when_asked_for_are_made_once_and_equal_the_others():
    packet = codec.decode(b'{"type":"TELEMETRY","data":{"timestamp":"2025-12-21T12:00:00Z"}}')
    asked = []
    later = packet._replace(raw=DeferredBytes(lambda: asked.append(1) or packet.raw))
    assert (later.price, asked) == (packet.price, [])
    assert later.raw == packet.raw
    assert later == packet
    assert packet == later
    assert hash(later.raw) == hash(packet.raw)
    assert asked == [1]
    assert pickle.loads(pickle.dumps(later)) == packet  # noqa: S301 - our own bytes
