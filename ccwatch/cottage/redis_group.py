"""A group of readers of one stream of Redis, of which one reads at a time: when it dies, another goes on, and no packet comes twice.

The reader has a lease. Before it gives entries to its recorder it writes down, while it still has the lease, which `seq` each becomes and
where the recording is; when they are on the disk it acknowledges them. The next reader looks up for every entry that was not
acknowledged whether the recording of the former reader holds it, and reads only the others. Where that recording cannot be looked at, the
entries are read again, and a mark says how many. It knows no client and no site.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import RedisError, ResponseError

from ccwatch.cottage.redis_entries import BLOCK_S, COUNT, Entry, StreamAddress, entries_of, hole_before
from ccwatch.protocol.facts import Gap
from ccwatch.protocol.messages import EventKind, Item, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import Held, Keeper, Sink, Stop, read_clock

log = logging.getLogger("ccwatch.cottage")

LEASE_S: Final = 2.0
"""Seconds after its last sign of life that a reader of a group counts as alive."""
HAND_OVER_S: Final = 0.7
"""Seconds that a reader that ends waits for its recorder's disk."""
SETTLE_S: Final = 1.0
"""Seconds between two looks at what former readers had not finished."""
PLACES: Final = 3
"""Recordings of one reader that an entry may be in: the newest ones, since a recorder may go on in a new one."""
SETTLED_AT_ONCE: Final = 64
"""Entries of former readers that are read at once: few, so that a slow machine keeps its lease meanwhile."""
_TAKE_LEASE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if holder then return tonumber(redis.call('GET', KEYS[2]) or redis.call('INCR', KEYS[2])) end
return redis.call('INCR', KEYS[2])
"""
"""Take or renew the lease and return its term, which counts how often it was taken; 0 where another reader has it."""
_HAND_ON: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[4], ARGV[4])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
return 1
"""
"""Write down which entries a reader gives to its recorder; 0 where another one took the lease since."""


class Handed(NamedTuple):
    """An entry that a reader gave to its recorder: its packets' first and last `seq` there, and where the recordings are."""

    reader: str
    first: int
    last: int
    places: tuple[str, ...]


