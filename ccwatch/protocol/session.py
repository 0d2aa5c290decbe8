"""One feed's conversation with its server, without socket, thread or clock: bytes and time in, items and duties out.

The shell around it (`feed.connection`, or a seeded or replaying source) says what happened and when; the session says what
that means: packets with their flags, events, the state, when to ping, when to give a silent peer up, when to try again.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any, Final

from ccwatch.errors import DecodeError, FeedError
from ccwatch.protocol import codec, dialects
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
REMEMBERED: Final = 64
"""Packets kept to recognise a replay; deployed engines replay their last ten states."""
LOG_MEMORY: Final = 2048

_STATUS: Final = dialects.INDEX["status"]
_CONTENT_END: Final = dialects.TIMESTAMP
_EXTRA: Final = dialects.EXTRA
_LISTS_END: Final = dialects.FORECASTS + 1
_NEW_LOGS: Final = dialects.INDEX["new_logs"]
_NO_TIME, _REPEAT, _REPLAYED, _FROZEN = int(Flag.NO_TIME), int(Flag.REPEAT), int(Flag.REPLAYED), int(Flag.FROZEN)
_SEEN, _OUT_OF_ORDER, _SKEW = _REPEAT | _REPLAYED, int(Flag.OUT_OF_ORDER), int(Flag.CLOCK_SKEW)


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
        self._last: Packet | None = None
        self._last_content: tuple[list[Any], Any] | None = None
        self._arrival_ns: int | None = None  # of the last packet, on the clock that gaps are measured by
        self._intervals = _Median(20)
        self._offsets = _Median(32)
        self._usual_offset_ns = 0  # the median when it was last looked at: looked at anew only where an offset departs
        self._highest_ns = 0
        self._frozen = 0
        self._recent: deque[tuple[int | None, tuple[list[Any], Any]]] = deque(maxlen=REMEMBERED)
        self._earlier: dict[int | None, list[tuple[list[Any], Any]]] = {}
        self._log_lines: tuple[LogLine, ...] = ()
        self._log_keys: dict[LogLine, None] = {}
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
        self._intervals.clear()
        self._offsets.clear()
        self._last = self._last_content = None
        self._highest_ns = self._frozen = 0
        self._earlier = {}
        for key, content in self._recent:
            self._earlier.setdefault(key, []).append(content)
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
        flags = values[dialects.FLAGS]
        time_ns = values[dialects.TIME]
        content = (values[_STATUS:_CONTENT_END] + values[dialects.AGENTS : _LISTS_END], values[_EXTRA])
        key = None if flags & _NO_TIME else time_ns
        if self._last is not None and content == self._last_content:
            if key is None or (time_ns == self._last.time_ns and not self._last.flags & _NO_TIME):
                flags |= _REPEAT
            else:
                flags |= _FROZEN
        if self._earlier and content in self._earlier.get(key, ()):
            flags |= _REPLAYED
        if not flags & _SEEN:
            if time_ns < self._highest_ns:
                flags |= _OUT_OF_ORDER
            else:
                self._highest_ns = time_ns
            if not self.virtual_clock and not flags & _NO_TIME and self._is_skewed(now.wall_ns - time_ns):
                flags |= _SKEW
            self._recent.append((key, content))
            if values[dialects.LOGS]:
                values[_NEW_LOGS] = self._new_logs(values[dialects.LOGS])
        values[dialects.FLAGS] = flags
        self._frozen = self._frozen + 1 if flags & _FROZEN else 0
        gap = self._arrived(time_ns if self.virtual_clock else now.mono_ns, now)
        if gap:
            items.append(self.event(EventKind.GAP, now, gap))
        self.seq += 1
        packet = Packet._make(values)
        self._last, self._last_content, self._since = packet, content, now
        self._delivered = True
        items.append(packet)
        if self._frozen == FROZEN_PACKETS:
            items.append(self.event(EventKind.FROZEN, now, f"packets={FROZEN_PACKETS} same content, moving timestamps"))
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
        age = max(now.wall_ns - self._since.wall_ns, now.mono_ns - self._since.mono_ns)
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

    def event(self, kind: EventKind, now: Instant, detail: str, raw: bytes = b"") -> Event:
        """An event at `now`, on the stream's own clock: the last packet's time and what has passed since."""
        time_ns = now.wall_ns
        if self._last is not None and self._since is not None:
            time_ns = self._last.time_ns
            if not self.virtual_clock:
                time_ns += max(0, now.mono_ns - self._since.mono_ns)
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

    def _arrived(self, arrival_ns: int, now: Instant) -> str:
        """Note the interval; the detail of the gap that ends here, or nothing."""
        before, self._arrival_ns = self._arrival_ns, arrival_ns
        if before is None or self._since is None:
            return ""
        passed = arrival_ns - before
        asleep = 0 if self.virtual_clock else (now.wall_ns - self._since.wall_ns) - (now.mono_ns - self._since.mono_ns)
        late = passed > LATE_NS and passed > self._late_ns()
        if self._last is not None:  # the first packet of a connection tells no interval
            self._intervals.add(passed)
        if asleep > SLEEP_NS:
            return f"seconds={(passed + asleep) / SECOND:.3f} reason=sleep"
        if late:
            return f"seconds={passed / SECOND:.3f} reason={'silence' if self._last is not None else 'disconnect'}"
        return ""

    def _is_skewed(self, offset_ns: int) -> bool:
        """Whether the server's clock departs from its usual offset; the offset is noted."""
        skewed = False
        if len(self._offsets) >= 5 and abs(offset_ns - self._usual_offset_ns) > SKEW_NS:
            self._usual_offset_ns = self._offsets.value()
            skewed = abs(offset_ns - self._usual_offset_ns) > SKEW_NS
        self._offsets.add(offset_ns)
        return skewed

    def _new_logs(self, lines: tuple[LogLine, ...]) -> tuple[LogLine, ...]:
        """The lines that no earlier packet carried: objects by themselves, plain text by overlap with the list before."""
        before, self._log_lines = self._log_lines, lines
        if lines == before:
            return ()
        keys = self._log_keys
        known = _overlap(before, lines)  # how many plain lines at the head of this list ended the list before
        fresh = []
        for line in lines:
            if line.log_time_raw is None:
                known -= 1
                if known < 0:
                    fresh.append(line)
            elif line not in keys:
                keys[line] = None
                fresh.append(line)
        while len(keys) > LOG_MEMORY:
            del keys[next(iter(keys))]
        return tuple(fresh)


def _overlap(before: tuple[LogLine, ...], lines: tuple[LogLine, ...]) -> int:
    """The length of the longest head of the plain `lines` that is a tail of those `before`."""
    plain = [line.message for line in lines if line.log_time_raw is None]
    if plain:
        plain_before = [line.message for line in before if line.log_time_raw is None]
        for size in range(min(len(plain), len(plain_before)), 0, -1):
            if plain[:size] == plain_before[-size:]:
                return size
    return 0


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

    def clear(self) -> None:
        self._values.clear()
        self._median = 0
