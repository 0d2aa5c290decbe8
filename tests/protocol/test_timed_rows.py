"""Calls, trades and bars through a session: each is a row once, at its own time, with the seq of the packet that first carried it."""

from __future__ import annotations

import json

import pytest

from ccwatch.protocol.messages import NAN, ConnectionState, Event, EventKind, Flag, Instant, NonPacketSort, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes
from tests.protocol import deployed
from tests.protocol.shapes import contract

SECOND = 10**9
NINE = 1_795_770_000  # 2026-11-27T09:00:00Z


class Stream:
    """A session, and everything that came of it."""

    def __init__(self, at=NINE, **options):
        self.session = StreamReader(**options)
        self.at = at
        self.items = []
        self.open()

    def now(self):
        return Instant(self.at * SECOND, self.at * SECOND)

    def open(self):
        self.items += self.session.opened(self.now())
        return self

    def close(self):
        self.items += self.session.closed(self.now(), "reset")
        return self

    def send(self, message, *, seconds=1):
        self.at += seconds
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.items += self.session.receive(raw, self.now())
        return self

    @property
    def packets(self):
        return [item for item in self.items if isinstance(item, Packet)]

    def rows(self, table):
        return [row for packet in self.packets for row in dataframes.long_rows(table, packet)]

    def events(self, kind):
        return [item for item in self.items if isinstance(item, Event) and item.kind == kind]


def at(second):
    return (NINE + second) * SECOND + 50_000_000


def window(n, size=3):
    """The last calls at second n, newest first: one a second, its latency its second, every third a failure."""
    return [deployed.call(k, float(k), success=k % 3 != 0) for k in range(n, max(-1, n - size), -1)]


def test_calls_that_are_listed_again_and_again_are_rows_once_and_are_counted_in_the_order_of_their_times():
    stream = Stream()
    for n in range(6):
        stream.send(deployed.over_database(n, {"risk": window(n)}))
        stream.send(deployed.over_database(n, {"risk": window(n)}))
    rates = [0 / 1, 1 / 2, 2 / 3, 2 / 4, 3 / 5, 4 / 6]
    assert stream.rows("agents") == [(at(k), 2 * k + 1, "risk", float(k), rates[k], k + 1.0) for k in range(6)]
    assert [(row[0], row[1], row[4]) for row in stream.rows("models")] == [(at(k), 2 * k + 1, k + 1.0) for k in range(6)]


def test_known_calls_stay_known_across_connections():
    stream = Stream().send(deployed.over_database(2, {"risk": window(2)}))
    stream.close().open().send(deployed.over_database(2, {"risk": window(2)})).send(deployed.over_database(4, {"risk": window(4)}))
    assert [(row[0], row[5]) for row in stream.rows("agents")] == [(at(k), k + 1.0) for k in range(5)]


def test_a_documented_gauge_is_a_row_at_its_last_run_without_invocations():
    gauge = {"name": "risk", "latency_ms": 3.1, "success_rate": 0.99, "last_run": "2026-11-27T09:00:01+00:00"}
    later = gauge | {"last_run": "2026-11-27T09:00:07+00:00"}
    stream = Stream()
    for n, sent in enumerate([gauge, gauge, later]):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n + 3:02d}Z", agents={"agents": [sent]}))
    own = [row for row in stream.rows("agents") if row[2] == "risk"]
    assert own == [((NINE + 1) * SECOND, 1, "risk", 3.1, 0.99, NAN), ((NINE + 7) * SECOND, 3, "risk", 3.1, 0.99, NAN)]
    assert len(stream.rows("agents")) == 5  # the example's own agent is a gauge of each packet


def test_a_call_without_a_time_is_a_row_at_the_packets_time():
    stream = Stream().send(contract(agents={"a": [{"latency_ms": 5.0}]}, timestamp="2026-11-27T09:00:03Z"))
    assert [row for row in stream.rows("agents") if row[2] == "a"] == [((NINE + 3) * SECOND, 1, "a", 5.0, NAN, 1.0)]


def test_trades_are_rows_once_and_again_where_their_state_changes():
    trade = {"id": "t1", "time": "2026-11-27T09:00:00Z", "symbol": "SPY", "side": "BUY", "quantity": 2, "price": 450.5, "status": "NEW"}
    stream = Stream()
    for n, state in enumerate(["NEW", "NEW", "FILLED"]):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n + 3:02d}Z", trades=[trade | {"status": state}]))
    assert [(row[1], row[2], row[8]) for row in stream.rows("trades")] == [(1, "t1", "NEW"), (3, "t1", "FILLED")]
    assert {row[0] for row in stream.rows("trades")} == {NINE * SECOND}


def test_a_list_of_prices_that_moves_on_is_rows_of_its_new_prices_by_symbol():
    stream = Stream()
    for n, (symbol, prices) in enumerate([("SPY", [1, 2, 3]), ("QQQ", [9]), ("SPY", [2, 3, 3, 4]), ("SPY", [2, 3, 3, 4]), ("QQQ", [9, 9])]):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n:02d}Z", market={"symbol": symbol, "history": prices}))
    assert [(row[1], row[5]) for row in stream.rows("bars")] == [(1, 1.0), (1, 2.0), (1, 3.0), (2, 9.0), (3, 3.0), (3, 4.0), (5, 9.0)]


