"""Each figure of `health()` against a calculation of the test's own, over streams that the session itself read."""

from __future__ import annotations

import json
import random
from dataclasses import fields

import numpy as np
import pytest

from ccwatch.analysis.quality import quality
from ccwatch.errors import ConnectFailed
from ccwatch.feed.health import Health, HealthCounter
from ccwatch.protocol.messages import ConnectionState, EventKind, Flag, Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes
from tests.feed.servers import telemetry

WALL = 1_767_348_000_000_000_000  # 2026-01-02T10:00:00Z, when `telemetry(0)` is stamped
SECOND = 1_000_000_000


def report(counter, now, dropped=0, callback_errors=0):
    return counter.report(now, url="ws://h:1", origin="live", dropped=dropped, callback_errors=callback_errors)


def at(seconds):
    return Instant(WALL + round(seconds * SECOND), 5 * SECOND + round(seconds * SECOND))


def stream(seed):
    """A counter, all items that it saw, and when the last came: packets, repeats, junk, gaps and reconnects at random."""
    chance, session, counter = random.Random(seed), StreamReader(), HealthCounter()
    items, clock, n = [], 0.0, 0
    items += session.connecting(at(clock))
    items += session.opened(at(clock))
    for _ in range(chance.randint(1, 200)):
        clock += chance.choice([0.01, 0.3, 1.0, 1.0, 1.1, 7.0, 30.0])
        what = chance.random()
        if what < 0.75:
            n += 1
            items += session.receive(telemetry(round(clock + chance.random()), note="x" * chance.randint(0, 900)), at(clock))
        elif what < 0.85 and n:
            items += session.receive(telemetry(1), at(clock))
        elif what < 0.9:
            items += session.receive(b"junk", at(clock))
        elif what < 0.95:
            items += session.oversize(at(clock), 10, 5) + session.tick(at(clock))
        else:
            items += session.closed(at(clock), "test", error=ConnectFailed("gone"))
            items += session.connecting(at(clock))
            items += session.opened(at(clock))
    for start in range(0, len(items), 7):
        counter.receive(items[start : start + 7])
    return counter, items, clock


@pytest.mark.parametrize("seed", range(40))
def test_every_figure_is_what_the_items_say(seed):
    counter, items, clock = stream(seed)
    now = at(clock + 0.25)
    health = report(counter, now, dropped=3, callback_errors=2)
    packets = [item for item in items if isinstance(item, Packet)]
    events = [item for item in items if not isinstance(item, Packet | StateChange)]

    def flagged(flag):
        return sum(bool(packet.flags & flag) for packet in packets)

    assert health.packets == len(packets)
    assert health.repeats == flagged(Flag.REPEAT)
    assert health.replayed == flagged(Flag.REPLAYED)
    assert health.frozen == flagged(Flag.FROZEN)
    assert health.flagged == sum(packet.flags != 0 for packet in packets)
    assert (health.dropped, health.callback_errors) == (3, 2)
    for name, kind in (("malformed", EventKind.MALFORMED), ("oversize", EventKind.OVERSIZE), ("gaps", EventKind.GAP)):
        assert getattr(health, name) == sum(event.kind == kind for event in events)
    assert health.reconnects == sum(event.kind == EventKind.CONNECT for event in events) - 1
    gaps = [float(event.detail.split("seconds=")[1].split()[0]) for event in events if event.kind == EventKind.GAP]
    assert health.gap_s == pytest.approx(sum(gaps))
    assert health.state == [item.state for item in items if isinstance(item, StateChange)][-1]
    if not packets:
        assert health.age_s is health.rate_hz is health.message_bytes_mean is health.lag_s is None
        return
    assert health.age_s == pytest.approx((now.mono_ns - packets[-1].received_mono_ns) / 1e9)
    assert health.message_bytes_mean == pytest.approx(np.mean([len(packet.raw) for packet in packets]))
    minute = [packet for packet in packets if packet.received_mono_ns >= now.mono_ns - 60 * SECOND]
    offsets = np.array([packet.received_at_ns - packet.time_ns for packet in minute if not packet.flags & Flag.NO_TIME])
    if len(offsets):
        assert health.clock_offset_s == pytest.approx(np.median(offsets) / 1e9)
        assert health.lag_s == pytest.approx((offsets[-1] - offsets.min()) / 1e9)
    received = np.array([packet.received_mono_ns for packet in minute]) / 1e9
    if len(received) > 1:
        intervals = np.diff(received)
        assert health.packets_per_s == pytest.approx(1 / intervals.mean())
        assert health.bytes_per_s == pytest.approx(sum(len(packet.raw) for packet in minute[1:]) / intervals.sum())
        is_first = np.diff([packet.connection for packet in minute]) != 0
        begins = (intervals >= 0.1) | is_first
        begun = received[np.append(True, begins)]
        if len(begun) > 1:  # a minute with one burst is told by its packets
            between = np.diff(begun)[~is_first[begins]]
            assert health.rate_hz == pytest.approx((len(begun) - 1) / (begun[-1] - begun[0]))
            assert health.interval_s == (pytest.approx(np.median(between)) if len(between) else None)
            if len(between):
                assert health.completeness == pytest.approx(min(1, len(begun) / ((begun[-1] - begun[0]) / np.median(between) + 1)))
    else:
        assert health.rate_hz is health.interval_s is health.completeness is None
    assert health.out_of_order == flagged(Flag.OUT_OF_ORDER)
    assert health.skewed == flagged(Flag.CLOCK_SKEW)


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_jitter_and_drift_live_are_those_of_the_analysis_afterwards(seed):
    """Two implementations, incremental and vectorised, of one definition."""
    counter, items, clock = stream(seed)
    health = report(counter, at(clock))
    packets = [item for item in items if isinstance(item, Packet)]
    if len(packets) < 2:
        return
    found = quality(dataframes.build("packets", dataframes.packet_columns(packets)), None)
    for measure, value, scale in (("jitter", health.jitter_s, 1.0), ("clock_drift", health.clock_drift_ppm, 1.0)):
        expected = found.value(measure)
        assert value is None if np.isnan(expected) else value == pytest.approx(expected * scale, rel=1e-6, abs=1e-9)


