"""The loop between connection and session: tokens, pings, clocks, and what must never be shown."""

from __future__ import annotations

import logging
import pickle
import threading
import traceback

import pytest

from ccwatch.domain import liveness
from ccwatch.errors import ConfigError, ConnectFailed, FeedError, FeedTimeout, Unauthorized
from ccwatch.protocol import connection_liveness as conversation
from ccwatch.protocol.messages import ConnectionState
from tests.feed.conftest import Clock, Pause, feed_for, wait_until
from tests.feed.servers import CLOSE, PING, PONG, TEXT, foreign, frame, telemetry

TOKEN = "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl"
SECRET = "s3cr3t-w0rd"


def one_packet(peer, *headers):
    peer.shake(*headers)
    peer.send(frame(telemetry(0)))
    peer.until_gone()


# ── token ──


@pytest.mark.parametrize("headers", [(), ("Sec-WebSocket-Protocol: token",)])
def test_a_token_goes_as_the_contract_says_and_the_server_may_select_token_or_nothing(raw, live, headers):
    server = raw(lambda peer: one_packet(peer, *headers))
    live(server.url, token=TOKEN).wait()
    assert server.peers[0].header("Sec-WebSocket-Protocol") == f"token, {TOKEN}"


@pytest.mark.parametrize("select", [lambda _connection, offered: offered[0], lambda _connection, _offered: None])
def test_a_foreign_server_that_selects_token_or_nothing_is_accepted(live, select):
    with foreign(lambda connection: connection.send(telemetry(0).decode()), subprotocols=["token"], select_subprotocol=select) as server:
        live(server.url, token=TOKEN).wait()


def test_a_callable_is_asked_for_the_token_at_each_connect(raw, live):
    asked = []

    def token():
        asked.append(f"token-{len(asked)}")
        return asked[-1]

    server = raw(lambda peer: peer.shake().send(frame(telemetry(0))))
    live(server.url, token=token, pause=Pause()).wait(3)
    assert [peer.header("Sec-WebSocket-Protocol") for peer in server.peers[:3]] == [f"token, token-{n}" for n in range(3)]


def test_a_refused_token_is_asked_for_once_more_and_a_fresh_one_works(raw, live):
    def script(peer):
        peer.read_head()
        if peer.header("Sec-WebSocket-Protocol") == "token, fresh":
            one_packet(peer)
        peer.answer("401 Unauthorized")

    tokens = iter(["stale", "fresh"])
    server = raw(script)
    pause = Pause()
    live(server.url, token=lambda: next(tokens), pause=pause).wait()
    assert len(server.peers) == 2
    assert pause.asked == []


def test_a_fresh_token_that_is_refused_too_is_the_end(raw, live):
    server = raw(lambda peer: peer.answer("401 Unauthorized"))
    feed = live(server.url, token=iter("abc").__next__)
    for _ in range(2):
        with pytest.raises(Unauthorized, match=r"wants a token \(401\)") as raised:
            feed.wait()
    assert len(server.peers) == 2
    assert len(traceback.extract_tb(raised.value.__traceback__)) == 2  # raised twice, and its trace did not grow


def test_a_text_token_that_is_refused_is_not_sent_again(raw, live):
    server = raw(lambda peer: peer.answer("401 Unauthorized"))
    with pytest.raises(Unauthorized, match=r"does not accept the token that it was given \(401\)"):
        live(server.url, token=TOKEN).wait()
    assert len(server.peers) == 1


def test_a_forbidden_token_is_not_asked_for_again(raw, live):
    server = raw(lambda peer: peer.answer("403 Forbidden"))
    with pytest.raises(Unauthorized, match="refuses this token"):
        live(server.url, token=iter("abc").__next__).wait()
    assert len(server.peers) == 1


def test_a_callable_that_raises_is_told_with_its_cause_and_asked_again_later(raw, live):
    def token():
        if not pause.asked:
            raise OSError("vault sealed: " + SECRET)
        return TOKEN

    pause = Pause()
    feed = live(raw(one_packet).url, token=token, pause=pause)
    feed.wait()
    assert pause.asked == [1]
    stuck = live(raw(one_packet).url, token=lambda: 1 / 0, pause=Pause(most=1))
    wait_until(lambda: stuck.error)
    with pytest.raises(FeedTimeout) as raised:
        stuck.wait(timeout=0)
    assert "asking for a token failed: ZeroDivisionError" in str(raised.value)
    assert isinstance(raised.value.__cause__.__cause__, ZeroDivisionError)


def test_an_error_of_the_settings_says_what_it_says(raw, live):
    def token():
        raise ConfigError("token_file 'nowhere' cannot be read")

    feed = live(raw(one_packet).url, token=token, pause=Pause(most=1))
    assert "token_file 'nowhere' cannot be read" in str(wait_until(lambda: feed.error))


@pytest.mark.parametrize("token", ["two words", "a\r\nX-Evil: 1", "ü", "nul\0"])
def test_a_token_that_would_break_the_request_is_refused_before_anything_is_sent(raw, live, token):
    server = raw(one_packet)
    with pytest.raises(ConnectFailed, match="one word of printable ASCII") as raised:
        live(server.url, token=token).wait()
    assert token not in str(raised.value)
    assert all(b"Evil" not in peer.head for peer in server.peers)


