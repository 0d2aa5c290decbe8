"""Feeds over real sockets. Every feed of a test is stopped at its end, and each of those stops must take less than a second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from ccwatch.feed.connection import parse_url
from ccwatch.feed.feed import Feed
from ccwatch.feed.live import LiveSource
from ccwatch.protocol.messages import Instant
from ccwatch.stream.source import Stop, read_clock
from tests.feed.servers import RawServer


def wait_until(condition, seconds: float = 20.0, why: object = "it never happened"):
    """Polls until a condition holds, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, why() if callable(why) else why
        time.sleep(0.005)
    return found


class Clock:
    """Both real clocks, moved ahead by hand."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> Instant:
        wall, mono = read_clock()
        return Instant(wall + self.ahead_ns, mono + self.ahead_ns)

    def advance(self, seconds: float) -> None:
        self.ahead_ns += round(seconds * 1e9)


class Pause:
    """Waits next to nothing between two attempts, and remembers what it was asked for."""

    def __init__(self, most: int | None = None) -> None:
        self.asked: list[float] = []
        self._most = most

    def __call__(self, stop: Stop, seconds: float) -> bool:
        self.asked.append(seconds)
        if self._most is not None and len(self.asked) >= self._most:
            return stop.wait(60)
        return stop.wait(0.002)


def feed_for(url: str, *, name: str = "test", window: str = "8h", max_rows: int = 1_000_000, **options) -> Feed:
    """A feed of a url, not started."""
    token = options.get("token")
    if isinstance(token, str):
        options["token"] = lambda: token
    address = parse_url(url)
    return Feed(LiveSource(address, **options), name=name, url=address.shown, window=window, max_rows=max_rows)


def timed_stop(feed: Feed) -> float:
    before = time.monotonic()
    feed.stop()
    return time.monotonic() - before


@pytest.fixture
def live():
    """Starts feeds of a url, and stops them within seconds each."""
    started: list[Feed] = []

    def start(url: str, **options) -> Feed:
        feed = feed_for(url, **options).start()
        started.append(feed)
        return feed

    yield start
    times = [timed_stop(feed) for feed in started]
    assert all(seconds < 5.0 for seconds in times), times
    assert [feed.state for feed in started if feed.state not in {"STOPPED", "ENDED"}] == []


@pytest.fixture
def raw():
    """Starts raw servers."""
    with contextlib.ExitStack() as stack:

        def start(script: Callable, **options) -> RawServer:
            server = RawServer(script, **options)
            stack.callback(server.close)
            return server

        yield start


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("ccwatch-feed", "ccwatch-callback"))]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Fails a test that leaves a thread of a feed behind."""
    yield
    wait_until(lambda: not own_threads(), why=own_threads)
