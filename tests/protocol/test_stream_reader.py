"""The session under a clock that the tests turn: states, events, duties, backoff, and what only neighbours tell of a packet."""

from __future__ import annotations

import itertools
import json
import tracemalloc

import pytest
from hypothesis import given, strategies as st

from ccwatch.errors import ConnectFailed, Unauthorized
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Flag, Instant, Packet, StateChange, from_ns
from ccwatch.protocol.stream_reader import Duty, StreamReader
from tests.protocol.shapes import BRIDGE_MARKET, ENGINE_LOOP, FULL, NOON, PIPELINE, WELCOME_BEFORE_ENGINE, contract, examples, messages

SECOND = 1_000_000_000


class Stream:
    """A session, a clock that is turned by hand, and everything that came of it."""

    def __init__(self, *, is_open: bool = True, **options):
        self.session = StreamReader(**options)
        self.now = Instant(NOON, 5 * SECOND)
        self.items = []
        if is_open:
            self.open()

    def sleep(self, seconds, *, wall=None):
        """Both clocks go on; the wall clock by another amount where it is given."""
        self.now = Instant(
            self.now.wall_ns + round((seconds if wall is None else wall) * SECOND), self.now.mono_ns + round(seconds * SECOND)
        )
        return self

    def _add(self, items):
        self.items.extend(items)
        return items

    def open(self):
        return self._add(self.session.opened(self.now, "url=ws://localhost:3000"))

    def close(self, reason="reset", **options):
        return self._add(self.session.closed(self.now, reason, **options))

    def tick(self):
        return self._add(self.session.tick(self.now))

    def send(self, message):
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self._add(self.session.receive(raw, self.now))

    def packet(self, message):
        """The packet of a message; an unstamped one comes once the burst at connect is over."""
        items = [*self.send(message), *(self.tick() if self.session.state == ConnectionState.OPEN else [])]
        if not items:
            items = self.sleep(0.1).tick()
        return next(item for item in items if isinstance(item, Packet))

    def state_n(self, n, **changes):
        """A made-up state number n: stamped n seconds after noon, priced a million and n."""
        stamp = from_ns(NOON + n * SECOND).isoformat()
        return self.packet(contract(timestamp=stamp, market={"price": 1e6 + n}, **changes))

    def events(self, kind=None):
        return [item for item in self.items if isinstance(item, Event) and kind in {None, item.kind}]

    def states(self):
        return [item.state for item in self.items if isinstance(item, StateChange)]


# ── numbers and events ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_packets_are_numbered_from_one_across_connections_and_connections_from_one():
    stream = Stream()
    first = [stream.state_n(n) for n in range(3)]
    stream.send(b"no message")
    stream.close()
    stream.open()
    second = [stream.state_n(n) for n in range(3, 5)]
    assert [packet.seq for packet in first + second] == [1, 2, 3, 4, 5]
    assert [packet.connection for packet in first + second] == [1, 1, 1, 2, 2]
    assert [event.connection for event in stream.events(EventKind.CONNECT)] == [1, 2]


def test_what_cannot_be_placed_is_an_event_with_its_bytes_and_a_reason_and_the_stream_goes_on():
    stream = Stream()
    stream.state_n(0)
    (event,) = stream.send(b"\xff<b>no message</b>")
    assert event.kind == EventKind.MALFORMED
    assert event.raw == b"\xff<b>no message</b>"
    assert event.detail.startswith("bytes=18 not JSON")
    assert event.seq == 1
    assert stream.state_n(1).seq == 2


def test_a_message_that_is_too_large_is_an_event_that_names_the_setting():
    stream = Stream()
    (event,) = stream.session.oversize(stream.now, 2**40, 4 << 20)
    assert event.kind == EventKind.OVERSIZE
    assert event.detail == f"bytes={2**40} limit={4 << 20} raise max_message_bytes to read it"


def test_events_stand_on_the_streams_own_clock_also_those_of_a_later_connection():
    stream = Stream()
    an_hour_ago = contract(timestamp=from_ns(NOON - 3600 * SECOND).isoformat())
    stream.packet(an_hour_ago)
    stream.sleep(2).close()
    stream.sleep(1).open()
    assert [event.time_ns - (NOON - 3600 * SECOND) for event in stream.events()[1:]] == [2 * SECOND, 3 * SECOND]
    assert stream.events()[0].time_ns == NOON  # nothing was known of the stream's clock yet


