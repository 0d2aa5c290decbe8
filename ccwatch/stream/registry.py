"""The registry of this process: its running feeds by name, and its dashboards, recorders and Cottages."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from ccwatch.protocol.messages import ConnectionState


class Stoppable(Protocol):
    """A thing that can be stopped, once or more often, from any thread."""

    def stop(self) -> object:
        """End it; return within a second."""


class RunningFeed(Stoppable, Protocol):
    """A feed, as far as the registry knows it."""

    name: str

    @property
    def state(self) -> ConnectionState:
        """Return the state of the feed's connection."""


_Thing = TypeVar("_Thing")
_Feed = TypeVar("_Feed", bound=RunningFeed)

_FEEDS: Final[weakref.WeakValueDictionary[str, Any]] = weakref.WeakValueDictionary()
_OTHERS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Dashboards, recorders and Cottages of this process; weak, so that one that was left open is still noticed."""
_RECORDERS: Final[weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]]] = weakref.WeakKeyDictionary()
"""The recorders of each feed, for the marks that are made while they run."""
_REGISTRY: Final = threading.Lock()  # serialises naming and listing: two cells of two notebooks may run at once


def feeds() -> list[Any]:
    """Return the feeds of this process that have not ended."""
    with _REGISTRY:
        return [feed for feed in _FEEDS.values() if feed.state not in {"STOPPED", "ENDED"}]


def stop_all() -> None:
    """Stop every dashboard, recorder, feed and Cottage of this process."""
    with _REGISTRY:
        others, feeds = list(_OTHERS), list(_FEEDS.values())
    order = {"Dashboard": 0, "Recorder": 1, "RecordingSeries": 1, "Cottage": 3}
    for thing in sorted([*others, *feeds], key=lambda thing: order.get(type(thing).__name__, 2)):
        thing.stop()


def named(feed: _Feed) -> _Feed:
    """Take the feed's name, and stop the one that had it."""
    with _REGISTRY:
        old = _FEEDS.get(feed.name)
        _FEEDS[feed.name] = feed
    if old is not None:
        old.stop()
    return feed


def is_replaced(feed: RunningFeed) -> bool:
    """Return whether another feed has taken the name of this one."""
    with _REGISTRY:
        found = _FEEDS.get(feed.name)
    return found is not None and found is not feed


def keep(thing: _Thing) -> _Thing:
    """Remember a thing that can be stopped."""
    with _REGISTRY:
        _OTHERS.add(thing)
    return thing


def note_recorder(feed: RunningFeed, recorder: Stoppable) -> None:
    """Remember that a recorder records this feed."""
    with _REGISTRY:
        _RECORDERS.setdefault(feed, weakref.WeakSet()).add(recorder)


def recorders_of(feed: RunningFeed) -> list[Any]:
    """Return the recorders that this feed has had and that are still referred to."""
    with _REGISTRY:
        return list(_RECORDERS.get(feed, ()))
