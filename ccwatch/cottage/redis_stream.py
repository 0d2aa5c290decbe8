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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from ccwatch.errors import ConfigError, ConnectFailed
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from ccwatch.protocol.session import Session
from ccwatch.stream.source import Sink, Stop, read_clock

log = logging.getLogger("ccwatch.cottage")

MAX_LENGTH: Final = 100_000
"""Approximate count of entries that a stream keeps."""
MAX_AGE_S: Final = 24 * 3600.0
"""Approximate age of the oldest entry that a stream keeps."""
MOST_WAITING: Final = 10_000
"""Most messages that a writer keeps while Redis is gone; older ones are lost, and the numbers show it."""
BLOCK_S: Final = 0.5
COUNT: Final = 256
CONNECT_S: Final = 2.0
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
LEASE_S: Final = 2.0
"""Seconds after its last sign of life that a reader of a group counts as alive."""
HAND_OVER_S: Final = 0.7
"""Seconds that a reader that ends waits for its recorder's disk."""
_FIELDS: Final = (b"raw", b"data", b"payload", b"message")


@dataclass(frozen=True)
class StreamAddress:
    """The address of a stream, redis://[:PASSWORD@]HOST:PORT/DB?stream=NAME, and how it is read."""

    url: str
    stream: str
    start: str | None = None
    """The id beyond which reading begins; "0" begins at the oldest entry, "$" after the newest; None begins at the newest."""
    group: str | None = None
    """Name of a group of readers, of which one reads; when it dies, another goes on with the entries that it had not finished."""

    @classmethod
    def parse(cls, url: str) -> StreamAddress:
        """Read the address in a url.

        Raises:
            ConfigError: the url is no such address; the message shows nothing of it, since it may hold a password.
        """
        try:
            parts = urlsplit(url)
            words = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            valid = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            valid, words = False, {}
        if not valid or not words.get("stream") or not words.keys() <= {"stream", "start", "group"}:
            raise ConfigError("expected redis://HOST:PORT/DB?stream=NAME, with &start=ID or &group=NAME where wanted")
        return cls(urlunsplit(parts._replace(query="")), words["stream"], words.get("start"), words.get("group"))

    @property
    def shown(self) -> str:
        """Return the address without its password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}?stream={self.stream}"

    def client(self) -> redis.Redis:
        """Return a client that does not reconnect by itself: a reader must notice what was written meanwhile."""
        return redis.Redis.from_url(
            self.url, socket_connect_timeout=CONNECT_S, socket_timeout=CONNECT_S + BLOCK_S, retry=Retry(NoBackoff(), 0)
        )


class Entry(NamedTuple):
    """One entry of a stream."""

    id: bytes
    raw: bytes
    epoch: bytes
    n: int | None
    at_ns: int | None


# ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class StreamWriter:
    """A Sink that writes messages to a stream in its own thread; while Redis is gone they wait. A context manager."""

    def __init__(self, address: StreamAddress, *, max_length: int = MAX_LENGTH, max_age_s: float = MAX_AGE_S) -> None:
        """Begin to write at once."""
        self._address, self._max_length, self._max_age_s = address, max_length, max_age_s
        self._waiting: deque[tuple[int, bytes, int]] = deque()
        self._changed = threading.Condition()  # serialises what adds messages with the thread that writes them
        self._asked, self._idle = 0, True
        self._stop = Stop()
        self._epoch = b""
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
            self._waiting.append((self._asked, raw, time.time_ns()))
            self._changed.notify_all()

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
        """Return the number after which this writer counts: it continues the stream's last number and epoch, if there are any."""
        if self._epoch:
            return self._base
        last = _newest(client, self._address.stream, 1)
        if last and last[0].n is not None and last[0].epoch:
            self._epoch, self._base = last[0].epoch, last[0].n
        else:
            self._epoch, self._base = secrets.token_hex(8).encode(), 0
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
                for n, raw, at_ns in batch:
                    fields: dict[Any, Any] = {"raw": raw, "n": base + n, "epoch": self._epoch, "at": at_ns}
                    pipe.xadd(self._address.stream, fields, maxlen=self._max_length, approximate=True)
                pipe.execute()
            with self._changed:
                written = {n for n, _, _ in batch}
                while self._waiting and self._waiting[0][0] in written:
                    self._waiting.popleft()
                self.written += len(batch)
            if time.monotonic() - trimmed_at > 60.0:
                trimmed_at = time.monotonic()
                client.xtrim(self._address.stream, minid=int((time.time() - self._max_age_s) * 1000), approximate=True)

    def _complain(self, why: str) -> None:
        if why != self.trouble:
            log.warning("the stream %s cannot be written (%s); messages wait", self._address.shown, why)
        self.trouble = why


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class RedisStreamSource:
    """A stream of Redis as a Source: begins at its newest entry or where the address says, and resumes by id after an outage."""

    cuts_connections = False

    def __init__(self, address: StreamAddress, *, server_tz: str = "UTC", history: int = 1) -> None:
        """Prepare a source that is not connected yet.

        Args:
            address: the stream's address.
            server_tz: IANA zone of timestamps without an offset.
            history: count of the last entries to begin with, where the address does not say where to begin.
        """
        self.address = address
        self.origin = "live"
        self.durable: Callable[[], int] | None = None
        """Returns the `seq` of the last durable packet, where a recorder reads for a group: another reader repeats later ones."""
        self.trouble: str | None = "not connected yet"
        self._group = address.group or ""
        self._server_tz, self._history = server_tz, history
        self._at: bytes | None = None
        self._last: Entry | None = None
        self._name = secrets.token_hex(8)
        self._unacknowledged: deque[tuple[int, bytes]] = deque()

    def __repr__(self) -> str:
        return f"<RedisStreamSource {self.address.shown}>"

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        """Deliver to `sink` until `stop` is set."""
        session = Session(server_tz=self._server_tz)
        attempt = 0
        while not stop.is_set():
            sink.receive(session.connecting(read_clock()))
            opened = False
            try:
                with self.address.client() as client:
                    client.ping()
                    self.trouble, opened, attempt = None, True, 0
                    sink.receive(session.opened(read_clock(), f"url={self.address.shown}"))
                    self._read(client, session, sink, stop)
            except (RedisError, OSError) as error:
                self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
                if opened:
                    sink.receive(session.closed(read_clock(), f"reason={self.trouble}"))
                else:
                    failed = ConnectFailed(f"{self.address.shown}: {self.trouble}")
                    sink.receive(session.closed(read_clock(), f"reason={self.trouble}", error=failed))
                stop.wait(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1

    def _read(self, client: redis.Redis, session: Session, sink: Sink, stop: Stop) -> None:
        if self.address.group is None:
            self._begin(client, session, sink)
            while not stop.is_set():
                self._deliver(_read_from(client, self.address.stream, self._at or b"$"), session, sink)
        else:
            self._join(client)
            while not stop.is_set():
                if self._holds_the_lease(client):
                    self._read_for_the_group(client, session, sink, stop)
                elif stop.wait(BLOCK_S):
                    return

    def _begin(self, client: redis.Redis, session: Session, sink: Sink) -> None:
        """Find where to go on; the first time, begin at the newest entries or where the address says."""
        if self._at is not None:
            newest = _newest(client, self.address.stream, 1)
            if newest and _order(newest[0].id) < _order(self._at):  # restarted, and by a clock that went back
                self._at = b"0"
            return
        start = self.address.start
        if start is None:
            self._at = b"0"
            self._deliver(_newest(client, self.address.stream, self._history)[::-1], session, sink)
        elif start == "$":
            newest = _newest(client, self.address.stream, 1)
            self._at = newest[0].id if newest else b"0"
        else:
            self._at = start.encode()

    def _deliver(self, entries: Sequence[Entry], session: Session, sink: Sink) -> None:
        if not entries:
            late = session.tick(read_clock())
            if late:
                sink.receive(late)
        for entry in entries:
            now = read_clock()
            items: list[Item] = []
            hole = self._hole_before(entry)
            if hole:
                items.append(session.event(EventKind.GAP, now, hole))
            items += session.receive(entry.raw, now)
            self._at, self._last = entry.id, entry
            seq = next((item.seq for item in reversed(items) if isinstance(item, Packet | Event)), 0)
            self._unacknowledged.append((seq, entry.id))
            sink.receive(items)

    def _hole_before(self, entry: Entry) -> str:
        """Return the detail of a gap event if entries are missing between the last one and this; otherwise an empty text."""
        last = self._last
        if last is None or last.n is None or entry.n is None:
            return ""
        seconds = max(0.0, ((entry.at_ns or 0) - (last.at_ns or 0)) / 1e9)
        if entry.epoch != last.epoch:
            return f"seconds={seconds:.3f} messages=unknown reason=restarted"
        missing = entry.n - last.n - 1
        return f"seconds={seconds:.3f} messages={missing} reason=missing" if missing > 0 else ""

    # ── a group ──

    def _join(self, client: redis.Redis) -> None:
        # A Redis that was restarted empty has forgotten the group: everything written since is read.
        start = "0" if self._last is not None else self.address.start or "$"
        try:
            client.xgroup_create(self.address.stream, self._group, id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    @property
    def _lease(self) -> str:
        return f"{self.address.stream}:{self.address.group}:reader"

    def _holds_the_lease(self, client: redis.Redis) -> bool:
        """Take or renew the lease to read for the group, and return whether this reader has it."""
        if client.set(self._lease, self._name, nx=True, px=int(LEASE_S * 1000)):
            return True
        if client.get(self._lease) == self._name.encode():
            client.pexpire(self._lease, int(LEASE_S * 1000))
            return True
        return False

    def _read_for_the_group(self, client: redis.Redis, session: Session, sink: Sink, stop: Stop) -> None:
        """Read the entries that a dead reader had not finished, then new ones, until another reader has the lease."""
        name, group, stream = self._name, self._group, self.address.stream
        try:
            cursor: Any = b"0-0"
            while True:
                cursor, claimed, *_ = client.xautoclaim(stream, group, name, 0, start_id=cursor, count=COUNT)
                self._deliver(_entries(claimed), session, sink)
                if cursor in {b"0-0", "0-0"}:
                    break
            while not stop.is_set():
                found: Any = client.xreadgroup(group, name, {stream: ">"}, count=COUNT, block=int(BLOCK_S * 1000))
                self._deliver(_entries(found[0][1]) if found else [], session, sink)
                self._acknowledge(client)
                if not self._holds_the_lease(client):
                    return
        finally:
            if stop.is_set():
                self._hand_over(client)

    def _acknowledge(self, client: redis.Redis) -> bool:
        """Acknowledge the entries that are durable, and return whether others are left."""
        safe = None if self.durable is None else self.durable()
        done = []
        while self._unacknowledged and (safe is None or self._unacknowledged[0][0] <= safe):
            done.append(self._unacknowledged.popleft()[1])
        if done:
            client.xack(self.address.stream, self._group, *done)
        return bool(self._unacknowledged)

    def _hand_over(self, client: redis.Redis) -> None:
        """Wait until all entries that were read are durable, then give up the lease, so that another reader begins at once."""
        deadline = time.monotonic() + HAND_OVER_S
        try:
            while self._acknowledge(client) and time.monotonic() < deadline:
                time.sleep(0.02)
            if client.get(self._lease) == self._name.encode():
                client.delete(self._lease)
        except (RedisError, OSError):
            log.debug("the lease of %s runs out by itself", self._lease)


def _order(id_: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split(b"-") if part.isdigit())


def _read_from(client: redis.Redis, stream: str, at: bytes) -> list[Entry]:
    found: Any = client.xread({stream: at}, count=COUNT, block=int(BLOCK_S * 1000))
    return _entries(found[0][1]) if found else []


def _newest(client: redis.Redis, stream: str, count: int) -> list[Entry]:
    """Return the last entries, the newest first."""
    return _entries(client.xrevrange(stream, count=count))


def _entries(found: Any) -> list[Entry]:
    return [_entry(id_, fields) for id_, fields in found if fields]  # an entry that was trimmed while it was pending has no fields


def _entry(id_: bytes, fields: dict[bytes, bytes]) -> Entry:
    raw = next((fields[name] for name in _FIELDS if name in fields), None)
    if raw is None:
        raw = (
            next(iter(fields.values()))
            if len(fields) == 1
            else codec.dumps({k.decode("utf-8", "replace"): _plain(v) for k, v in fields.items()})
        )
    return Entry(id_, raw, fields.get(b"epoch", b""), _whole(fields.get(b"n")), _whole(fields.get(b"at")))


def _plain(value: bytes) -> Any:
    try:
        return codec.loads(value)
    except Exception:  # noqa: BLE001 - whatever it is, it is text then
        return value.decode("utf-8", "replace")


def _whole(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else None