def test_every_event_is_one_line():
    stream = Stream()
    stream.send(json.dumps({"a\nb\r\n": 1}).encode())
    stream.close("reason=x")
    assert all("\n" not in event.detail and "\r" not in event.detail for event in stream.events())


# ── repeats, replays, frozen ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_state_sent_again_is_a_repeat_and_the_next_one_is_not():
    stream = Stream()
    assert stream.state_n(0).flags == 0
    assert [stream.sleep(1).state_n(0).flags for _ in range(3)] == [Flag.REPEAT] * 3
    assert stream.sleep(1).state_n(1).flags == 0


def test_telemetry_that_says_what_the_welcome_said_is_a_repeat():
    stream = Stream()
    stream.packet(contract(envelope={"type": "WELCOME"}))
    assert stream.packet(contract()).flags == Flag.REPEAT


def test_the_same_time_with_other_content_is_no_repeat():
    stream = Stream()
    stream.state_n(0)
    assert stream.state_n(0, portfolio={"nav": 1.0}).flags == 0
    assert stream.state_n(0, portfolio={"nav": 1.0}, agents={"A": {"latency_ms": 1}}).flags == 0
    assert stream.state_n(0, portfolio={"nav": 1.0}, agents={"A": {"latency_ms": 1}}, foreign=1).flags == 0


def test_a_state_without_a_time_that_is_sent_again_is_a_repeat():
    stream = Stream()
    assert stream.packet(PIPELINE).flags == Flag.NO_TIME
    assert stream.sleep(1).packet(PIPELINE).flags == Flag.NO_TIME | Flag.REPEAT
    assert stream.sleep(1).packet({**PIPELINE, "price": 451.0}).flags == Flag.NO_TIME


def test_a_time_that_cannot_be_read_but_moves_makes_the_same_content_frozen_and_no_repeat():
    stream = Stream()
    stream.packet({**PIPELINE, "timestamp": "tick 1"})
    assert stream.packet({**PIPELINE, "timestamp": "tick 1"}).flags == Flag.NO_TIME | Flag.REPEAT
    assert stream.packet({**PIPELINE, "timestamp": "tick 2"}).flags == Flag.NO_TIME | Flag.FROZEN


def test_states_replayed_on_reconnect_are_flagged_and_new_ones_are_not():
    stream = Stream()
    for n in range(20):
        stream.sleep(1).state_n(n)
    stream.close()
    stream.sleep(1).open()
    assert [stream.state_n(n).flags for n in range(10, 20)] == [Flag.REPLAYED] * 10
    assert stream.state_n(20).flags == 0
    stream.close()
    stream.open()
    assert [stream.state_n(n).flags for n in (18, 19, 20)] == [Flag.REPLAYED] * 3


def test_a_welcome_after_a_reconnect_is_a_replay_and_its_repetition_by_telemetry_too():
    stream = Stream()
    stream.state_n(0)
    stream.close()
    stream.open()
    assert stream.state_n(0, envelope={"type": "WELCOME"}).flags == Flag.REPLAYED
    assert stream.state_n(0).flags == Flag.REPLAYED | Flag.REPEAT
    assert stream.state_n(1).flags == 0


def test_a_state_is_no_replay_on_the_connection_that_brought_it():
    stream = Stream()
    stream.state_n(0)
    stream.state_n(1)
    assert stream.state_n(0).flags == Flag.OUT_OF_ORDER


def test_a_replay_of_the_same_time_with_other_content_is_none():
    stream = Stream()
    stream.state_n(0)
    stream.close()
    stream.open()
    assert stream.state_n(0, portfolio={"nav": 5.0}).flags == 0


@pytest.mark.slow
def test_the_memory_for_replays_is_bounded_in_bytes():
    stream = Stream()
    for n in range(40):
        stream.state_n(n, foreign="x" * 1_000_000)
    kept = sum(len(raw) for _, raw in stream.session._duplicates._recent)
    assert kept == stream.session._duplicates._recent_bytes
    assert 3_000_000 < kept <= 4 << 20