class Group:
    """One reader of a group. Used on the source's thread only, but for `kept_by`."""

    def __init__(self, address: StreamAddress, group: str, looks_at: Callable[[Entry], None] = lambda _entry: None) -> None:
        """Prepare a reader that has not joined yet.

        Args:
            address: the address of the stream.
            group: the name of the group.
            looks_at: called with each entry before its packets are delivered.
        """
        self._looks_at = looks_at
        self._address, self._group = address, group
        self._name = secrets.token_hex(8)
        base = f"{address.stream}:{group}"
        self._lease, self._term_key, self._handed_key, self._last_key = (f"{base}:{word}" for word in ("reader", "term", "handed", "last"))
        self._term = 0
        self._keepers: deque[Keeper] = deque(maxlen=PLACES)
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._last: Entry | None = None
        self._has_joined = False
        self._looked: dict[str, Held] = {}  # what the recordings of former readers that have ended hold

    def kept_by(self, keeper: Keeper) -> None:
        """Count entries as finished only once this recorder has saved their packets; called again when it goes on in another one."""
        self._keepers.append(keeper)

    def read(self, client: redis.Redis, reader: StreamReader, sink: Sink, stop: Stop) -> None:
        """Read whenever this reader has the lease, until `stop` is set."""
        self._join(client)
        while not stop.is_set():
            if self._holds_the_lease(client):
                self._read_with_the_lease(client, reader, sink, stop)
            else:
                self._acknowledge(client)  # what was read before another took the lease
                stop.wait(BLOCK_S)

    def _join(self, client: redis.Redis) -> None:
        # A Redis that was restarted empty has forgotten the group: everything written since is read.
        start = "0" if self._has_joined else self._address.start or "$"
        try:
            client.xgroup_create(self._address.stream, self._group, id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._has_joined = True

    def _holds_the_lease(self, client: redis.Redis) -> bool:
        """Take or renew the lease to read for the group, and return whether this reader has it."""
        self._term = int(client.eval(_TAKE_LEASE, 2, self._lease, self._term_key, self._name, int(LEASE_S * 1000)))
        return self._term > 0

    def _keeps_the_lease(self, client: redis.Redis) -> bool:
        """Renew the lease, and return whether no other reader had it meanwhile: what was looked up before may be wrong then."""
        term = self._term
        return self._holds_the_lease(client) and self._term == term

    def _read_with_the_lease(self, client: redis.Redis, reader: StreamReader, sink: Sink, stop: Stop) -> None:
        """Read the entries that a former reader had not finished, then new ones, until another reader has the lease."""
        stream = self._address.stream
        self._last = _last_of(client.get(self._last_key)) or self._last
        settled_at, left = time.monotonic(), self._settle(client, reader, sink)
        try:
            while not stop.is_set():
                found: Any = client.xreadgroup(self._group, self._name, {stream: ">"}, count=COUNT, block=int(BLOCK_S * 1000))
                entries = entries_of(found[0][1]) if found else []
                if not entries:
                    late = reader.tick(read_clock())
                    if late:
                        sink.receive(late)
                if not self._deliver(client, entries, reader, sink):
                    return
                self._acknowledge(client)
                if not self._keeps_the_lease(client):
                    return
                if left and time.monotonic() - settled_at > SETTLE_S:
                    settled_at, left = time.monotonic(), self._settle(client, reader, sink)
        finally:
            if stop.is_set():
                self._hand_over(client)

    # ── giving entries to the recorder ──

    def _deliver(
        self, client: redis.Redis, entries: Sequence[Entry], reader: StreamReader, sink: Sink, known: dict[bytes, int] | None = None
    ) -> bool:
        """Give entries to the sink, and return whether this reader still had the lease; without it nothing was given.

        Args:
            client: the connection.
            entries: new ones; or with `known` those that a former reader did not finish.
            reader: makes packets of them.
            sink: the receiver.
            known: by id, how many of the entry's first packets the former reader's recording holds.
        """
        if not entries:
            return True
        now, last = read_clock(), self._last
        made: list[tuple[Entry, list[Item], int, int]] = []
        for entry in entries:
            self._looks_at(entry)
            hole = hole_before(entry, last) if known is None else None
            items: list[Item] = [reader.event(EventKind.GAP, now, hole)] if hole else []
            items += _without_first(reader.receive(entry.raw, now), (known or {}).get(entry.id, 0))
            seqs = [item.seq for item in items if isinstance(item, Packet)]
            first = seqs[0] if seqs else reader.seq
            made.append((entry, items, first, seqs[-1] if seqs else reader.seq))
            last = entry if last is None or known is None or _is_after(entry, last) else last
        if not self._hand_on(client, made, last or entries[-1]):
            return False
        self._last = last
        for entry, items, _, seq in made:
            self._unacknowledged.append((seq, entry.id))
            sink.receive(items)
        return True

    def _hand_on(self, client: redis.Redis, made: Sequence[tuple[Entry, Any, int, int]], last: Entry) -> bool:
        arguments: list[Any] = [self._name, self._term, int(LEASE_S * 1000), _text_of(last)]
        if self._keepers:
            places = [place for keeper in self._keepers for place in keeper.places()]
            for entry, _, first, seq in made:
                arguments += [entry.id, json.dumps([self._name, first, seq, places])]
        return bool(client.eval(_HAND_ON, 4, self._lease, self._term_key, self._handed_key, self._last_key, *arguments))

    # ── what former readers did not finish ──

    def _settle(self, client: redis.Redis, reader: StreamReader, sink: Sink) -> bool:
        """Read what former readers had taken and did not record, and return whether some of it has to be looked at again.

        A reader that lost the lease but still runs finishes what it took.
        """
        mine = {id_ for _, id_ in self._unacknowledged}
        growing = False
        at = "-"
        while True:
            pending: Any = client.xpending_range(self._address.stream, self._group, min=at, max="+", count=SETTLED_AT_ONCE)
            if not pending:
                return growing
            at = f"({pending[-1]['message_id'].decode()}"
            ids = [row["message_id"] for row in pending if row["message_id"] not in mine]
            recorded: list[bytes] = []
            taken: dict[bytes, int] = {}
            doubtful = 0
            for id_, value in zip(ids, client.hmget(self._handed_key, ids) if ids else [], strict=True):
                handed = _handed_of(value)
                if handed is None:
                    taken[id_] = 0
                    continue
                held = self._held(handed)
                if held.is_growing:
                    growing = True
                elif held.last_seq is None:
                    taken[id_] = 0
                    doubtful += 1
                elif handed.last <= held.last_seq:
                    recorded.append(id_)
                else:
                    taken[id_] = max(0, held.last_seq - handed.first + 1)
            self._finish(client, recorded)
            if not self._keeps_the_lease(client) or not self._take(client, taken, doubtful, reader, sink):
                return True

    def _held(self, handed: Handed) -> Held:
        if handed.reader == self._name:
            return Held(handed.last)  # given to this recorder, and acknowledged before Redis went back to an earlier state
        if handed.reader not in self._looked:
            found = self._keepers[-1].held(handed.places) if self._keepers else Held(None)
            if found.last_seq is None:
                return found
            self._looked[handed.reader] = found
        return self._looked[handed.reader]

    def _take(self, client: redis.Redis, taken: dict[bytes, int], doubtful: int, reader: StreamReader, sink: Sink) -> bool:
        """Read entries of former readers, and return whether this reader still had the lease."""
        if not taken:
            return True
        ids: list[Any] = list(taken)
        found = entries_of(client.xclaim(self._address.stream, self._group, self._name, 0, ids))
        others = taken.keys() - {entry.id for entry in found}  # trimmed, or acknowledged by the former reader meanwhile
        trimmed = [id_ for id_ in others if not client.xrange(self._address.stream, id_, id_)]
        if trimmed:
            sink.receive([reader.event(EventKind.GAP, read_clock(), Gap(messages=len(trimmed), reason="trimmed", is_numbered=True))])
            self._finish(client, trimmed)
        if not self._deliver(client, found, reader, sink, taken):
            return False
        if doubtful:
            text = f"up to {doubtful} messages may be recorded twice: the recording of the reader before cannot be looked at from here"
            sink.receive([reader.event(EventKind.MARK, read_clock(), text)])
        return True

    # ── what is finished ──

    def _acknowledge(self, client: redis.Redis) -> bool:
        """Acknowledge the entries whose packets are on the disk, and return whether others are left."""
        safe = max((keeper.durable_seq() for keeper in self._keepers), default=None)
        done = []
        while self._unacknowledged and (safe is None or self._unacknowledged[0][0] <= safe):
            done.append(self._unacknowledged.popleft()[1])
        self._finish(client, done)
        return bool(self._unacknowledged)

    def _finish(self, client: redis.Redis, ids: Sequence[bytes]) -> None:
        if ids:
            with client.pipeline(transaction=True) as pipe:
                pipe.xack(self._address.stream, self._group, *ids)
                pipe.hdel(self._handed_key, *ids)
                pipe.execute()

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


def _without_first(items: Sequence[Item], packets: int) -> list[Item]:
    """Return the items without so many of the first packets."""
    kept: list[Item] = []
    for item in items:
        if packets > 0 and isinstance(item, Packet):
            packets -= 1
        else:
            kept.append(item)
    return kept


def _is_after(entry: Entry, last: Entry) -> bool:
    return entry.epoch != last.epoch or (entry.n or 0) > (last.n or 0)


def _text_of(entry: Entry) -> str:
    return json.dumps([entry.id.decode(), entry.epoch.decode("utf-8", "replace"), entry.n, entry.at_ns])


def _last_of(value: Any) -> Entry | None:
    """Return the entry that the group's readers gave on last; None where there is none, or something else wrote the key."""
    try:
        id_, epoch, n, at_ns = json.loads(value or b"null")
        return Entry(str(id_).encode(), b"", str(epoch).encode(), None if n is None else int(n), None if at_ns is None else int(at_ns))
    except (ValueError, TypeError):
        return None


def _handed_of(value: Any) -> Handed | None:
    try:
        reader, first, last, places = json.loads(value or b"null")
        return Handed(str(reader), int(first), int(last), tuple(str(place) for place in places))
    except (ValueError, TypeError):
        return None
