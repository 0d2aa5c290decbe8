"""What was there before: the burst of old states at connect is distinguished from the state of now, with and without stamps."""

from __future__ import annotations

import pytest

from ccwatch.domain.limits import SECOND
from ccwatch.protocol.decoding.codec import dumps
from ccwatch.protocol.messages import Flag, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from tests.protocol.shapes import NOON, PIPELINE, changed, contract

MS = 1_000_000


class Burst:
    """A session to which messages come at given moments; `flags` are those of its packets so far, by price."""

    def __init__(self):
        self.session = StreamReader()
        self.now = Instant(NOON, SECOND)
        self.packets = []
        self.open()

    def open(self):
        self.session.opened(self.now)
        return self

    def wait(self, ms):
        self.now = Instant(self.now.wall_ns + ms * MS, self.now.mono_ns + ms * MS)
        return self

    def take(self, items):
        self.packets += [item for item in items if isinstance(item, Packet)]
        return self

    def unstamped(self, price, **more):
        return self.take(self.session.receive(dumps(changed(PIPELINE, price=float(price), **more)), self.now))

    def stamped(self, price):
        return self.take(self.session.receive(dumps(contract(market={"price": float(price)})), self.now))

    def tick(self):
        return self.take(self.session.tick(self.now))

    @property
    def heard(self):
        return [(int(packet.price), bool(packet.flags & Flag.REPLAYED)) for packet in self.packets]


@pytest.mark.parametrize("apart", [0, 1, 99])
def test_of_an_unstamped_burst_at_connect_all_but_the_last_are_replayed_on_the_first_connection_too(apart):
    burst = Burst()
    for price in range(1, 11):
        burst.unstamped(price).wait(apart)
    assert burst.wait(100 - apart).tick().heard == [(price, price < 10) for price in range(1, 11)]
    assert [packet.seq for packet in burst.packets] == list(range(1, 11))
    assert burst.wait(5000).unstamped(11).heard[-1] == (11, False), "at once: the burst at connect is over"


def test_after_a_reconnect_states_that_were_seen_are_replayed_and_of_the_new_ones_all_but_the_last():
    burst = Burst().unstamped(1).wait(5000).unstamped(2)
    burst.open()
    for price in (1, 2, 3, 4):
        burst.unstamped(price)
    assert burst.wait(100).tick().heard[2:] == [(1, True), (2, True), (3, True), (4, False)]


def test_a_state_that_comes_alone_is_none_and_waits_a_tenth_of_a_second():
    burst = Burst().unstamped(1)
    assert burst.heard == []
    assert burst.session.wait_s(burst.now) == pytest.approx(0.1)
    assert burst.wait(99).tick().heard == []
    assert burst.wait(1).tick().heard == [(1, False)]


def test_stamped_packets_keep_their_places_between_unstamped_ones():
    burst = Burst().unstamped(1).stamped(2).unstamped(3).stamped(4)
    assert burst.wait(100).tick().heard == [(1, True), (2, False), (3, False), (4, False)]


def test_a_repeat_does_not_make_what_it_repeats_a_replay():
    burst = Burst().unstamped(1).unstamped(1)
    assert burst.wait(100).tick().heard == [(1, False), (1, False)]
    assert [bool(packet.flags & Flag.REPEAT) for packet in burst.packets] == [False, True]


def test_a_fast_stream_without_stamps_is_no_replay_for_long():
    burst = Burst()
    for price in range(1, 401):
        burst.unstamped(price).wait(5)
    assert sum(was_replayed for _, was_replayed in burst.heard) <= 64
    assert len(burst.heard) == 400


@pytest.mark.parametrize("end", ["close", "flush"])
def test_what_is_held_comes_out_when_the_connection_ends(end):
    burst = Burst().unstamped(1)
    burst.take(burst.session.closed(burst.now, "reset") if end == "close" else burst.session.flush())
    assert burst.heard == [(1, False)]