def test_frozen_content_is_flagged_at_once_and_told_once_at_the_fifteenth():
    stream = Stream()

    def same(n):
        return stream.sleep(1).packet(contract(timestamp=from_ns(NOON + n * SECOND).isoformat())).flags

    assert same(0) == 0
    assert [same(n) for n in range(1, 15)] == [Flag.FROZEN] * 14
    assert stream.events(EventKind.FROZEN) == []
    assert [same(n) for n in range(15, 20)] == [Flag.FROZEN] * 5
    (event,) = stream.events(EventKind.FROZEN)
    assert event.seq == 16
    stream.sleep(1).state_n(20)
    assert [same(n) for n in range(21, 21 + 16)].count(Flag.FROZEN) == 15
    assert len(stream.events(EventKind.FROZEN)) == 2


def test_a_poller_that_repeats_a_frozen_state_does_not_hide_that_it_is_frozen():
    stream = Stream()
    for n in range(16):
        for _ in range(5):
            stream.sleep(1).packet(contract(timestamp=from_ns(NOON + n * 5 * SECOND).isoformat()))
    assert len(stream.events(EventKind.FROZEN)) == 1


# ── clocks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_packet_older_than_one_before_it_is_out_of_order():
    stream = Stream()
    assert [stream.sleep(1).state_n(n).flags for n in (0, 2, 1, 1.5, 3)] == [0, 0, Flag.OUT_OF_ORDER, Flag.OUT_OF_ORDER, 0]


def test_packets_without_a_time_put_no_other_out_of_order():
    stream = Stream()
    lag = 1  # the server's stamps lie a second behind
    for n in range(3):
        stream.sleep(0.4).packet({**PIPELINE, "price": float(n + 1)})
        stamp = from_ns(stream.now.wall_ns - lag * SECOND).isoformat()
        assert not stream.packet(contract(timestamp=stamp)).flags & Flag.OUT_OF_ORDER


def test_each_connection_judges_the_order_of_its_own_packets():
    stream = Stream()
    stream.state_n(100)
    stream.close()
    stream.open()
    assert stream.state_n(5).flags == 0


@pytest.mark.parametrize("offset", [0, -5 * 3600, 7200])
def test_a_servers_clock_may_be_off_by_any_amount_but_a_departure_from_its_usual_offset_is_skew(offset):
    stream = Stream()
    assert [stream.sleep(1).state_n(offset + n).flags for n in range(1, 9)] == [0] * 8
    assert stream.sleep(1).state_n(offset + 9 + 1.9).flags == 0
    assert stream.sleep(1).state_n(offset + 10 + 2.5).flags == Flag.CLOCK_SKEW
    assert stream.sleep(1).state_n(offset + 13).flags == 0


def test_a_servers_clock_that_was_set_anew_is_skewed_until_that_is_its_usual_offset():
    stream = Stream()
    flags = [stream.sleep(1).state_n(n + (3600 if n >= 40 else 0)).flags for n in range(80)]
    assert not any(flags[:40])
    assert all(flag == Flag.CLOCK_SKEW for flag in flags[40:55])
    assert not any(flags[60:])


def test_naive_stamps_are_read_in_the_zone_of_the_session():
    stream = Stream(server_tz="Asia/Tokyo")
    packet = stream.packet(BRIDGE_MARKET)
    assert packet.time.isoformat() == "2026-01-02T01:00:00.123456+00:00"
    assert packet.flags & Flag.NAIVE_TIME


@pytest.mark.parametrize("step", [-86_400, -3600, -10, -1, 1, 4])
def test_a_step_of_the_wall_clock_makes_no_gap_no_state_and_no_disorder(step):
    stream = Stream()
    for n in range(10):
        stream.sleep(1).state_n(n)
    stream.sleep(0.5, wall=0.5 + step).tick()
    assert stream.session.wait_s(stream.now) >= 0
    for n in range(10, 40):
        stream.sleep(1).state_n(n)
        assert stream.tick() == []
    assert stream.events() == stream.events(EventKind.CONNECT)
    assert stream.states() == [ConnectionState.OPEN]
    assert not any(item.flags & ~Flag.CLOCK_SKEW for item in stream.items if isinstance(item, Packet))
    assert stream.items[-1].flags == 0


