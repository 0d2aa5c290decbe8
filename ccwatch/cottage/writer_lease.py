"""The right to write a stream of Redis: of all servers that share the stream one has it, the others stand by.

The right is a key that lapses by itself, and a term that counts how often it was given. Each write renews the key and is made by the same
script that looks at both, so that a writer which was paused for too long writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

LEASE_S: Final = 3.0
"""Seconds after its last sign of life that a writer keeps its right."""
_TAKE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
"""
"""Take the right, and return its term; 0 where another owner has it. Its own owner may take it again: the writer before is dead."""
_WRITE: Final = """
local holder, term = redis.call('GET', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or '0')
if (holder and holder ~= ARGV[1]) or term > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
local more = {}
if ARGV[5] ~= '' then more = {'origin', ARGV[5]} end
for i = 6, #ARGV, 4 do
  local fields = {'raw', ARGV[i], 'n', ARGV[i + 1], 'epoch', ARGV[i + 2], 'at', ARGV[i + 3], unpack(more)}
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
end
return 1
"""
"""Renew the right and add entries; 0 where another writer has or had it since. A Redis that came back empty gives it to who asks first."""
_GIVE_UP: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('GET', KEYS[2]) == ARGV[2] then redis.call('DEL', KEYS[1]) end
"""


class LeaseLost(Exception):
    """Another writer writes the stream now."""


class Addition(NamedTuple):
    """An entry to be added: its message, its number in the epoch, the epoch, and when the message came, ns since 1970."""

    raw: bytes
    n: int
    epoch: bytes
    at_ns: int


class Lease:
    """The right of one owner to write one stream. Used by the writer's thread only."""

    def __init__(self, stream: str, owner: str) -> None:
        """Prepare a right that is not taken yet.

        Args:
            stream: the name of the stream.
            owner: who asks, the same word for processes that follow each other, of which only one lives.
        """
        self._stream, self._owner, self._term = stream, owner, 0
        self._keys = (f"{stream}:writer", f"{stream}:writer:term")

    def take(self, client: redis.Redis) -> bool:
        """Take the right if no other owner has it, and return whether it was taken."""
        self._term = int(client.eval(_TAKE, 2, *self._keys, self._owner, int(LEASE_S * 1000)))
        return self._term > 0

    def write(self, client: redis.Redis, entries: Sequence[Addition], max_length: int, origin: str = "") -> None:
        """Add entries, all or none, and renew the right; without entries only the latter.

        Args:
            client: the connection.
            entries: the entries.
            max_length: approximate count of entries that the stream keeps.
            origin: the origin of a stream that is not live.

        Raises:
            LeaseLost: another writer has the right, or had it since.
        """
        words: list[Any] = [word for entry in entries for word in entry]
        arguments = [self._owner, self._term, int(LEASE_S * 1000), max_length, origin, *words]
        if not client.eval(_WRITE, 3, *self._keys, self._stream, *arguments):
            raise LeaseLost(f"another server writes the stream {self._stream}")

    def give_up(self, client: redis.Redis) -> None:
        """Release the right to write, so that another writer begins at once."""
        client.eval(_GIVE_UP, 2, *self._keys, self._owner, self._term)
