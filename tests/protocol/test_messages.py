"""The vocabulary: flags, times and what a packet says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccwatch.protocol.messages import NAN, UNCLEAN, Flag, from_ns
from tests.protocol.shapes import CONTRACT, decode


def test_every_flag_is_a_bit_of_its_own_in_32():
    bits = [flag.value for flag in Flag]
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len(bits) == 14
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