def test_a_leap_of_the_wall_clock_makes_an_open_stream_neither_late_nor_stale():
    stream = Stream()
    stream.state_n(0)
    stream.sleep(1, wall=86_400)
    assert stream.tick() == []


# ── late, stale, gaps ──────────────────────────────────────────────────────────────────────────────────────────────────


def paced(interval, count=25):
    """A stream that has spoken at one pace for a while."""
    stream = Stream()
    for n in range(count):
        stream.sleep(interval).state_n(n * interval)
    return stream


@pytest.mark.parametrize(("interval", "late", "stale"), [(0.05, 3, 10), (1, 3, 10), (2, 6, 20), (5, 15, 50)])
def test_a_stream_is_late_and_stale_by_its_own_pace_but_never_before_three_and_ten_seconds(interval, late, stale):
    stream = paced(interval)
    stream.sleep(late - 0.001)
    assert stream.tick() == []
    stream.sleep(0.001)
    assert [item.state for item in stream.tick()] == [ConnectionState.LATE]
    stream.sleep(stale - late - 0.001)
    assert stream.tick() == []
    stream.sleep(0.001)
    event, change = stream.tick()
    assert (event.kind, event.detail) == (EventKind.STALE, f"age_s={stale}.000 limit_s={stale}.000")
    assert change.state is ConnectionState.STALE
    stream.sleep(1000)
    assert stream.tick() == []
    stream.state_n(10_000)
    assert stream.session.state is ConnectionState.OPEN


def test_an_engine_that_speaks_every_five_seconds_is_neither_late_nor_gapped_once_its_pace_is_known():
    stream = Stream()
    stream.sleep(5).state_n(0)
    stream.sleep(5).state_n(5)
    stream.items.clear()
    for n in range(2, 30):
        for _ in range(5):
            stream.sleep(1).tick()
        stream.state_n(5 * n)
    assert [item for item in stream.items if not isinstance(item, Packet)] == []


def test_ten_states_replayed_at_once_do_not_make_a_slow_engine_look_fast():
    stream = Stream()
    for n in range(10):
        stream.state_n(5 * n)
    for n in range(10, 20):
        stream.sleep(5).state_n(5 * n)
    stream.items.clear()
    for n in range(20, 30):
        stream.sleep(4.9).tick()
        stream.sleep(0.1).state_n(5 * n)
    assert [item for item in stream.items if not isinstance(item, Packet)] == []
    assert stream.events(EventKind.GAP) == []


def test_the_parts_of_a_tick_that_come_together_tell_no_pace():
    stream = Stream()
    for n in range(30):
        stream.sleep(5).state_n(5 * n)
        stream.sleep(0.001).state_n(5 * n + 0.1)
        stream.sleep(0.001).state_n(5 * n + 0.2)
    assert stream.events(EventKind.GAP) == []
    assert stream.session.state is ConnectionState.OPEN
    stream.sleep(14)
    assert stream.tick() == []


def test_a_fast_stream_is_known_to_be_fast_after_slow_times():
    stream = paced(5)
    for n in range(100):
        stream.sleep(0.02).state_n(200 + n)
    stream.sleep(3)
    assert [item.state for item in stream.tick()] == [ConnectionState.LATE]


def test_a_slow_engine_is_neither_late_nor_gapped_after_a_reconnect():
    stream = paced(5)
    stream.sleep(1).close()
    stream.sleep(1).open()
    stream.sleep(3).state_n(1000)
    stream.sleep(5)
    assert stream.tick() == []
    stream.state_n(1005)
    assert stream.events(EventKind.GAP) == []


def test_a_stream_that_says_nothing_after_its_opening_becomes_late_and_stale():
    stream = Stream()
    stream.sleep(3)
    assert [item.state for item in stream.tick()] == [ConnectionState.LATE]
    stream.sleep(7)
    assert [getattr(item, "state", None) for item in stream.tick()] == [None, ConnectionState.STALE]


