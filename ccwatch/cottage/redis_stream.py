"""A stream of Redis as a Source, which resumes by id.

By the numbers of the entries (see `redis_writer`) a reader sees how many are missing after an outage or a trim, or that Redis began
empty. Streams of others are read as well: an entry's `raw`, `data`, `payload` or `message`, else its only field. It knows no client and
no site.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import redis
from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import COUNT, Entry, StreamAddress, hole_before, newest, order, read_from
from ccwatch.cottage.redis_group import Group
from ccwatch.errors import ConnectFailed
from ccwatch.protocol.messages import EventKind, Item
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.protocol.wire.channel_sender import STEP
from ccwatch.protocol.wire.envelope import HIGHEST, LONGEST_EPOCH
from ccwatch.stream.source import DescribedSource, Keeper, Sink, Stop, read_clock

BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)


class RedisStreamSource(DescribedSource):
    """A stream of Redis as a Source: begins at its newest entry or where the address says, and resumes by id after an outage."""

    origin: str = "live"
    """The origin that the entries name, once one was read."""
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
        self._caught_up_to_s = 0.0
        self._group = None if address.group is None else Group(address, address.group, self._note_origin)

    @property
    def position(self) -> tuple[str, int] | None:
        """Return epoch and number of the entry that is being delivered, or of the last one that has a number. Of its own thread."""
        last = self._last
        if last is None or last.n is None or not last.epoch or (last.n + 1) * STEP > HIGHEST:
            return None
        return last.epoch.decode("ascii", "replace")[:LONGEST_EPOCH], last.n

    @property
    def caught_up_to_s(self) -> float:
        """Return the moment of the monotonic clock up to which all that was written was delivered, in s; 0 before it was connected."""
        return self._caught_up_to_s

    def __repr__(self) -> str:
        return f"<RedisStreamSource {self.address.shown}>"

    def kept_by(self, keeper: Keeper) -> None:
        """Count packets as read for the group only once a recorder has saved them."""
        if self._group is not None:
            self._group.kept_by(keeper)

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until `stop` is set."""
        reader = StreamReader(server_tz=self._server_tz)
        attempt = 0
        while not stop.is_set():
            sink.receive(reader.connecting(read_clock()))
            opened = False
            try:
                with self.address.client() as client:
                    client.ping()
                    self.trouble, opened, attempt = None, True, 0
                    sink.receive(reader.opened(read_clock(), f"url={self.address.shown}"))
                    if self._group is None:
                        self._read(client, reader, sink, stop)
                    else:
                        self._group.read(client, reader, sink, stop)
            except (RedisError, OSError) as error:
                self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
                if opened:
                    sink.receive(reader.closed(read_clock(), self.trouble))
                else:
                    failed = ConnectFailed(f"{self.address.shown}: {self.trouble}")
                    sink.receive(reader.closed(read_clock(), self.trouble, error=failed))
                stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1

    def _read(self, client: redis.Redis, reader: StreamReader, sink: Sink, stop: Stop) -> None:
        asked_s, is_new = time.monotonic(), self._at is None and self.address.start is None
        self._begin(client, reader, sink)
        if is_new:
            self._caught_up_to_s = asked_s
        while not stop.is_set():
            asked_s = time.monotonic()
            entries = read_from(client, self.address.stream, self._at or b"$")
            self._deliver(entries, reader, sink)
            if len(entries) < COUNT:
                self._caught_up_to_s = asked_s

    def _begin(self, client: redis.Redis, reader: StreamReader, sink: Sink) -> None:
        """Find where to go on; the first time, begin at the newest entries or where the address says."""
        if self._at is not None:
            latest = newest(client, self.address.stream, 1)
            if latest and order(latest[0].id) < order(self._at):  # restarted, and by a clock that went back
                self._at, self._known = b"0", self._last
            return
        start = self.address.start
        if start is None:
            self._at = b"0"
            self._deliver(newest(client, self.address.stream, self._history)[::-1], reader, sink)
        elif start == "$":
            latest = newest(client, self.address.stream, 1)
            self._at = latest[0].id if latest else b"0"
        else:
            self._at = start.encode()

    def _deliver(self, entries: Sequence[Entry], reader: StreamReader, sink: Sink) -> None:
        if not entries:
            late = reader.tick(read_clock())
            if late:
                sink.receive(late)
        for entry in entries:
            if self._is_known(entry):
                self._at = entry.id
                continue
            self._note_origin(entry)
            now = read_clock()
            hole = hole_before(entry, self._last)
            items: list[Item] = [reader.event(EventKind.GAP, now, hole)] if hole else []
            items += reader.receive(entry.raw, now)
            self._at = entry.id
            self._last = entry if entry.n is not None or self._last is None else self._last
            sink.receive(items)

    def _note_origin(self, entry: Entry) -> None:
        if entry.origin:
            self.origin = entry.origin

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
