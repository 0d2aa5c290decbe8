"""Detection of packets seen before: repeats on a connection, replays after a reconnect, and a server's replays at connect."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from ccwatch.domain.limits import BURST_NS, FROZEN_PACKETS
from ccwatch.domain.liveness import STREAM_NS
from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.packet_fields import AGENTS, EXTRA, FORECASTS, RAW, STATUS, TIMESTAMP
from ccwatch.protocol.messages import Flag, Instant, Item, Kind, Packet

REMEMBERED, REMEMBERED_BYTES = 64, 4 << 20
"""Packets kept to recognise a replay; deployed engines replay their last ten states."""
_REPEAT, _REPLAYED, _FROZEN, _NO_TIME = int(Flag.REPEAT), int(Flag.REPLAYED), int(Flag.FROZEN), int(Flag.NO_TIME)
_SEEN: Final = _REPEAT | _REPLAYED
_STATE: Final = slice(STATUS, TIMESTAMP)

Content = tuple[list[Any], Any]
"""A packet's content, without data about its delivery: equal for the same state of the engine."""
Stamp = int | str | None
"""A packet's own time in ns; where that could not be read, the text of its timestamp."""


def content(values: list[Any]) -> Content:
    """Return the part of a packet's fields that describes the engine."""
    return values[_STATE] + values[AGENTS : FORECASTS + 1], values[EXTRA]


class Duplicates:
    """The packets of one feed that later ones are compared with."""

    def __init__(self) -> None:
        self._last: tuple[Stamp, list[Any]] | None = None  # the packet before on this connection
        self._before: tuple[Stamp, list[Any]] | None = None  # the last one of the connections before
        self._recent: deque[tuple[Stamp, bytes]] = deque()
        self._recent_bytes = 0
        self._earlier: dict[Stamp, list[Content]] = {}  # of the connections before
        self._frozen = 0

    @property
    def is_first(self) -> bool:
        """Return whether this connection has brought no packet yet."""
        return self._last is None

    def opened(self, now: Instant, server_tz: str) -> None:
        """Begin a connection: from now on a packet that an earlier connection brought is a replay."""
        self._before, self._last = self._last or self._before, None
        self._frozen = 0
        self._earlier = {}
        for stamp, raw in self._recent:
            try:
                values = codec.draft(raw, seq=0, connection=0, now=now, server_tz=server_tz)
            except DecodeError:  # a part of a message that holds several: it is no message by itself
                continue
            self._earlier.setdefault(stamp, []).append(content(values))

    def resumed(self) -> None:
        """Continue where the connection before ended: the packets that come now were never sent before."""
        self._last, self._earlier = self._before, {}

    def judge(self, stamp: Stamp, values: list[Any]) -> int:
        """Take a packet's fields; return REPEAT, FROZEN and REPLAYED as they apply."""
        flags = 0
        last, self._last = self._last, (stamp, values)
        if last is not None and values[_STATE] == last[1][_STATE] and content(values) == content(last[1]):
            flags = _REPEAT if stamp == last[0] else _FROZEN
        if self._earlier and content(values) in self._earlier.get(stamp, ()):
            flags |= _REPLAYED
        if not flags & _SEEN:
            self._remember(stamp, values[RAW])
        return flags

    def is_now_frozen(self, flags: int) -> bool:
        """Take a packet's flags; return whether this packet is the one at which the content has been frozen for FROZEN_PACKETS packets."""
        if flags & _FROZEN:
            self._frozen += 1
            return self._frozen == FROZEN_PACKETS
        if not flags & _REPEAT:  # a poller repeats a frozen state as well
            self._frozen = 0
        return False

    def _remember(self, stamp: Stamp, raw: bytes) -> None:
        self._recent.append((stamp, raw))
        self._recent_bytes += len(raw)
        while len(self._recent) > REMEMBERED or self._recent_bytes > REMEMBERED_BYTES:
            self._recent_bytes -= len(self._recent.popleft()[1])


class ConnectBurst:
    """Holds back the newest unstamped state of the burst at connect, until the next one shows that it was replayed.

    A server that sends its last states at connect without a stamp gives no other sign that they are old. The items behind a
    held state wait with it, so that the order stays the same, for BURST_NS at most. A burst of more than REMEMBERED packets
    or of more than STREAM_NS is none: it is a fast stream.
    """

    def __init__(self) -> None:
        self._held: list[Item] = []  # the first of them is the state that may be a replay
        self._until_ns: int | None = None  # when the burst is over; None: there is none, or it is over
        self._begun_ns = 0
        self._packets = 0

    @property
    def due_ns(self) -> int | None:
        """Return the monotonic ns at which `release` is due; None while nothing is held."""
        return self._until_ns if self._held else None

    @property
    def is_on(self) -> bool:
        """Return whether the burst at connect may still go on."""
        return self._until_ns is not None

    def opened(self, now: Instant) -> None:
        """Begin a connection; its burst begins with its first packet."""
        self._held = []
        self._packets = 0
        self._until_ns = now.mono_ns + (1 << 62)

    def take(self, items: list[Item], now: Instant) -> list[Item]:
        """Take items in order; return those that are delivered now, in order."""
        if self._until_ns is None:
            return items
        free: list[Item] = self.release(now)
        for item in items:
            if isinstance(item, Packet) and not self._goes_on(now):
                free += self.flush()
            if self.is_on and isinstance(item, Packet) and _is_unstamped_state(item):
                if self._held:
                    free += [_replayed(self._held[0]), *self._held[1:]]
                self._held = [item]
            elif self._held:
                self._held.append(item)
            else:
                free.append(item)
        return free

    def _goes_on(self, now: Instant) -> bool:
        """Return whether the burst still is one with this packet, which makes it last longer."""
        if self._until_ns is None:
            return False
        self._begun_ns = self._begun_ns if self._packets else now.mono_ns
        self._packets += 1
        self._until_ns = now.mono_ns + BURST_NS
        return self._packets <= REMEMBERED and now.mono_ns - self._begun_ns <= STREAM_NS

    def release(self, now: Instant) -> list[Item]:
        """Return the held items if the burst is over, else none."""
        return self.flush() if self._until_ns is not None and now.mono_ns >= self._until_ns else []

    def flush(self) -> list[Item]:
        """End the burst; return the held items."""
        held, self._held, self._until_ns = self._held, [], None
        return held


def _is_unstamped_state(packet: Packet) -> bool:
    """Return whether a packet is an unstamped state, new and no WELCOME, which may be a replay or show that the one before was."""
    return packet.flags & (_NO_TIME | _SEEN) == _NO_TIME and packet.kind != Kind.WELCOME


def _replayed(item: Item) -> Item:
    return item._replace(flags=item.flags | _REPLAYED) if isinstance(item, Packet) else item
