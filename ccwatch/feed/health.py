"""How well a stream is doing: counters and rates of its items, and the card that a notebook shows. No thread, no clock of its own."""

from __future__ import annotations

import html
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ccwatch.errors import FeedError
from ccwatch.protocol.messages import ConnectionState, Event, EventKind, Flag, Instant, Item, Packet, StateChange

RATE_WINDOW_NS: Final = 60 * 1_000_000_000
RATE_PACKETS: Final = 4096
_REPEAT, _REPLAYED, _FROZEN, _NO_TIME = int(Flag.REPEAT), int(Flag.REPLAYED), int(Flag.FROZEN), int(Flag.NO_TIME)


@dataclass(frozen=True, slots=True)
class Health:
    """A feed's health at one moment. Seconds in names that end in `_s`; None where there is nothing to tell it from yet."""

    state: str
    url: str
    origin: str
    packets: int
    malformed: int
    oversize: int
    repeats: int
    replayed: int
    frozen: int
    flagged: int
    """Packets with any flag."""
    dropped: int
    """Items that a slow callback or recorder, or a flooded vocabulary, did not take."""
    gaps: int
    gap_s: float
    reconnects: int
    age_s: float | None
    """Since the last packet."""
    lag_s: float | None
    """How much later than the fastest of the last packets the newest one came (its offset against the least offset)."""
    clock_offset_s: float | None
    """Median of receive time minus the server's time."""
    rate_hz: float | None
    """Packets per second over the last minute."""
    message_bytes_mean: float | None
    bytes_per_s: float | None
    retry_in_s: float | None
    error: str | None
    callback_errors: int
    compacting: bool = False
    """A recorder of this feed is making Parquet of what it has recorded."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        def cell(value: Any) -> str:
            return html.escape(f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value))

        rows = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{cell(value)}</td></tr>" for name, value in asdict(self).items())
        return f"<table><caption>health of the stream</caption>{rows}</table>"


class HealthCounter:
    """Counts what a feed's thread sees. `receive` belongs to that thread; `report` may be called from any."""

    def __init__(self) -> None:
        self.packets = self.malformed = self.oversize = self.repeats = self.replayed = self.frozen = self.flagged = 0
        self.gaps = self.connects = self.lost = 0
        self.gap_s = 0.0
        self.bytes = 0
        self.state = StateChange(ConnectionState.CONNECTING, Instant(0, 0))
        self.error: FeedError | None = None
        """Why the last connection or attempt ended, until one is open again."""
        self.last: Packet | None = None
        self._recent: deque[tuple[int, int, int | None]] = deque(maxlen=RATE_PACKETS)  # received (mono), bytes, clock offset

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
                self.packets += 1
                size = len(item.raw)
                self.bytes += size
                self._recent.append((item.received_mono_ns, size, None if flags & _NO_TIME else item.received_at_ns - item.time_ns))
                self.last = item
            elif isinstance(item, Event):
                self._count_event(item)
            else:
                self.state = item
                if item.error is not None:
                    self.error = item.error
                elif item.state is ConnectionState.OPEN:
                    self.error = None

    def _count_event(self, event: Event) -> None:
        if event.kind == EventKind.CONNECT:
            self.connects += 1
        elif event.kind == EventKind.MALFORMED:
            self.malformed += 1
        elif event.kind == EventKind.OVERSIZE:
            self.oversize += 1
        elif event.kind == EventKind.GAP:
            self.gaps += 1
            self.gap_s += float(event.detail.partition("seconds=")[2].partition(" ")[0] or 0.0)

    def report(self, now: Instant, *, url: str, origin: str, dropped: int, callback_errors: int, compacting: bool = False) -> Health:
        """The counters and rates at `now`."""
        last, change = self.last, self.state
        recent = [entry for entry in list(self._recent) if entry[0] >= now.mono_ns - RATE_WINDOW_NS]
        span_s = (recent[-1][0] - recent[0][0]) / 1e9 if len(recent) > 1 else 0.0
        offsets = [offset for _, _, offset in recent if offset is not None]
        waited = (now.mono_ns - change.at.mono_ns) / 1e9
        return Health(
            state=str(change.state),
            url=url,
            origin=origin,
            packets=self.packets,
            malformed=self.malformed,
            oversize=self.oversize,
            repeats=self.repeats,
            replayed=self.replayed,
            frozen=self.frozen,
            flagged=self.flagged,
            dropped=dropped,
            gaps=self.gaps,
            gap_s=self.gap_s,
            reconnects=max(0, self.connects - 1),
            age_s=None if last is None else max(0.0, (now.mono_ns - last.received_mono_ns) / 1e9),
            lag_s=(offsets[-1] - min(offsets)) / 1e9 if offsets else None,
            clock_offset_s=statistics.median(offsets) / 1e9 if offsets else None,
            rate_hz=(len(recent) - 1) / span_s if span_s > 0 else None,
            message_bytes_mean=self.bytes / self.packets if self.packets else None,
            bytes_per_s=sum(size for _, size, _ in recent[1:]) / span_s if span_s > 0 else None,
            retry_in_s=None if change.retry_s is None else max(0.0, change.retry_s - waited),
            error=None if self.error is None else str(self.error),
            callback_errors=callback_errors,
            compacting=compacting,
        )
