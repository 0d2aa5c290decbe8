"""Feeds that belong together, such as the replays of two recordings: a tuple of feeds that waits and stops as one."""

from __future__ import annotations

import time
from typing import Self

from ccwatch.feed.feed import Feed


class Feeds(tuple[Feed, ...]):
    """Several feeds, in order; also a context manager. `cw.watch` shows them on one time axis."""

    __slots__ = ()

    def stop(self) -> None:
        """Stop them all."""
        for feed in self:
            feed.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended, for at most `timeout` seconds; return whether they have."""
        deadline = None if timeout is None else time.monotonic() + timeout
        return all(feed.join(None if deadline is None else max(0.0, deadline - time.monotonic())) for feed in self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
