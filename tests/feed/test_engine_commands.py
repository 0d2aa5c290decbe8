"""Commands of a feed, over real sockets: where they go, what counts as a confirmation, and what is never sent."""

from __future__ import annotations

import json
import threading
import time

import pytest

import ccwatch as cw
from ccwatch.errors import CommandsDisabled, ConfigError, NoCommandRoute
from tests.feed.conftest import wait_until
from tests.feed.servers import frame, free_port, telemetry

HALTED = telemetry(9).replace(b'"ACTIVE"', b'"HALTED_SYSTEM"')


class Scripted:
    """A server on one port that streams and takes POSTs: `answers` maps a path to a status line and a body."""

    def __init__(self, raw, answers=None, on_post=None, rest=None):
        self.answers = answers or {}
        self.posts, self.looks = [], []
        self.rest = rest or {}
        self.said = []
        self.peers = []
        self.on_post = on_post or (lambda _server: None)
        self.url = raw(self.script).url

    def script(self, peer):
        head = peer.read_head().decode()
        if head.startswith("GET /api/"):
            path = head.split(" ")[1]
            self.looks.append(path)
            status, body = self.rest.get(path, ("404 Not Found", b""))
            peer.answer(status, f"Content-Length: {len(body)}", body=body)
            return
        if head.startswith("POST "):
            path = head.split(" ")[1]
            self.posts.append((path, peer.header("Authorization")))
            status, body = self.answers.get(path, ("404 Not Found", b""))
            if status:
                peer.answer(status, f"Content-Length: {len(body)}", body=body)
            if path in self.answers:
                self.on_post(self)
            return
        peer.shake("X-Ccwatch-Origin: live")
        self.peers.append(peer)  # before its first packet, which tests wait for
        peer.send(frame(telemetry(0)))
        for _, payload in peer.frames():
            self.said.append(payload)
            if b"SUBSCRIBE" in payload:
                peer.send(frame(telemetry(1, symbol=json.loads(payload)["symbol"])))

    def stream(self, payload):
        for peer in self.peers:
            peer.send(frame(payload))


@pytest.fixture
def connect():
    """Opens feeds by the public verb, and stops them."""
    feeds = []

    def start(url, **options):
        feeds.append(cw.connect(url, **({"commands": True} | options)))
        return feeds[-1].wait()

    yield start
    for feed in feeds:
        feed.stop()


@pytest.fixture
def brief(monkeypatch):
    """Confirmations are not waited for long."""
    monkeypatch.setattr("ccwatch.feed.engine_commands.CONFIRM_S", 0.3)


HALT, RESUME = "/api/system/halt", "/api/system/resume"
OK = {HALT: ("200 OK", b"{}"), RESUME: ("200 OK", b"{}")}


def test_a_feed_that_only_watches_gives_no_command(raw, connect):
    server = Scripted(raw, OK)
    feed = connect(server.url, commands=False)
    for give in (lambda: feed.halt(confirm="HALT"), lambda: feed.resume(confirm="RESUME"), lambda: feed.subscribe("AAPL"), feed.halt):
        with pytest.raises(CommandsDisabled, match="commands=True"):
            give()
    assert (server.posts, server.said) == ([], [])
    assert not feed.takes_commands


@pytest.mark.parametrize("confirm", [None, "", "halt", "RESUME", True])
def test_a_halt_that_is_not_typed_out_is_not_sent(raw, connect, confirm):
    server = Scripted(raw, OK)
    feed = connect(server.url)
    with pytest.raises(ConfigError, match=r"confirm='HALT'.*nothing was sent"):
        feed.halt(confirm=confirm)
    assert server.posts == []


def test_a_halt_is_confirmed_by_a_halted_status_that_arrives_after_it_was_sent(raw, connect):
    server = Scripted(raw, OK, lambda server: server.stream(HALTED))
    feed = connect(server.url)
    result = feed.halt(confirm="HALT")
    assert result == cw.CommandResult(f"POST {server.url.replace('ws', 'http', 1)}{HALT}", True, True, True, "HALT", None, "stream")
    assert [path for path, _ in server.posts] == [HALT]

    def notes():
        return [event.detail for event in feed.events().itertuples() if event.kind == "command"]

    expected = ["command=HALT asked", "command=HALT sent=True accepted=True confirmed=True evidence=stream"]
    wait_until(lambda: notes() == expected, why=notes)


@pytest.mark.usefixtures("brief")
def test_an_answer_of_200_alone_confirms_nothing(raw, connect):
    server = Scripted(raw, OK, lambda server: server.stream(telemetry(1)))
    result = connect(server.url).halt(confirm="HALT")
    assert (result.sent, result.accepted, result.confirmed, result.status) == (True, True, False, "ACTIVE")
    assert "has not confirmed it; its last status is ACTIVE" in result.error


