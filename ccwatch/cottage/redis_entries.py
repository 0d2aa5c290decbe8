"""Entries of a stream of Redis: where they are, how one is read, and the newest ones. It knows no reader and no writer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.facts import Gap

BLOCK_S: Final = 0.25
"""Seconds that one read waits, less than a server gives its source to end."""
COUNT: Final = 256
CONNECT_S: Final = 2.0
LONGEST_ORIGIN: Final = 32
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

    @property
    def name(self) -> str:
        """Return the name of a feed of it: readers of a group, or from another entry on, have names of their own."""
        more = [f"&{word}={value}" for word, value in (("start", self.start), ("group", self.group)) if value is not None]
        return "".join([self.shown, *more])

    def client(self) -> redis.Redis:
        """Return a connected client that does not reconnect by itself: a reader must notice what was written meanwhile.

        Raises:
            RedisError: it cannot be reached.
        """
        return redis.Redis.from_url(
            self.url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=CONNECT_S + BLOCK_S,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,  # a pool costs as much again as a read
        )


class Entry(NamedTuple):
    """One entry of a stream."""

    id: bytes
    raw: bytes
    epoch: bytes
    n: int | None
    at_ns: int | None
    origin: str = ""
    """The origin that its writer gave, such as "synthetic"; empty for none, as for a live stream."""


def order(id_: bytes) -> tuple[int, ...]:
    """Return an id as numbers, which compare as ids do."""
    return tuple(int(part) for part in id_.split(b"-") if part.isdigit())


def read_from(client: redis.Redis, stream: str, at: bytes) -> list[Entry]:
    """Return the entries after an id, waiting for the first one for at most `BLOCK_S`."""
    found: Any = client.xread({stream: at}, count=COUNT, block=int(BLOCK_S * 1000))
    return entries_of(found[0][1]) if found else []


def newest(client: redis.Redis, stream: str, count: int) -> list[Entry]:
    """Return the last entries, the newest first."""
    return entries_of(client.xrevrange(stream, count=count))


def entries_of(found: Any) -> list[Entry]:
    """Return the entries of an answer of Redis."""
    return [_entry(id_, fields) for id_, fields in found if fields]  # an entry that was trimmed while it was pending has no fields


def hole_before(entry: Entry, last: Entry | None) -> Gap | None:
    """Return what a gap event says if entries are missing between the last numbered one and this."""
    if last is None or last.n is None or entry.n is None:
        return None
    seconds = round(max(0.0, ((entry.at_ns or 0) - (last.at_ns or 0)) / 1e9), 3)
    if entry.epoch != last.epoch:
        return Gap(seconds, reason="restarted", is_numbered=True)
    missing = entry.n - last.n - 1
    if missing < 0:
        return Gap(seconds, reason="backwards", is_numbered=True)
    return Gap(seconds, missing, reason="missing", is_numbered=True) if missing else None


def _entry(id_: bytes, fields: dict[bytes, bytes]) -> Entry:
    raw = next((fields[name] for name in _FIELDS if name in fields), None)
    if raw is None:
        raw = (
            next(iter(fields.values()))
            if len(fields) == 1
            else codec.dumps({k.decode("utf-8", "replace"): _plain(v) for k, v in fields.items()})
        )
    origin = fields.get(b"origin", b"")[:LONGEST_ORIGIN].decode("ascii", "replace")
    return Entry(
        id_, raw, fields.get(b"epoch", b""), _whole(fields.get(b"n")), _whole(fields.get(b"at")), origin if origin.isidentifier() else ""
    )


def _plain(value: bytes) -> Any:
    try:
        return codec.loads(value)
    except Exception:  # noqa: BLE001 - whatever it is, it is text then
        return value.decode("utf-8", "replace")


def _whole(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 20 else None