def test_malformed_messages_do_not_keep_a_stream_from_being_late():
    stream = Stream()
    stream.state_n(0)
    for _ in range(4):
        stream.sleep(1).send(b"?")
    assert [item.state for item in stream.tick()] == [ConnectionState.LATE]


def test_a_silence_is_a_gap_told_before_the_packet_that_ends_it():
    stream = paced(1)
    stream.sleep(7)
    gap, packet, *_ = stream.send(contract(timestamp=from_ns(NOON + 32 * SECOND).isoformat()))
    assert (gap.kind, gap.detail) == (EventKind.GAP, "seconds=7.000 reason=silence")
    assert isinstance(packet, Packet)
    assert gap.seq == packet.seq - 1
    assert gap.time_ns == NOON + 31 * SECOND  # the last stamp, and seven seconds


def test_a_gap_begins_where_lateness_begins():
    stream = paced(2)
    stream.sleep(6).state_n(100)
    assert stream.events(EventKind.GAP) == []
    stream.sleep(6.001).state_n(101)
    assert len(stream.events(EventKind.GAP)) == 1


def test_a_reconnect_that_took_long_is_a_gap_and_a_quick_one_is_none():
    stream = paced(1)
    stream.sleep(0.5).close()
    stream.sleep(1).open()
    stream.sleep(0.1).state_n(100)
    assert stream.events(EventKind.GAP) == []
    stream.close()
    stream.sleep(30).open()
    stream.sleep(0.5).state_n(130)
    assert [event.detail for event in stream.events(EventKind.GAP)] == ["seconds=30.500 reason=disconnect"]


def test_a_sleep_of_the_machine_is_a_gap_of_its_own_kind_also_when_the_connection_did_not_outlive_it():
    for survives in (True, False):
        stream = paced(1)
        stream.sleep(0.5, wall=3600)
        if not survives:
            stream.close()
            stream.sleep(1).open()
        stream.sleep(0.5).state_n(3700)
        (gap,) = stream.events(EventKind.GAP)
        assert gap.detail == f"seconds={3600.5 if survives else 3601.5:.3f} reason=sleep"
        assert abs(gap.time_ns - (NOON + 24 * SECOND) - 3600 * SECOND) < 3 * SECOND
        stream.sleep(1).state_n(3701)
        assert len(stream.events(EventKind.GAP)) == 1


def test_under_a_virtual_clock_gaps_are_measured_on_the_stamps_and_clocks_are_not_judged():
    stream = Stream(virtual_clock=True)
    for n in range(30):
        stream.sleep(0.0001).state_n(n)
    assert stream.events() == stream.events(EventKind.CONNECT)
    stream.sleep(0.0001).state_n(50)
    (gap,) = stream.events(EventKind.GAP)
    assert gap.detail == "seconds=21.000 reason=silence"
    assert gap.time_ns == NOON + 29 * SECOND
    stream.sleep(60).state_n(51)
    assert len(stream.events(EventKind.GAP)) == 1
    assert not any(item.flags for item in stream.items if isinstance(item, Packet))


# ── pings ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def shell(stream, seconds, *, answers=False, say=None):
    """What a shell does for a while: it sleeps as long as it may, and does its duties. Returns (second, duty)."""
    begin = stream.now.mono_ns
    done = []
    while (stream.now.mono_ns - begin) / SECOND < seconds:
        wait = stream.session.wait_s(stream.now)
        assert wait >= 0
        stream.sleep(wait if wait > 0 else 1e-9)
        if say is not None:
            say()
        stream.tick()
        for duty in stream.session.duties(stream.now):
            done.append(((stream.now.mono_ns - begin) / SECOND, duty))
            if duty is Duty.ABORT:
                return done
            if duty is Duty.SEND_PING and answers:
                stream.session.pong()
    return done


def times(done, duty):
    return [round(second, 6) for second, what in done if what is duty]


def test_the_contracts_ping_is_due_every_30_seconds_and_the_frame_every_5_and_silence_aborts_nothing():
    stream = Stream(is_open=False)
    stream.session.opened(stream.now, reads=True)
    done = shell(stream, 300)
    assert times(done, Duty.SEND_KEEPALIVE) == [30 * n for n in range(1, 11)]
    assert times(done, Duty.SEND_PING) == [5 * n for n in range(1, 61)]
    assert times(done, Duty.ABORT) == []


