"""One feed's conversation with its server, without socket, thread or clock: bytes and time in, items and duties out.

The shell around it (`feed.connection`, or a seeded or replaying source) says what happened and when; the session says what
that means: packets with their flags, events, the state, when to ping, when to give a silent peer up, when to try again.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from functools import partial
from typing import Any, Final

from ccwatch.errors import DecodeError, FeedError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.fields import AGENTS, EXTRA, FLAGS, FORECASTS, LOGS, NEW_LOGS, NO_TIME, RAW, STATUS, TIME, TIMESTAMP
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Flag, Instant, Item, LogLine, Packet, StateChange

SECOND: Final = 1_000_000_000
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Delays before each next attempt; the last one repeats (contract 5.1)."""
KEEPALIVE_NS: Final = 30 * SECOND
"""The contract's PING (8.1), which nobody answers."""
PING_NS: Final = 5 * SECOND
"""RFC 6455's ping, and the time it has to be answered in once a pong was ever seen."""
LATE_NS, LATE_INTERVALS = 3 * SECOND, 3
STALE_NS, STALE_INTERVALS = 10 * SECOND, 10
FROZEN_PACKETS: Final = 15
SKEW_NS: Final = 2 * SECOND
SLEEP_NS: Final = 5 * SECOND
"""How far the wall clock may run ahead of the monotonic one between two packets before that is a sleep of the machine."""
BURST_NS: Final = SECOND // 10
BURST_PACKETS: Final = 12
"""So many packets closer together than this came at once (a replay of ten states, the parts of one tick): that tells no pace."""
REMEMBERED, REMEMBERED_BYTES = 64, 4 << 20
"""Packets kept to recognise a replay; deployed engines replay their last ten states."""
LOG_MEMORY: Final = 2048
"""Log lines remembered beyond those of the last packet."""

_REPEAT, _REPLAYED, _FROZEN = int(Flag.REPEAT), int(Flag.REPLAYED), int(Flag.FROZEN)
_SEEN, _OUT_OF_ORDER, _SKEW = _REPEAT | _REPLAYED, int(Flag.OUT_OF_ORDER), int(Flag.CLOCK_SKEW)

Content = tuple[list[Any], Any]
"""What a packet says, without what is said about it: equal for the same state of the engine."""
Stamp = int | str | None
"""A packet's own time in ns; where that could not be read, the text of its timestamp."""


class Duty(Enum):
    """What the shell has to do now."""

    SEND_KEEPALIVE = "send the contract's PING"
    SEND_PING = "send a ping frame"
    ABORT = "give the connection up: a ping was not answered"


