"""The loop of the commands that print what a stream brings while it comes."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TypeVar

from ccwatch.cli import rendering
from ccwatch.feed.feed import Feed
from ccwatch.protocol.messages import StateChange

Arrived = TypeVar("Arrived")


def follow(
    feed: Feed,
    arrived: queue.SimpleQueue[Arrived],
    lines: int | None,
    *,
    show: Callable[[Arrived], None],
    counts: Callable[[Arrived], bool],
) -> None:
    """Start a feed and show what comes into the queue, until so many that count have come; None is until the feed ends.

    Raises:
        FeedError: the one that has ended the stream, once it was shown.
    """
    left = lines
    feed.start()
    while left is None or left > 0:
        try:
            item = arrived.get(timeout=rendering.STATUS_PERIOD_S)
        except queue.Empty:
            continue
        show(item)
        if left is not None and counts(item):
            left -= 1
        if isinstance(item, StateChange) and item.error is not None and item.retry_s is None:
            raise item.error