def test_a_line_end_after_the_token_of_a_file_does_no_harm(raw, live):
    server = raw(one_packet)
    live(server.url, token=f" {TOKEN}\n").wait()
    assert server.peers[0].header("Sec-WebSocket-Protocol") == f"token, {TOKEN}"


def test_a_token_that_is_no_text_is_refused(raw, live):
    with pytest.raises(ConnectFailed, match="no text but int"):
        live(raw(one_packet).url, token=lambda: 7).wait()


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token_is_no_header(raw, live, nothing):
    server = raw(one_packet)
    live(server.url, token=lambda: nothing).wait()
    assert server.peers[0].header("Sec-WebSocket-Protocol") is None


# ── secrets ──


def everything_shown(feed):
    health = feed.health()
    texts = [repr(feed), feed.url, feed.name, repr(health), str(health.to_dict()), health._repr_html_(), feed._repr_html_()]
    texts += [feed.events().to_string(), feed.frame(columns=["extra", "reasoning", "status_raw"]).to_string()]
    texts += [repr(feed._fan_out.source), repr(feed._fan_out.source._address), repr(feed.error), str(feed.error), feed.origin]
    texts += [thread.name for thread in threading.enumerate()]
    try:
        feed.wait(10**6, timeout=0)
    except FeedError as error:
        texts += traceback.format_exception(error)
        while error is not None:
            texts += [repr(error), str(error), repr(vars(error)), repr(error.__context__)]
            if error is feed.error and error.__traceback__ is not None:
                texts += [repr(entry.f_locals) for entry, _ in traceback.walk_tb(error.__traceback__)]
            error = error.__cause__
    return "\n".join(texts)


def says_it_back(peer):
    peer.shake(f"X-Ccwatch-Origin: {SECRET} {TOKEN}")
    peer.send(frame(telemetry(0)) + frame((4003).to_bytes(2, "big") + f"bad {TOKEN} or {SECRET}".encode()[:123], CLOSE))
    peer.until_gone()


def refuses_and_says_it_back(status):
    return lambda peer: peer.answer(status, f"X-You: {TOKEN} {SECRET}", f"Content-Length: {len(TOKEN)}", body=TOKEN.encode())


@pytest.mark.parametrize(
    "script",
    [
        one_packet,
        says_it_back,
        refuses_and_says_it_back("401 " + TOKEN),
        refuses_and_says_it_back("403 Forbidden"),
        refuses_and_says_it_back("404 " + SECRET),
        refuses_and_says_it_back("500 Internal Server Error"),
        refuses_and_says_it_back("302 Found"),
        lambda peer: peer.send(f"{SECRET}{TOKEN}\r\n".encode()),
        lambda peer: peer.reset(),
        lambda peer: (peer.shake(), peer.send(frame(b"", rsv=7))),
    ],
)
def test_userinfo_query_and_token_are_shown_nowhere(raw, live, caplog, script):
    caplog.set_level(logging.DEBUG)
    server = raw(script)
    pause = Pause(most=1)
    url = f"ws://us3r:{SECRET}@127.0.0.1:{server.port}/p?token={SECRET}&x=qu3ry"
    feed = live(url, name="mine", token=TOKEN, pause=pause)
    wait_until(lambda: feed.error or feed.latest)
    shown = everything_shown(feed) + caplog.text
    for secret in (SECRET, TOKEN, "us3r", "qu3ry"):
        assert secret not in shown


def test_what_a_refused_attempt_kept_holds_no_frame_that_knows_the_token(raw, live):
    feed = live(raw(lambda peer: peer.answer("503 Later")).url, token=TOKEN, pause=Pause(most=1))
    error = wait_until(lambda: feed.error)
    assert error.__traceback__ is None
    assert error.__context__ is None
    assert TOKEN.encode() not in pickle.dumps(error)


# ── pings and time ──


def test_pings_of_the_server_get_pongs_with_their_payload(raw, live):
    answers = []

    def script(peer):
        peer.shake()
        for payload in (b"", b"1", b"x" * 125):
            peer.send(frame(payload, PING))
            answers.append(peer.frame())
        peer.until_gone()

    live(raw(script).url)
    wait_until(lambda: len(answers) == 3)
    assert answers == [(PONG, b""), (PONG, b"1"), (PONG, b"x" * 125)]


def test_the_contracts_ping_is_sent_every_30_seconds(raw, live):
    clock, got = Clock(), []

    def script(peer):
        peer.shake("X-Ccwatch-Origin: live")
        peer.send(frame(telemetry(0)))
        for opcode, payload in peer.frames():
            if opcode == TEXT:
                got.append(payload)

    server = raw(script)
    feed = live(server.url, clock=clock).wait()
    for n in range(1, 4):
        clock.advance(29)
        server.peers[0].send(frame(telemetry(2 * n)))  # wakes the loop, which then looks at its clock
        feed.wait(2 * n)
        assert len(got) == n - 1
        clock.advance(1)
        server.peers[0].send(frame(telemetry(2 * n + 1)))
        wait_until(lambda n=n: len(got) == n)
        feed.wait(2 * n + 1)
    assert got == [b'{"type":"PING"}'] * 3


