"""Where a recorder stands, and what it could not keep: the numbers that its threads hand out. It knows neither queue nor disk."""

from __future__ import annotations

from dataclasses import dataclass

from ccwatch.protocol.messages import Event, EventKind, Packet


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """Where a recorder stands.

    Attributes:
        received_seq: seq of the last packet that was handed over.
        written_seq: of the last one in the journal: a killed process loses none up to here.
        durable_seq: of the last one on the disk: a power cut loses none up to here.
        packets: count of packets written.
        events: count of events written.
        bytes: bytes written to the journal.
        dropped: count of packets and events that found no room, or could not be stored.
        degraded: something is not being recorded as it should: `error` says why, or the queue is full.
        error: the last trouble that is not over.
        compacting: Parquet is being made of older files of the journal, by a process of its own.
        left: count of packets and events that `stop` had no time to make Parquet of: they are in the journal, for `recover`.
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


class Lost:
    """Items that found no room, until a drop event can tell of them."""

    def __init__(self, first: Packet | Event) -> None:
        self.count = 1
        self.first = self.last = first

    @staticmethod
    def more(lost: Lost | None, item: Packet | Event) -> Lost:
        """One more, after those that were lost before."""
        if lost is None:
            return Lost(item)
        lost.count += 1
        lost.last = item
        return lost

    def event(self, reason: str) -> Event:
        """The drop event that tells of them."""
        last = self.last
        detail = f"items={self.count} first_seq={self.first.seq} last_seq={last.seq} reason={reason}"
        return Event(last.time_ns, last.seq, EventKind.DROP, detail, last.connection, last.received_at_ns, last.received_mono_ns)
