"""Stamps without an offset inside a packet, in the hour that comes twice at the end of summer time."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ccwatch.protocol.messages import Flag, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader

SECOND = 10**9
NEW_YORK = ZoneInfo("America/New_York")
ONE_FIRST = int(datetime(2026, 11, 1, 1, tzinfo=NEW_YORK).timestamp())
"""01:00 for the first time; an hour later it is 01:00 for the second."""


def wall(seconds):
    """The clock on the server's wall, so many seconds after 01:00."""
    return datetime.fromtimestamp(ONE_FIRST + seconds, NEW_YORK).replace(tzinfo=None).isoformat()


def body(at, *, age=5, is_naive=True, bars=()):
    """A message whose line, call and trade are so many seconds old."""

    def stamp(seconds):
        return wall(seconds) if is_naive else datetime.fromtimestamp(ONE_FIRST + seconds, NEW_YORK).isoformat()

    return {
        "timestamp": stamp(at),
        "status": "ACTIVE",
        "market": {"symbol": "SPY", "price": 100.0 + at, "history": [{"time": stamp(s), "close": float(s)} for s in bars]},
        "logs": [{"level": "INFO", "message": f"line of {at}", "timestamp": stamp(at - age)}],
        "agents": {"risk": [{"latency_ms": float(at), "timestamp": stamp(at - age)}]},
        "trades": [{"id": str(at), "time": stamp(at - age), "symbol": "SPY", "side": "BUY", "quantity": 1, "price": 1.0}],
    }


def received(*bodies, at, zone="America/New_York"):
    """The packets of some messages, received at their own times."""
    session = StreamReader(server_tz=zone)
    items = list(session.opened(Instant((ONE_FIRST + at[0]) * SECOND, SECOND)))
    for seconds, data in zip(at, bodies, strict=True):
        now = Instant((ONE_FIRST + seconds) * SECOND, (100_000 + seconds) * SECOND)
        items += session.receive(json.dumps({"type": "TELEMETRY", "data": data}).encode(), now)
    return [item for item in items if isinstance(item, Packet)]


def times(packet):
    """Seconds after 01:00 of the packet, its line, its call and its trade."""
    own = (packet.time_ns, packet.logs[0].log_time_ns, packet.calls[0].time_ns, packet.trades[0].time_ns)
    return [ns // SECOND - ONE_FIRST for ns in own]


@pytest.mark.parametrize("is_naive", [True, False])
@pytest.mark.parametrize("at", [-600, 2, 1800, 3599, 3602, 5400, 7199, 7202, 9000, 80_000])
def test_lines_calls_and_trades_are_read_in_the_packets_own_pass(at, is_naive):
    (packet,) = received(body(at, is_naive=is_naive), at=[at])
    assert times(packet) == [at, at - 5, at - 5, at - 5]
    assert packet.new_logs == packet.logs
    assert packet.new_rows["agents"][0][0] == (ONE_FIRST + at - 5) * SECOND
    assert packet.new_rows["trades"][0][0] == (ONE_FIRST + at - 5) * SECOND


def test_a_service_whose_clock_is_a_little_ahead_is_read_in_the_same_pass():
    (packet,) = received(body(5400, age=-1), at=[5400])
    assert times(packet) == [5400, 5401, 5401, 5401]


def test_what_is_sent_again_an_hour_later_keeps_its_time_and_is_not_new():
    seconds = [1800, *range(2400, 7200, 600)]
    data = [body(at) for at in seconds]
    for message in data:
        message |= {key: data[0][key] for key in ("logs", "agents", "trades")}
    packets = received(*data, at=seconds)
    assert [times(packet)[1:] for packet in packets] == [[1795] * 3] * len(packets)
    assert [bool(packet.new_logs or packet.new_rows) for packet in packets] == [True] + [False] * (len(packets) - 1)


def test_bars_through_both_passes_are_each_there_once_in_their_order():
    bars = range(0, 7200, 600)
    (packet,) = received(body(7210, bars=bars), at=[7210])
    assert [bar.time_ns // SECOND - ONE_FIRST for bar in packet.bars] == [*bars]
    assert len(packet.new_rows["bars"]) == len(bars)


def test_a_packet_sent_twice_is_a_repeat_and_one_sent_after_a_reconnect_a_replay():
    session = StreamReader(server_tz="America/New_York")
    raw = json.dumps({"type": "TELEMETRY", "data": body(5400)}).encode()
    found = []
    for _ in range(2):
        now = Instant((ONE_FIRST + 5400) * SECOND, SECOND)
        session.opened(now)
        found += [*session.receive(raw, now), *session.receive(raw, now), *session.closed(now, "")]
    packets = [item for item in found if isinstance(item, Packet)]
    flags = [Flag(packet.flags) & (Flag.REPEAT | Flag.REPLAYED) for packet in packets]
    assert flags == [Flag(0), Flag.REPEAT, Flag.REPLAYED, Flag.REPEAT | Flag.REPLAYED]
    assert [times(packet)[1] for packet in packets] == [5395] * 4
