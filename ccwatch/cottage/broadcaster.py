"""Sending one message to many clients, encoded once, with a policy for slow clients. It knows no HTTP, and no thread but its loop's."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

from ccwatch.protocol.wire import deflate

log = logging.getLogger("ccwatch.cottage")

HISTORY: Final = 10
"""Count of states that a deployed engine replays to each new client."""
TEXT, BINARY = 0x1, 0x2
COMPRESSED: Final = 0x40
"""The bit RSV1 of a frame, which says that a message is compressed."""
NO_STEP: Final = -2
"""The step of a client that can only join where the shared stream begins."""
LOOK_S: Final = 0.05
"""Seconds between two looks at a client that does not read."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, ready to be written to every client."""

    payload: bytes
    frame: bytes
    """The payload as one unmasked frame of RFC 6455."""
    is_state: bool
    """Whether it is a whole state that can be shown again; malformed and partial messages only pass through."""
    symbol: str | None = None
    """The symbol that it is about; None where it names none."""
    is_main: bool = True
    """Whether it is also for clients without a subscription to a symbol."""

    def compressed(self, payload: bytes) -> bytes:
        """Return a frame that carries the message deflated (RFC 7692, section 6)."""
        return _frame(COMPRESSED | self.frame[0] & 0x0F, payload)

    @classmethod
    def of(cls, payload: bytes, *, is_state: bool = True, symbol: str | None = None, is_main: bool = True) -> Message:
        """Return the message with this payload: as text, or as binary if it is no UTF-8, which would end the connection."""
        opcode = TEXT if is_state or _is_utf8(payload) else BINARY
        return cls(payload, _frame(opcode, payload), is_state, symbol, is_main)


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return a final, unmasked frame (RFC 6455, section 5.2)."""
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SlowPolicy:
    """The policy for a client that does not read: first it skips to the newest message, then it is dropped."""

    skip_above_bytes: int = 256 * 1024
    drop_above_bytes: int = 1024 * 1024
    drop_after_s: float = 10.0


@dataclass(slots=True)
class Tally:
    """The counters of a broadcaster so far, over all its clients."""

    sent: int = 0
    skipped: int = 0
    dropped: int = 0
    failed: int = 0
    """Count of messages that could not be sent: the client was gone, or was dropped while they waited."""
    messages: int = 0
    """Count of messages published, whatever the count of clients."""
    message_bytes: int = 0
    lag_s: float = 0.0
    """Seconds that the last message took from the source to the last client's socket."""
    lag_max_s: float = 0.0


