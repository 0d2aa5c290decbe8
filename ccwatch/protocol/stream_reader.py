"""One feed's conversation with its server, without socket, thread or clock: bytes and time in, items and duties out.

Its caller (`feed.live`, or a seeded or replaying source) reports each occurrence and its time; the reader returns the result:
packets with their flags, events, the state, when to ping, when to give up a silent peer, when to try again. Its parts have one
task each: `connection_liveness` silence and pings, `duplicates` packets seen before, `loglines` and `timed_rows` new rows,
`stream_clock` stamps.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from ccwatch.domain.burst_status import HALT, BurstStatus
from ccwatch.domain.limits import BURST_NS, FROZEN_PACKETS, LATE_INTERVALS, LATE_NS, SECOND, STALE_INTERVALS, STALE_NS
from ccwatch.errors import ConnectFailed, DecodeError, FeedError
from ccwatch.protocol.canonical_words import second_reading
from ccwatch.protocol.connection_liveness import Duty, Liveness
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.packet_fields import FLAGS, KIND, LOGS, NAIVE_TIME, NEW_LOGS, NEW_ROWS, NO_TIME, STATUS, TIME, TIMESTAMP
from ccwatch.protocol.duplicates import ConnectBurst, Duplicates
from ccwatch.protocol.facts import Disconnected, Facts, Gap, ServerError, UnknownType
from ccwatch.protocol.loglines import LogLines
from ccwatch.protocol.messages import (
    ConnectionState,
    Event,
    EventKind,
    Flag,
    Instant,
    Item,
    Kind,
    NonPacket,
    NonPacketSort,
    Packet,
    StateChange,
)
from ccwatch.protocol.repeated_hour import OwnStamps
from ccwatch.protocol.stream_clock import StreamClock
from ccwatch.protocol.timed_rows import OwnRows

__all__ = ["BACKOFF_S", "BURST_NS", "LATE_INTERVALS", "LATE_NS", "SECOND", "STALE_INTERVALS", "STALE_NS", "Duty", "StreamReader"]

BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Delays before each next attempt; the last one repeats (contract 5.1)."""
BURST_PACKETS: Final = 12
_REPLAYED: Final = int(Flag.REPLAYED)
_SEEN: Final = int(Flag.REPEAT | Flag.REPLAYED)
_OPEN: Final = frozenset({ConnectionState.OPEN, ConnectionState.LATE, ConnectionState.STALE})