def test_bars_with_a_time_are_rows_once_and_again_while_they_change():
    bar = {"time": "2026-11-27T09:00:00Z", "open": 1, "high": 2, "low": 0.5, "close": 1.5}
    stream = Stream()
    for n, close in enumerate([1.5, 1.5, 1.75]):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n:02d}Z", market={"history": [bar | {"close": close}]}))
    assert stream.rows("bars") == [(NINE * SECOND, 1, 1.0, 2.0, 0.5, 1.5), (NINE * SECOND, 3, 1.0, 2.0, 0.5, 1.75)]


def test_logs_that_are_null_do_not_make_the_next_packets_lines_new():
    stream = Stream()
    for n, logs in enumerate([["a", "b"], None, ["a", "b"], [None], ["b", "c"]]):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n:02d}Z", logs=logs, market={"price": 450.0 + n}))
    assert len(stream.packets) == 5
    assert [line.message for packet in stream.packets[:3] for line in packet.new_logs] == ["a", "b"]


# ── what is no packet ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sent", [{"type": "HEARTBEAT"}, {"type": "PONG"}, b"ping"])
def test_a_heartbeat_is_life_and_neither_a_packet_nor_an_event(sent):
    stream = Stream()
    for n in range(5):
        stream.send(contract(timestamp=f"2026-11-27T09:00:{n:02d}Z"))
    before = len(stream.items)
    for _ in range(30):
        stream.send(sent)
        stream.items += stream.session.tick(stream.now())
    assert stream.items[before:] == []
    assert stream.session.state is ConnectionState.OPEN
    assert len(stream.packets) == 5


def test_what_the_server_says_is_wrong_and_unknown_types_are_events_with_their_bytes():
    stream = (
        Stream().send({"type": "ERROR", "data": {"code": 406, "msg": "connection limit exceeded"}}).send({"type": "NODE_UPDATE", "n": 1})
    )
    (error,), (unknown,) = stream.events(EventKind.ERROR), stream.events(EventKind.UNKNOWN)
    assert "406 connection limit exceeded" in error.detail
    assert "NODE_UPDATE" in unknown.detail
    assert unknown.raw == b'{"type": "NODE_UPDATE", "n": 1}'
    assert stream.events(EventKind.MALFORMED) == []


def test_a_text_of_several_messages_is_several_packets_in_their_order_and_what_is_none_is_an_event():
    states = [json.dumps(contract(timestamp=f"2026-11-27T09:00:{n:02d}Z", market={"price": 450.0 + n})).encode() for n in range(3)]
    stream = Stream().send(b"\n".join([*states[:2], b"{broken", states[2]]))
    assert [packet.seq for packet in stream.packets] == [1, 2, 3]
    assert [packet.raw for packet in stream.packets] == states
    (event,) = stream.events(EventKind.MALFORMED)
    assert (event.raw, event.seq) == (b"{broken", 2)
    assert NonPacketSort.MALFORMED == "malformed"


# ── the repeated hour ──────────────────────────────────────────────────────────────────────────────────────────────────

TWO_IN_NEW_YORK = 1_793_509_200  # 2026-11-01T05:00:00Z: 01:00 there, for the first time


@pytest.mark.parametrize("virtual_clock", [False, True])
def test_naive_stamps_of_the_repeated_hour_go_on_without_a_step_back(virtual_clock):
    stream = Stream(TWO_IN_NEW_YORK - 600, server_tz="America/New_York", virtual_clock=virtual_clock)
    for minute in range(0, 150, 5):
        wall = (-10 + minute) % 60
        hour = [0, 1, 1, 2][(minute + 50) // 60]
        stream.send(contract(timestamp=f"2026-11-01T{hour:02d}:{wall:02d}:00", market={"price": 1.0 + minute}), seconds=300)
    times = [packet.time_ns // SECOND for packet in stream.packets]
    assert times == [TWO_IN_NEW_YORK - 600 + 60 * minute for minute in range(0, 150, 5)]
    assert not any(packet.flags & (Flag.OUT_OF_ORDER | Flag.CLOCK_SKEW) for packet in stream.packets)
    assert [event.seq for event in stream.events(EventKind.GAP)] == [1]  # while the pace of five minutes is not known yet


def test_out_of_order_by_a_second_within_the_repeated_hour_stays_in_its_reading():
    stream = Stream(TWO_IN_NEW_YORK + 1800, server_tz="America/New_York", virtual_clock=True)
    for second in (5, 4, 6):
        stream.send(contract(timestamp=f"2026-11-01T01:30:{second:02d}", market={"price": 1.0 + second}))
    assert [packet.time_ns // SECOND - TWO_IN_NEW_YORK - 1800 for packet in stream.packets] == [5, 4, 6]


def test_a_state_change_is_no_event():
    assert [type(item) for item in Stream().items] == [Event, StateChange]


def test_trades_of_a_whole_day_are_rows_once_though_only_the_newest_are_remembered_beyond_the_last_message(monkeypatch):
    monkeypatch.setattr("ccwatch.protocol.timed_rows.MOST_TRADES", 50)
    stream = Stream()
    day = [
        {"id": f"t{n}", "time": f"2026-11-27T09:{n // 60:02d}:{n % 60:02d}Z", "symbol": "SPY", "side": "BUY", "quantity": 1.0, "price": 2.0}
        for n in range(300)
    ]
    for n in range(1, 301):
        stream.send(contract(trades=day[:n]))
    assert [row[2] for row in stream.rows("trades")] == [f"t{n}" for n in range(300)]