def test_packets_older_than_a_minute_no_longer_count_in_rates():
    session, counter = StreamReader(), HealthCounter()
    session.opened(at(0))
    for n in range(20):
        counter.receive(session.receive(telemetry(n), at(n / 10)))
    assert report(counter, at(2)).rate_hz == pytest.approx(10)
    late = report(counter, at(90))
    assert late.rate_hz is None
    assert late.lag_s is None
    assert late.packets == 20
    assert late.age_s == pytest.approx(88.1)


def test_bursts_are_counted_once_packets_each():
    session, counter = StreamReader(), HealthCounter()
    session.opened(at(0))
    for n in range(60):
        counter.receive(session.receive(telemetry(n), at(5 * (n // 5) + 0.004 * (n % 5))))
    health = report(counter, at(56))
    assert health.rate_hz == pytest.approx(0.2)
    assert health.interval_s == pytest.approx(5)
    assert health.packets_per_s == pytest.approx(59 / 55.016)
    assert (health.completeness, health.gaps) == (1.0, 0)


def test_unknown_words_are_named_and_bounded():
    session, counter = StreamReader(), HealthCounter()
    session.opened(at(0))
    for n in range(50):
        word = f"PONDERING_{n}" if n else "\x1b[31mRED"
        counter.receive(session.receive(telemetry(n).replace(b'"ACTIVE"', json.dumps(word).encode()), at(n)))
    named = report(counter, at(50)).unknown_words
    assert len(named) == 32
    assert named["PONDERING_1"] == 1
    assert "\N{REPLACEMENT CHARACTER}[31mRED" in named


def test_a_burst_is_halted_while_any_packet_of_it_says_so():
    session, counter = StreamReader(), HealthCounter()
    session.opened(at(0))
    halted = telemetry(0).replace(b'"ACTIVE"', b'"HALTED_DRAWDOWN"')
    for n in range(10):
        counter.receive(session.receive(halted, at(5 * n)))
        counter.receive(session.receive(telemetry(n), at(5 * n + 0.02)))
        assert {report(counter, at(5 * n + late)).status for late in (0.021, 0.2, 4.9)} == {"HALT"}
    counter.receive(session.receive(telemetry(11), at(50)))
    assert report(counter, at(50.05)).status == "HALT", "more of this burst may come"
    assert report(counter, at(50.15)).status == "ACTIVE"


def test_a_halted_engine_that_is_silent_is_told_with_the_time_since_when():
    session, counter = StreamReader(), HealthCounter()
    counter.receive(session.opened(at(0)))
    for n in range(5):
        counter.receive(session.receive(telemetry(n), at(n)))
    counter.receive(session.receive(telemetry(5).replace(b'"ACTIVE"', b'"HALT"'), at(5)))
    assert report(counter, at(7)).silence is None
    for seconds in range(7, 700, 7):
        counter.receive(session.tick(at(seconds)))
    health = report(counter, at(700))
    assert (health.state, health.silence) == ("OPEN", "halted, silent since 10:00 UTC")


def test_the_last_error_stays_until_a_connection_is_open_again():
    session, counter = StreamReader(), HealthCounter()
    counter.receive(session.closed(at(0), "x", error=ConnectFailed("refused")))
    assert report(counter, at(0.25)).error == "refused"
    assert report(counter, at(0.25)).retry_in_s == pytest.approx(0.75)
    assert report(counter, at(5)).retry_in_s == 0
    counter.receive(session.connecting(at(1)))
    assert report(counter, at(1)).error == "refused"
    assert report(counter, at(1)).retry_in_s is None
    counter.receive(session.opened(at(2)))
    assert report(counter, at(2)).error is None


def test_a_counter_that_saw_nothing_has_figures_for_nothing():
    health = report(HealthCounter(), at(0))
    assert health.state == ConnectionState.CONNECTING
    assert {field.name for field in fields(Health) if getattr(health, field.name) is None} == {
        "age_s",
        "lag_s",
        "clock_offset_s",
        "clock_drift_ppm",
        "jitter_s",
        "interval_s",
        "completeness",
        "rate_hz",
        "packets_per_s",
        "compression",
        "protocol",
        "resyncs",
        "wire_bytes",
        "inflated_bytes",
        "status",
        "silence",
        "server_error",
        "message_bytes_mean",
        "bytes_per_s",
        "retry_in_s",
        "error",
    }


def test_health_is_plain_values_and_has_what_was_promised():
    counter, _, clock = stream(1)
    plain = report(counter, at(clock)).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    promised = "state packets malformed repeats replayed dropped gaps reconnects lag_s rate_hz message_bytes_mean bytes_per_s"
    assert set(promised.split()) <= set(plain)


def test_the_card_shows_every_figure_and_escapes_what_a_server_chose():
    counter = HealthCounter()
    counter.receive([StateChange(ConnectionState.DISCONNECTED, at(0), 1.0, ConnectFailed("<script>alert(1)</script>"))])
    card = counter.report(at(0), url="ws://h/<b>", origin="<i>", dropped=0, callback_errors=0)._repr_html_()
    assert "<script" not in card
    assert "<b>" not in card
    assert "<i>" not in card
    assert "&lt;script&gt;" in card
    assert all(f">{field.name}<" in card for field in fields(Health))
