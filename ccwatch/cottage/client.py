"""One connected client's outgoing side, with a policy for slow clients. It knows no HTTP, and no thread but its loop's."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ccwatch.cottage.message import BINARY, TEXT, Message, framed
from ccwatch.protocol.wire import deflate
from ccwatch.protocol.wire.channel_sender import RING, Sent
from ccwatch.protocol.wire.channels import Channels
from ccwatch.protocol.wire.client_state import Talk

if TYPE_CHECKING:
    from ccwatch.cottage.forms import Lane

log = logging.getLogger("ccwatch.cottage")

NO_STEP: Final = -2
"""The step of a client that can only join where the shared stream begins."""
LOOK_S: Final = 0.05
"""Seconds between two looks at a client that does not read."""
CATCH_UP_S: Final = 0.005
"""Seconds between two looks at a client that is given what it missed."""


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
        "backlog",
        "channels",
        "lane",
        "late",
        "stalled_at",
        "step",
        "symbol",
        "talk",
        "transport"
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, policy: SlowPolicy, tally: Tally, agreement: deflate.Agreement | None = None) -> None:
        self.transport = transport
        self.agreement = agreement  # how it takes compressed messages; None where it does not
        self.step = NO_STEP  # the number of the last message that it had of a shared deflate stream, if it can go on from there
        self.talk: Talk | None = None  # its protocol 2; None where it speaks protocol 1
        self.channels: Channels | None = None  # what its protocol 2 is sent of
        self.lane: Lane | None = None  # of protocol 2: the clients that are sent the same
        self.backlog: deque[Sent] | None = None  # what it missed and is sent first; None once it has all
        self.late: list[bytes] = []  # frames that a planted damage has held back until after the next message
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

    def send(self, message: Message, parts: list[Sent] | None = None) -> None:
        """Write the message, or keep it as the newest until the client has read; either way it is sent uncompressed.

        Args:
            message: the message.
            parts: what the client gets of it by protocol 2.
        """
        transport = self.transport
        if transport.is_closing():
            self._tally.failed += 1
            return
        if self._newest is not None:
            self._tally.skipped += 1
            self._newest = None
            if self.talk is not None and self.channels is not None:
                self.talk.skipped()
                parts = self.talk.behind(self.channels)
        if transport.get_write_buffer_size() > self._most:
            self._newest = message
            self.watch()
        else:
            self.stalled_at = None
            self._tally.sent += 1
            if self.talk is None:
                transport.write(message.frame)
            else:
                self._write_parts(parts or [])

    def say(self, payload: bytes) -> None:
        """Write a text beside the stream: an answer to a request of this client."""
        if not self.transport.is_closing():
            self.transport.write(framed(TEXT, payload))

    def write(self, payload: bytes) -> None:
        """Write a message of protocol 2 that only this client gets."""
        if not self.transport.is_closing():
            self.transport.write(framed(BINARY if self.talk is not None and self.talk.is_binary else TEXT, payload))

    def begin(self, talk: Talk, channels: Channels, answer: bytes, missed: list[Sent]) -> None:
        """Answer a HELLO, and speak protocol 2 after the answer: first what the client missed."""
        if self._newest is not None:  # it counts as sent
            self.transport.write(self._newest.frame)
        self.say(answer)
        self.talk, self.channels, self.step = talk, channels, NO_STEP
        self.stalled_at = self._newest = None
        if missed:
            self.backlog = deque(missed)
            self.catch_up()

    def wait_in_line(self, parts: list[Sent]) -> None:
        """Queue a message behind those that the client has not read; where the queue grows too long, the client skips to the newest."""
        backlog = self.backlog
        if backlog is None:
            return
        backlog.extend(parts)
        if len(backlog) > 2 * RING and self.talk is not None:
            self._tally.skipped += len(backlog)
            self.talk.skipped()
            self.backlog = None

    def catch_up(self) -> None:
        """Write what the client missed, as far as there is room; the rest once it has read."""
        backlog, talk = self.backlog, self.talk
        if backlog is None or talk is None or self.transport.is_closing():
            self.backlog = None
            return
        while backlog and not self.is_full:
            self._write_parts([backlog.popleft()])
        if backlog:
            self._loop.call_later(CATCH_UP_S, self.catch_up)
        else:
            self.backlog = None

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
        if self.talk is None:
            self.transport.write(message.frame)
        elif self.channels is not None:
            self._write_parts(self.talk.behind(self.channels))

    def _write_parts(self, parts: list[Sent]) -> None:
        talk = self.talk
        if talk is None:
            return
        opcode = BINARY if talk.is_binary else TEXT
        for sent in parts:
            self.transport.write(framed(opcode, talk.payload(sent)))
