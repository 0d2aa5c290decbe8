"""Signs of life under a clock that the tests turn: servers that never read are not texted, half-open peers are found."""

from __future__ import annotations

import pytest

from ccwatch.domain.limits import SECOND
from ccwatch.errors import ConnectFailed
from ccwatch.protocol.connection_liveness import GOING_AWAY_UNHEARD, NEVER_SHOWN, Duty, Liveness
from ccwatch.protocol.decoding.codec import dumps
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from tests.protocol.shapes import NOON, WELCOME_BEFORE_ENGINE, contract

STEP = SECOND // 10


class NeverReads:
    """A server as deployed: it answers pings while at most n texts are unread, pings every 20 s, and closes with 1011 when no pong is
    read for 20 s. Time is counted in STEPs; `dies` ends every sign of it."""

    def __init__(self, session, *, unread=0, every=5.0, welcomes=False, dies=None):
        self.session, self.most_unread, self.every, self.welcomes, self.dies = session, unread, every, welcomes, dies
        self.now = Instant(NOON, 100 * SECOND)
        self.items, self.texts, self.aborts, self.closes = [], [], [], []
        self.n = 0
        self.open()

    def open(self):
        self.unread, self.unanswered = 0, None
        self.opened_at = self.pinged_at = self.spoke_at = self.now.mono_ns
        self.items += self.session.opened(self.now)
        if self.welcomes:
            self.items += self.session.receive(dumps(WELCOME_BEFORE_ENGINE), self.now)

    @property
    def reads(self):
        return self.unread <= self.most_unread

    def run(self, seconds):
        for _ in range(round(seconds * SECOND / STEP)):
            self.now = Instant(self.now.wall_ns + STEP, self.now.mono_ns + STEP)
            self._serve()
            self.items += self.session.tick(self.now)
            self._do(self.session.duties(self.now))
        return self

    def _serve(self):
        now = self.now.mono_ns
        is_dead = self.dies is not None and now >= self.dies
        if not is_dead and now - self.spoke_at >= self.every * SECOND:
            self.spoke_at = now
            self.n += 1
            self.items += self.session.receive(contract_n(self.n), self.now)
        if self.unanswered is not None and now - self.unanswered >= 20 * SECOND and not is_dead:
            self.closes.append(now)
            self.end(code=1011)
        elif now - self.pinged_at >= 20 * SECOND and not is_dead:
            self.pinged_at = now
            self.unanswered = None if self.reads else (self.unanswered or now)

    def _do(self, duties):
        for duty in duties:
            if duty is Duty.SEND_KEEPALIVE:
                self.text()
            elif duty is Duty.SEND_PING and self.reads and (self.dies is None or self.now.mono_ns < self.dies):
                self.session.pong()
            elif duty is Duty.ABORT:
                self.aborts.append(self.now.mono_ns)
                self.end()

    def text(self):
        self.texts.append(self.now.mono_ns)
        self.session.texted()
        self.unread += 1

    def end(self, code=None):
        self.items += self.session.closed(self.now, "gone", error=ConnectFailed("gone"), code=code)
        self.open()

    def events(self, kind):
        return [item for item in self.items if isinstance(item, Event) and item.kind == kind]


def contract_n(n):
    return dumps(contract(market={"price": 400.0 + n}))


@pytest.mark.slow
@pytest.mark.parametrize("every", [1.0, 5.0, 7.0, 30.0])
@pytest.mark.parametrize("unread", [0, 1, 32])
def test_an_hour_with_a_server_that_never_reads_is_one_connection_without_a_text(unread, every):
    server = NeverReads(StreamReader(), unread=unread, every=every).run(3600)
    assert (server.texts, server.aborts, server.closes) == ([], [], [])
    assert len(server.events(EventKind.CONNECT)) == 1
    assert not server.events(EventKind.ERROR)
    assert sum(isinstance(item, Packet) for item in server.items) >= 3600 / every - 2
    assert server.session.no_text == NEVER_SHOWN


