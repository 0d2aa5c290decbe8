"""The state that a feed's thread works on: a source's items go into the buffer, the counters and the listeners."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

from ccwatch.errors import FeedClosed, FeedError
from ccwatch.feed.callback_sink import LAST_CALLS_S, CallbackSink
from ccwatch.feed.health import HealthCounter
from ccwatch.protocol.messages import ConnectionState, Item, StateChange
from ccwatch.stream.batch import Batch
from ccwatch.stream.source import CompactingSink, CountingSink, Sink, Source, Stop, described, read_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ccwatch.feed.buffer import RollingBuffer

_LOG: Final = logging.getLogger("ccwatch.feed")
_FAN_OUTS: Final[weakref.WeakSet[FanOut]] = weakref.WeakSet()
"""The fan-outs of this process's feeds, which end in a forked child."""


class FanOut:
    """The state that the feed's thread works on. It must not refer to the Feed, or a feed that was left open would never be noticed."""

    def __init__(self, source: Source, buffer: RollingBuffer) -> None:
        self.source = source
        self.described = described(source)
        self.buffer = buffer
        self.counter = HealthCounter()
        self.stop = Stop()
        self.sinks: tuple[Sink, ...] = ()  # replaced, never changed: the feed's thread iterates without a lock
        self.changed = threading.Condition()  # notifies waiters of new packets and states; guards `sinks` against two adders
        self.crash: Exception | None = None
        self.lost_sinks = 0
        self.past_drops = self.past_errors = 0  # of listeners that are gone: counters never go back
        self.closed = ""
        """Why the feed was ended by something other than its owner; else empty."""
        _FAN_OUTS.add(self)

    def receive(self, items: Sequence[Item]) -> None:
        """Take items from the source as one batch: first into the buffer, then into the counters, then to the listeners."""
        batch = Batch.of(items)
        self.buffer.receive(batch)
        self.counter.receive(batch)
        with self.changed:
            self.changed.notify_all()
        for sink in self.sinks:
            try:
                sink.receive(batch)
            except Exception:  # noqa: BLE001 - one listener's fault must not reach the others
                self.lost_sinks += 1
                self.remove(sink)
                _LOG.exception("a sink failed and was taken off the feed")

    def run(self) -> None:
        """Run the source until it ends; the body of the feed's thread."""
        try:
            self.source.stream(self, self.stop)
        except Exception as crash:  # noqa: BLE001 - a thread that died unseen would look like a quiet stream
            self.crash = crash
            _LOG.exception("the feed's source failed")
        state = self.counter.state
        error = state.error
        if self.crash is not None:
            error = FeedError(f"the stream's source failed: {type(self.crash).__name__}: {self.crash}")
            error.__cause__ = self.crash
        if self.stop.is_set():
            end = ConnectionState.STOPPED
            error = FeedClosed(self.closed) if self.closed else error
        elif error is not None:
            end = ConnectionState.DISCONNECTED
        else:
            end = ConnectionState.ENDED
        self.receive([StateChange(end, read_clock(), None, error)])

    def remove(self, sink: Sink) -> None:
        """Take a listener off; what it had missed stays counted."""
        with self.changed:
            if any(other is sink for other in self.sinks):
                self.past_drops += sink.dropped if isinstance(sink, CountingSink) else 0
                self.past_errors += sink.errors if isinstance(sink, CallbackSink) else 0
                self.sinks = tuple(other for other in self.sinks if other is not sink)

    def orphan(self) -> None:
        """Stop being a feed in a forked child, which has neither the thread nor, for itself, the connection."""
        self.closed = "this process was forked from the one that runs the feed; connect again here"
        self.changed = threading.Condition()  # the thread may have held it at the fork
        self.buffer.orphan()
        self.sinks = ()
        self.stop = Stop()  # without its waker, which would wake the parent's thread
        self.stop.set()
        self.counter.end(StateChange(ConnectionState.STOPPED, read_clock(), None, FeedClosed(self.closed)))

    def sink_counts(self) -> tuple[int, int, bool]:
        """Return how many packets the listeners have missed, how often callbacks have failed, and whether a recorder compacts."""
        with self.changed:  # a listener that leaves meanwhile would count twice, or not at all
            dropped = self.past_drops + sum(sink.dropped for sink in self.sinks if isinstance(sink, CountingSink))
            errors = self.past_errors + sum(sink.errors for sink in self.sinks if isinstance(sink, CallbackSink))
            compacting = any(sink.compacting for sink in self.sinks if isinstance(sink, CompactingSink))
        return dropped + self.lost_sinks, errors, compacting

    def close_callbacks(self) -> None:
        """Wait until the callbacks have finished with their packets, for LAST_CALLS_S at most."""
        for sink in self.sinks:
            if isinstance(sink, CallbackSink):
                sink.close(LAST_CALLS_S)


def _orphan_all() -> None:
    for fan_out in list(_FAN_OUTS):
        fan_out.orphan()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
