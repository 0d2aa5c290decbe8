"""Dialling over real sockets: dead addresses, refused ones, both families, names that come and go."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from ccwatch.feed.connection import Waker
from ccwatch.feed.dialling import Dialler, GivenUp, NameLost
from tests.feed.conftest import wait_until
from tests.feed.servers import frame, free_port, telemetry

HOST = "cottage.test"


@pytest.fixture
def waker():
    waker = Waker()
    yield waker
    waker.close()


@contextlib.contextmanager
def listening(host="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def dead(host, port):
    """An address that answers nobody: its queue of connections is full, so that the system drops what comes."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, port))
    server.listen(0)
    fill = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((host, port))
        fill.append(sock)
    time.sleep(0.05)
    try:
        yield
    finally:
        for sock in (*fill, server):
            sock.close()


def resolves_to(monkeypatch, *hosts):
    """Makes HOST resolve to these, in this order; none is a name that is not known."""
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **more):
        if host != HOST:
            return real(host, port, *rest, **more)
        if not hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for each in hosts for found in real(each, port, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def timed(dialler, waker, timeout_s=5.0):
    began = time.monotonic()
    with dialler.dial(waker, timeout_s) as sock:
        return sock.getpeername()[0], time.monotonic() - began


def quickest(attempt, below_s):
    """Return the least time of up to four attempts, since a machine may pause during one of them."""
    took = []
    while len(took) < 4 and not (took and min(took) < below_s):
        took.append(attempt())
    return min(took)


def test_a_dead_first_address_costs_less_than_half_a_second_and_then_comes_last(monkeypatch, waker):
    def attempt():
        with listening() as port, dead("127.0.0.2", port):
            resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
            dialler = Dialler(HOST, port)
            where, took = timed(dialler, waker)
            assert where == "127.0.0.1"
            assert took > 0.2
            assert quickest(lambda: timed(dialler, waker)[1], 0.2) < 0.2, "the last good one first"
        return took

    assert quickest(attempt, 0.5) < 0.5


def test_a_last_good_address_that_died_costs_less_than_half_a_second_too(monkeypatch, waker):
    def attempt():
        with listening("127.0.0.1") as port:
            resolves_to(monkeypatch, "127.0.0.1", "127.0.0.3")
            dialler = Dialler(HOST, port)
            timed(dialler, waker)
        with listening("127.0.0.3", port), dead("127.0.0.1", port):
            where, took = timed(dialler, waker)
            assert where == "127.0.0.3"
        return took

    assert quickest(attempt, 0.5) < 0.5


def test_a_refused_address_costs_nothing(monkeypatch, waker):
    with listening("127.0.0.1") as port:
        resolves_to(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1")
        assert timed(Dialler(HOST, port), waker)[1] < 0.2


def test_families_are_tried_by_turns(monkeypatch):
    with listening("127.0.0.1") as port, dead("127.0.0.2", port):
        resolves_to(monkeypatch, "127.0.0.2", "127.0.0.2", "127.0.0.2", "::1", "127.0.0.1")
        found = Dialler(HOST, port)
        places = found._order([(*place[:3], place[4]) for place in socket.getaddrinfo(HOST, port, type=socket.SOCK_STREAM)])
        assert [place[0] for place in places][:2] == [socket.AF_INET, socket.AF_INET6]


def test_when_no_address_answers_the_last_error_is_told_in_time(monkeypatch, waker):
    port = free_port()
    resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        Dialler(HOST, port).dial(waker, 5)
    with dead("127.0.0.2", port), pytest.raises(TimeoutError):
        Dialler(HOST, port).dial(waker, 0.6)


def test_who_is_woken_gives_up_at_once(monkeypatch, waker):
    port = free_port()
    resolves_to(monkeypatch, "127.0.0.2")
    with dead("127.0.0.2", port):
        threading.Timer(0.2, waker.wake).start()
        began = time.monotonic()
        with pytest.raises(GivenUp):
            Dialler(HOST, port).dial(waker, 30)
        assert time.monotonic() - began < 10


def test_no_descriptor_is_left_behind(monkeypatch, waker):
    psutil = pytest.importorskip("psutil")
    with listening() as port, dead("127.0.0.2", port):
        resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        before = psutil.Process().num_fds()
        for _ in range(3):
            timed(Dialler(HOST, port), waker)
        assert psutil.Process().num_fds() == before


def test_a_name_that_resolved_before_and_does_not_now_is_reported_as_that(monkeypatch, waker):
    with listening() as port:
        resolves_to(monkeypatch, "127.0.0.1")
        dialler = Dialler(HOST, port)
        timed(dialler, waker)
        resolves_to(monkeypatch)
        with pytest.raises(NameLost):
            dialler.dial(waker, 5)
        with pytest.raises(socket.gaierror):
            Dialler(HOST, port).dial(waker, 5)


def test_a_feed_says_that_its_name_does_not_resolve_any_more(monkeypatch, raw, live):
    def script(peer):
        peer.shake()
        peer.send(frame(telemetry(0)))
        time.sleep(0.1)

    resolves_to(monkeypatch, "127.0.0.1")
    feed = live(raw(script).url.replace("127.0.0.1", HOST)).wait()
    resolves_to(monkeypatch)
    wait_until(lambda: feed.error is not None and "resolved before and does not now" in str(feed.error))
