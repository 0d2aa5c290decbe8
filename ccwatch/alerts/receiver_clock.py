"""The clock by which a view's silence is judged: the receiver's own, or where another process receives, an estimate of it."""

from __future__ import annotations

from ccwatch.protocol.messages import Packet
from ccwatch.stream.batch import Batch
from ccwatch.stream.source import read_clock
from ccwatch.stream.view import OVER, LiveView, RecordedView, View


class ReceiverClock:
    """The receiver's clock of one view. Used by one thread at a time."""

    def __init__(self, view: View) -> None:
        """Begin with no packet seen."""
        self._view = view
        self._live = view if isinstance(view, LiveView) else None
        self.last: tuple[int, int] | None = None
        """Time and receiver's monotonic clock of the newest packet, ns."""
        self._first: tuple[int, int] | None = None  # the same of the oldest packet
        self._wall_ns = 0  # when the newest packet was received
        self._read_ns = 0  # up to when a recording in progress is known, by this machine's wall clock
        self._ahead_ns: int | None = None  # how far that clock is ahead of the recorder's, at most

    def note(self, batch: Batch) -> None:
        """Note the packets of a batch that is not empty."""
        oldest, newest = batch.packets[0], batch.packets[-1]
        self.last = _times(newest)
        self._first = self._first or _times(oldest)
        self._wall_ns = newest.received_at_ns

    @property
    def newest_ns(self) -> int:
        """Return when the newest packet was received, by the recorder's wall clock, ns since 1970; 0 before the first."""
        return self._wall_ns

    def note_read(self, began_ns: int, before_ns: int) -> None:
        """Note that a recording in progress was read to its end, from `began_ns` on; its newest packet was received at `before_ns` then."""
        self._read_ns = began_ns
        if self._wall_ns != before_ns:
            ahead_ns = began_ns - self._wall_ns
            self._ahead_ns = ahead_ns if self._ahead_ns is None else min(self._ahead_ns, ahead_ns)

    def judged_ns(self) -> int | None:
        """Return up to which moment silence may be judged, on the monotonic clock that packets are received by; see `now_ns`."""
        return self._at(self._read_ns)

    def now_ns(self) -> int | None:
        """Return the monotonic clock that packets are received by, ns: of a feed, or as estimated of a recording in progress.

        None where silence means nothing: the stream is over, or its stamps do not keep pace with that clock.
        """
        return self._at(read_clock().wall_ns)

    def _at(self, wall_ns: int) -> int | None:
        if self._live is not None:
            return read_clock().mono_ns if self._keeps_pace(self._live) else None
        view = self._view
        if self._first is None or self.last is None or not (isinstance(view, RecordedView) and view.status == "open"):
            return None
        if self.last[0] - self._first[0] > 2 * (self.last[1] - self._first[1]):
            return None  # made faster than the clock
        # Another process receives: the time since its newest packet is taken from the wall clock. That of another machine may differ
        # by as much as the newest packet ever seemed old when it was read.
        ours = view.is_of_this_boot
        return self.last[1] + max(0, wall_ns - self._wall_ns - (0 if ours else self._ahead_ns or 0))

    @staticmethod
    def _keeps_pace(view: LiveView) -> bool:
        """Return whether a feed goes on, and its clock is the receiver's."""
        # Whether it is a replay first: virtual_clock may read its whole recording.
        return view.state not in OVER and not view.is_replay and not view.virtual_clock


def _times(packet: Packet) -> tuple[int, int]:
    return packet.time_ns, packet.received_mono_ns
