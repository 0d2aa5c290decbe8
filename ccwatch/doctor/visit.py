"""A visit of one place: a feed with all that it delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Self

from ccwatch import wiring
from ccwatch.config import Settings
from ccwatch.doctor.diagnosis import Attempt
from ccwatch.errors import ConnectFailed, FeedError
from ccwatch.feed.address import parse_url
from ccwatch.protocol.messages import ConnectionState, Item, Packet, StateChange

MOST_PACKETS: Final = 5_000
"""Listening ends after so many packets."""


class Visit:
    """A feed of one place, with all that it delivered. A context manager."""

    def __init__(self, settings: Settings, token: wiring.Token = None) -> None:
        shown = parse_url(settings.url).shown
        self.feed = wiring.live_feed(settings, token, f"doctor of {shown}", searches=False)
        self.items: list[Item] = []
        self._packets = 0
        self._changed = threading.Condition()  # serialises the feed's thread, which appends to items, with the one that waits
        self.feed.add_sink(self)

    def __enter__(self) -> Self:
        self.feed.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop()

    def receive(self, items: Sequence[Item]) -> None:
        """Keep the items of the feed, up to MOST_PACKETS packets."""
        with self._changed:
            if self._packets < MOST_PACKETS:
                self.items.extend(items)
                self._packets += sum(isinstance(item, Packet) for item in items)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition on the items holds, for `seconds` at most."""
        with self._changed:
            self._changed.wait_for(condition, max(0.0, seconds))

    def is_open(self) -> bool:
        """Return whether the handshake succeeded."""
        return any(change.state is ConnectionState.OPEN for change in self._changes())

    def has_packets(self) -> bool:
        """Return whether a packet came."""
        return self._packets > 0

    def is_wrong_path(self) -> bool:
        """Return whether the server answers but refuses this path, and not because of a token."""
        error = self._error()
        return isinstance(error, ConnectFailed) and error.status in {403, 404} and "refuses this token" not in str(error)

    def is_settled(self) -> bool:
        """Return whether the place has answered or failed."""
        return self.is_open() or self._error() is not None

    def is_heard(self) -> bool:
        """Return whether listening longer would show nothing new: enough packets came, or the server refused for good."""
        last = self.items[-1]
        return self._packets >= MOST_PACKETS or (isinstance(last, StateChange) and last.error is not None and last.retry_s is None)

    def attempt(self) -> Attempt:
        """Return how the visit went."""
        began = opened = None
        for change in self._changes():
            if change.state is ConnectionState.CONNECTING:
                began = change.at
            elif change.state is ConnectionState.OPEN:
                opened = change.at
                break
        if opened is not None and began is not None:
            return Attempt(self.feed.url, (opened.mono_ns - began.mono_ns) / 1e6, None)
        return Attempt(self.feed.url, None, str(self._error() or f"{self.feed.url} did not answer in time"))

    def _changes(self) -> list[StateChange]:
        return [item for item in self.items if isinstance(item, StateChange)]

    def _error(self) -> FeedError | None:
        return next((change.error for change in self._changes() if change.error is not None), None)