@pytest.mark.usefixtures("brief")
def test_a_halted_status_from_before_does_not_confirm(raw, connect):
    server = Scripted(raw, OK)
    feed = connect(server.url)
    server.stream(HALTED)
    feed.wait(2)
    assert not feed.halt(confirm="HALT").confirmed


def test_a_resume_is_confirmed_by_an_active_status(raw, connect):
    server = Scripted(raw, OK, lambda server: server.stream(telemetry(1)))
    result = connect(server.url).resume(confirm="RESUME")
    assert (result.accepted, result.confirmed, result.status, result.error) == (True, True, "ACTIVE", None)


def test_a_server_without_the_route_is_not_replaced_by_a_guess(raw, connect):
    server = Scripted(raw)
    with pytest.raises(NoCommandRoute, match="engine_url="):
        connect(server.url).halt(confirm="HALT")
    assert [path for path, _ in server.posts] == [HALT, "/api/actions/halt"]


def test_the_other_path_of_deployed_engines_is_tried(raw, connect):
    server = Scripted(raw, {"/api/actions/halt": ("200 OK", b"")}, lambda server: server.stream(HALTED))
    assert connect(server.url).halt(confirm="HALT").route.endswith("/api/actions/halt")


@pytest.mark.parametrize("spell", [lambda url: url, lambda url: url.replace("ws", "http", 1), lambda url: f"{url}/api/ws/stream"])
def test_a_named_engine_gets_the_command_instead_of_the_streams_server(raw, connect, spell):
    stream = Scripted(raw)
    engine = Scripted(raw, OK, lambda _: stream.stream(HALTED))
    result = connect(stream.url, engine_url=spell(engine.url)).halt(confirm="HALT")
    assert result.confirmed
    assert stream.posts == []
    assert [path for path, _ in engine.posts] == [HALT]


def test_a_token_goes_with_the_command_and_is_shown_nowhere(raw, connect):
    server = Scripted(raw, OK, lambda server: server.stream(HALTED))
    feed = connect(server.url, token="aaa.SECRET.zzz")
    result = feed.halt(confirm="HALT")
    assert server.posts == [(HALT, "Bearer aaa.SECRET.zzz")]
    assert "SECRET" not in repr(result) + repr(feed) + feed.events().to_string()


def test_a_refusal_is_told_in_the_servers_words_and_not_waited_for(raw, connect):
    server = Scripted(raw, {HALT: ("403 Forbidden", b'{"error":"the role\\nis watch"}')})
    result = connect(server.url).halt(confirm="HALT")
    assert (result.sent, result.accepted, result.confirmed, result.error) == (True, False, False, "HTTP 403: the role is watch")


def test_a_server_that_fails_may_have_obeyed_and_the_stream_tells(raw, connect):
    server = Scripted(raw, {HALT: ("500 Oops", b"")}, lambda server: server.stream(HALTED))
    result = connect(server.url).halt(confirm="HALT")
    assert (result.accepted, result.confirmed, result.error) == (None, True, "HTTP 500: Oops")


def test_a_redirect_is_not_followed(raw, connect):
    elsewhere = Scripted(raw, OK)
    body = ("307 Temporary Redirect\r\nLocation: " + elsewhere.url.replace("ws", "http", 1) + HALT, b"")
    server = Scripted(raw, {HALT: body})
    assert connect(server.url).halt(confirm="HALT").accepted is False
    assert elsewhere.posts == []


def test_an_engine_that_is_down_is_an_unsent_command(raw, connect):
    feed = connect(Scripted(raw).url, engine_url=f"http://127.0.0.1:{free_port()}")
    result = feed.halt(confirm="HALT")
    assert (result.sent, result.accepted, result.confirmed) == (False, False, False)
    assert "refused" in result.error


def test_a_subscription_goes_over_the_stream_and_is_confirmed_by_a_packet_of_its_symbol(raw, connect):
    server = Scripted(raw)
    result = connect(server.url).subscribe("AAPL")
    assert json.loads(server.said[0]) == {"type": "SUBSCRIBE", "symbol": "AAPL"}
    assert result == cw.CommandResult(f"SUBSCRIBE {server.url}", True, None, True, "ACTIVE", None, "stream")


@pytest.mark.parametrize("symbol", ["", "  ", "x" * 33, "A\nB"])
def test_what_can_be_no_symbol_is_refused(raw, connect, symbol):
    server = Scripted(raw)
    with pytest.raises(ConfigError, match="symbol: expected a ticker"):
        connect(server.url).subscribe(symbol)
    assert server.said == []


