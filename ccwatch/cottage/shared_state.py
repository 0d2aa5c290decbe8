"""The state that the workers of one port share through Redis: connections by address, and everyone's figures. It serves nothing.

Connections are counted there as they come and go, so that a limit per address holds over all workers; figures are written once a second.
A worker that dies says nothing more: its supervisor forgets it, else what it wrote lapses.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import StreamAddress

log = logging.getLogger("ccwatch.cottage")

PERIOD_S: Final = 1.0
"""Seconds between two writings of figures and counts; each costs a worker about a millisecond."""
ALIVE_MS: Final = 3000
"""How long a worker's part is valid after it was last written."""
ANSWER_S: Final = 1.0
"""Seconds that a client who connects waits for Redis; without an answer its worker counts alone."""
_FITS: Final = """
local sum = tonumber(ARGV[2])
for i = 2, #KEYS do sum = sum + tonumber(redis.call('HGET', KEYS[i], ARGV[1]) or '0') end
if sum > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
"""Count a worker's connections of an address, if with those of the others they are no more than the limit."""

_WRITE_ALL: Final = """
redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""


class Shared:
    """One worker's part, and the last known parts of the others. A context manager."""

    def __init__(self, address: StreamAddress, port: str, worker: int, workers: int) -> None:
        """Prepare the part; it is written once the context is entered.

        Args:
            address: where the stream is.
            port: a name of the port that the workers have in common: other servers of the same stream have other ones.
            worker: this worker's number, from 0.
            workers: how many there are.
        """
        self.address, self.worker = address, str(worker)
        self._port = port
        self._others_names = [str(n) for n in range(workers) if n != worker]
        self._stop = threading.Event()
        self._others: dict[str, str] = {}  # replaced whole by its thread, read by the loop's
        self._figures: Callable[[], str] = str
        self._counts: dict[str, Callable[[], Mapping[str, int]]] = {}
        self._thread = threading.Thread(target=self._run, name="ccwatch-shared", daemon=True)
        # One connection, on which commands keep their order: a count that was read earlier must not come later.
        self._asking: Any = redis.asyncio.Redis.from_url(
            address.url,
            socket_connect_timeout=ANSWER_S,
            socket_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
        )
        self._writing: set[asyncio.Task[None]] = set()

    def use_figures(self, figures: Callable[[], str]) -> None:
        """Set the function whose result, the figures as Prometheus reads them, is shared; called by another thread."""
        self._figures = figures

    def metrics(self) -> dict[str, str]:
        """Return the other workers' figures as Prometheus' text, by worker."""
        return self._others

    # ── connections, on the loop's thread ──

    def count(self, site: str, connections: Callable[[], Mapping[str, int]]) -> SharedCount:
        """Count a site's connections, by address, together with the other workers'."""
        self._counts[site] = connections
        return SharedCount(self, site)

    async def fits(self, site: str, ip: str, own: int, limit: int) -> bool:
        """Count this worker's connections of an address, and return whether there are no more than the limit with the others'."""
        names = [self._name("clients", worker) for worker in (self.worker, *self._others_names)]
        try:
            async with asyncio.timeout(ANSWER_S):
                return bool(await self._asking.eval(_FITS, len(names), *names, f"{site} {ip}", own, limit, ALIVE_MS))
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("the other workers are not heard: %s", error)
            return True

    def left(self, site: str, ip: str, own: int) -> None:
        """Note that a connection of an address has ended."""
        self._soon(self._write(f"{site} {ip}", own))

    async def keep_counts(self) -> None:
        """Write all counts once a second, until cancelled: what Redis has forgotten is there again."""
        while True:
            await self._write_all()
            await asyncio.sleep(PERIOD_S)

    async def close(self) -> None:
        """Forget this worker's connections."""
        await asyncio.gather(*self._writing)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._asking.delete(self._name("clients", self.worker))
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("the others hear by themselves that this worker has ended: %s", error)
        await self._asking.aclose()

    def _soon(self, writing: Any) -> None:
        task = asyncio.create_task(writing)
        self._writing.add(task)  # a task that nothing refers to may be collected
        task.add_done_callback(self._writing.discard)

    async def _write(self, name: str, own: int) -> None:
        key = self._name("clients", self.worker)
        try:
            async with asyncio.timeout(ANSWER_S):
                await (self._asking.hset(key, name, own) if own else self._asking.hdel(key, name))
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("the other workers get no counts: %s", error)

    async def _write_all(self) -> None:
        key = self._name("clients", self.worker)
        counts = {f"{site} {ip}": count for site, connections in self._counts.items() for ip, count in connections().items()}
        words = [word for pair in counts.items() for word in pair]
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._asking.eval(_WRITE_ALL, 1, key, ALIVE_MS, *words)
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("the other workers get no counts: %s", error)

    # ── figures, on a thread of its own ──

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _name(self, what: str, worker: str) -> str:
        return _name(self.address, self._port, what, worker)

    def _run(self) -> None:
        own, others = self._name("figures", self.worker), [self._name("figures", worker) for worker in self._others_names]
        while not self._stop.is_set():
            try:
                with self.address.client() as client:
                    while not self._stop.is_set():
                        client.set(own, self._figures(), px=ALIVE_MS)
                        values: Any = client.mget(others) if others else []
                        self._others = {name: value.decode() for name, value in zip(self._others_names, values, strict=True) if value}
                        self._stop.wait(PERIOD_S)
                    client.delete(own)
            except (RedisError, OSError, ValueError, TimeoutError) as error:
                log.debug("the other workers are not heard: %s", error)
            except Exception:
                log.exception("this worker's figures cannot be shared; it goes on")
            self._others = {}
            self._stop.wait(PERIOD_S)


class SharedCount:
    """The connections of one site, over all workers."""

    def __init__(self, shared: Shared, site: str) -> None:
        self._shared, self._site = shared, site

    async def fits(self, ip: str, own: int, limit: int) -> bool:
        """Return whether all workers together have no more connections of an address than the limit."""
        return await self._shared.fits(self._site, ip, own, limit)

    def left(self, ip: str, own: int) -> None:
        """Note that a connection of an address has ended."""
        self._shared.left(self._site, ip, own)


def forget(address: StreamAddress, port: str, worker: int) -> None:
    """Forget a worker that has died, so that its clients are let in by the others at once."""
    try:
        with address.client() as client:
            client.delete(*(_name(address, port, what, str(worker)) for what in ("clients", "figures")))
    except (RedisError, OSError) as error:
        log.debug("what a dead worker wrote lapses by itself: %s", error)


def _name(address: StreamAddress, port: str, what: str, worker: str) -> str:
    return f"{address.stream}:{port}:{what}:{worker}"
