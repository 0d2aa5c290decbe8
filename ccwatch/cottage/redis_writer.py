"""The writer of a stream of Redis: bounds it, numbers what it writes, and is its only one.

Each entry has the message (`raw`), its number in the writer's epoch (`n`, `epoch`) and when it came (`at`, ns since 1970); by the numbers a
reader sees how many are missing. The numbers go on from writer to writer, the epochs do not. It knows no client and no site.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

import redis
from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import BLOCK_S, COUNT, StreamAddress, newest
from ccwatch.cottage.writer_lease import Addition, Lease, LeaseLost
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from ccwatch.stream.source import Stop

log = logging.getLogger("ccwatch.cottage")

MAX_LENGTH: Final = 100_000
"""Approximate count of entries that a stream keeps."""
MAX_AGE_S: Final = 24 * 3600.0
"""Approximate age of the oldest entry that a stream keeps."""
MOST_WAITING: Final = 10_000
"""Most messages that a writer keeps while Redis is gone; older ones are lost, and the numbers show it."""
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)


class StreamWriter:
    """A Sink that writes messages to a stream in its own thread. A context manager.

    While Redis is gone, or another writer has the right to write the stream, they wait.
    """

    def __init__(
        self,
        address: StreamAddress,
        *,
        owner: str | None = None,
        origin: str = "live",
        max_length: int = MAX_LENGTH,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        """Begin to write as soon as no other owner does.

        Args:
            address: the stream's address.
            owner: the name that processes which follow each other have in common; None is one of this writer's own.
            origin: the origin of the messages; all but "live" is in every entry, so that no reader takes it for a live one.
            max_length: approximate count of entries that the stream keeps.
            max_age_s: approximate age of the oldest entry that the stream keeps.
        """
        self._address, self._max_length, self._max_age_s = address, max_length, max_age_s
        self._origin = "" if origin == "live" else origin
        self._lease = Lease(address.stream, owner or secrets.token_hex(8))
        self._waiting: deque[tuple[int, bytes, int, bytes]] = deque()  # number, message, when it came, epoch
        self._changed = threading.Condition()  # serialises what adds messages with the thread that writes them
        self._asked, self._idle = 0, True
        self._stop = Stop()
        self._epoch = secrets.token_hex(8).encode()
        self._epochs = {self._epoch}
        self._base = 0
        self.begun = threading.Event()
        """Set once it has the right to write."""
        self.lost = threading.Event()
        """Set once another writer has it: this one is at its end."""
        self.dropped = 0
        """Count of messages that found no room while Redis was gone."""
        self.written = 0
        self.trouble: str | None = "not connected yet"
        self._thread = threading.Thread(target=self._run, name="ccwatch-stream-writer", daemon=True)
        self._thread.start()

    def receive(self, items: Sequence[Item], /) -> None:
        """Take packets; malformed messages are passed on as they came."""
        for item in items:
            if isinstance(item, Packet):
                self.add(item.raw or codec.encode(item))
            elif isinstance(item, Event) and item.kind == EventKind.MALFORMED and item.raw:
                self.add(item.raw)

    def add(self, raw: bytes) -> None:
        """Take a message without waiting."""
        with self._changed:
            self._asked += 1
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((self._asked, raw, time.time_ns(), self._epoch))
            self._changed.notify_all()

    def begin_epoch(self) -> None:
        """Begin another epoch with the next message: before it some are missing, and it is not known how many."""
        with self._changed:
            self._epoch = secrets.token_hex(8).encode()
            self._epochs.add(self._epoch)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, for so many seconds, and return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and self._idle, seconds)

    def stop(self) -> None:
        """Write the waiting messages, for half a second at most, and end. Stopping again does nothing."""
        if not self._stop.is_set() and self.trouble is None:
            self.flush(0.5)
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                with self._address.client() as client:
                    if self.begun.is_set():
                        self._forget_written_before(client)
                    elif not self._begin(client):
                        continue
                    self.trouble, attempt = None, 0
                    self._write(client)
            except LeaseLost as error:
                self._complain(str(error))
                self.lost.set()
                return
            except (RedisError, OSError) as error:
                self._complain(f"{type(error).__name__}: {error}".splitlines()[0])
                self._stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1

    def _begin(self, client: redis.Redis) -> bool:
        """Wait for the right to write, and return whether it came before the end.

        The numbers go on from the stream's last one. The epochs are this writer's own: what the writer before it still held, or did not
        hear, is missing, and no number would show that.
        """
        while not self._lease.take(client):
            self._complain("another server writes it; this one stands by")
            if self._stop.wait(BLOCK_S):
                return False
        last = newest(client, self._address.stream, 1)
        self._base = last[0].n if last and last[0].n is not None else 0
        self.begun.set()
        return True

    def _forget_written_before(self, client: redis.Redis) -> None:
        """Forget messages that were written, though the answer did not come."""
        last = newest(client, self._address.stream, 1)
        if last and last[0].n is not None and last[0].epoch in self._epochs:
            self._forget_written(last[0].n - self._base)

    def _write(self, client: redis.Redis) -> None:
        trimmed_at = 0.0
        while not self._stop.is_set():
            with self._changed:
                if not self._waiting:
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait(BLOCK_S)
                self._idle = not self._waiting
                batch = [self._waiting[i] for i in range(min(COUNT, len(self._waiting)))]
            entries = [Addition(raw, self._base + n, epoch, at_ns) for n, raw, at_ns, epoch in batch]
            self._lease.write(client, entries, self._max_length, self._origin)
            if batch:
                self._forget_written(batch[-1][0])
            if time.monotonic() - trimmed_at > 60.0:
                trimmed_at = time.monotonic()
                client.xtrim(self._address.stream, minid=int((time.time() - self._max_age_s) * 1000), approximate=True)
        self._lease.give_up(client)

    def _forget_written(self, n: int) -> None:
        """Remove the messages up to a number from those that wait."""
        with self._changed:
            while self._waiting and self._waiting[0][0] <= n:
                self._waiting.popleft()
                self.written += 1

    def _complain(self, why: str) -> None:
        if why != self.trouble:
            log.warning("the stream %s: %s; messages wait", self._address.shown, why)
        self.trouble = why