@pytest.fixture
def hasty(monkeypatch):
    """A session's timing rules in fiftieths of a second."""
    for module, name in ((conversation, "PING_NS"), (conversation, "KEEPALIVE_NS"), (liveness, "LATE_NS"), (liveness, "STALE_NS")):
        monkeypatch.setattr(module, name, getattr(module, name) // 50)


def pings(peer):
    return (payload for opcode, payload in peer.frames() if opcode == PING)


@pytest.mark.usefixtures("hasty")
def test_a_peer_that_answered_a_ping_and_then_falls_silent_is_given_up(raw, live):
    answered = []

    def half_open(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        for payload in pings(peer):
            if not answered:
                peer.send(frame(payload, PONG))
            answered.append(payload)

    pause = Pause(most=1)
    feed = live(raw(half_open).url, pause=pause)
    wait_until(lambda: pause.asked)
    assert len(answered) >= 2
    kinds, details = list(feed.events()["kind"]), list(feed.events()["detail"])
    assert kinds == ["connect", "stale", "disconnect"]
    assert details[-1] == "connection=1 reason=a ping was not answered, and nothing else came: the peer is gone"
    with pytest.raises(FeedTimeout, match="a ping was not answered"):
        feed.wait(2, timeout=0)


@pytest.mark.usefixtures("hasty")
def test_a_peer_that_answers_pings_is_never_given_up(raw, live):
    answered = []

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        for payload in pings(peer):
            peer.send(frame(payload, PONG))
            answered.append(payload)

    feed = live(raw(script).url)
    wait_until(lambda: len(answered) >= 6)
    assert feed.state == ConnectionState.STALE
    assert feed.health().reconnects == 0
    assert list(feed.events()["kind"]) == ["connect", "stale"]


@pytest.mark.usefixtures("hasty")
def test_a_peer_that_never_answered_a_ping_is_not_given_up_for_that(raw, live):
    unanswered = []

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        unanswered.extend(pings(peer))

    feed = live(raw(script).url)
    wait_until(lambda: len(unanswered) >= 6)
    assert feed.state == ConnectionState.STALE
    assert "disconnect" not in list(feed.events()["kind"])


@pytest.mark.usefixtures("hasty")
def test_a_silent_peer_makes_the_feed_late_then_stale_and_a_packet_makes_it_open_again(raw, live):
    go = threading.Event()

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        go.wait(5)
        peer.send(frame(telemetry(1)))
        peer.until_gone()

    feed = live(raw(script).url)
    seen = []
    feed.add_sink(type("Sink", (), {"receive": lambda _self, items: seen.extend(getattr(item, "state", None) for item in items)})())
    wait_until(lambda: feed.state == ConnectionState.STALE)
    assert feed.error is None
    go.set()
    feed.wait(2)
    assert [state for state in seen if state][-3:] == ["LATE", "STALE", "OPEN"]


def test_a_wall_clock_that_is_stepped_neither_breaks_the_feed_nor_loses_a_packet(raw, live):
    clock, step = Clock(), threading.Semaphore(0)

    def script(peer):
        peer.shake()
        for n in range(6):
            peer.send(frame(telemetry(n)))
            step.acquire(timeout=5)
        peer.until_gone()

    feed = live(raw(script).url, clock=clock)
    for n, seconds in enumerate((0, 86_400, -172_800, 3600, 10**9, -(10**9)), 1):
        feed.wait(n)
        clock.advance(seconds)
        step.release()
    assert list(feed.frame(last=6, clean=False)["price"])[-1] == 105.0
    assert feed.health().packets == 6


def test_what_the_server_says_of_its_origin_is_taken_only_as_one_word(raw, live):
    feed = live(raw(lambda peer: one_packet(peer, "X-Ccwatch-Origin: synthetic")).url).wait()
    assert feed.origin == feed.health().origin == "synthetic"
    feed = live(raw(lambda peer: one_packet(peer, "X-Ccwatch-Origin: live<script> a=b")).url).wait()
    assert feed.origin == "live"


def test_a_virtual_clock_is_announced_by_the_server(raw, live):
    """Stamps of 1970 on a virtual clock are no skew, and hours between two of them are a gap of hours."""

    def script(peer):
        peer.shake("X-Ccwatch-Clock: virtual")
        for n in (*range(30), 7200):
            peer.send(frame(telemetry(n)))
        peer.until_gone()

    feed = live(raw(script).url).wait(31)
    assert feed.health().gaps == 1
    assert feed.health().gap_s == pytest.approx(7171)


def test_a_feed_that_was_never_started_can_be_stopped_and_says_so():
    feed = feed_for("ws://127.0.0.1:9")
    feed.stop()
    assert feed.state == ConnectionState.STOPPED
