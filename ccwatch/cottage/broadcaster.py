"""Sending one message to many clients, encoded once. It knows no HTTP, and no thread but its loop's."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ccwatch.cottage.client import Client, SlowPolicy, Tally
from ccwatch.cottage.forms import Forms, Lanes
from ccwatch.cottage.message import BINARY, TEXT, Message, framed
from ccwatch.protocol.wire import deflate
from ccwatch.protocol.wire.channel_sender import Sent
from ccwatch.protocol.wire.channels import Channels
from ccwatch.protocol.wire.damage import Damage, flipped

__all__ = ["HISTORY", "Client", "Message", "SlowPolicy", "StateBroadcaster", "Tally"]

HISTORY: Final = 10
"""Count of states that a deployed engine replays to each new client."""
BEAT_S: Final = 5.0
"""Seconds between two heartbeats."""


class StateBroadcaster:
    """Sends each message to all its clients, and keeps the last states for clients that come later."""

    def __init__(self, policy: SlowPolicy | None = None, *, protocol: int = 1) -> None:
        """Start without clients.

        Args:
            policy: when slow clients skip messages and are dropped.
            protocol: 2 numbers the stream, so that clients can ask for protocol 2.
        """
        self.history: deque[Message] = deque(maxlen=HISTORY)
        self.tally = Tally()
        self.channels: Channels | None = Channels(_epoch()) if protocol == 2 else None
        """The main stream by protocol 2; None where it is not offered."""
        self.caught_up_to_s: Callable[[], float] = lambda: math.inf
        """Returns the moment of the monotonic clock up to which a stream that other servers have as well was read."""
        self._policy = policy or SlowPolicy()
        self._clients: dict[Client, None] = {}  # the oldest first: those that come meanwhile delay no others
        self._shared = deflate.SharedStream()
        self._lanes = Lanes()
        self._compressing = 0  # clients that take compressed messages
        self._by_symbol: dict[str, Channels] = {}  # of the symbols that clients of protocol 2 have subscribed to
        self._is_counted = True  # whether numbers go up by one

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

    @property
    def is_counted(self) -> bool:
        """Return whether the numbers of the stream go up by one, so that they prove how many messages are missing."""
        return self._is_counted

    def client(self, transport: asyncio.Transport, agreement: deflate.Agreement | None = None) -> Client:
        """Return a client for this transport, not subscribed yet; `agreement` is how it takes compressed messages."""
        is_usable = agreement is not None and agreement.window_bits >= self._shared.bits
        return Client(transport, self._policy, self.tally, agreement if is_usable else None)

    def subscribe(self, client: Client) -> None:
        """Send the client every message from now on."""
        self._clients[client] = None
        if client.talk is None:  # the others' groups stay as they are: in a storm of thousands to look at all for each costs too much
            self._compressing += client.agreement is not None
        else:
            self.regroup()

    def unsubscribe(self, client: Client) -> None:
        """Send the client no more messages."""
        if client not in self._clients:
            return
        del self._clients[client]
        if client.talk is not None:
            self.regroup()
        elif client.agreement is not None:
            self._compressing -= 1
            if not self._compressing:
                self._shared.reset()

    def regroup(self) -> None:
        """Take note of what its clients want now, after one of them came, went or asked for something else."""
        plain = [client for client in self._clients if client.talk is None]
        self._compressing = sum(client.agreement is not None for client in plain)
        if not self._compressing:
            self._shared.reset()
        self._lanes.group(self._clients)
        wanted = {client.symbol for client in self._clients if client.talk is not None}
        self._by_symbol = {symbol: channels for symbol, channels in self._by_symbol.items() if symbol in wanted}

    def channels_of(self, symbol: str | None) -> Channels | None:
        """Return the channels of the main stream, or of one symbol, numbered from now on if they were not yet."""
        if symbol is None or self.channels is None:
            return self.channels
        if symbol not in self._by_symbol:
            self._by_symbol[symbol] = Channels(_epoch())
        return self._by_symbol[symbol]

    def publish(self, message: Message) -> None:
        """Send a message to all clients that want it, without waiting for any."""
        self.tally.messages += 1
        self.tally.message_bytes += len(message.payload)
        if message.is_state and message.is_main:
            self.history.append(message)
        parts = {} if self.channels is None else self._number(message)
        frame, sent = message.frame, 0
        forms = Forms(message, self._shared) if self._compressing and message.damage is None else None
        for client in tuple(self._clients):
            wanted = client.symbol
            if not (message.is_main if wanted is None else message.symbol in {None, wanted}):
                continue
            transport = client.transport
            # Most have taken what they were sent: theirs is the short way, for they are hundreds.
            is_ready = client.stalled_at is None and not transport.get_write_buffer_size() and not transport.is_closing()
            if client.talk is not None:
                sent += self._send_parts(client, message, client.talk.wanted(parts.get(wanted, {})), is_ready=is_ready)
            elif message.damage is not None:
                self._send_damaged(client, [(TEXT if frame[0] & 0x0F == TEXT else BINARY, message.payload)], message.damage)
            elif is_ready:
                transport.write(frame if forms is None or client.agreement is None else forms.frame_for(client))
                sent += 1
            else:
                client.send(message)
            if client.late and message.damage is None:
                transport.writelines(client.late)
                client.late = []
        self.tally.sent += sent

    def beat(self) -> None:
        """Send a heartbeat to the clients of protocol 2 that have asked for it."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        found: dict[int, Sent] = {}
        for client in tuple(self._clients):
            talk, channels, lane = client.talk, client.channels, client.lane
            if talk is None or channels is None or lane is None or "heartbeat" not in talk.kind.channels or client.backlog is not None:
                continue
            sent = found.get(id(channels)) or found.setdefault(id(channels), channels.beat(now))
            if client.stalled_at is None and not client.transport.get_write_buffer_size() and not client.transport.is_closing():
                client.transport.write(lane.frame_for(client, sent))

    async def beat_for_ever(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            self.beat()

    async def room(self) -> None:
        """Wait until no client is full, so that none skips the next message; a client that never reads is dropped."""
        while full := [client for client in self._clients if client.is_full or client.backlog is not None]:
            for client in full:
                if client.backlog is None:
                    client.watch()
            await asyncio.sleep(0.002)

    def _number(self, message: Message) -> dict[str | None, dict[str, Sent]]:
        """Number a message in each stream that it is part of: what it is on their channels, by symbol."""
        found: dict[str | None, dict[str, Sent]] = {}
        if message.number is None and not self._is_counted:
            return found  # this server's own word on a shared stream: by protocol 2 the numbers show a hole
        self._is_counted = self._is_counted and message.number is None
        if message.is_main and self.channels is not None:
            found[None] = self.channels.publish(message.payload, number=message.number)
        for symbol, channels in self._by_symbol.items():
            if message.symbol in {None, symbol}:
                found[symbol] = channels.publish(message.payload)
        return found

    def _send_parts(self, client: Client, message: Message, parts: list[Sent], *, is_ready: bool) -> int:
        """Send a client of protocol 2 its parts of a message; return how many messages were written at once."""
        talk = client.talk
        if not parts or talk is None:
            return 0
        if client.backlog is not None:
            client.wait_in_line(parts)
        elif message.damage is not None:
            opcode = BINARY if talk.is_binary else TEXT
            self._send_damaged(client, [(opcode, talk.payload(sent)) for sent in parts], message.damage)
        elif is_ready and client.lane is not None:
            for sent in parts:
                client.transport.write(client.lane.frame_for(client, sent))
            return 1
        else:
            client.send(message, parts)
        return 0

    def _send_damaged(self, client: Client, payloads: list[tuple[int, bytes]], damage: Damage) -> None:
        """Send a client a message as a planted damage leaves it: uncompressed, so that the damage is the message's alone."""
        if client.transport.is_closing() or damage.sort == "drop":
            return
        frames = [
            framed(opcode, flipped(payload, damage.place, is_text=opcode == TEXT) if damage.sort == "flip" else payload)
            for opcode, payload in payloads
        ]
        if damage.sort == "swap":
            client.late = frames
        else:
            client.transport.writelines(frames * (2 if damage.sort == "repeat" else 1))


def _epoch() -> str:
    return secrets.token_hex(4)
