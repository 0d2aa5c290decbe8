"""The search for a server's stream on other paths: deployed servers differ in it, and refuse a wrong one as if a token were missing."""

from __future__ import annotations

import ssl
import time
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from ccwatch.errors import CcwatchError
from ccwatch.feed import framing
from ccwatch.feed.address import Address, parse_url
from ccwatch.feed.connection import ConnectionLost, Waker, connect
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.server_paths import KNOWN_PATHS

SEARCH_S: Final = 7.0
"""Seconds for all paths together: long enough to hear an engine that speaks every five seconds."""
SHAKE_S: Final = 2.0


def known_places(address: Address) -> list[str]:
    """Return the urls of the known paths on a server's own host and port, except the path already tried."""
    parts = urlsplit(address.shown)
    places = [urlunsplit((parts.scheme, parts.netloc, path, "", "")) for path in KNOWN_PATHS]
    return [place for place in places if (urlsplit(place).path or "/") != (parts.path or "/")]


def find_stream(address: Address, *, waker: Waker, max_message_bytes: int, tls: ssl.SSLContext | None) -> str | None:
    """Return the known place on a server's own host and port from which a packet was read; None where there is none.

    Neither token nor password is sent. The search ends within SEARCH_S, and at once when woken.
    """
    deadline = time.monotonic() + SEARCH_S
    for place in known_places(address):
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        try:
            connection = connect(
                parse_url(place), token=None, waker=waker, max_message_bytes=max_message_bytes, tls=tls, timeout_s=min(left, SHAKE_S)
            )
        except CcwatchError:
            continue
        with connection:
            try:
                while (left := deadline - time.monotonic()) > 0:
                    messages = connection.receive(left)
                    if any(_is_packet(payload) for opcode, payload in messages if opcode in {framing.TEXT, framing.BINARY}):
                        return place
                    if not messages:
                        return None  # woken, or out of time
            except (ConnectionLost, framing.FramingError):
                continue
    return None


def _is_packet(payload: memoryview | bytes) -> bool:
    try:
        codec.decode(payload)
    except CcwatchError:
        return False
    return True
