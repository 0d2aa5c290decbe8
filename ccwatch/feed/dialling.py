"""Dialling: a TCP connection to the first of a host's addresses that answers, raced as in RFC 8305 ("happy eyeballs").

The addresses are tried one after the other, but the next one after 250 ms already, without giving the ones before up. So a dead
address costs a moment, and localhost may be ::1, 127.0.0.1 or both. The one that answered last time comes first.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import socket
import time
from typing import Any, Final, Protocol

STAGGER_S: Final = 0.25
"""Connection Attempt Delay, RFC 8305, section 5."""
MOST_ADDRESSES: Final = 16
"""Of a name that has more, the rest are not tried."""
_Place = tuple[int, int, int, Any]
"""Family, kind, protocol and address of one way to a host."""


class Wakes(Protocol):
    """Something that a selector can wait for."""

    def fileno(self) -> int:
        """Return its file descriptor."""


class GivenUp(Exception):
    """Woken while connecting: the connection is not wanted any more."""


class NameLost(OSError):
    """A name that resolved before does not resolve now."""


class Dialler:
    """Dials one host, again and again. Used by one thread at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._last_good: Any = None
        self._resolved = False

    def dial(self, waker: Wakes, timeout_s: float) -> socket.socket:
        """Return a non-blocking socket that is connected.

        Args:
            waker: readable when the connection is not wanted any more.
            timeout_s: for all of it, but the look-up of the name.

        Raises:
            NameLost: the name does not resolve, and it did before.
            OSError: no address answered; the last one's error. socket.gaierror: the name does not resolve.
            TimeoutError: not in time.
            GivenUp: woken.
        """
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if self._resolved:
                raise NameLost(error.errno, error.strerror) from None
            raise
        self._resolved = True
        places = self._order([(family, kind, protocol, place) for family, kind, protocol, _, place in found])
        sock, place = _race(places[:MOST_ADDRESSES], waker, time.monotonic() + timeout_s)
        self._last_good = place
        return sock

    def _order(self, places: list[_Place]) -> list[_Place]:
        """Return addresses with families alternating, in the system's order (RFC 8305, section 4), the last good address first."""
        families = dict.fromkeys(place[0] for place in places)
        turns = [[place for place in places if place[0] == family] for family in families]
        mixed = [place for turn in itertools.zip_longest(*turns) for place in turn if place is not None]
        return sorted(mixed, key=lambda place: place[3] != self._last_good)


def _race(places: list[_Place], waker: Wakes, deadline: float) -> tuple[socket.socket, Any]:
    """Return the first of these ways that leads to a connection, and where it leads."""
    waiting = list(places)
    racing: list[socket.socket] = []
    failure: OSError = OSError("the host has no address")
    next_at = time.monotonic()
    selector = selectors.DefaultSelector()
    selector.register(waker, selectors.EVENT_READ)
    try:
        while waiting or racing:
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError
            if waiting and (now >= next_at or not racing):
                place = waiting.pop(0)
                next_at = now + STAGGER_S
                try:
                    sock = _begin(place)
                except OSError as error:
                    failure = error
                    continue
                racing.append(sock)
                selector.register(sock, selectors.EVENT_WRITE, (sock, place[3]))
            for key, _ in selector.select(max(0.0, (min(next_at, deadline) if waiting else deadline) - time.monotonic())):
                if key.data is None:
                    raise GivenUp
                sock, where = key.data
                selector.unregister(sock)
                racing.remove(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return sock, where
                sock.close()
                failure = OSError(code, os.strerror(code))
        raise failure
    finally:
        selector.close()
        for loser in racing:
            loser.close()


def _begin(place: _Place) -> socket.socket:
    """Return a socket that is connecting."""
    family, kind, protocol, where = place
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock
