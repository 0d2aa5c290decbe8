"""The health of a stream: counters and rates of its items, and the table that a notebook shows. It has neither thread nor clock."""

from __future__ import annotations

import html
import statistics
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ccwatch.domain.burst_status import HALT, BurstStatus
from ccwatch.domain.limits import BURST_NS, DRIFT_PACKETS, JITTER_GAIN
from ccwatch.domain.liveness import Pace, count_bursts
from ccwatch.errors import FeedError
from ccwatch.protocol.facts import Gap, ServerError, UnknownType
from ccwatch.protocol.messages import UNCLEAN, ConnectionState, Event, EventKind, Flag, Instant, Item, Packet, StateChange, from_ns
from ccwatch.text import plain, rounded

RATE_WINDOW_NS: Final = 60 * 1_000_000_000
RATE_PACKETS: Final = 4096
DRIFT_POINTS: Final = 200
"""How many packets the drift is computed from at most."""
MOST_WORDS, LONGEST_WORD = 32, 60
"""How many unknown words and types are listed at most, and how many characters of each."""
_REPEAT, _REPLAYED, _FROZEN, _NO_TIME = int(Flag.REPEAT), int(Flag.REPLAYED), int(Flag.FROZEN), int(Flag.NO_TIME)
_CONNECTED: Final = frozenset({ConnectionState.OPEN, ConnectionState.LATE, ConnectionState.STALE})
_UNREADABLE: Final = frozenset({None, "UNKNOWN", "Unknown", ""})
_OUT_OF_ORDER, _SKEW, _UNCLEAN, _UNKNOWN_WORD = int(Flag.OUT_OF_ORDER), int(Flag.CLOCK_SKEW), int(UNCLEAN), int(Flag.UNKNOWN_WORD)
_Arrival = tuple[int, int, int | None, bool, int]
"""A packet's receive time (monotonic ns), size in bytes, clock offset, whether it is clean, and connection. A plain tuple, since there is
one for each packet."""


@dataclass(frozen=True, slots=True)
class Health:
    """A feed's health at one moment. Names that end in `_s` are in seconds; None where nothing is known yet."""

    state: str
    status: str | None
    """The engine's status: the worst one in a packet of the last burst."""
    silence: str | None
    """"halted, silent since 09:33 UTC": a halted loop broadcasts nothing, so its silence does not mean that the stream has failed."""
    url: str
    origin: str
    packets: int
    malformed: int
    unknown: int
    """Messages of a type that ccwatch does not know."""
    unknown_words: dict[str, int]
    """Statuses, regimes, sides and types that ccwatch does not know, as the server wrote them, and how often they came."""
    server_error: str | None
    """The last error that the server reported."""
    oversize: int
    repeats: int
    replayed: int
    frozen: int
    out_of_order: int
    """Packets whose stamp lies before that of an earlier one on their connection."""
    skewed: int
    """Packets whose stamp departs from the connection's usual clock offset."""
    flagged: int
    """Packets with any flag."""
    dropped: int
    """Items that a slow callback or recorder, or a flooded vocabulary, did not take."""
    evicted: dict[str, int]
    """Rows that the buffer dropped, by the limit that caused it: window, rows, bytes."""
    buffer_bytes: int
    """Bytes that the buffer's rows take, including the spare room for moving them."""
    gaps: int
    gap_s: float
    reconnects: int
    age_s: float | None
    """Seconds since the last packet."""
    lag_s: float | None
    """How much later than the fastest of the last packets the newest one came (its offset against the least offset)."""
    clock_offset_s: float | None
    """Median of receive time minus the server's time, over the last minute."""
    clock_drift_ppm: float | None
    """How fast that offset grows, in µs per s (Theil 1950, Sen 1968: the median slope) over the last 4,096 packets, repeats left out."""
    jitter_s: float | None
    """Interarrival jitter (RFC 3550, 6.4.1): how much the offset changes from packet to packet, repeats left out, smoothed by 1/16."""
    interval_s: float | None
    """Median interval between bursts over the last minute; packets less than 0.1 s apart are one burst."""
    completeness: float | None
    """Bursts of the last minute over those that its median interval would give, at most 1."""
    rate_hz: float | None
    """Bursts per second over the last minute."""
    packets_per_s: float | None
    """Packets per second over the last minute."""
    message_bytes_mean: float | None
    bytes_per_s: float | None
    retry_in_s: float | None
    error: str | None
    callback_errors: int
    compacting: bool = False
    """Whether a recorder of this feed is converting its recording to Parquet."""
    compression: str | None = None
    """The compression agreed for the open connection, "none" if there is none; None for a source without a connection."""
    protocol: str | None = None
    """The protocol that the open connection speaks: "1", or "2" with its encoding and channels; None for a source without a connection."""
    resyncs: int | None = None
    """How often a whole message was asked for by protocol 2, because one did not fit."""
    wire_bytes: int | None = None
    """Bytes of all messages so far on the wire; `inflated_bytes` is the same after decompression."""
    inflated_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of plain values."""
        return asdict(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print a headline in IPython; `to_dict()` has all."""
        odd = {name: getattr(self, name) for name in ("malformed", "dropped", "gaps", "reconnects", "error") if getattr(self, name)}
        rate = "" if self.rate_hz is None else f", {rounded(self.rate_hz)} Hz"
        age = "" if self.age_s is None else f", the last {self.age_s:.1f} s ago"
        said = "".join(f", {name} {value}" for name, value in odd.items()) or ", nothing odd"
        printer.text("…" if cycle else f"<Health {self.state} {self.status or ''}: {self.packets:,} packets{rate}{age}{said}>")

    def _repr_html_(self) -> str:
        def cell(value: Any) -> str:
            return html.escape(f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value))

        rows = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{cell(value)}</td></tr>" for name, value in asdict(self).items())
        return f"<table><caption>health of the stream</caption>{rows}</table>"


class HealthCounter:
    """Counters of a feed's items. `receive` belongs to the feed's thread; `report` may be called from any thread."""

    def __init__(self) -> None:
        self.packets = self.malformed = self.oversize = self.repeats = self.replayed = self.frozen = self.flagged = 0
        self.out_of_order = self.skewed = self.unknown = 0
        self.unknown_words: dict[str, int] = {}
        self.server_error: str | None = None
        self.is_server_ill = False
        """Whether nothing has arrived since the server reported an error."""
        self.gaps = self.connects = self.lost = 0
        self.gap_s = 0.0
        self.bytes = 0
        self.state = StateChange(ConnectionState.CONNECTING, Instant(0, 0))
        self.error: FeedError | None = None
        """Why the last connection or attempt ended, until one is open again."""
        self.last: Packet | None = None
        self._recent: deque[_Arrival] = deque(maxlen=RATE_PACKETS)
        self._pace, self._status = Pace(), BurstStatus()
        self._transit: tuple[int, int] | None = None  # connection and clock offset of the last packet that has one
        self._jitter_ns: float | None = None

    def receive(self, items: Sequence[Item]) -> None:
        """Count items."""
        for item in items:
            if isinstance(item, Packet):
                flags = item.flags
                if flags:
                    self.flagged += 1
                    self.repeats += bool(flags & _REPEAT)
                    self.replayed += bool(flags & _REPLAYED)
                    self.frozen += bool(flags & _FROZEN)
                    self.out_of_order += bool(flags & _OUT_OF_ORDER)
                    self.skewed += bool(flags & _SKEW)
                    if flags & _UNKNOWN_WORD:
                        for word in unknown_words(item):
                            self._name_word(word)
                begins = self._pace.note(item.received_mono_ns, is_first=self.last is None or self.last.connection != item.connection)
                self._status.receive(item.status, begins=begins)
                self.packets += 1
                self.is_server_ill = False
                size = len(item.raw)
                self.bytes += size
                offset_ns = None if flags & _NO_TIME else item.received_at_ns - item.time_ns
                is_clean = not flags & _UNCLEAN
                self._recent.append((item.received_mono_ns, size, offset_ns, is_clean, item.connection))
                if offset_ns is not None and is_clean:
                    self._note_jitter(item.connection, offset_ns)
                self.last = item
            elif isinstance(item, Event):
                self._count_event(item)
            else:
                self.state = item
                if item.error is not None:
                    self.error = item.error
                elif item.state is ConnectionState.OPEN:
                    self.error = None

    def end(self, change: StateChange) -> None:
        """Take the feed's final state."""
        self.state, self.error = change, change.error

    def learn_status(self, status: str) -> None:
        """Take the engine's status from a source other than the stream."""
        self._status.receive(status, begins=True)
        self._status.settle()

    def status(self, now: Instant) -> str | None:
        """Return the engine's status: the worst of the last burst, and no better than the previous one while that burst may go on."""
        status = copy(self._status)  # the feed's thread goes on with it
        if self.last is not None and now.mono_ns - self.last.received_mono_ns >= BURST_NS:
            status.settle()
        return status.word

    def silence(self, now: Instant) -> str | None:
        """Return a text saying since when a halted engine is silent, once its stream would be late; else None."""
        last = self.last
        if last is None or self.state.state not in _CONNECTED or self.status(now) != HALT:
            return None
        if now.mono_ns - last.received_mono_ns < self._pace.late_ns:
            return None
        return f"halted, silent since {from_ns(last.received_at_ns):%H:%M} UTC"

    def _name_word(self, word: str) -> None:
        if word in self.unknown_words or len(self.unknown_words) < MOST_WORDS:
            self.unknown_words[word] = self.unknown_words.get(word, 0) + 1

    def _note_jitter(self, connection: int, offset_ns: int) -> None:
        before, self._transit = self._transit, (connection, offset_ns)
        if before is not None and before[0] == connection:
            jitter_ns = self._jitter_ns or 0.0
            self._jitter_ns = jitter_ns + (abs(offset_ns - before[1]) - jitter_ns) * JITTER_GAIN

    def _count_event(self, event: Event) -> None:
        if event.kind == EventKind.CONNECT:
            self.connects += 1
        elif event.kind == EventKind.MALFORMED:
            self.malformed += 1
        elif event.kind == EventKind.OVERSIZE:
            self.oversize += 1
        elif event.kind == EventKind.UNKNOWN:
            self.unknown += 1
            if isinstance(event.facts, UnknownType):
                self._name_word(event.facts.type)
        elif event.kind == EventKind.ERROR:
            self.server_error = event.facts.text if isinstance(event.facts, ServerError) else event.detail
            self.is_server_ill = True
        elif event.kind == EventKind.GAP:
            self.gaps += 1
            if isinstance(event.facts, Gap):
                self.gap_s += event.facts.seconds or 0.0

    def report(
        self,
        now: Instant,
        *,
        url: str,
        origin: str,
        dropped: int,
        callback_errors: int,
        compacting: bool = False,
        evicted: dict[str, int] | None = None,
        buffer_bytes: int = 0,
    ) -> Health:
        """Return the counters and rates at `now`."""
        last, change = self.last, self.state
        kept = list(self._recent)
        recent = [entry for entry in kept if entry[0] >= now.mono_ns - RATE_WINDOW_NS]
        bursts, interval_s, burst_span_s = _pace(recent)
        span_s = (recent[-1][0] - recent[0][0]) / 1e9 if len(recent) > 1 else 0.0
        offsets = [entry[2] for entry in recent if entry[2] is not None]
        waited = (now.mono_ns - change.at.mono_ns) / 1e9
        return Health(
            state=str(change.state),
            status=self.status(now),
            silence=self.silence(now),
            url=url,
            origin=origin,
            packets=self.packets,
            malformed=self.malformed,
            unknown=self.unknown,
            unknown_words=dict(self.unknown_words),
            server_error=self.server_error,
            oversize=self.oversize,
            repeats=self.repeats,
            replayed=self.replayed,
            frozen=self.frozen,
            out_of_order=self.out_of_order,
            skewed=self.skewed,
            flagged=self.flagged,
            dropped=dropped,
            evicted=evicted or {"window": 0, "rows": 0, "bytes": 0},
            buffer_bytes=buffer_bytes,
            gaps=self.gaps,
            gap_s=self.gap_s,
            reconnects=max(0, self.connects - 1),
            age_s=None if last is None else max(0.0, (now.mono_ns - last.received_mono_ns) / 1e9),
            lag_s=(offsets[-1] - min(offsets)) / 1e9 if offsets else None,
            clock_offset_s=statistics.median(offsets) / 1e9 if offsets else None,
            clock_drift_ppm=_drift_ppm([(entry[0], entry[2]) for entry in kept if entry[2] is not None and entry[3]]),
            jitter_s=None if self._jitter_ns is None else self._jitter_ns / 1e9,
            interval_s=interval_s,
            completeness=min(1.0, bursts / (burst_span_s / interval_s + 1)) if interval_s else None,
            rate_hz=(bursts - 1) / burst_span_s if burst_span_s > 0 else None,
            packets_per_s=(len(recent) - 1) / span_s if span_s > 0 else None,
            message_bytes_mean=self.bytes / self.packets if self.packets else None,
            bytes_per_s=sum(entry[1] for entry in recent[1:]) / span_s if span_s > 0 else None,
            retry_in_s=None if change.retry_s is None else max(0.0, change.retry_s - waited),
            error=None if self.error is None else str(self.error),
            callback_errors=callback_errors,
            compacting=compacting,
        )


def unknown_words(packet: Packet) -> list[str]:
    """Return the statuses, regimes and sides of a packet that ccwatch does not know, bounded and fit to print."""
    words = ((packet.status, packet.status_raw), (packet.regime, packet.regime_raw), (packet.side, packet.side_raw))
    found = [raw for value, raw in words if raw is not None and value in _UNREADABLE and raw.strip().upper() not in _UNREADABLE]
    return [plain(word, LONGEST_WORD) for word in found]


def _pace(arrivals: list[_Arrival]) -> tuple[int, float | None, float]:
    """Return the number of bursts, their median interval in s, and the seconds from the first one's beginning to the last one's."""
    if len(arrivals) < 2:
        return len(arrivals), None, 0.0
    at = np.array([entry[0] for entry in arrivals], dtype=np.int64)
    connection = np.array([entry[4] for entry in arrivals], dtype=np.int64)
    begins, intervals = count_bursts(at, np.diff(connection, prepend=connection[0]) != 0)
    begun = at[begins]
    return len(begun), float(np.median(intervals)) / 1e9 if len(intervals) else None, float(begun[-1] - begun[0]) / 1e9


def _drift_ppm(arrivals: list[tuple[int, int]]) -> float | None:
    """Return the median slope of clock offset over receive time, in parts per million."""
    if len(arrivals) < DRIFT_PACKETS:
        return None
    used = np.unique(np.linspace(0, len(arrivals) - 1, min(DRIFT_POINTS, len(arrivals))).astype(np.int64))
    points = np.array([arrivals[at] for at in used.tolist()], dtype=np.int64)
    x, y = (points - points[0]).T.astype(np.float64)
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] > x[first]
    if not apart.any():
        return None
    return float(np.median((y[second] - y[first])[apart] / (x[second] - x[first])[apart])) * 1e6
