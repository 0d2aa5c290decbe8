"""The bridge from Redis: what engines publish there becomes messages of the stream, and a gap is announced (contract 1.2, 4).

It listens to the channels of deployed engines and to the key that is set while trading is halted; `channels` translates them. It
owns no client and no site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.redis_channels import (
    CHANNELS,
    EVENTS,
    HALT_KEY,
    TICKS,
    is_set,
    log_message,
    read,
    status_message,
    status_of,
    translate,
)
from ccwatch.errors import ConfigError, DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.text import plain

log = logging.getLogger("ccwatch.cottage")

TITLE: Final = "🧠 BrainStream: RedisBridge"
BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
CONNECT_S: Final = 2.0
PING_S: Final = 3.0
SILENT_S: Final = 10.0
"""Seconds without an answer to a ping after which a connection counts as gone."""
BLOCK_S: Final = 1.0
"""Seconds that one read waits: redis-py's own socket timeout is 5 s."""


@dataclass(slots=True)
class BridgeTally:
    """The counters of the bridge so far."""

    up: bool = False
    received: Counter[str] = field(default_factory=Counter)
    """Count of messages by channel; the ticks of all symbols count as one channel."""
    malformed: int = 0
    gaps: int = 0
    gap_s: float = 0.0


class RedisBridge:
    """Listens to Redis, and reconnects when it is gone. Used on the loop's thread only."""

    def __init__(
        self,
        url: str,
        publish: Callable[[Message, bool], None],
        *,
        on_status: Callable[[str, Message], None] = lambda _status, _message: None,
        on_gap: Callable[[], None] = lambda: None,
        channels: Sequence[str] = CHANNELS,
        patterns: Sequence[str] = (f"{TICKS}*",),
    ) -> None:
        """Prepare a bridge that is not connected yet.

        Args:
            url: redis://HOST:PORT/DB or rediss://…
            publish: called with each message, and whether it is for the BFF's clients too.
            on_status: called with a status from Redis (HALT or ACTIVE) and its message, before that is published.
            on_gap: called once Redis is back, before the next message.
            channels: the channels to listen to.
            patterns: patterns of further channels.

        Raises:
            ConfigError: no such url; the message shows nothing of it, since it may hold a password.
        """
        try:
            parts = urlsplit(url)
            valid = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = False
        if not valid:
            raise ConfigError("redis: expected redis://HOST:PORT/DB")
        self.tally = BridgeTally()
        self._url = url
        self._publish = publish
        self._on_status = on_status
        self._on_gap = on_gap
        self._channels, self._patterns = channels, patterns
        self.has_looked = False
        """Whether it has read once if trading is halted."""
        self._status: str | None = None
        self._lost_at: float | None = None
        self._trouble = ""

    async def run(self) -> None:
        """Listen until cancelled. While Redis is gone, connecting is tried again, and the stream goes on."""
        attempt = 0
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                attempt = 0 if self.tally.up else attempt
                self._lose(f"{type(error).__name__}: {_one_line(error)}")
            except Exception:
                log.exception("%s: failed; it connects again", TITLE)
                self._lose("an error of the bridge")
            await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            attempt += 1

    async def announce(self, what: str) -> bool:
        """Announce a HALT or RESUME on Redis, set or clear the key of a halt, and return whether that was done."""
        event = {"event": f"SYSTEM_{what}", "data": {"source": "cottage", "timestamp": _now()}}
        try:
            async with asyncio.timeout(CONNECT_S), self._client() as client:
                if what == "HALT":
                    await client.set(HALT_KEY, "true")
                else:
                    await client.delete(HALT_KEY)
                await client.publish(EVENTS, codec.dumps(event))
        except (RedisError, OSError, TimeoutError) as error:
            log.error("%s: %s could not be announced (%s)", TITLE, what, _one_line(error))  # noqa: TRY400 - no trace: it is the network's
            return False
        return True

    def _client(self) -> redis.asyncio.Redis:
        # No retries of its own: redis-py would reconnect unseen, and messages published meanwhile would be missing silently.
        return redis.asyncio.Redis.from_url(
            self._url, socket_connect_timeout=CONNECT_S, socket_timeout=SILENT_S, retry=Retry(NoBackoff(), 0), health_check_interval=0
        )

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._client() as client, client.pubsub() as pubsub:
            await pubsub.subscribe(*self._channels)
            if self._patterns:
                await pubsub.psubscribe(*self._patterns)
            self._find()
            await self._look_at_the_key(client)
            heard = pinged = loop.time()
            while True:
                message = await pubsub.get_message(timeout=BLOCK_S)
                now = loop.time()
                if message is not None:
                    heard = now
                    if message["type"] in {"message", "pmessage"}:
                        self._take(message["channel"].decode("utf-8", "replace"), message["data"])
                        await asyncio.sleep(0)  # a flood must not keep the loop from its other clients
                if now - heard > SILENT_S:
                    raise TimeoutError("no answer to a ping")
                if now - pinged > PING_S:
                    await pubsub.ping()
                    await self._look_at_the_key(client)
                    pinged = now

    async def _look_at_the_key(self, client: redis.asyncio.Redis) -> None:
        """Read the key of a halt, which may have been set before this bridge listened, or without an announcement."""
        value = await client.get(HALT_KEY)
        self.has_looked = True
        status = "HALT" if is_set(value) else "ACTIVE"
        if status != (self._status or "ACTIVE"):
            state = "is set" if status == "HALT" else "is gone"
            self._report_status(status, status_message(status, f"RedisBridge: the key {HALT_KEY} {state}", _now()))

    def _report_status(self, status: str, message: Message) -> None:
        self._status = status
        self._on_status(status, message)
        self._publish(message, True)

    def _find(self) -> None:
        loop_time = asyncio.get_running_loop().time()
        self.tally.up = True
        self._trouble = ""
        if self._lost_at is None:
            log.info("%s: listening", TITLE)
            return
        seconds = loop_time - self._lost_at
        self._lost_at = None
        self.tally.gaps += 1
        self.tally.gap_s += seconds
        self._on_gap()
        self._report("WARNING", f"gap of {seconds:.1f} s: Redis is back, and what was published there meanwhile is missing")

    def _lose(self, why: str) -> None:
        if self.tally.up:
            self.tally.up = False
            self._lost_at = asyncio.get_running_loop().time()
            self._report("WARNING", f"Redis is gone ({why}); the stream goes on without it")
        elif why != self._trouble:
            log.warning("%s: Redis cannot be reached (%s); it is asked again", TITLE, why)
        self._trouble = why

    def _report(self, level: str, text: str) -> None:
        """Write a text to the log and to the stream."""
        log.warning("%s: %s", TITLE, text)
        self._publish(log_message(level, f"RedisBridge: {text}", _now()), True)

    def _take(self, channel: str, raw: bytes) -> None:
        self.tally.received[f"{TICKS}*" if channel.startswith(TICKS) else channel] += 1
        try:
            value = read(raw)
            message, for_everybody = translate(channel, value, _now())
            status = status_of(value) if channel == EVENTS else None
            if status is None:
                self._publish(message, for_everybody)
            else:
                self._report_status(status, message)
        except DecodeError as error:
            self.tally.malformed += 1
            log.warning("%s: malformed message on %s: %s", TITLE, _one_line(channel), error)


def commands_from(url: str, on_status: Callable[[str, Message], None]) -> RedisBridge:
    """Return a bridge that listens to halts and their ends alone, and publishes nothing by itself.

    Raises:
        ConfigError: no such url.
    """
    return RedisBridge(url, lambda _message, _for_everybody: None, on_status=on_status, channels=(EVENTS,), patterns=())


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _one_line(what: object) -> str:
    text = str(what)
    with contextlib.suppress(IndexError):
        text = text.splitlines()[0]
    return plain(text, 200)
