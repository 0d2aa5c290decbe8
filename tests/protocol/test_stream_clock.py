"""The stream's own clock by itself."""

from __future__ import annotations

from ccwatch.domain.limits import SECOND
from ccwatch.protocol.messages import Flag, Instant
from ccwatch.protocol.stream_clock import StreamClock


def test_its_time_is_the_last_packets_and_what_has_passed_since():
    clock = StreamClock()
    assert clock.at(Instant(77, 5)) == 77, "before the first packet it is this machine's"
    clock.note(1000 * SECOND, Instant(0, 0))
    assert clock.at(Instant(5 * SECOND, 2 * SECOND)) == 1002 * SECOND
    assert clock.passed_ns(0, Instant(0, 3 * SECOND)) == 3 * SECOND


def test_a_machine_that_slept_adds_its_sleep():
    clock = StreamClock()
    clock.note(1000 * SECOND, Instant(0, 0))
    assert clock.asleep_ns(Instant(3601 * SECOND, SECOND)) == 3600 * SECOND
    assert clock.at(Instant(3601 * SECOND, SECOND)) == 4601 * SECOND


def test_a_virtual_clock_goes_on_only_with_its_stamps():
    clock = StreamClock(is_virtual=True)
    clock.note(1000 * SECOND, Instant(0, 0))
    assert clock.at(Instant(9 * SECOND, 9 * SECOND)) == 1000 * SECOND
    assert clock.passed_ns(1007 * SECOND, Instant(0, 0)) == 7 * SECOND
    assert clock.asleep_ns(Instant(3601 * SECOND, SECOND)) == 0
    assert clock.judge(10**18, 0) == 0


def test_stamps_are_judged_by_those_before_them_on_the_connection():
    clock = StreamClock()
    assert [clock.judge(n * SECOND, (n + 100) * SECOND) for n in range(10)] == [0] * 10
    assert clock.judge(8 * SECOND, 109 * SECOND) == Flag.OUT_OF_ORDER
    assert clock.judge(20 * SECOND, 110 * SECOND) == Flag.CLOCK_SKEW
    clock.opened()
    assert clock.judge(3 * SECOND, 500 * SECOND) == 0
