"""The counters of a recorder, and the items that it could not keep. This module knows neither queue nor disk."""

from __future__ import annotations

from dataclasses import dataclass

from ccwatch.protocol.messages import Event, EventKind, Packet


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """The counters of a recorder at one moment.

    Attributes:
        received_seq: seq of the last packet that was handed over.
        written_seq: seq of the last packet in the journal: a killed process loses none up to here.
        durable_seq: seq of the last packet on the disk: a power cut loses none up to here.
        packets: count of packets written.
        events: count of events written.
        bytes: bytes written to the journal.
        dropped: count of packets and events that found no room, or could not be stored.
        degraded: whether something is not being recorded as it should: `error` says why, or the queue is full.
        error: the last trouble that is not over; None without one.
        compacting: whether a separate process is turning older files of the journal into Parquet.
        left: count of packets and events that `stop` had no time to turn into Parquet: they stay in the journal, for `recover`.
    """

    received_seq: int = 0
    written_seq: int = 0
    durable_seq: int = 0
    packets: int = 0
    events: int = 0
    bytes: int = 0
    dropped: int = 0
    degraded: bool = False
    error: str | None = None
    compacting: bool = False
    left: int = 0


class Dropped:
    """Items that found no room, until a drop event can report them."""

    def __init__(self, first: Packet | Event) -> None:
        self.count = 1
        self.first = self.last = first

    @staticmethod
    def more(lost: Dropped | None, item: Packet | Event) -> Dropped:
        """Add an item to those that were lost before, and return them all."""
        if lost is None:
            return Dropped(item)
        lost.count += 1
        lost.last = item
        return lost

    def event(self, reason: str) -> Event:
        """Return the drop event that reports them."""
        last = self.last
        detail = f"items={self.count} first_seq={self.first.seq} last_seq={last.seq} reason={reason}"
        return Event(last.time_ns, last.seq, EventKind.DROP, detail, last.connection, last.received_at_ns, last.received_mono_ns)