class Client:
    """One connected client's outgoing side. Used on the loop's thread only."""

    # There may be thousands, and each is sent to at each message: without a dict they are smaller and quicker.
    __slots__ = (
        "_look",
        "_loop",
        "_most",
        "_newest",
        "_policy",
        "_tally",
        "agreement",
        "stalled_at",
        "step",
        "symbol",
        "transport"
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, policy: SlowPolicy, tally: Tally, agreement: deflate.Agreement | None = None) -> None:
        self.transport = transport
        self.agreement = agreement  # how it takes compressed messages; None where it does not
        self.step = NO_STEP  # the number of the last message that it had of the shared stream, if it can go on from there
        self._most = policy.skip_above_bytes
        self._policy = policy
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._newest: Message | None = None  # what it gets next, once it has read
        self._look: asyncio.TimerHandle | None = None
        self.stalled_at: float | None = None  # since when it has had to read before it is sent more
        self.symbol: str | None = None  # what it has subscribed to; None is the main stream

    @property
    def waiting_bytes(self) -> int:
        """Return the bytes that it was sent and the system has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def is_full(self) -> bool:
        """Return whether it must read before it is sent more."""
        return self.transport.get_write_buffer_size() > self._most

    def send(self, message: Message) -> None:
        """Write the message, or keep it as the newest until the client has read; either way it is sent uncompressed."""
        transport = self.transport
        if transport.is_closing():
            self._tally.failed += 1
            return
        if self._newest is not None:
            self._tally.skipped += 1
            self._newest = None
        if transport.get_write_buffer_size() > self._most:
            self._newest = message
            self.watch()
        else:
            self.stalled_at = None
            self._tally.sent += 1
            transport.write(message.frame)

    def watch(self) -> None:
        """Watch a full client: send the newest message once it has read, or drop it if it does not."""
        if self.stalled_at is None:
            self.stalled_at = self._loop.time()
        if self._look is None:
            self._look = self._loop.call_later(LOOK_S, self._look_again)

    def abort(self) -> None:
        """Cut the connection; waiting messages are lost."""
        if self._look is not None:
            self._look.cancel()
        self.transport.abort()

    def _look_again(self) -> None:
        self._look = None
        if self.transport.is_closing():
            return
        if not self.is_full:
            if self._newest is not None:
                self._write(self._newest)
            return
        stalled_s = self._loop.time() - (self.stalled_at or self._loop.time())
        waiting = self.waiting_bytes
        if waiting > self._policy.drop_above_bytes or stalled_s >= self._policy.drop_after_s:
            self._tally.dropped += 1
            self._tally.failed += self._newest is not None
            log.warning("A client is dropped: it has not read for %.1f s and has %d bytes waiting", stalled_s, waiting)
            self.abort()
        else:
            self.watch()

    def _write(self, message: Message) -> None:
        self._newest = self.stalled_at = None
        self._tally.sent += 1
        self.transport.write(message.frame)


class _Forms:
    """One message in the forms in which clients take it, each made for the first client that needs it."""

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


class StateBroadcaster:
    """Sends each message to all its clients, and keeps the last states for clients that come later."""

    def __init__(self, policy: SlowPolicy | None = None) -> None:
        self.history: deque[Message] = deque(maxlen=HISTORY)
        self.tally = Tally()
        self._policy = policy or SlowPolicy()
        self._clients: set[Client] = set()
        self._shared = deflate.SharedStream()
        self._compressing = 0  # clients that take compressed messages

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def latest(self) -> Message | None:
        """Return the last state; None before the first one."""
        return self.history[-1] if self.history else None

    @property
    def symbols(self) -> frozenset[str]:
        """Return the symbols that its clients have subscribed to."""
        return frozenset(client.symbol for client in self._clients if client.symbol is not None)

    @property
    def waiting_bytes(self) -> int:
        """Return the bytes that all clients were sent and the system has not taken yet."""
        return sum(client.waiting_bytes for client in self._clients)

    def client(self, transport: asyncio.Transport, agreement: deflate.Agreement | None = None) -> Client:
        """Return a client for this transport, not subscribed yet; `agreement` is how it takes compressed messages."""
        is_usable = agreement is not None and agreement.window_bits >= self._shared.bits
        return Client(transport, self._policy, self.tally, agreement if is_usable else None)

    def subscribe(self, client: Client) -> None:
        """Send the client every message from now on."""
        self._clients.add(client)
        self._compressing = sum(one.agreement is not None for one in self._clients)

    def unsubscribe(self, client: Client) -> None:
        """Send the client no more messages."""
        self._clients.discard(client)
        self._compressing = sum(one.agreement is not None for one in self._clients)
        if not self._compressing:
            self._shared.reset()

    def publish(self, message: Message) -> None:
        """Send a message to all clients that want it, without waiting for any."""
        self.tally.messages += 1
        self.tally.message_bytes += len(message.payload)
        if message.is_state and message.is_main:
            self.history.append(message)
        frame, sent = message.frame, 0
        forms = _Forms(message, self._shared) if self._compressing else None
        for client in tuple(self._clients):
            wanted = client.symbol
            if not (message.is_main if wanted is None else message.symbol in {None, wanted}):
                continue
            transport = client.transport
            # Most have taken what they were sent: theirs is the short way, for they are hundreds.
            if client.stalled_at is None and not transport.get_write_buffer_size() and not transport.is_closing():
                transport.write(frame if forms is None or client.agreement is None else forms.frame_for(client))
                sent += 1
            else:
                client.send(message)
        self.tally.sent += sent

    async def room(self) -> None:
        """Wait until no client is full, so that none skips the next message; a client that never reads is dropped."""
        while full := [client for client in self._clients if client.is_full]:
            for client in full:
                client.watch()
            await asyncio.sleep(0.002)
