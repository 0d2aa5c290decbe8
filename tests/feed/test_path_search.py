"""A wrong path on a right server: the error names the path from which a packet was read; a token is spoken of only if one was sent."""

from __future__ import annotations

import time

import pytest

import ccwatch as cw
from ccwatch.errors import ConnectFailed, Unauthorized
from ccwatch.feed.address import parse_url
from ccwatch.feed.path_search import known_places
from tests.feed.conftest import wait_until
from tests.feed.servers import frame, telemetry


class Paths:
    """A server that streams at one path, accepts others without a word, and refuses the rest."""

    def __init__(self, raw, streams, *, silent=(), refusal="403 Forbidden", says=None):
        self.asked, self.tokens = [], []
        self._streams, self._silent, self._refusal, self._says = streams, silent, refusal, says or telemetry(0)
        self.url = raw(self.script).url

    def script(self, peer):
        path = peer.read_head().split(b" ")[1].decode()
        self.asked.append(path)
        self.tokens.append(peer.header("Sec-WebSocket-Protocol"))
        if path == self._streams:
            peer.shake().send(frame(self._says))
            peer.until_gone()
        elif path in self._silent:
            peer.shake().until_gone()
        else:
            peer.answer(self._refusal, "Content-Length: 0")


@pytest.mark.parametrize("refusal", ["403 Forbidden", "404 Not Found"])
@pytest.mark.parametrize(
    ("asked", "streams"),
    [
        ("/ws/stream", "/api/ws/stream"),
        ("", "/ws/stream"),
        ("/api/ws/stream", "/api/ws/brain"),
        ("/ws/stream", "/"),
        ("/other", "/ws/stream"),
    ],
)
def test_the_error_names_the_path_from_which_a_packet_was_read(raw, asked, streams, refusal):
    server = Paths(raw, streams, refusal=refusal)
    with cw.connect(server.url + asked) as feed, pytest.raises(ConnectFailed) as failed:
        feed.wait()
    assert f"{server.url}{streams} streams" in str(failed.value)
    assert refusal[:3] in str(failed.value)
    assert "token" not in str(failed.value)
    assert feed.state in {"DISCONNECTED", "STOPPED"}


@pytest.mark.slow
def test_a_path_that_accepts_and_says_nothing_that_is_a_packet_is_not_named(raw):
    server = Paths(raw, "/api/ws/stream", says=b'{"hello":"world"}')
    with cw.connect(server.url + "/ws/stream") as feed, pytest.raises(Unauthorized) as failed:
        feed.wait()
    assert "no token was sent" in str(failed.value)
    assert "streams" not in str(failed.value)


def test_with_a_token_nothing_else_is_tried_and_the_token_is_what_is_refused(raw):
    server = Paths(raw, "/api/ws/stream")
    with cw.connect(server.url + "/ws/stream", token="aaa.bbb.ccc") as feed, pytest.raises(Unauthorized, match="refuses this token"):
        feed.wait()
    assert server.asked == ["/ws/stream"]


def test_no_token_of_the_environment_goes_to_the_other_paths(raw, monkeypatch):
    monkeypatch.setenv("CCWATCH_TOKEN", "aaa.bbb.ccc")
    server = Paths(raw, "/api/ws/stream")
    with cw.connect(server.url + "/ws/stream") as feed, pytest.raises(Unauthorized, match="refuses this token"):
        feed.wait()
    assert server.asked == ["/ws/stream"]


def test_a_search_ends_at_once_when_the_feed_is_stopped(raw):
    server = Paths(raw, "/nowhere", silent=("/api/ws/stream",))
    feed = cw.connect(server.url + "/ws/stream")
    wait_until(lambda: "/api/ws/stream" in server.asked)
    began = time.monotonic()
    feed.stop()
    assert time.monotonic() - began < 5
    assert feed.state == "STOPPED"


def test_the_known_places_are_of_the_same_host_and_port():
    assert known_places(parse_url("ws://user:secret@host:9/ws/stream?token=x")) == [
        "ws://host:9/api/ws/stream",
        "ws://host:9/api/ws/brain",
        "ws://host:9/",
    ]


@pytest.mark.parametrize(
    "message", [b'{"type":"ERROR","data":{"code":406,"msg":"connection limit exceeded"}}', b'{"error":"connection limit exceeded"}']
)
def test_what_the_server_says_is_wrong_is_in_the_event_the_error_and_the_health(raw, live, message):
    def script(peer):
        peer.shake().send(frame(telemetry(0)) + frame(message))
        peer.frame()

    feed = live(raw(script).url).wait()
    wait_until(lambda: feed.error is not None)
    assert "connection limit exceeded" in str(feed.error)
    assert "connection limit exceeded" in feed.health().server_error
    assert "connection limit exceeded" in feed.events().query("kind == 'error'")["detail"].iloc[0]
    assert feed.health().malformed == 0


def test_a_disconnect_after_it_tells_it_too_and_says_no_secret_back(raw, live):
    def script(peer):
        peer.shake().send(frame(b'{"type":"ERROR","message":"bad token aaa.SECRET.zzz"}'))
        peer.send(frame(b"\x03\xf0" + b"go away aaa.SECRET.zzz", 8))

    feed = live(raw(script).url, token=lambda: "aaa.SECRET.zzz")
    wait_until(lambda: feed.health().reconnects or feed.state == "DISCONNECTED")
    heard = str(feed.error) + feed.events().to_string() + str(feed.health())
    assert "bad token …" in str(feed.error)
    assert "SECRET" not in heard
