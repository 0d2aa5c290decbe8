"""The forms of one message on the wire, each made for the first client that needs it: {contract, protocol 2} × {plain, shared, alone}.

Clients that are sent the same share one deflate stream: those of the contract, and those of each kind of protocol 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ccwatch.cottage.client import NO_STEP, Client
from ccwatch.cottage.message import BINARY, COMPRESSED, TEXT, Message, framed
from ccwatch.protocol.wire import deflate
from ccwatch.protocol.wire.talk import Kind
from ccwatch.protocol.wire.track import Sent

MOST_SHARED: Final = 8
"""The most shared deflate streams; clients of further kinds are sent each message compressed alone."""


class Forms:
    """One message of the contract in the forms in which clients take it compressed."""

    def __init__(self, message: Message, shared: deflate.SharedStream) -> None:
        self._message = message
        self._alone: bytes | None = None
        self._shared: bytes | None = None
        self._begins = False
        self._number = NO_STEP
        if message.is_main:  # the shared stream is of what every client of the main stream is sent, and of nothing else
            made, self._begins, self._number = shared.next(message.payload)
            self._shared = message.compressed(made)

    def frame_for(self, client: Client) -> bytes:
        """Return the frame for a client that takes compressed messages and has taken all that it was sent."""
        keeps_window = client.agreement is not None and client.agreement.keeps_window
        if self._shared is not None and keeps_window and client.symbol is None and (self._begins or client.step == self._number - 1):
            client.step = self._number
            return self._shared
        client.step = NO_STEP  # what is compressed alone moves the window that the shared stream refers to
        if self._alone is None:
            self._alone = self._message.compressed(deflate.alone(self._message.payload))
        return self._alone


class SharedStreams:
    """The shared deflate streams of protocol 2, one for each kind of client. Used on the loop's thread only."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str | None, Kind], deflate.SharedStream] = {}

    def stream(self, symbol: str | None, kind: Kind) -> deflate.SharedStream | None:
        """Return the stream of a kind of clients; None where there are too many kinds."""
        found = self._streams.get((symbol, kind))
        if found is None and len(self._streams) < MOST_SHARED:
            found = self._streams[symbol, kind] = deflate.SharedStream()
        return found

    def keep(self, kinds: Iterable[tuple[str | None, Kind]]) -> None:
        """Forget the streams of kinds that no client has any more."""
        wanted = set(kinds)
        self._streams = {key: stream for key, stream in self._streams.items() if key in wanted}

    def reset(self) -> None:
        """Begin every stream anew with the next message."""
        for stream in self._streams.values():
            stream.reset()


class TalkForms:
    """One message of protocol 2 in the forms in which clients take it."""

    def __init__(self, shared: SharedStreams) -> None:
        self._streams = shared
        self._plain: dict[bytes, bytes] = {}  # by payload, which clients of one form have in common
        self._alone: dict[bytes, bytes] = {}
        self._shared: dict[tuple[str | None, Kind, Sent], tuple[bytes, bool, int]] = {}

    def frame_for(self, client: Client, sent: Sent) -> bytes:
        """Return the frame of one part of the message for a client that has taken all that it was sent."""
        talk, agreement = client.talk, client.agreement
        assert talk is not None  # noqa: S101 - the caller has looked
        is_in_step = talk.is_in_step(sent)
        payload = talk.payload(sent)
        opcode = BINARY if talk.is_binary else TEXT
        if agreement is None:
            return _once(self._plain, payload, opcode, payload)
        if is_in_step and agreement.keeps_window:
            key = (client.symbol, talk.kind, sent)
            found = self._shared.get(key)
            stream = None if found else self._streams.stream(client.symbol, talk.kind)
            if stream is not None:
                made, begins, number = stream.next(payload)
                found = self._shared[key] = framed(COMPRESSED | opcode, made), begins, number
            if found is not None and (found[1] or client.step == found[2] - 1):
                client.step = found[2]
                return found[0]
        client.step = NO_STEP
        known = self._alone.get(payload)
        return known if known is not None else _once(self._alone, payload, COMPRESSED | opcode, deflate.alone(payload))


def _once(known: dict[bytes, bytes], key: bytes, opcode: int, payload: bytes) -> bytes:
    found = known.get(key)
    if found is None:
        found = known[key] = framed(opcode, payload)
    return found
