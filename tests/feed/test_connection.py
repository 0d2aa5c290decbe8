"""What `wait()` says of each way in which a server can fail a client, and that `stop()` comes back from all of them."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

import pytest

from ccwatch.errors import ConnectFailed, FeedClosed, FeedError, FeedTimeout, Unauthorized
from ccwatch.feed.connection import ConnectionLost, Waker, connect, parse_url
from ccwatch.protocol.messages import ConnectionState
from tests.feed.conftest import Pause, feed_for, timed_stop, wait_until
from tests.feed.servers import BINARY, CLOSE, PING, Peer, foreign, frame, free_port, telemetry

SECRET = "s3cr3t-w0rd"


def serve_one(peer: Peer) -> None:
    """One packet, then silence."""
    peer.shake()
    peer.send(frame(telemetry(0)))
    peer.until_gone()


def kinds(feed):
    return [(str(kind), detail) for kind, detail in feed.events()[["kind", "detail"]].itertuples(index=False)]


def refused(live, url, **options):
    """The error of a first attempt that fails, from `wait()`, and whether there will be another."""
    pause = Pause(most=1)
    feed = live(url, pause=pause, **options)
    wait_until(lambda: feed.error)
    with pytest.raises(FeedError) as raised:
        feed.wait(timeout=0.05)
    error = raised.value
    if isinstance(error, FeedTimeout):
        assert error.__cause__ is feed.error
        assert str(feed.error) in str(error)
        wait_until(lambda: pause.asked)
        assert feed.state == ConnectionState.DISCONNECTED
        return feed, error.__cause__
    assert error.permanent
    feed.join(1)
    assert pause.asked == []
    assert feed.state == ConnectionState.DISCONNECTED
    return feed, error


# ── refusals ──


@pytest.mark.parametrize(
    ("answer", "kind", "permanent", "said", "status"),
    [
        ("401 Unauthorized", Unauthorized, True, "wants a token (401)", 401),
        ("403 Forbidden", Unauthorized, True, "no token was sent", 403),
        ("404 Not Found", ConnectFailed, True, "answered 404; check port and path", 404),
        ("200 OK", ConnectFailed, True, "is no WebSocket: it answered 200", 200),
        ("426 Upgrade Required", ConnectFailed, True, "answered 426", 426),
        ("429 Too Many Requests", ConnectFailed, False, "cannot serve now (429)", 429),
        ("503 Service Unavailable", ConnectFailed, False, "cannot serve now (503)", 503),
        ("502 Bad Gateway", ConnectFailed, False, "cannot serve now (502)", 502),
        ("101 Switching Protocols", ConnectFailed, True, "handshake is no WebSocket's", 101),
    ],
)
@pytest.mark.parametrize("body", ["none", "whole", "half", "endless"])
def test_a_refusal_is_told_by_its_status_and_retried_only_where_that_can_help(raw, live, answer, kind, permanent, said, status, body):
    def script(peer):
        length = {
            "none": [],
            "whole": ["Content-Length: 4"],
            "half": ["Content-Length: 4000"],
            "endless": ["Content-Length: 99999999999999"],
        }
        peer.answer(answer, *length[body], body={"whole": b"sure", "half": b"no"}.get(body, b""))
        with contextlib.suppress(OSError):
            while body == "endless":
                peer.send(b"x" * 65536)

    _, error = refused(live, raw(script).url)
    assert type(error) is kind
    assert error.permanent is permanent
    assert error.status == status
    assert said in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: 0", 1.0),
        ("Retry-After: soon", 1.0),
        ("Retry-After: 999999", 3600.0),
        ("Retry-After: Fri, 02 Jan 2026 10:00:20 GMT", 20.0),
        ("X-Nothing: 1", 1.0),
    ],
)
def test_a_server_that_says_when_to_come_back_is_left_alone_until_then(raw, live, header, seconds):
    pause = Pause(most=1)
    feed = live(raw(lambda peer: peer.answer("429 Slow Down", "Date: Fri, 02 Jan 2026 10:00:00 GMT", header)).url, pause=pause)
    assert wait_until(lambda: pause.asked) == [seconds]
    assert feed.health().retry_in_s == pytest.approx(seconds, abs=1)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (f"ws://user:{SECRET}@elsewhere.example/there?token={SECRET}", "ws://elsewhere.example/there"),
        ("/login", "redirects to /login"),
        ("http://[", "redirects to elsewhere"),
        ("ws://a\x1b[31mb/", "redirects to elsewhere"),
        ("", "redirects to elsewhere"),
    ],
)
def test_a_redirect_is_told_and_not_followed(raw, live, location, shown):
    server = raw(lambda peer: peer.answer("302 Found", f"Location: {location}"))
    _, error = refused(live, server.url)
    assert error.permanent
    assert shown in str(error)
    assert SECRET not in str(error)
    assert len(server.peers) == 1


def test_a_wrong_accept_key_is_no_websocket(raw, live):
    def script(peer):
        peer.read_head()
        peer.answer("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: AAAA")
        peer.until_gone()

    _, error = refused(live, raw(script).url)
    assert error.permanent
    assert "handshake is no WebSocket's" in str(error)


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9\r\n", b"\x00\x01\x02\n", b"220 smtp ready\r\n", b"HTTP/1.1 huh\r\n\r\n", b"\xff\xfe\n"]
)
def test_a_server_that_speaks_no_http_is_no_websocket(raw, live, greeting):
    def script(peer):
        peer.send(greeting)
        peer.until_gone()

    _, error = refused(live, raw(script).url)
    assert error.permanent
    assert "not as a WebSocket; check port and path" in str(error)


def test_an_endless_head_is_given_up_before_it_fills_the_memory(raw, live):
    def script(peer):
        peer.read_head()
        with contextlib.suppress(OSError):
            peer.send(b"HTTP/1.1 101 ")
            while True:
                peer.send(b"x" * 65536)

    _, error = refused(live, raw(script).url)
    assert error.permanent


def test_a_port_where_nobody_listens_is_tried_again(live):
    port = free_port()
    _, error = refused(live, f"ws://127.0.0.1:{port}")
    assert "is the server running?" in str(error)
    assert f"127.0.0.1:{port}" in str(error)


def test_a_name_that_no_host_has_is_tried_again_and_one_that_none_can_have_is_not(live):
    _, error = refused(live, "ws://ccwatch.invalid:1")
    assert "no such host" in str(error)
    _, error = refused(live, f"ws://{'a' * 70}.invalid:1")
    assert error.permanent
    assert "no host's name" in str(error)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 101 Switch"])
def test_a_server_that_leaves_in_the_handshake_is_tried_again(raw, live, reset, after):
    def script(peer):
        peer.read_head()
        peer.send(after)
        if reset:
            peer.reset()

    _, error = refused(live, raw(script).url)
    assert not error.permanent


def test_a_handshake_that_trickles_for_ever_ends_at_its_deadline(raw, monkeypatch, live):
    def script(peer):
        peer.read_head()
        for byte in b"HTTP/1.1 101 Switching Protocols\r\nX-Slow: " + b"z" * 10_000:
            peer.send(bytes([byte]))
            time.sleep(0.02)

    monkeypatch.setattr("ccwatch.feed.connection.connect.__kwdefaults__", {"tls": None, "timeout_s": 0.3})
    before = time.monotonic()
    _, error = refused(live, raw(script).url)
    assert "did not answer in time" in str(error)
    assert time.monotonic() - before < 3


# ── ends ──


@pytest.mark.parametrize("reset", [True, False])
def test_a_connection_that_breaks_in_mid_frame_is_an_event_and_what_came_before_is_kept(raw, live, reset):
    arrived = threading.Event()

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)) + frame(telemetry(1)) + frame(b"", length=5000) + b"x" * 10)
        if reset:
            arrived.wait(5)
            peer.reset()

    pause = Pause(most=1)
    server = raw(script)
    feed = live(server.url, pause=pause).wait(2)
    arrived.set()
    wait_until(lambda: pause.asked)
    assert len(feed.frame()) == 2
    (_, connect), (kind, detail) = kinds(feed)
    assert connect.startswith("connection=1 url=ws://127.0.0.1")
    assert kind == "disconnect"
    assert detail.startswith("connection=1 reason=")
    with pytest.raises(FeedTimeout) as raised:
        feed.wait(3, timeout=0.01)
    assert isinstance(raised.value.__cause__, ConnectFailed)


def test_a_closing_frame_is_told_with_its_code_and_reason(raw, live):
    def script(peer):
        peer.shake()
        peer.send(
            frame(telemetry(0))
            + frame((4001).to_bytes(2, "big") + "späte\x1b[31m Stunde token=s3cr3t".encode(), CLOSE)
            + frame(telemetry(1))
        )
        peer.until_gone()

    feed = live(raw(script).url, pause=Pause(most=1))
    feed.wait()
    wait_until(lambda: len(feed.events()) == 2)
    assert (
        kinds(feed)[1][1]
        == "connection=1 reason=the server closed the stream, code 4001 'späte\N{REPLACEMENT CHARACTER}[31m Stunde token=…'"
    )
    assert len(feed.frame()) == 1  # nothing counts after a closing frame
    assert "code 4001" in feed.health().error


@pytest.mark.parametrize("payload", [b"", b"\x03"])
def test_a_closing_frame_without_a_code_is_told_too(raw, live, payload):
    feed = live(raw(lambda peer: peer.shake().send(frame(payload, CLOSE))).url, pause=Pause(most=1))
    wait_until(lambda: len(feed.events()) == 2)
    assert kinds(feed)[1][1] == "connection=1 reason=the server closed the stream"


@pytest.mark.slow
def test_packets_that_came_with_pings_and_the_end_are_not_lost(raw, live):
    def script(peer):
        peer.shake()
        peer.send(b"".join(frame(b"?", PING) + frame(telemetry(n)) for n in range(2000)))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.until_gone()

    pause = Pause(most=1)
    feed = live(raw(script).url, pause=pause)
    wait_until(lambda: pause.asked)
    assert len(feed.frame()) == 2000


def test_a_write_that_fails_does_not_end_the_reading_of_what_came_before(raw):
    sent = threading.Event()

    def script(peer):
        peer.shake()
        peer.send(b"".join(frame(telemetry(n)) for n in range(200)))
        sent.set()
        peer.until_gone()

    with (
        contextlib.closing(Waker()) as waker,
        connect(parse_url(raw(script).url), token=None, waker=waker, max_message_bytes=10_000) as connection,
    ):
        assert sent.wait(5)
        wait_until(lambda: select.select([connection._sock], [], [], 0)[0])
        connection._sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            connection.send(b"nobody takes this")
        received = 0
        with pytest.raises(ConnectionLost):  # noqa: PT012 - the loop is what raises, at its end
            while received <= 200:
                received += len(connection.receive(5))
        assert received == 200


@pytest.mark.parametrize(
    ("data", "kind", "said", "code"),
    [
        (frame(b"x", length=2**40), "oversize", "bytes=1099511627776 limit=1000 raise max_message_bytes", 1009),
        (frame(b"x" * 600, fin=False) + frame(b"x" * 600, opcode=0, fin=False), "oversize", "bytes=1200 limit=1000", 1009),
        (frame(b"{}", masked=True), "disconnect", "a server's frame is masked", 1002),
        (frame(b"{}", rsv=4), "disconnect", "reserved bits are set", 1002),
    ],
)
def test_what_no_server_may_send_ends_the_connection_with_the_code_that_says_so(raw, live, data, kind, said, code):
    said_goodbye = []

    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)) + data)
        said_goodbye.extend(peer.frames())

    pause = Pause(most=1)
    server = raw(script)
    feed = live(server.url, max_message_bytes=1000, pause=pause)
    feed.wait()
    wait_until(lambda: pause.asked)
    assert any(name == kind and said in detail for name, detail in kinds(feed)), kinds(feed)
    assert feed.health().oversize == (kind == "oversize")
    wait_until(lambda: said_goodbye)
    assert said_goodbye == [(CLOSE, code.to_bytes(2, "big"))]


def test_bytes_that_are_no_packet_are_events_and_the_stream_goes_on(raw, live):
    def script(peer):
        peer.shake()
        for junk in (b"\xff\xfe not utf-8", b"[1,2]", b"{", b'{"type":"TELEMETRY","data":5}', b"", b'"' + b"x" * 100_000 + b'"'):
            peer.send(frame(junk))
            peer.send(frame(junk, BINARY))
        peer.send(frame(telemetry(0)))
        peer.until_gone()

    feed = live(raw(script).url)
    feed.wait()
    health = feed.health()
    assert health.malformed == 12
    assert health.state == "OPEN"
    assert health.reconnects == 0


def test_a_binary_message_is_read_like_a_text(raw, live):
    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(7), BINARY))
        peer.until_gone()

    assert live(raw(script).url).wait().latest.price == 107.0


@pytest.mark.slow
def test_a_flood_of_20000_packets_arrives_whole_and_in_order(live):
    count = 20_000

    def handler(connection):
        for n in range(count):
            connection.send(telemetry(n).decode())
        with contextlib.suppress(Exception):
            connection.recv()

    with foreign(handler) as server:
        feed = live(server.url)
        feed.wait(count, timeout=40)
        prices = feed.frame(clean=False)["price"]
        assert (prices.to_numpy() == [100.0 + n for n in range(count)]).all()
        assert feed.health().dropped == 0
        feed.stop()


def test_a_server_that_is_killed_and_comes_back_is_found_again_and_the_delays_double_until_then(live):
    sent = []

    def handler(connection):
        for _ in range(3):
            sent.append(None)
            connection.send(telemetry(len(sent)).decode())
        with contextlib.suppress(Exception):
            connection.recv()

    pause, port = Pause(), free_port()
    with foreign(handler, port=port) as server:
        feed = live(server.url, pause=pause)
        feed.wait(3)
    wait_until(lambda: len(pause.asked) >= 9)
    assert pause.asked[:9] == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    with foreign(handler, port=port):
        feed.wait(6)
        assert feed.state == ConnectionState.OPEN
        assert feed.error is None
        asked = len(pause.asked)
    wait_until(lambda: len(pause.asked) >= asked + 2)
    assert pause.asked[asked : asked + 2] == [1, 2]  # it had delivered, so it begins anew
    health = feed.health()
    assert (health.packets, health.reconnects) == (6, 1)
    assert [kind for kind, _ in kinds(feed)] == ["connect", "disconnect", "connect", "disconnect"]


def test_a_connection_that_delivered_nothing_does_not_reset_the_delays(raw, live):
    pause = Pause(most=4)
    live(raw(Peer.shake).url, pause=pause)
    wait_until(lambda: len(pause.asked) == 4)
    assert pause.asked == [1, 2, 4, 8]


# ── what the request says ──


def test_the_request_is_plain_and_names_no_origin(raw, live):
    server = raw(serve_one)
    live(server.url + "/ws/stream").wait()
    head = server.peers[0].head.decode()
    assert head.startswith("GET /ws/stream HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert "Sec-WebSocket-Version: 13\r\n" in head
    assert "User-Agent: ccwatch\r\n" in head
    for unwanted in ("Origin", "Cookie", "Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        assert unwanted not in head


def test_userinfo_is_sent_as_basic_authorization_and_the_path_is_encoded(raw, live):
    server = raw(serve_one)
    live(f"ws://us%40er:pa%3Ass@127.0.0.1:{server.port}/a b/ü?x=1&y=%20 z").wait()
    head = server.peers[0].head.decode()
    assert head.startswith("GET /a%20b/%C3%BC?x=1&y=%20%20z HTTP/1.1\r\n")
    assert "Authorization: Basic dXNAZXI6cGE6c3M=\r\n" in head


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"])
def test_no_proxy_of_the_environment_is_used(raw, live, monkeypatch, variable):
    proxy = raw(lambda peer: peer.answer("200 Connection established"))
    for scheme in ("http", "socks5"):
        monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{proxy.port}")
        live(raw(serve_one).url).wait()
    assert proxy.peers == []


@pytest.mark.parametrize(("first", "second", "host"), [("::1", "127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::1", "::1")])
def test_localhost_is_found_on_whichever_of_its_addresses_the_server_listens(raw, live, monkeypatch, first, second, host):
    server = raw(serve_one, host=host)
    real = socket.getaddrinfo

    def both(name, port, *args, **options):
        assert name == "localhost"
        return [found for address in (first, second) for found in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    live(f"ws://localhost:{server.port}").wait()


def test_an_ipv6_address_in_brackets_is_reached_and_named_in_brackets(raw, live):
    server = raw(serve_one, host="::1")
    live(server.url).wait()
    assert f"Host: [::1]:{server.port}\r\n" in server.peers[0].head.decode()


# ── stop ──


def stuck_handshake(peer):
    peer.read_head()
    peer.until_gone()


def silent(peer):
    peer.shake()
    peer.until_gone()


def flooding(peer):
    peer.shake()
    data = b"".join(frame(telemetry(n)) for n in range(100))
    while True:
        peer.send(data)


@pytest.mark.parametrize("script", [stuck_handshake, silent, flooding, serve_one])
@pytest.mark.parametrize("settled", [False, True])
def test_stop_comes_back_within_a_second_whatever_the_server_does(raw, script, settled):
    server = raw(script)
    feed = feed_for(server.url).start()
    if settled:
        wait_until(lambda: server.peers and server.peers[0].head.endswith(b"\r\n\r\n"))
        if script is not stuck_handshake:
            wait_until(lambda: feed.state != ConnectionState.CONNECTING)
    assert timed_stop(feed) < 4.0
    assert feed.join(0)
    assert feed.state == ConnectionState.STOPPED
    assert timed_stop(feed) < 4.0
    with pytest.raises(FeedClosed):
        feed.wait(10**9)


@pytest.mark.parametrize("settled", [False, True])
def test_stop_comes_back_within_a_second_while_nobody_accepts(settled):
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        for _ in range(4):  # until its backlog is full, and a further one hangs in connect()
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(place)
        feed = feed_for(f"ws://127.0.0.1:{place[1]}").start()
        if settled:
            assert not feed.join(0.3)
            assert feed.state == ConnectionState.CONNECTING
        assert timed_stop(feed) < 4.0
        assert feed.join(0)


def test_stop_comes_back_within_a_second_between_two_attempts():
    feed = feed_for(f"ws://127.0.0.1:{free_port()}").start()
    wait_until(lambda: feed.state == ConnectionState.DISCONNECTED)
    assert timed_stop(feed) < 4.0
    assert feed.join(0)
    with pytest.raises(FeedClosed) as raised:
        feed.wait(timeout=0)
    assert "is the server running?" in str(raised.value.__cause__)


def test_stop_comes_back_within_a_second_while_a_name_is_looked_up(monkeypatch):
    looking, found = threading.Event(), threading.Event()

    def slow(*_args, **_options):
        looking.set()
        found.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    feed = feed_for("ws://somewhere.example").start()
    try:
        assert looking.wait(2)
        heard = []

        def wait():
            with pytest.raises(FeedClosed) as raised:
                feed.wait(timeout=30)
            heard.append(raised.value)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert timed_stop(feed) < 4.0
        waiting.join(10)
        assert len(heard) == 1
        with pytest.raises(FeedClosed):
            feed.wait(timeout=30)
    finally:
        found.set()
    assert feed.join(1)
    assert feed.state == ConnectionState.STOPPED


def test_a_server_gets_a_goodbye_when_the_feed_stops(raw):
    said = []

    def script(peer):
        serve_said = peer.shake()
        peer.send(frame(telemetry(0)))
        said.extend(serve_said.frames())

    feed = feed_for(raw(script).url).start()
    feed.wait()
    feed.stop()
    wait_until(lambda: said)
    assert said == [(CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize(
    ("token", "selected", "is_offered"),
    [
        (None, "token", False),
        (None, "graphql-ws", False),
        ("aaa.SECRET.zzz", "token", True),
        ("aaa.SECRET.zzz", "aaa.SECRET.zzz", True),
        ("aaa.SECRET.zzz", "token, aaa.SECRET.zzz", True),
        ("aaa.SECRET.zzz", "graphql-ws", False),
        ("aaa.SECRET.zzz", "token, other", False),
    ],
)
def test_a_handshake_that_selects_a_subprotocol_that_was_not_offered_fails_the_connection(raw, token, selected, is_offered):
    server = raw(lambda peer: peer.shake(f"Sec-WebSocket-Protocol: {selected}").until_gone())
    address, waker = parse_url(server.url), Waker()
    with contextlib.closing(waker):
        if is_offered:
            connect(address, token=token, waker=waker, max_message_bytes=1000).close()
            return
        with pytest.raises(ConnectFailed, match="was not offered") as failed:
            connect(address, token=token, waker=waker, max_message_bytes=1000)
    assert failed.value.permanent
    assert "SECRET" not in str(failed.value)