class Session:
    """The state of one feed across its connections. Used by one thread at a time."""

    def __init__(self, *, server_tz: str = "UTC", virtual_clock: bool = False) -> None:
        """A session that has not connected yet.

        Args:
            server_tz: IANA zone of timestamps that carry no offset.
            virtual_clock: the stream's stamps do not keep pace with the wall clock (a seeded stream at pace "max"): gaps and
                intervals are measured on the stamps, and the server's clock is not judged.
        """
        self.server_tz = server_tz
        self.virtual_clock = virtual_clock
        self.state = ConnectionState.CONNECTING
        self.connection = 0
        self.seq = 0
        self._failures = 0
        self._delivered = False
        self._since: Instant | None = None  # the last packet, or the opening of the connection
        self._arrival: Instant | None = None  # of the last packet, whichever connection it came on
        self._time_ns = 0  # the last packet's time
        self._last: tuple[Stamp, list[Any]] | None = None  # the packet before on this connection
        self._intervals = _Median(20)
        self._burst = 0
        self._offsets = _Median(32)
        self._usual_offset_ns = 0  # the median when it was last looked at: looked at anew only where an offset departs
        self._highest_ns = 0
        self._frozen = 0
        self._recent: deque[tuple[Stamp, bytes]] = deque()
        self._recent_bytes = 0
        self._earlier: dict[Stamp, list[Content]] = {}
        self._log_lines: tuple[LogLine, ...] = ()
        self._log_keys: dict[int, None] = {}
        self._keepalive_ns = self._ping_ns = 0
        self._pong_due_ns: int | None = None
        self._answers_pings = False

    # ── the connection ──

    def connecting(self, now: Instant) -> list[Item]:
        """An attempt begins."""
        return self._enter(ConnectionState.CONNECTING, now)

    def opened(self, now: Instant, detail: str = "") -> list[Item]:
        """The stream is open; `detail` says to what, without secrets."""
        self.connection += 1
        self._delivered = False
        self._since = now
        self._offsets.clear()
        self._last = None
        self._highest_ns = self._frozen = self._burst = 0
        self._earlier = {}
        for stamp, raw in self._recent:
            values = codec.draft(raw, seq=0, connection=0, now=now, server_tz=self.server_tz)
            self._earlier.setdefault(stamp, []).append(_content(values))
        self._keepalive_ns, self._ping_ns = now.mono_ns + KEEPALIVE_NS, now.mono_ns + PING_NS
        self._pong_due_ns = None
        event = self.event(EventKind.CONNECT, now, f"connection={self.connection} {detail}".strip())
        return [event, *self._enter(ConnectionState.OPEN, now)]

    def closed(self, now: Instant, detail: str, *, error: FeedError | None = None) -> list[Item]:
        """The connection is gone, or an attempt failed; `retry_s` of the state says when the next attempt is due."""
        items: list[Item] = []
        was_open = self.state in {ConnectionState.OPEN, ConnectionState.LATE, ConnectionState.STALE}
        if was_open:
            items.append(self.event(EventKind.DISCONNECT, now, f"connection={self.connection} {detail}".strip()))
        if self._delivered:
            self._failures = 0
            self._delivered = False
        retry_s: float | None = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        wanted = getattr(error, "retry_after_s", None)
        if wanted is not None and retry_s is not None:
            retry_s = max(retry_s, min(wanted, 3600.0))
        if error is not None and error.permanent:
            retry_s = None
        self.state = ConnectionState.DISCONNECTED
        return [*items, StateChange(self.state, now, retry_s, error)]

    # ── what arrives ──

    def receive(self, raw: bytes | memoryview, now: Instant) -> list[Item]:
        """One message: its packet, or the event that says why it is none, with a gap event before it where there was one."""
        try:
            values = codec.draft(raw, seq=self.seq + 1, connection=self.connection, now=now, server_tz=self.server_tz)
        except DecodeError as error:
            return [self.event(EventKind.MALFORMED, now, f"bytes={len(raw)} {error.reason}", bytes(raw))]
        items: list[Item] = []
        flags, time_ns = values[FLAGS], values[TIME]
        stamp: Stamp = values[TIMESTAMP] if flags & NO_TIME else time_ns
        last = self._last
        if last is not None and values[_STATE] == last[1][_STATE] and _content(values) == _content(last[1]):
            flags |= _REPEAT if stamp == last[0] else _FROZEN
        if self._earlier and _content(values) in self._earlier.get(stamp, ()):
            flags |= _REPLAYED
        if not flags & _SEEN:
            if not flags & NO_TIME:
                flags |= self._judge_clock(time_ns, now)
            self._remember(stamp, values[RAW])
            if values[LOGS]:
                values[NEW_LOGS] = self._new_logs(values[LOGS])
        values[FLAGS] = flags
        gap = self._gap(time_ns, now, is_replay=bool(flags & _REPLAYED))
        if gap:
            items.append(self.event(EventKind.GAP, now, gap))
        self.seq += 1
        self._last, self._since, self._arrival, self._time_ns = (stamp, values), now, now, time_ns
        self._delivered = True
        items.append(_packet(values))
        if flags & _FROZEN:
            self._frozen += 1
            if self._frozen == FROZEN_PACKETS:
                items.append(self.event(EventKind.FROZEN, now, f"packets={FROZEN_PACKETS} same content, moving timestamps"))
        elif not flags & _REPEAT:  # a poller repeats a frozen state as well
            self._frozen = 0
        if self.state is not ConnectionState.OPEN:
            items.extend(self._enter(ConnectionState.OPEN, now))
        return items

    def oversize(self, now: Instant, announced: int, limit: int) -> list[Item]:
        """A message larger than allowed was announced, or grew; the shell closes the connection."""
        return [self.event(EventKind.OVERSIZE, now, f"bytes={announced} limit={limit} raise max_message_bytes to read it")]

    def pong(self) -> None:
        """A ping of ours was answered."""
        self._answers_pings = True
        self._pong_due_ns = None

    # ── time ──

    def tick(self, now: Instant) -> list[Item]:
        """What the passing of time alone has changed: OPEN becomes LATE, then STALE."""
        if self._since is None or self.state not in {ConnectionState.OPEN, ConnectionState.LATE}:
            return []
        age = now.mono_ns - self._since.mono_ns  # a step of the wall clock makes nothing old
        if age >= self._stale_ns():
            event = self.event(EventKind.STALE, now, f"age_s={age / SECOND:.3f} limit_s={self._stale_ns() / SECOND:.3f}")
            return [event, *self._enter(ConnectionState.STALE, now)]
        return self._enter(ConnectionState.LATE, now) if age >= self._late_ns() else []

    def duties(self, now: Instant) -> list[Duty]:
        """What is due on an open connection now; a duty that is returned counts as done."""
        due = []
        if self._pong_due_ns is not None and now.mono_ns >= self._pong_due_ns:
            return [Duty.ABORT]
        if now.mono_ns >= self._keepalive_ns:
            self._keepalive_ns = now.mono_ns + KEEPALIVE_NS
            due.append(Duty.SEND_KEEPALIVE)
        if now.mono_ns >= self._ping_ns:
            self._ping_ns = now.mono_ns + PING_NS
            if self._answers_pings and self._pong_due_ns is None:
                self._pong_due_ns = now.mono_ns + PING_NS
            due.append(Duty.SEND_PING)
        return due

    def wait_s(self, now: Instant) -> float:
        """Seconds until `tick` or `duties` may have something new."""
        moments = [self._keepalive_ns, self._ping_ns]
        if self._pong_due_ns is not None:
            moments.append(self._pong_due_ns)
        if self._since is not None and self.state is ConnectionState.OPEN:
            moments.append(self._since.mono_ns + self._late_ns())
        if self._since is not None and self.state is ConnectionState.LATE:
            moments.append(self._since.mono_ns + self._stale_ns())
        return max(0.0, (min(moments) - now.mono_ns) / SECOND)

    @property
    def interval_s(self) -> float:
        """The stream's usual interval; 0 while it is not known. May be read from any thread."""
        return self._intervals.snapshot() / SECOND

    def event(self, kind: EventKind, now: Instant, detail: str, raw: bytes = b"") -> Event:
        """An event at `now`, on the stream's own clock: the last packet's time and what has passed since."""
        time_ns = now.wall_ns
        if self._arrival is not None:
            time_ns = self._time_ns
            if not self.virtual_clock:
                time_ns += now.mono_ns - self._arrival.mono_ns + self._asleep_ns(now)
        return Event(time_ns, self.seq, kind, detail, self.connection, now.wall_ns, now.mono_ns, raw)

    # ── inside ──

    def _enter(self, state: ConnectionState, now: Instant) -> list[Item]:
        if state is self.state and state is not ConnectionState.CONNECTING:
            return []
        self.state = state
        return [StateChange(state, now)]

    def _late_ns(self) -> int:
        return max(LATE_NS, LATE_INTERVALS * self._intervals.value())

    def _stale_ns(self) -> int:
        return max(STALE_NS, STALE_INTERVALS * self._intervals.value())

    def _asleep_ns(self, now: Instant) -> int:
        """How long this machine slept since the last packet: its wall clock went on and its monotonic one did not."""
        if self._arrival is None or self.virtual_clock:
            return 0
        ahead = (now.wall_ns - self._arrival.wall_ns) - (now.mono_ns - self._arrival.mono_ns)
        return ahead if ahead > SLEEP_NS else 0

    def _gap(self, time_ns: int, now: Instant, *, is_replay: bool) -> str:
        """The detail of the gap that ends with this packet, or nothing; its interval is noted."""
        if self._arrival is None:
            return ""
        passed = time_ns - self._time_ns if self.virtual_clock else now.mono_ns - self._arrival.mono_ns
        is_first = self._last is None
        is_late = passed > LATE_NS and passed > self._longest_usual_ns(is_first=is_first)
        if not is_first and not is_replay:  # neither tells the stream's pace
            self._burst = self._burst + 1 if passed < BURST_NS else 0
            if not 0 < self._burst <= BURST_PACKETS:
                self._intervals.add(passed)
        asleep = self._asleep_ns(now)
        if asleep:
            return f"seconds={(passed + asleep) / SECOND:.3f} reason=sleep"
        return f"seconds={passed / SECOND:.3f} reason={'disconnect' if is_first else 'silence'}" if is_late else ""

    def _longest_usual_ns(self, *, is_first: bool) -> int:
        """The interval beyond which something is missing; while the pace is unknown, a silence is one only once it is stale."""
        return self._late_ns() if self._intervals or is_first else STALE_NS

    def _judge_clock(self, time_ns: int, now: Instant) -> int:
        """Flags of a timestamp, by those before it on this connection."""
        flags = 0
        if time_ns < self._highest_ns:
            flags = _OUT_OF_ORDER
        else:
            self._highest_ns = time_ns
        if not self.virtual_clock and self._is_skewed(now.wall_ns - time_ns):
            flags |= _SKEW
        return flags

    def _remember(self, stamp: Stamp, raw: bytes) -> None:
        """Keep a message, to recognise it on the next connection."""
        self._recent.append((stamp, raw))
        self._recent_bytes += len(raw)
        while len(self._recent) > REMEMBERED or self._recent_bytes > REMEMBERED_BYTES:
            self._recent_bytes -= len(self._recent.popleft()[1])

    def _is_skewed(self, offset_ns: int) -> bool:
        """Whether the server's clock departs from its usual offset; the offset is noted."""
        skewed = False
        if abs(offset_ns - self._usual_offset_ns) > SKEW_NS and len(self._offsets) >= 5:
            self._usual_offset_ns = self._offsets.value()
            skewed = abs(offset_ns - self._usual_offset_ns) > SKEW_NS
        self._offsets.add(offset_ns)
        return skewed

    def _new_logs(self, lines: tuple[LogLine, ...]) -> tuple[LogLine, ...]:
        """The lines that no earlier packet carried: those with a time by themselves, others by overlap with the list before."""
        before, self._log_lines = self._log_lines, lines
        if lines == before:
            return ()
        timeless = [line for line in lines if line[2] is None]  # by place: a name costs twice as much
        known = _overlap([line for line in before if line[2] is None], timeless) if timeless else 0
        keys = self._log_keys
        fresh = []
        for line in lines:
            if line[2] is None:
                known -= 1
                if known < 0:
                    fresh.append(line)
                continue
            key = hash(line[:3])  # not the line: a memory of giants would fill the machine's
            if key not in keys:
                keys[key] = None
                fresh.append(line)
        while len(keys) > LOG_MEMORY + len(lines):
            del keys[next(iter(keys))]
        return tuple(fresh)