class StreamReader:
    """The state of one feed across its connections. Used by one thread at a time."""

    def __init__(self, *, server_tz: str = "UTC", virtual_clock: bool = False) -> None:
        """Start a reader of a stream that has not connected yet.

        Args:
            server_tz: IANA zone of timestamps that carry no offset.
            virtual_clock: the stream's stamps do not keep pace with the wall clock (a seeded stream at pace "max"): gaps and
                intervals are measured on the stamps, and the server's clock is not judged.
        """
        self.server_tz = server_tz
        self.state = ConnectionState.CONNECTING
        self.connection = 0
        self.seq = 0
        self._clock = StreamClock(is_virtual=virtual_clock)
        self._liveness = Liveness()
        self._duplicates = Duplicates()
        self._connect_burst = ConnectBurst()
        self._logs = LogLines()
        self._own_stamps = OwnStamps(server_tz)
        self._own_rows = OwnRows()
        self._status = BurstStatus()
        self._failures = 0
        self._delivered = False
        self._is_late = False  # whether what is read now was missed on an earlier connection

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's stamps do not keep pace with the wall clock."""
        return self._clock.is_virtual

    @virtual_clock.setter
    def virtual_clock(self, is_virtual: bool) -> None:
        self._clock.is_virtual = is_virtual

    # ── the connection ──

    def connecting(self, now: Instant) -> list[Item]:
        """Note that an attempt to connect begins; return the items this gives."""
        return self._enter(ConnectionState.CONNECTING, now)

    def opened(self, now: Instant, detail: str = "", *, reads: bool = False) -> list[Item]:
        """Note that the stream is open; return the items this gives.

        Args:
            now: when it opened.
            detail: what it is connected to, without secrets.
            reads: whether the handshake names a Cottage, which reads the texts it is sent.
        """
        self.connection += 1
        self._delivered = False
        self._liveness.opened(now, reads=reads)
        self._clock.opened()
        self._duplicates.opened(now, self.server_tz)
        self._connect_burst.opened(now)
        event = self.event(EventKind.CONNECT, now, f"connection={self.connection} {detail}".strip())
        return [event, *self._enter(ConnectionState.OPEN, now)]

    def closed(self, now: Instant, reason: str, *, error: FeedError | None = None, code: int | None = None) -> list[Item]:
        """Note that the connection or an attempt ended; return the items this gives, with `retry_s` until the next attempt in the state.

        Args:
            now: when it ended.
            reason: how it ended.
            error: the error to report to the feed's user.
            code: the code of the server's closing frame, if it sent one.
        """
        items: list[Item] = self._connect_burst.flush()
        if self.state in _OPEN:
            muted = self._liveness.closed(code)
            if muted:
                items.append(self._muted(muted, now))
            items.append(self.event(EventKind.DISCONNECT, now, Disconnected(self.connection, reason)))
        if self._delivered:
            self._failures = 0
            self._delivered = False
        retry_s: float | None = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        wanted = error.retry_after_s if isinstance(error, ConnectFailed) else None
        if wanted is not None and retry_s is not None:
            retry_s = max(retry_s, min(wanted, 3600.0))
        if error is not None and error.permanent:
            retry_s = None
        self.state = ConnectionState.DISCONNECTED
        return [*items, StateChange(self.state, now, retry_s, error)]

    # ── arrivals ──

    def receive(self, raw: bytes | memoryview, now: Instant, *, is_late: bool = False) -> list[Item]:
        """Take one message; return its packet, or an event saying why it is none, with a gap event before it if there was a gap.

        Args:
            raw: the message.
            now: when it came.
            is_late: whether it was missed on an earlier connection and is given now.
        """
        self._is_late = is_late
        try:
            parts = codec.read(raw, seq=self.seq + 1, connection=self.connection, now=now, server_tz=self.server_tz)
        except DecodeError as error:
            items: list[Item] = [self._malformed(error.reason, bytes(raw), now)]
        else:
            items = self._receive_part(parts[0], now)
            for part in parts[1:]:  # a text may hold several messages
                items += self._receive_part(part, now)
        return self._connect_burst.take(items, now) if self._connect_burst.is_on else items

    def _receive_part(self, part: list[Any] | NonPacket, now: Instant) -> list[Item]:
        return self._receive_non_packet(part, now) if isinstance(part, NonPacket) else self._receive_packet(part, now)

    def _receive_non_packet(self, found: NonPacket, now: Instant) -> list[Item]:
        """Take a message that is not a packet: note the sign of life, and return an event if it is to be reported."""
        if found.sort is NonPacketSort.MALFORMED:
            return [self._malformed(found.text, found.raw, now)]
        self._liveness.alive(now)
        if found.sort is NonPacketSort.PONG:
            self._liveness.showed_reading()  # it answers the contract's PING
        items: list[Item] = []
        if found.sort is NonPacketSort.ERROR:
            items.append(self.event(EventKind.ERROR, now, ServerError(found.text), found.raw))
        elif found.sort is NonPacketSort.UNKNOWN:
            items.append(self.event(EventKind.UNKNOWN, now, UnknownType(str(found.type), len(found.raw)), found.raw))
        if self.state in {ConnectionState.LATE, ConnectionState.STALE}:
            items += self._enter(ConnectionState.OPEN, now)
        return items

    def _malformed(self, reason: str, raw: bytes, now: Instant) -> Event:
        return self.event(EventKind.MALFORMED, now, f"bytes={len(raw)} {reason}", raw)

    def _receive_packet(self, values: list[Any], now: Instant) -> list[Item]:
        """Make a packet of its fields, adding its flags and new rows; return it with the events that go with it."""
        items: list[Item] = []
        flags, time_ns = values[FLAGS], values[TIME]
        clock, liveness, duplicates = self._clock, self._liveness, self._duplicates
        if flags & NAIVE_TIME and self.server_tz != "UTC":
            later = second_reading(values[TIMESTAMP], self.server_tz)
            if later is not None:
                time_ns = values[TIME] = clock.choose(time_ns, later, now)
        is_first = duplicates.is_first
        flags |= duplicates.judge(values[TIMESTAMP] if flags & NO_TIME else time_ns, values)
        values = self._own_stamps.settled(values)
        if not flags & _SEEN:
            if not flags & NO_TIME:
                flags |= clock.judge(time_ns, None if self._is_late else now.wall_ns)
            if values[LOGS]:
                values[NEW_LOGS] = self._logs.fresh(values[LOGS])
            values[NEW_ROWS] = self._own_rows.of(values)
        values[FLAGS] = flags
        gap = self._gap(time_ns, now, is_first=is_first)
        if gap:
            items.append(gap)
        at_ns = time_ns if clock.is_virtual else now.mono_ns
        begins = liveness.pace.note(at_ns, is_first=is_first, is_original=not flags & _REPLAYED)
        self._status.receive(values[STATUS], begins=begins)
        liveness.alive(now)
        if values[KIND] == Kind.WELCOME:
            liveness.showed_reading()
        clock.note(time_ns, now)
        self.seq += 1
        self._delivered = True
        items.append(_packet(values))
        if duplicates.is_now_frozen(flags):
            items.append(self.event(EventKind.FROZEN, now, f"packets={FROZEN_PACKETS} same content, moving timestamps"))
        if self.state is not ConnectionState.OPEN:
            items.extend(self._enter(ConnectionState.OPEN, now))
        return items

    # ── protocol 2 ──

    def resumed(self, now: Instant) -> list[Item]:
        """Note that the server goes on exactly where the connection before ended; return the items that were held back."""
        self._duplicates.resumed()
        if self._clock.arrival is not None:
            self._clock.note(self._clock.time_ns, now)  # nothing is missing, so the time without a connection is no gap
        return self._connect_burst.flush()

    def alive(self, now: Instant) -> list[Item]:
        """Take a sign of life that is no message of the stream."""
        self._liveness.alive(now)
        return self._enter(ConnectionState.OPEN, now) if self.state in {ConnectionState.LATE, ConnectionState.STALE} else []

    def lost(self, now: Instant, channel: str, messages: int | None, seconds: float, reason: str) -> list[Item]:
        """Return the gap that the numbers of a channel prove."""
        return [self.event(EventKind.GAP, now, Gap(round(seconds, 3), messages, channel, reason=reason, is_numbered=True))]

    def refused(self, now: Instant, reason: str, raw: bytes) -> list[Item]:
        """Return the event of a message that protocol 2 cannot take."""
        return [*self.alive(now), self._malformed(reason, raw, now)]

    def receive_rows(self, text: bytes, now: Instant) -> list[Item]:
        """Take a message of the channels logs or trades; return an event with its new rows, if there are any."""
        whole = b'{"type":"TELEMETRY","data":%b}' % text
        try:
            values = codec.draft(whole, seq=self.seq, connection=self.connection, now=now, server_tz=self.server_tz)
        except DecodeError as error:
            return [self._malformed(error.reason, text, now)]
        time_ns = values[TIME]
        rows: dict[str, Any] = dict(self._own_rows.of(values))
        lines = self._logs.fresh(values[LOGS]) if values[LOGS] else ()
        if lines:
            rows["logs"] = [(time_ns, line.level, line.message, line.log_time_ns) for line in lines]
        found = self.alive(now)
        if rows:
            detail = " ".join(f"{table}={len(entries)}" for table, entries in rows.items())
            found.append(self.event(EventKind.ROWS, now, detail, codec.write_rows(rows)))
        return found

    def oversize(self, now: Instant, announced: int, limit: int) -> list[Item]:
        """Return the event of a message larger than allowed; the caller closes the connection."""
        return [self.event(EventKind.OVERSIZE, now, f"bytes={announced} limit={limit} raise max_message_bytes to read it")]

    def pong(self) -> None:
        """Note that a ping of ours was answered."""
        self._liveness.ponged()

    def flush(self) -> list[Item]:
        """Return the items held back, since nothing more is read."""
        return self._connect_burst.flush()

    # ── sending ──

    @property
    def no_text(self) -> str:
        """Return why no text may be sent to the server; empty if it may. May be read from any thread."""
        return self._liveness.no_text

    def texted(self) -> None:
        """Note that a text was sent."""
        self._liveness.texted()

    def learn_status(self, status: str) -> None:
        """Take the engine's status from a source other than the stream."""
        self._status.receive(status, begins=True)
        self._status.settle()

    # ── time ──

    def tick(self, now: Instant) -> list[Item]:
        """Return the items due to time alone: OPEN becomes LATE, then STALE; items held back go on; texts stop.

        The silence of an engine known to be halted does not make its stream late, since a halted loop broadcasts nothing.
        """
        items = self._connect_burst.release(now)
        if self.state not in _OPEN:
            return items
        muted = self._liveness.muted_now(now)
        if muted:
            items.append(self._muted(muted, now))
        state = self._liveness.state(now)
        if state is not ConnectionState.OPEN:
            self._status.settle()  # the silence is longer than any burst
        if self._status.word == HALT:
            return [*items, *self._enter(ConnectionState.OPEN, now)]
        if self.state is ConnectionState.STALE or state is ConnectionState.OPEN:
            return items
        if state is ConnectionState.STALE:
            age, limit = self._liveness.age_ns(now), self._liveness.pace.stale_ns
            items.append(self.event(EventKind.STALE, now, f"age_s={age / SECOND:.3f} limit_s={limit / SECOND:.3f}"))
        return [*items, *self._enter(state, now)]

    def duties(self, now: Instant) -> list[Duty]:
        """Return what is due on an open connection now; a duty that is returned counts as done."""
        return self._liveness.duties(now)

    def wait_s(self, now: Instant) -> float:
        """Return the seconds until `tick` or `duties` may have something new."""
        is_halted = self._status.word == HALT
        wait = self._liveness.wait_ns(now, ConnectionState.STALE if is_halted else self.state)
        held = self._connect_burst.due_ns
        return max(0, wait if held is None else min(wait, held - now.mono_ns)) / SECOND

    @property
    def interval_s(self) -> float:
        """Return the stream's usual interval; 0 while it is not known. May be read from any thread."""
        return self._liveness.pace.snapshot_ns() / SECOND

    def event(self, kind: EventKind, now: Instant, says: Facts | str, raw: bytes = b"") -> Event:
        """Return an event at `now`, on the stream's own clock: the last packet's time and what has passed since."""
        facts = None if isinstance(says, str) else says
        return Event(self._clock.at(now), self.seq, kind, str(says), self.connection, now.wall_ns, now.mono_ns, raw, facts)

    # ── inside ──

    def _enter(self, state: ConnectionState, now: Instant) -> list[Item]:
        if state is self.state and state is not ConnectionState.CONNECTING:
            return []
        self.state = state
        return [StateChange(state, now)]

    def _gap(self, time_ns: int, now: Instant, *, is_first: bool) -> Event | None:
        """Return the gap that ends with a packet, if there is one. A sign of life before it that was no packet makes it shorter."""
        clock, liveness = self._clock, self._liveness
        passed = clock.passed_ns(time_ns, now)
        asleep = clock.asleep_ns(now)
        if asleep:
            return self.event(EventKind.GAP, now, Gap(round((passed + asleep) / SECOND, 3), reason="sleep"))
        silent = passed if is_first or clock.is_virtual else min(passed, liveness.age_ns(now))
        if silent > LATE_NS and liveness.pace.is_gap(silent, is_first=is_first):
            return self.event(EventKind.GAP, now, Gap(round(passed / SECOND, 3), reason="disconnect" if is_first else "silence"))
        return None

    def _muted(self, why: str, now: Instant) -> Event:
        return self.event(EventKind.ERROR, now, f"texts=stopped {why}; nothing is sent to it any more")


_packet: Final = partial(tuple.__new__, Packet)  # without the check of a named tuple's own constructor: `draft` gives every field