def test_a_peer_that_answers_pings_is_kept():
    stream = Stream()
    done = shell(stream, 60, answers=True)
    assert times(done, Duty.ABORT) == []
    assert times(done, Duty.SEND_PING) == [5 * n for n in range(1, 13)]


def test_a_peer_that_answered_once_and_then_does_not_is_given_up_five_seconds_after_the_ping():
    stream = Stream()
    shell(stream, 10, answers=True)
    done = shell(stream, 60)
    assert times(done, Duty.ABORT) == [10]
    assert times(done, Duty.SEND_PING) == [5]
    assert done[-1][1] is Duty.ABORT


def test_that_a_peer_answers_pings_is_remembered_on_the_next_connection():
    stream = Stream()
    shell(stream, 5, answers=True)
    stream.close()
    stream.sleep(100).open()
    assert times(shell(stream, 60), Duty.ABORT) == [10]


def test_a_late_pong_still_counts():
    stream = Stream()
    shell(stream, 5, answers=True)
    stream.sleep(5)
    assert stream.session.duties(stream.now) == [Duty.SEND_PING]
    stream.sleep(4.9)
    stream.session.pong()
    stream.sleep(0.2)
    assert stream.session.duties(stream.now) == [Duty.SEND_PING]


@given(st.lists(st.floats(0.0001, 40), min_size=1, max_size=40), st.booleans())
@examples(60)
def test_however_packets_arrive_no_wait_is_negative_and_none_outlasts_a_ping_a_keepalive_or_a_change_of_state(arrivals, answers):
    stream = Stream()
    pings, keepalives = [stream.now.mono_ns], [stream.now.mono_ns]
    for n, pause in enumerate(arrivals):
        arrival = stream.now.mono_ns + round(pause * SECOND)
        while stream.now.mono_ns < arrival:
            wait = stream.session.wait_s(stream.now)
            assert wait >= 0
            stream.sleep(max(min(wait, (arrival - stream.now.mono_ns) / SECOND), 1e-9))
            state, due = stream.session.state, stream.session.duties(stream.now)
            assert Duty.ABORT not in due
            if Duty.SEND_PING in due:
                pings.append(stream.now.mono_ns)
                if answers:
                    stream.session.pong()
            if Duty.SEND_KEEPALIVE in due:
                keepalives.append(stream.now.mono_ns)
            stream.tick()
            if stream.session.state is not state:
                assert stream.session.state in {ConnectionState.LATE, ConnectionState.STALE}
        stream.state_n(n)
    assert all(abs(b - a - 5 * SECOND) < 1000 for a, b in itertools.pairwise(pings))
    assert all(abs(b - a - 30 * SECOND) < 1000 for a, b in itertools.pairwise(keepalives))


# ── trying again ───────────────────────────────────────────────────────────────────────────────────────────────────────


def failures(stream, count, **options):
    return [stream.close(**options)[-1].retry_s for _ in range(count)]


def test_the_delay_doubles_from_one_second_to_thirty_and_stays_there():
    stream = Stream(is_open=False)
    stream.session.connecting(stream.now)
    assert failures(stream, 9) == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert stream.events() == []


def test_only_a_connection_that_delivered_a_packet_sets_the_delay_back():
    stream = Stream(is_open=False)
    assert failures(stream, 3) == [1, 2, 4]
    stream.open()
    stream.send(b"not a packet")
    assert failures(stream, 1) == [8]
    stream.open()
    stream.state_n(0)
    assert failures(stream, 3) == [1, 2, 4]


def test_a_server_that_accepts_and_drops_at_once_is_not_hammered():
    stream = Stream(is_open=False)
    delays = []
    for _ in range(8):
        stream.open()
        delays += failures(stream, 1)
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(stream.events(EventKind.DISCONNECT)) == 8


