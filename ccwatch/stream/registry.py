"""The registry of this process: its running feeds by name, and its dashboards, recorders and Cottages.

A feed made by `connect`, `synthetic` or `replay` takes the place of an earlier one of its name, so that a cell can be run again; the
earlier one says so wherever it is shown. The feeds of `watch(url)` are shared instead, since two views of one stream are no mistake,
and those of `record(url)` are their own: no call ends a recording by accident.
"""

from __future__ import annotations

import threading
import warnings
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

    @property
    def has_ended(self) -> bool:
        """Return whether it will deliver nothing any more."""

    def give_way(self, why: str, /) -> int:
        """End it, since another takes its place, and report that as its error; return how many callbacks ended with it."""


class Viewer(Protocol):
    """A dashboard, as far as the registry knows it."""

    @property
    def is_in_use(self) -> bool:
        """Return whether it is shown somewhere, or may yet be."""

    def let_go(self) -> None:
        """Drop the feeds that were replaced, if no page shows it any more."""


_Thing = TypeVar("_Thing")
_Feed = TypeVar("_Feed", bound=RunningFeed)

_FEEDS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_NAMED: Final[weakref.WeakValueDictionary[str, Any]] = weakref.WeakValueDictionary()
"""The feed that has each name."""
_WATCHED: Final[weakref.WeakValueDictionary[str, Any]] = weakref.WeakValueDictionary()
"""The feed that `watch` has made for each name, which later calls share."""
_SETTINGS: Final[weakref.WeakKeyDictionary[Any, object]] = weakref.WeakKeyDictionary()
"""The settings of each shared feed."""
_VIEWERS: Final[weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]]] = weakref.WeakKeyDictionary()
"""The dashboards that use each shared feed."""
_REPLACED: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_OTHERS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Dashboards, recorders and Cottages of this process; weak, so that one that was left open is still noticed."""
_RECORDERS: Final[weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]]] = weakref.WeakKeyDictionary()
"""The recorders of each feed, for the marks that are made while they run."""
_REGISTRY: Final = threading.Lock()  # serialises naming and listing: two cells of two notebooks may run at once


def feeds() -> list[Any]:
    """Return the feeds of this process that have not ended."""
    with _REGISTRY:
        return [feed for feed in _FEEDS if feed.state not in {"STOPPED", "ENDED"}]


def stop_all() -> None:
    """Stop every dashboard, recorder, feed and Cottage of this process."""
    with _REGISTRY:
        others, feeds = list(_OTHERS), list(_FEEDS)
    order = {"Dashboard": 0, "Recorder": 1, "RecordingSeries": 1, "Cottage": 3}
    for thing in sorted([*others, *feeds], key=lambda thing: order.get(type(thing).__name__, 2)):
        thing.stop()


def add(feed: _Feed) -> _Feed:
    """List a feed that no other call ends."""
    with _REGISTRY:
        _FEEDS.add(feed)
    return feed


def named(feed: _Feed) -> _Feed:
    """Take the feed's name, and end the one that had it, which then says so; warn if callbacks ended with it."""
    with _REGISTRY:
        old = _NAMED.get(feed.name)
        _NAMED[feed.name] = feed
        _FEEDS.add(feed)
    if old is not None:
        lost = _replace(old, f"replaced by a newer feed of the same name, {feed.name!r}; with name=… both run")
        if lost:
            words = "callback on it has" if lost == 1 else f"{lost} callbacks on it have"
            said = f"the feed {feed.name!r} was replaced by a newer one of its name, and the {words} ended; with name=… both run"
            warnings.warn(said, RuntimeWarning, stacklevel=4)
    return feed


def shared(feed: _Feed, settings: object) -> _Feed:
    """Return the feed that already runs for viewers under this name with equal settings; else this one, which takes the name."""
    with _REGISTRY:
        old = _WATCHED.get(feed.name)
        if old is not None and not old.has_ended and _SETTINGS.get(old) == settings:
            found: _Feed = old
            return found
        _WATCHED[feed.name] = feed
        _SETTINGS[feed] = settings
        _FEEDS.add(feed)
    if old is not None:
        _replace(old, f"replaced by a newer view of {feed.name}")
    return feed


def _replace(old: RunningFeed, why: str) -> int:
    with _REGISTRY:
        _REPLACED.add(old)
        viewers = list(_VIEWERS.get(old, ()))
    lost = old.give_way(why)
    for viewer in viewers:
        viewer.let_go()
    return lost


def is_replaced(feed: Stoppable) -> bool:
    """Return whether another feed has taken the place of this one."""
    with _REGISTRY:
        return feed in _REPLACED


def enter(viewer: Viewer, feed: Stoppable) -> None:
    """Note that a dashboard uses a feed."""
    with _REGISTRY:
        _VIEWERS.setdefault(feed, weakref.WeakSet()).add(viewer)


def is_last(viewer: Viewer, feed: Stoppable) -> bool:
    """Return whether no other dashboard than this one uses a feed."""
    with _REGISTRY:
        others = [other for other in _VIEWERS.get(feed, ()) if other is not viewer]
    return not any(other.is_in_use for other in others)


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
