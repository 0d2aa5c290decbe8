"""Source and Sink: the two ends that every stream has, live, replayed or synthetic; and how a source is stopped and steered."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ccwatch.protocol.messages import Instant, Item
from ccwatch.protocol.wire.damage import Damage


def read_clock() -> Instant:
    """Return the current reading of both clocks of this machine."""
    return Instant(time.time_ns(), time.monotonic_ns())


class Sink(Protocol):
    """A receiver of the items that a source delivers."""

    def receive(self, items: Sequence[Item], /) -> None:
        """Take items in their order. Called on the source's thread: must return at once and raise nothing."""


@runtime_checkable
class CountingSink(Sink, Protocol):
    """A sink that may lose items, and counts them."""

    @property
    def dropped(self) -> int:
        """Return how many items it did not take."""


@runtime_checkable
class CompactingSink(CountingSink, Protocol):
    """A sink that converts what it keeps in the background."""

    @property
    def compacting(self) -> bool:
        """Return whether it is converting now."""


class DescribedSource:
    """The base of sources that say more of their streams; by itself what is assumed of any other. May be read from any thread."""

    @property
    def origin(self) -> str:
        """Return "live", "synthetic" or "replay"."""
        return "live"

    @property
    def server_tz(self) -> str:
        """Return the zone in which timestamps without an offset are read."""
        return "UTC"

    @property
    def virtual_clock(self) -> bool:
        """Return whether its stamps do not keep pace with the receiver's clock."""
        return False

    @property
    def is_replay(self) -> bool:
        """Return whether its packets carry the times at which a recording received them."""
        return False

    @property
    def planted(self) -> tuple[Any, ...]:
        """Return the incidents planted in it, with kind, start_s, end_s and detail."""
        return ()

    @property
    def packets(self) -> int | None:
        """Return how many packets it has; None where that is not known."""
        return None

    @property
    def cuts_connections(self) -> bool:
        """Return whether the disconnects are planted, so that a server of this source cuts its clients at them."""
        return False

    @property
    def symbol(self) -> str | None:
        """Return the symbol that it streams by itself; None where that is not known."""
        return None

    @property
    def trouble(self) -> str | None:
        """Return why it has nothing to stream; None while it has."""
        return None

    @property
    def position(self) -> tuple[str, int] | None:
        """Return epoch and number of what is being delivered, where the stream is numbered for several servers. Of its own thread."""
        return None

    @property
    def caught_up_to_s(self) -> float:
        """Return the moment of the monotonic clock up to which it has delivered all that there was, in s; inf for a stream of its own."""
        return math.inf


class Source(Protocol):
    """A stream of items; it may also be a DescribedSource, Steerable and Handing."""

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until the stream ends or `stop` is set; return within a second of the latter."""


class Stop:
    """A request to stop that a blocked source notices: the source waits on it, or it calls the waker that the source registered."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        # Serialises set() with waking(): a waker registered too late would never run. Reentrant, since the garbage collector may
        # run the finalizer of a feed that was left open, which calls set(), in the middle of waking().
        self._lock = threading.RLock()
        self._waker: Callable[[], None] | None = None

    def is_set(self) -> bool:
        """Return whether the source was asked to stop."""
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, or until asked to stop; return True if asked."""
        return self._asked.wait(max(0.0, seconds))

    def set(self) -> None:
        """Ask the source to stop, from any thread."""
        with self._lock:
            self._asked.set()
            waker = self._waker
        if waker is not None:
            waker()

    def waking(self, waker: Callable[[], None] | None) -> None:
        """Call `waker` at set(), on the thread that calls it, or at once if it was called already; None removes the waker."""
        with self._lock:
            self._waker = waker
            late = self._asked.is_set()
        if late and waker is not None:
            waker()


def described(source: object) -> DescribedSource:
    """Return a source as one that says more of its stream; for any other, or none, what is assumed then."""
    return source if isinstance(source, DescribedSource) else DescribedSource()


@runtime_checkable
class Steerable(Protocol):
    """A source that obeys an operator; the effect shows in the packets it delivers next. May be called from any thread."""

    def halt(self) -> None:
        """Stop trading."""

    def resume(self) -> None:
        """Resume trading."""

    def follow(self, symbols: frozenset[str], /) -> None:
        """Deliver packets of these symbols beside its own from now on."""


@runtime_checkable
class Damaging(Protocol):
    """A source with planted damage."""

    damages_itself: bool
    """Whether the damage is done to what it delivers; a server that streams it sets False, and damages what its clients are sent."""
    damage: Damage | None
    """The damage to the message that is being delivered, for a server. Of the source's thread."""


class Held(NamedTuple):
    """How much of a stream another reader's recordings hold."""

    last_seq: int | None
    """`seq` of their last packet; None where they cannot be looked at from here."""
    is_growing: bool = False
    """Whether their recorder still runs, so that more may be in them later."""


class Keeper(Protocol):
    """A recorder, as a source that hands unsaved packets to other readers sees it. Called on the source's thread."""

    def durable_seq(self) -> int:
        """Return the `seq` of the last packet that is saved."""

    def places(self) -> Sequence[str]:
        """Return where the newest recordings are, in words that `held` of another reader's keeper understands."""

    def held(self, places: Sequence[str], /) -> Held:
        """Return how much the recordings at these places hold."""


@runtime_checkable
class Handing(Protocol):
    """A source whose unsaved packets go to another reader of its group."""

    def kept_by(self, keeper: Keeper, /) -> None:
        """Count packets as read only once this recorder has saved them; without one, each is once it was delivered."""