@pytest.mark.slow
@pytest.mark.parametrize("every", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("unread", [0, 1, 32])
def test_one_that_welcomes_but_does_not_read_is_texted_until_it_shows_that_and_never_again(unread, every):
    server = NeverReads(StreamReader(), unread=unread, every=every, welcomes=True).run(3600)
    assert len(server.texts) == unread + 1, "the text that stops its pongs is the last one"
    assert server.aborts == [], "packets are life"
    assert len(server.closes) == 1, "which the server does by itself, once"
    (heard,) = server.events(EventKind.ERROR)
    assert "texts=stopped" in heard.detail
    assert "does not read" in server.session.no_text


def test_a_close_1011_after_a_text_ends_the_texts_to_that_server():
    session = StreamReader()
    now = Instant(NOON, SECOND)
    session.opened(now, reads=True)
    assert session.no_text == ""
    session.texted()
    events = [item for item in session.closed(now, "1011", code=GOING_AWAY_UNHEARD) if isinstance(item, Event)]
    assert [event.kind for event in events] == [EventKind.ERROR, EventKind.DISCONNECT]
    session.opened(now, reads=True)
    assert "1011" in session.no_text


def test_a_close_1011_without_a_text_is_a_close_like_any_other():
    session = StreamReader()
    now = Instant(NOON, SECOND)
    session.opened(now, reads=True)
    assert [item.kind for item in session.closed(now, "x", code=GOING_AWAY_UNHEARD) if isinstance(item, Event)] == [EventKind.DISCONNECT]
    session.opened(now, reads=True)
    assert session.no_text == ""


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("every", [0.3, 1.0])
def test_a_half_open_peer_is_found_within_ten_seconds(every, reads):
    session = StreamReader()
    server = NeverReads(session, unread=10**9, every=every, welcomes=reads)
    server.run(61.3)
    assert server.aborts == []
    server.dies = died = server.now.mono_ns
    server.run(11)
    assert server.aborts
    assert (server.aborts[0] - died) / SECOND <= 10.0
    assert not server.events(EventKind.ERROR), "silence says nothing about reading"


def test_a_missing_pong_is_nothing_while_packets_come():
    liveness, now = Liveness(), Instant(0, 0)
    liveness.opened(now, reads=False)
    liveness.ponged()
    for tenth in range(1, 6000):
        now = Instant(0, tenth * SECOND // 10)
        if tenth % 70 == 0:
            liveness.pace.note(now.mono_ns)
            liveness.alive(now)
        liveness.muted_now(now)
        assert Duty.ABORT not in liveness.duties(now)
    assert liveness.muted == "", "nothing was texted"


def test_what_lives_without_packets_is_neither_late_nor_stale():
    liveness = Liveness()
    liveness.opened(Instant(0, 0), reads=True)
    assert liveness.state(Instant(0, 2 * SECOND)) is ConnectionState.OPEN
    assert liveness.state(Instant(0, 3 * SECOND)) is ConnectionState.LATE
    assert liveness.state(Instant(0, 10 * SECOND)) is ConnectionState.STALE
    liveness.alive(Instant(0, 9 * SECOND))
    assert liveness.state(Instant(0, 10 * SECOND)) is ConnectionState.OPEN


def test_a_halted_engine_that_is_silent_is_not_stale():
    session = StreamReader()
    server = NeverReads(session, every=2.0)
    server.run(20)
    server.items += session.receive(dumps(contract(status="HALTED_DRAWDOWN")), server.now)
    server.dies = server.now.mono_ns
    for _ in range(600):
        server.now = Instant(server.now.wall_ns + SECOND, server.now.mono_ns + SECOND)
        server.items += session.tick(server.now)
        assert session.wait_s(server.now) >= 0
    assert session.state is ConnectionState.OPEN
    assert not server.events(EventKind.STALE)
    session.learn_status("ACTIVE")
    session.tick(server.now)
    assert session.state is ConnectionState.STALE, "it is said to trade"