def test_a_server_that_names_a_delay_is_heeded_up_to_an_hour_but_never_below_the_backoff():
    stream = Stream(is_open=False)
    assert failures(stream, 1, error=ConnectFailed("429", status=429, retry_after_s=17.0)) == [17.0]
    assert failures(stream, 1, error=ConnectFailed("429", status=429, retry_after_s=0.5)) == [2.0]
    assert failures(stream, 1, error=ConnectFailed("429", status=429, retry_after_s=1e9)) == [3600.0]


def test_what_trying_again_will_not_mend_is_not_tried_again():
    stream = Stream(is_open=False)
    error = Unauthorized("401", status=401)
    (change,) = stream.close(error=error)
    assert change == StateChange(ConnectionState.DISCONNECTED, stream.now, None, error)


def test_the_states_of_a_life_are_told_in_their_order_and_each_once():
    stream = Stream(is_open=False)
    stream.items += stream.session.connecting(stream.now)
    stream.close()
    stream.items += stream.session.connecting(stream.now)
    stream.open()
    stream.state_n(0)
    stream.sleep(3).tick()
    stream.tick()
    stream.sleep(7).tick()
    stream.state_n(10)
    stream.close()
    assert [state.value for state in stream.states()] == (
        ["CONNECTING", "DISCONNECTED", "CONNECTING", "OPEN", "LATE", "STALE", "OPEN", "DISCONNECTED"]
    )


@pytest.mark.slow
def test_hundreds_of_reconnects_keep_nothing_but_the_last_packets():
    stream = Stream(is_open=False)

    def live(count):
        for _ in range(count):
            stream.open()
            stream.sleep(1).state_n(stream.session.seq)
            stream.close()
            stream.items.clear()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = live(100)
        assert live(1000 if FULL else 200) - before < 50_000
    finally:
        tracemalloc.stop()


# ── logs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fresh(stream, logs):
    """What is new among the log lines of the next packet."""
    n = stream.session.seq
    return [line.message for line in stream.state_n(n, logs=logs).new_logs]


def timed(second, message, level="INFO"):
    return {"level": level, "message": message, "timestamp": from_ns(NOON + second * SECOND).isoformat()}


def test_lines_with_a_time_are_new_once_wherever_they_stand_and_however_their_time_is_written():
    stream = Stream()
    assert fresh(stream, [timed(0, "a"), timed(1, "b")]) == ["a", "b"]
    assert fresh(stream, [timed(1, "b"), timed(2, "a"), timed(1, "b", "ERROR")]) == ["a", "b"]
    assert fresh(stream, [timed(0, "a"), timed(2, "a")]) == []
    other = {"level": "INFO", "message": "a", "timestamp": "2025-12-21T13:00:00+01:00"}
    assert fresh(stream, [other]) == []


def test_the_last_ten_text_lines_sent_again_and_again_are_new_once_each():
    stream = Stream()
    said = [f"line {n % 7}" for n in range(60)]  # the same words come again, as logs do
    heard = []
    for end in range(1, len(said) + 1):
        heard += fresh(stream, said[max(0, end - 10) : end])
    assert heard == said


def test_a_true_repetition_of_a_text_line_is_kept():
    stream = Stream()
    assert fresh(stream, ["tick"]) == ["tick"]
    assert fresh(stream, ["tick"]) == []
    assert fresh(stream, ["tick", "tick"]) == ["tick"]
    assert fresh(stream, ["tick", "tick", "tock"]) == ["tock"]
    assert fresh(stream, ["tock", "tick"]) == ["tick"]


def test_the_same_line_with_a_time_and_without_one_are_two_lines():
    stream = Stream()
    assert fresh(stream, ["a", timed(0, "a")]) == ["a", "a"]
    assert fresh(stream, ["a", timed(0, "a"), "b"]) == ["b"]


def test_lines_without_a_readable_time_go_by_overlap_whatever_else_they_have():
    stream = Stream()
    first, second = {"level": "INFO", "message": "x", "timestamp": "soon"}, {"level": "WARNING", "message": "x"}
    assert fresh(stream, [first, second]) == ["x", "x"]
    assert fresh(stream, [second, first]) == ["x"]


