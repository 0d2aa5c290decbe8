"""Source and Sink: the two ends that every stream has, live, replayed or synthetic; and how a source is stopped and steered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ccwatch.protocol.messages import Instant, Item


def read_clock() -> Instant:
    """Both clocks of this machine, now."""
    return Instant(time.time_ns(), time.monotonic_ns())


class Sink(Protocol):
    """Takes what a source delivers."""

    def receive(self, items: Sequence[Item], /) -> None:
        """Take items in their order. Called by the source's thread: must return at once and keep its troubles to itself."""


class Source(Protocol):
    """A stream of items."""

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until the stream ends or `stop` is set; returns within a second of the latter."""


class Stop:
    """A request to stop that a blocked source notices: it is waited on, or it wakes what the source registered."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        # Serialises set() with waking(): a waker registered too late would never run. Reentrant, since the garbage collector may
        # run the finalizer of a feed that was left open, which calls set(), in the middle of waking().
        self._lock = threading.RLock()
        self._waker: Callable[[], None] | None = None

    def is_set(self) -> bool:
        """Whether the source was asked to stop."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, or until asked to stop; True when asked."""
        return self._asked.wait(max(0.0, seconds))

    def set(self) -> None:
        """Ask the source to stop, from any thread."""
        with self._lock:
            self._asked.set()
            waker = self._waker
        if waker is not None:
            waker()

    def waking(self, waker: Callable[[], None] | None) -> None:
        """Call `waker` at set(), from the thread that asks; at once where that has happened already. None takes it back."""
        with self._lock:
            self._waker = waker
            late = self._asked.is_set()
        if late and waker is not None:
            waker()


@runtime_checkable
class Steerable(Protocol):
    """A source that obeys an operator. What it does shows in what it delivers next. May be called from any thread."""

    def halt(self) -> None:
        """Stop trading."""

    def resume(self) -> None:
        """Trade again."""

    def follow(self, symbols: frozenset[str], /) -> None:
        """From now on deliver packets of these symbols beside its own."""


@runtime_checkable
class Handing(Protocol):
    """A source that hands over, to another reader of its group, what was not made safe."""

    durable: Callable[[], int] | None
    """The last packet's `seq` that is safe; None takes each packet as safe once it was delivered."""
