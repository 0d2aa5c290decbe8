"""The forms of one message on the wire, each made for the first client that needs it: {contract, protocol 2} × {plain, shared, alone}.

Clients that are sent the same share one deflate stream: those of the contract, and those of each kind of protocol 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ccwatch.cottage.client import NO_STEP, Client
from ccwatch.cottage.message import BINARY, COMPRESSED, TEXT, Message, framed
from ccwatch.protocol.wire import deflate
from ccwatch.protocol.wire.channel_sender import Sent
from ccwatch.protocol.wire.client_state import Kind

WINDOW_BITS: Final = 15
"""The window of protocol 2's streams: deltas are small, so that a larger one reaches further back and saves a twentieth."""
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


class Lane:
    """The clients of protocol 2 that are sent the same bytes, and their shared deflate stream. Used on the loop's thread only."""

    def __init__(self, kind: Kind, stream: deflate.SharedStream | None) -> None:
        self.stream = stream  # None where there are too many
        self._kind = kind
        self._opcode = BINARY if kind.encoding == "msgpack" else TEXT
        self._sent: Sent | None = None  # the message whose frames these are
        self._payload = self._plain = self._alone = self._shared = b""
        self._begins, self._number = False, NO_STEP

    def frame_for(self, client: Client, sent: Sent) -> bytes:
        """Return the frame of a message for a client that has taken all that it was sent."""
        talk, agreement = client.talk, client.agreement
        assert talk is not None  # noqa: S101 - a client of a lane has one
        if not talk.advance(sent):
            client.step = NO_STEP
            payload = talk.whole(sent)
            return framed(self._opcode, payload) if agreement is None else framed(COMPRESSED | self._opcode, deflate.alone(payload))
        if self._sent is not sent:
            self._sent, self._plain, self._alone, self._shared = sent, b"", b"", b""
            self._payload = sent.payload(self._kind.encoding, as_delta=self._kind.delta)
        if agreement is None:
            self._plain = self._plain or framed(self._opcode, self._payload)
            return self._plain
        if self.stream is not None and agreement.keeps_window and agreement.window_bits >= WINDOW_BITS:
            if not self._shared:
                made, self._begins, self._number = self.stream.next(self._payload)
                self._shared = framed(COMPRESSED | self._opcode, made)
            if self._begins or client.step == self._number - 1:
                client.step = self._number
                return self._shared
        client.step = NO_STEP
        self._alone = self._alone or framed(COMPRESSED | self._opcode, deflate.alone(self._payload))
        return self._alone


class Lanes:
    """The lanes of a broadcaster's clients, by symbol and kind. Used on the loop's thread only."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str | None, Kind], Lane] = {}

    def group(self, clients: Iterable[Client]) -> None:
        """Assign each client of protocol 2 to its lane, and drop lanes without clients."""
        wanted: dict[tuple[str | None, Kind], Lane] = {}
        for client in clients:
            if client.talk is not None:
                key = (client.symbol, client.talk.kind)
                if key not in wanted:
                    stream = deflate.SharedStream(bits=WINDOW_BITS) if len(wanted) < MOST_SHARED else None
                    wanted[key] = self._lanes.get(key) or Lane(client.talk.kind, stream)
                if client.lane is not wanted[key]:
                    client.lane, client.step = wanted[key], NO_STEP
        self._lanes = wanted
