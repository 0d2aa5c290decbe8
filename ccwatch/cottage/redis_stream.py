"""A stream of Redis as the carrier: a writer that bounds it and numbers what it writes, and a Source that resumes by id.

Each entry has the message (`raw`), its number in the writer's epoch (`n`, `epoch`) and when it was written (`at`, ns since 1970). By the
numbers a reader sees how many are missing after an outage or a trim, or that Redis began empty. Streams of others are
read as well: an entry's `raw`, `data`, `payload` or `message`, else its only field. It knows no client and no site.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

import redis
from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import BLOCK_S, COUNT, Entry, StreamAddress, hole_before, newest, order, read_from
from ccwatch.cottage.redis_group import Group
from ccwatch.errors import ConnectFailed
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire.envelope import HIGHEST, LONGEST_EPOCH
from ccwatch.protocol.wire.track import STEP
from ccwatch.stream.source import DescribedSource, Keeper, Sink, Stop, read_clock

log = logging.getLogger("ccwatch.cottage")

MAX_LENGTH: Final = 100_000
"""Approximate count of entries that a stream keeps."""
MAX_AGE_S: Final = 24 * 3600.0
"""Approximate age of the oldest entry that a stream keeps."""
MOST_WAITING: Final = 10_000
"""Most messages that a writer keeps while Redis is gone; older ones are lost, and the numbers show it."""
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)

# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class StreamWriter:
    """A Sink that writes messages to a stream in its own thread; while Redis is gone they wait. A context manager."""

    def __init__(self, address: StreamAddress, *, max_length: int = MAX_LENGTH, max_age_s: float = MAX_AGE_S) -> None:
        """Begin to write at once."""
        self._address, self._max_length, self._max_age_s = address, max_length, max_age_s
        self._waiting: deque[tuple[int, bytes, int, bytes]] = deque()  # number, message, when it came, epoch
        self._changed = threading.Condition()  # serialises what adds messages with the thread that writes them
        self._asked, self._idle = 0, True
        self._stop = Stop()
        self._epoch = secrets.token_hex(8).encode()
        self._epochs = {self._epoch}
        self._has_begun = False
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
                    base = self._begin(client)
                    self.trouble, attempt = None, 0
                    self._write(client, base)
            except (RedisError, OSError) as error:
                self._complain(f"{type(error).__name__}: {error}".splitlines()[0])
                self._stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1

    def _begin(self, client: redis.Redis) -> int:
        """Return the number after which this writer counts: it continues the stream's last number, if there is one.

        Its epochs are its own: what the writer before it still held, or did not hear, is missing, and no number would show that.
        """
        last = newest(client, self._address.stream, 1)
        if self._has_begun:
            if last and last[0].n is not None and last[0].epoch in self._epochs:
                self._forget_written(last[0].n - self._base)  # written, though the answer did not come
            return self._base
        self._has_begun = True
        self._base = last[0].n if last and last[0].n is not None else 0
        return self._base

    _base = 0

    def _write(self, client: redis.Redis, base: int) -> None:
        trimmed_at = 0.0
        while not self._stop.is_set():
            with self._changed:
                if not self._waiting:
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait(BLOCK_S)
                self._idle = not self._waiting
                batch = [self._waiting[i] for i in range(min(COUNT, len(self._waiting)))]
            if not batch:
                client.ping()
                continue
            with client.pipeline(transaction=True) as pipe:  # all or nothing: a repeated write must not be there twice
                for n, raw, at_ns, epoch in batch:
                    fields: dict[Any, Any] = {"raw": raw, "n": base + n, "epoch": epoch, "at": at_ns}
                    pipe.xadd(self._address.stream, fields, maxlen=self._max_length, approximate=True)
                pipe.execute()
            self._forget_written(batch[-1][0])
            if time.monotonic() - trimmed_at > 60.0:
                trimmed_at = time.monotonic()
                client.xtrim(self._address.stream, minid=int((time.time() - self._max_age_s) * 1000), approximate=True)

    def _forget_written(self, n: int) -> None:
        """Let the messages up to a number wait no longer."""
        with self._changed:
            while self._waiting and self._waiting[0][0] <= n:
                self._waiting.popleft()
                self.written += 1

    def _complain(self, why: str) -> None:
        if why != self.trouble:
            log.warning("the stream %s cannot be written (%s); messages wait", self._address.shown, why)
        self.trouble = why


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class RedisStreamSource(DescribedSource):
    """A stream of Redis as a Source: begins at its newest entry or where the address says, and resumes by id after an outage."""

    origin: str = "live"
    trouble: str | None = "not connected yet"

    def __init__(self, address: StreamAddress, *, server_tz: str = "UTC", history: int = 1) -> None:
        """Prepare a source that is not connected yet.

        Args:
            address: the stream's address.
            server_tz: IANA zone of timestamps without an offset.
            history: count of the last entries to begin with, where the address does not say where to begin.
        """
        self.address = address
        self._server_tz, self._history = server_tz, history
        self._at: bytes | None = None
        self._last: Entry | None = None  # the last entry with a number
        self._known: Entry | None = None  # the last one that was read before all had to be read again
        self.is_caught_up = False
        """Whether the entries that it begins with were read."""
        self._group = None if address.group is None else Group(address, address.group)

    @property
    def position(self) -> tuple[str, int] | None:
        """Return epoch and number of the entry that is being delivered, or of the last one that has a number. Of its own thread."""
        last = self._last
        if last is None or last.n is None or not last.epoch or (last.n + 1) * STEP > HIGHEST:
            return None
        return last.epoch.decode("ascii", "replace")[:LONGEST_EPOCH], last.n

    def __repr__(self) -> str:
        return f"<RedisStreamSource {self.address.shown}>"

    def kept_by(self, keeper: Keeper) -> None:
        """Count packets as read for the group only once a recorder has saved them."""
        if self._group is not None:
            self._group.kept_by(keeper)

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until `stop` is set."""
        session = StreamReader(server_tz=self._server_tz)
        attempt = 0
        while not stop.is_set():
            sink.receive(session.connecting(read_clock()))
            opened = False
            try:
                with self.address.client() as client:
                    client.ping()
                    self.trouble, opened, attempt = None, True, 0
                    sink.receive(session.opened(read_clock(), f"url={self.address.shown}"))
                    if self._group is None:
                        self._read(client, session, sink, stop)
                    else:
                        self._group.read(client, session, sink, stop)
            except (RedisError, OSError) as error:
                self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
                if opened:
                    sink.receive(session.closed(read_clock(), self.trouble))
                else:
                    failed = ConnectFailed(f"{self.address.shown}: {self.trouble}")
                    sink.receive(session.closed(read_clock(), self.trouble, error=failed))
                stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1

    def _read(self, client: redis.Redis, session: StreamReader, sink: Sink, stop: Stop) -> None:
        self._begin(client, session, sink)
        self.is_caught_up = True
        while not stop.is_set():
            self._deliver(read_from(client, self.address.stream, self._at or b"$"), session, sink)

    def _begin(self, client: redis.Redis, session: StreamReader, sink: Sink) -> None:
        """Find where to go on; the first time, begin at the newest entries or where the address says."""
        if self._at is not None:
            latest = newest(client, self.address.stream, 1)
            if latest and order(latest[0].id) < order(self._at):  # restarted, and by a clock that went back
                self._at, self._known = b"0", self._last
            return
        start = self.address.start
        if start is None:
            self._at = b"0"
            self._deliver(newest(client, self.address.stream, self._history)[::-1], session, sink)
        elif start == "$":
            latest = newest(client, self.address.stream, 1)
            self._at = latest[0].id if latest else b"0"
        else:
            self._at = start.encode()

    def _deliver(self, entries: Sequence[Entry], session: StreamReader, sink: Sink) -> None:
        if not entries:
            late = session.tick(read_clock())
            if late:
                sink.receive(late)
        for entry in entries:
            if self._is_known(entry):
                self._at = entry.id
                continue
            now = read_clock()
            hole = hole_before(entry, self._last)
            items: list[Item] = [session.event(EventKind.GAP, now, hole)] if hole else []
            items += session.receive(entry.raw, now)
            self._at = entry.id
            self._last = entry if entry.n is not None or self._last is None else self._last
            sink.receive(items)

    def _is_known(self, entry: Entry) -> bool:
        """Return whether an entry was read before Redis came back in an earlier state, so that all of it is read again."""
        known = self._known
        if known is None or known.n is None or entry.n is None:
            return False
        is_older = entry.epoch == known.epoch or (entry.at_ns or 0) <= (known.at_ns or 0)  # numbers go on from writer to writer
        if entry.n <= known.n and is_older:
            return True
        self._known = None
        return False