def test_a_packet_without_logs_makes_nothing_new_again():
    stream = Stream()
    assert fresh(stream, ["a", "b"]) == ["a", "b"]
    assert fresh(stream, []) == []
    assert fresh(stream, ["b", "c"]) == ["c"]


def test_log_lines_of_replayed_packets_are_not_new_and_hide_nothing():
    stream = Stream()
    stream.state_n(0, logs=["a", "b"])
    stream.state_n(1, logs=["b", "c"])
    stream.close()
    stream.open()
    assert stream.state_n(0, logs=["a", "b"]).new_logs == ()
    assert [line.message for line in stream.state_n(2, logs=["c", "d"]).new_logs] == ["d"]


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=4), min_size=1, max_size=30), st.integers(4, 8))
@examples(150)
def test_whatever_a_rolling_list_of_text_lines_says_nothing_that_was_said_goes_missing_when_some_lines_stay(chunks, size):
    stream, said, heard = Stream(), [], []
    for chunk in chunks:
        said += chunk
        heard += fresh(stream, said[-size:])
    # An overlap may be found longer than it was, where a line is repeated just so; it is never found shorter.
    assert len(heard) <= len(said)
    assert is_subsequence(heard, said)


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(any(line == other for other in rest) for line in part)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [["a"] * 100_000, ["a"] * 99_999 + ["b"], ["a", "b"] * 50_000])
def test_a_hundred_thousand_lines_made_to_hurt_are_compared_in_a_moment(lines):
    stream = Stream()
    stream.state_n(0, logs=lines)
    assert len(stream.state_n(1, logs=[*lines[1:], lines[0]]).new_logs) <= len(lines)  # a quadratic comparison takes minutes


@pytest.mark.slow
def test_the_memory_of_log_lines_is_bounded_and_holds_no_text():
    stream = Stream()
    for n in range(30):
        fresh(stream, [timed(n * 1000 + i, "x" * 100) for i in range(200)])
    assert len(stream.session._logs._keys) <= 2048 + 200
    assert all(isinstance(key, int) for key in stream.session._logs._keys)


def test_a_list_of_more_lines_than_are_remembered_is_still_new_only_once():
    stream = Stream()
    lines = [timed(n, f"line {n}") for n in range(5000)]
    assert len(fresh(stream, lines)) == 5000
    assert fresh(stream, [*lines[1:], timed(5000, "last")]) == ["last"]


# ── whatever comes ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@given(st.lists(st.one_of(messages.map(lambda m: json.dumps(m).encode()), st.binary(max_size=50)), max_size=8), st.data())
@examples(100)
def test_whatever_is_received_gives_whole_packets_or_events_and_every_item_can_be_stored(raws, data):
    stream = Stream(server_tz="Europe/Zurich")
    for raw in raws * 2:
        stream.sleep(data.draw(st.sampled_from([0, 0.5, 5, 100])), wall=data.draw(st.sampled_from([None, 1e4, -1e4])))
        if data.draw(st.integers(0, 5)) == 0:
            stream.close()
            stream.open()
        for item in (*stream.send(raw), *stream.tick()):
            assert isinstance(item, Packet | Event | StateChange)
            if not isinstance(item, StateChange):
                assert abs(item.time_ns) < 2**63
            if isinstance(item, Event):
                assert "\n" not in item.detail
        assert stream.session.wait_s(stream.now) >= 0
    numbers = [item.seq for item in stream.items if isinstance(item, Packet)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_deepest_nest_that_is_read_can_be_compared_with_itself():
    stream = Stream()
    deep = b'{"type":"TELEMETRY","data":{"foreign":%s}}' % (b"[" * 249 + b"]" * 249)
    stream.packet(deep)
    assert stream.send(deep)[-1].flags & Flag.REPEAT


@pytest.mark.parametrize("message", [ENGINE_LOOP, BRIDGE_MARKET, PIPELINE, WELCOME_BEFORE_ENGINE])
def test_repeats_and_replays_are_told_in_every_dialect(message):
    stream = Stream()
    assert not stream.packet(message).flags & (Flag.REPEAT | Flag.REPLAYED)
    assert stream.packet(message).flags & Flag.REPEAT
    stream.close()
    stream.open()
    assert stream.packet(message).flags & Flag.REPLAYED
