"""The confirmation of a command by the stream: packets of a symbol, or a burst of a wanted status."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ccwatch.domain.burst_status import BurstStatus
from ccwatch.domain.limits import BURST_NS
from ccwatch.domain.liveness import Pace
from ccwatch.protocol.messages import Flag, Item, Packet, Status


class CommandWitness:
    """A Sink that watches the stream for packets that confirm a command."""

    def __init__(self, shows: Callable[[Packet], bool] | None, wanted: frozenset[Status]) -> None:
        """Start with nothing seen.

        Args:
            shows: returns whether a single packet confirms it; None requires a whole burst of a wanted status, since a burst's status is
                that of its worst packet.
            wanted: the statuses that confirm it by REST.
        """
        self.wanted = wanted
        self._shows = shows
        self._done = threading.Event()
        self._pace, self._status = Pace(), BurstStatus()
        self._seen = threading.Lock()  # guards the two above: the feed's thread notes packets, the asker looks whether a burst is over
        self._last_ns = 0
        self._since_ns = time.monotonic_ns()

    @property
    def status(self) -> str | None:
        """Return the worst status of the last burst since the command was given; None before one."""
        return self._status.word

    def admits(self, status: str) -> bool:
        """Return whether the stream does not contradict a status read by REST."""
        return status == Status.HALT or self.status != Status.HALT

    def is_done(self, seconds: float) -> bool:
        """Wait up to `seconds` for the stream to confirm it; return whether it did."""
        if self._shows is not None:
            return self._done.wait(seconds)
        deadline = time.monotonic() + seconds
        while not self._done.wait(min(0.02, max(0.0, deadline - time.monotonic()))):
            with self._seen:
                if self._last_ns and time.monotonic_ns() - self._last_ns >= BURST_NS and self._status.settle() in self.wanted:
                    self._done.set()
            if time.monotonic() >= deadline:
                return self._done.is_set()
        return True

    def receive(self, items: Sequence[Item], /) -> None:
        """Look for the confirmation in packets that were received since the command was given."""
        for item in items:
            # A packet that a server replays after a reconnect is older than the command, however late it arrives.
            if not isinstance(item, Packet) or item.received_mono_ns < self._since_ns or item.flags & Flag.REPLAYED:
                continue
            with self._seen:
                begins = self._pace.note(item.received_mono_ns)
                if begins and self._shows is None and self._last_ns and self._status.settle() in self.wanted:
                    self._done.set()
                if not self._done.is_set():
                    self._status.receive(item.status, begins=begins)
                self._last_ns = item.received_mono_ns
            if self._shows is not None and self._shows(item):
                self._done.set()
