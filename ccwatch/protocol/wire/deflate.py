"""permessage-deflate (RFC 7692): offer and agreement, decompression within a limit, and one compressor for many receivers.

A sender need not use the window that both sides keep, so one deflate stream can be shared by all clients: it restarts every
60 messages, and a client that joins between, or missed one, gets separately compressed messages until the next restart.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

NAME: Final = "permessage-deflate"
OFFER: Final = f"{NAME}; client_max_window_bits"
"""The client's offer: the server may choose its window size; the client's own window is not kept, since its messages are short."""
TAIL: Final = b"\x00\x00\xff\xff"
"""The end of a message's last block, which is not sent (section 7.2.1)."""
SHARED_BITS: Final = 13
"""Window of the shared stream, in bits: at packets of 2.4 KB 13 suffice and 12 do not."""
RESTART: Final = 60
"""Messages after which the shared stream restarts."""
LEVEL: Final = 6
_BITS: Final = range(8, 16)
_PARAMETER: Final = re.compile(r'^([a-z_]+)(?:\s*=\s*"?(\d{1,2})"?)?$')
_FLAGS: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_WINDOWS: Final = frozenset({"server_max_window_bits", "client_max_window_bits"})


class ExtensionError(ValueError):
    """A handshake agrees to an extension that was not offered, or in words that have no meaning."""


class InflateError(ValueError):
    """A message that cannot be inflated."""


class InflatedTooLarge(InflateError):
    """A message that is larger than the limit after decompression."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of a handshake for messages of the server: whether its window is kept, and how large it is."""

    keeps_window: bool
    window_bits: int

    def __str__(self) -> str:
        return f"{NAME}; window {self.window_bits} bits{'' if self.keeps_window else ', restarted for each message'}"


def agreed(header: str | None, *, offered: bool) -> Agreement | None:
    """Return the agreement in a server's answer to OFFER; None if it agrees to no extension.

    Args:
        header: Sec-WebSocket-Extensions of the answer.
        offered: whether OFFER was sent.

    Raises:
        ExtensionError: an extension that was not offered, or parameters that an answer must not have (section 7.1).
    """
    if header is None or not header.strip():
        return None
    name, parameters = _parsed(header)
    if name != NAME or not offered:
        raise ExtensionError(f"the server agrees to {name[:40]!r}, which was not offered")
    if parameters.get("client_max_window_bits", "15") is None:
        raise ExtensionError("client_max_window_bits without a value")
    bits = parameters.get("server_max_window_bits", "15")
    if bits is None:
        raise ExtensionError("server_max_window_bits without a value")
    return Agreement("server_no_context_takeover" not in parameters, int(bits))


def _parsed(header: str) -> tuple[str, Mapping[str, str | None]]:
    """Return the one extension of an answer, and its parameters."""
    if "," in header:
        raise ExtensionError("the server agrees to several extensions, and one was offered")
    name, *words = (word.strip() for word in header.split(";"))
    parameters: dict[str, str | None] = {}
    for word in words:
        found = _PARAMETER.fullmatch(word)
        key, value = (found[1], found[2]) if found is not None else (word[:40], None)
        is_known = (key in _FLAGS and value is None) or (key in _WINDOWS and (value is None or int(value) in _BITS))
        if found is None or not is_known or key in parameters:
            raise ExtensionError(f"a parameter of {NAME} that has no meaning: {word[:60]!r}")
        parameters[key] = value
    return name, parameters


class Inflater:
    """Inflates the messages of one connection, in their order, to at most `limit` bytes each. Used by one thread."""

    def __init__(self, agreement: Agreement, limit: int) -> None:
        self.agreement = agreement
        self._limit = limit
        self._stream = self._new()

    def _new(self) -> zlib._Decompress:
        return zlib.decompressobj(wbits=-self.agreement.window_bits)

    def inflate(self, payload: bytes | memoryview) -> bytes:
        """Return one message decompressed.

        Raises:
            InflatedTooLarge: it grows beyond the limit; no more than the limit was made of it.
            InflateError: it is no deflate stream.
        """
        stream = self._stream
        data = b"".join((payload, TAIL))
        try:
            found = stream.decompress(data, self._limit + 1)
            while stream.eof and stream.unused_data not in {b"", TAIL} and len(found) <= self._limit:
                # A final block ends the stream (section 7.2.3.4); what follows begins another.
                rest, stream = stream.unused_data, self._new()
                found += stream.decompress(rest, self._limit + 1 - len(found))
        except zlib.error as error:
            raise InflateError(f"a message that cannot be inflated ({str(error)[:80]})") from None
        if len(found) > self._limit:
            raise InflatedTooLarge(f"a message of more than {self._limit} bytes once inflated")
        self._stream = stream if self.agreement.keeps_window and not stream.eof else self._new()
        return found


def alone(payload: bytes, bits: int = SHARED_BITS) -> bytes:
    """Return a message compressed by itself, which a receiver can read regardless of earlier messages."""
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -bits)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


class Shared(NamedTuple):
    """A message of the shared stream."""

    payload: bytes
    begins: bool
    """Whether the stream restarts with it, so that any receiver can join."""
    number: int
    """Its number in the stream, from 1: a receiver that has the one before can go on with this one."""


class SharedStream:
    """One deflate stream for all receivers. Used by one thread."""

    def __init__(self, *, bits: int = SHARED_BITS, restart: int = RESTART) -> None:
        self.bits = bits
        self._restart = restart
        self._left = 0
        self._number = 0
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -bits)

    def next(self, payload: bytes) -> Shared:
        """Return the next message of the stream, restarting the stream if that is due."""
        begins = self._left == 0
        if begins:
            self._left = self._restart
            self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -self.bits)
        self._left -= 1
        self._number += 1
        made = self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return Shared(made.removesuffix(TAIL), begins, self._number)

    def reset(self) -> None:
        """Restart with the next message: the receivers of the earlier ones are gone."""
        self._left = 0