@pytest.mark.usefixtures("brief")
def test_without_a_connection_a_subscription_is_not_sent_and_not_kept_for_later(raw, connect):
    server = Scripted(raw)
    feed = connect(server.url)
    feed.stop()
    result = feed.subscribe("AAPL")
    assert (result.sent, result.error) == (False, "there is no connection to send it on")


def test_a_server_that_has_not_shown_that_it_reads_is_not_texted(raw, connect):
    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        peer.until_gone()

    result = connect(raw(script).url).subscribe("AAPL")
    assert (result.sent, result.confirmed) == (False, False)
    assert "has not shown that it reads" in result.error


CURRENT, STATUS = "/api/system/state/current", "/api/system/status"


@pytest.mark.parametrize("path", [CURRENT, STATUS])
def test_the_status_by_rest_is_a_second_witness_since_a_halted_loop_is_silent(raw, connect, path):
    server = Scripted(raw, OK, lambda server: server.rest.update({path: ("200 OK", b'{"status":"HALTED_SYSTEM"}')}))
    feed = connect(server.url)
    result = feed.halt(confirm="HALT")
    assert (result.accepted, result.confirmed, result.evidence, result.status) == (True, True, "rest", "HALT")
    assert feed.health().status == "HALT"


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("said", [b'{"status":"Online"}', b'{"status":"ACTIVE"}', b'{"error":"x"}', b"[1]", b"no JSON", b"[" * 30_000])
def test_a_status_by_rest_that_is_no_halt_confirms_none(raw, connect, said):
    server = Scripted(raw, OK, rest={CURRENT: ("200 OK", said)})
    result = connect(server.url).halt(confirm="HALT")
    assert (result.confirmed, result.evidence) == (False, None)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"status":"ERROR","message":"Error 111 connecting to redis:6379."}', "Error 111 connecting to redis:6379."),
        (b'{"status":"error","detail":"not now"}', "not now"),
        (b'{"success":false,"message":"no"}', "no"),
        (b'{"ok":false,"message":"no"}', "no"),
        (b'{"error":"Redis is down"}', "Redis is down"),
        (b'{"status":"CommandStatus.ERROR","message":"redis://u:pw@h is down"}', "redis://…@h is down"),
    ],
)
def test_an_answer_of_201_that_says_error_is_a_refusal_with_its_text(raw, connect, body, text):
    server = Scripted(raw, {HALT: ("201 Created", body)})
    result = connect(server.url).halt(confirm="HALT")
    assert (result.sent, result.accepted, result.confirmed, result.evidence) == (True, False, False, None)
    assert text in result.error
    assert "201" in result.error


def test_a_server_that_failed_although_it_obeyed_is_confirmed_by_rest(raw, connect):
    server = Scripted(raw, {HALT: ("500 Oops", b"")}, rest={CURRENT: ("200 OK", b'{"status":"HALTED"}')})
    result = connect(server.url).halt(confirm="HALT")
    assert (result.accepted, result.confirmed, result.evidence) == (None, True, "rest")


@pytest.mark.usefixtures("brief")
def test_a_halt_is_confirmed_by_any_packet_of_a_burst_and_a_resume_by_none_that_a_packet_of_its_burst_contradicts(raw, connect):
    def burst(server):
        for payload in (HALTED, telemetry(2)):
            server.stream(payload)

    server = Scripted(raw, OK, burst)
    feed = connect(server.url)
    assert feed.halt(confirm="HALT").evidence == "stream"
    result = feed.resume(confirm="RESUME")
    assert (result.confirmed, result.status) == (False, "HALT")


def test_silence_after_a_known_halt_is_no_stale_stream(raw, connect, monkeypatch):
    monkeypatch.setattr("ccwatch.domain.liveness.LATE_NS", 300_000_000)
    monkeypatch.setattr("ccwatch.domain.liveness.STALE_NS", 600_000_000)
    server = Scripted(raw, OK, rest={CURRENT: ("200 OK", b'{"status":"HALTED"}')})
    feed = connect(server.url)
    assert feed.halt(confirm="HALT").evidence == "rest"
    wait_until(lambda: feed.health().silence)
    time.sleep(0.8)
    assert feed.health().silence.startswith("halted, silent since ")
    assert feed.state == "OPEN"
    assert "stale" not in list(feed.events()["kind"])


def test_commands_may_be_given_by_many_threads_at_once(raw, connect):
    server = Scripted(raw)
    feed = connect(server.url)
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(feed.subscribe(f"S{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 8
    assert all(result.confirmed for result in results)


def test_an_engine_url_that_is_none_is_refused_without_showing_it(raw):
    with pytest.raises(ConfigError, match="engine_url: expected http://HOST:PORT") as refused:
        cw.connect(Scripted(raw).url, commands=True, engine_url="ftp://user:secret@host")
    assert "secret" not in str(refused.value)