_STATE: Final = slice(STATUS, TIMESTAMP)
_packet: Final = partial(tuple.__new__, Packet)  # without the check of a named tuple's own constructor: `draft` gives every field


def _content(values: list[Any]) -> Content:
    return values[_STATE] + values[AGENTS : FORECASTS + 1], values[EXTRA]


def _overlap(before: list[LogLine], lines: list[LogLine]) -> int:
    """The length of the longest head of `lines` that is a tail of those `before`.

    By Knuth, Morris and Pratt, since a list that was made to hurt may have a million lines.
    """
    tail = before[-len(lines) :]
    if not tail:
        return 0
    head = lines[: len(tail)]
    borders = [0] * len(head)
    size = 0
    for i in range(1, len(head)):
        while size and head[i] != head[size]:
            size = borders[size - 1]
        size += head[i] == head[size]
        borders[i] = size
    size = 0
    for line in tail:
        while size and line != head[size]:
            size = borders[size - 1]
        size += line == head[size]
    return size


class _Median:
    """The median of the last few integers, worked out only when asked for."""

    def __init__(self, size: int) -> None:
        self._values: deque[int] = deque(maxlen=size)
        self._median: int | None = 0

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: int) -> None:
        self._values.append(value)
        self._median = None

    def value(self) -> int:
        """The upper median; 0 where there is nothing yet."""
        if self._median is None:
            self._median = sorted(self._values)[len(self._values) // 2]
        return self._median

    def snapshot(self) -> int:
        """As `value`, for another thread than the one that adds: it leaves nothing behind."""
        values = sorted(self._values)
        return values[len(values) // 2] if values else 0

    def clear(self) -> None:
        self._values.clear()
        self._median = 0
