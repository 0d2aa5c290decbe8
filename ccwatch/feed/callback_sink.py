"""A user's callback as a Sink: it runs on a separate thread, so that it can be slow or fail without hurting the feed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ccwatch.protocol.messages import Item, Packet
from ccwatch.stream.callback_errors import Failures

MOST_WAITING: Final = 10_000
LAST_CALLS_S: Final = 0.5
"""How long, after the feed is stopped, waiting packets are still handed out."""


class CallbackSink:
    """Calls `callback(packet)` for each packet, in order. Packets beyond 10,000 waiting ones are dropped and counted.

    Its thread begins with the first packet, so that a callback on a stream that is over holds none.
    """

    def __init__(self, callback: Callable[[Packet], object], name: str) -> None:
        self.dropped = 0
        self._failures = Failures("a callback on packets")
        self._callback = callback
        self._name = name
        self._waiting: deque[Packet] = deque()
        self._arrived = threading.Condition()  # guards the queue: the feed's thread puts, ours takes, any may close
        self._thread: threading.Thread | None = None
        self._closing_at: float | None = None  # after this (time.monotonic) nothing is handed out any more

    @property
    def errors(self) -> int:
        """Return how many of its calls have failed."""
        return self._failures.count

    def receive(self, items: Sequence[Item]) -> None:
        """Queue the packets among the items; never wait for the callback."""
        with self._arrived:
            if self._closing_at is not None:
                return
            for item in items:
                if isinstance(item, Packet):
                    if len(self._waiting) < MOST_WAITING:
                        self._waiting.append(item)
                    else:
                        self.dropped += 1
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._arrived.notify()

    def close(self, last_calls_s: float = 0.0) -> None:
        """Take no more packets, and hand out the waiting ones for `last_calls_s` at most; the rest is dropped and counted.

        Does not wait for that, since the callback itself may call us.
        """
        with self._arrived:
            closing_at = time.monotonic() + last_calls_s
            self._closing_at = closing_at if self._closing_at is None else min(closing_at, self._closing_at)
            if last_calls_s <= 0:
                self._drop()
            self._arrived.notify()

    def _next(self) -> Packet | None:
        """Return the next packet to hand out, once there is one; None at the end."""
        with self._arrived:
            while not self._waiting and self._closing_at is None:
                self._arrived.wait()
            if self._closing_at is not None and time.monotonic() >= self._closing_at:
                self._drop()
            return self._waiting.popleft() if self._waiting else None

    def _drop(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()

    def _run(self) -> None:
        while (packet := self._next()) is not None:
            self._failures.guard(self._callback, packet)
