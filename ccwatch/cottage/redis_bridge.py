"""The bridge from Redis: what engines publish there becomes messages of the stream, and a gap is announced (contract 1.2, 4).

It reads the channels of deployed engines in the three encodings that they use: raw JSON, FastStream's JSON envelope, and its
binary frame. It owns no client and no site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccwatch.cottage.broadcaster import Message
from ccwatch.errors import ConfigError, DecodeError
from ccwatch.protocol.decoding import codec

log = logging.getLogger("ccwatch.cottage")

TITLE: Final = "🧠 BrainStream: RedisBridge"
STATE, FORCES, FORECASTS, SIGNALS, EVENTS = "state_update", "physics.forces", "forecast.signals", "strategy.signals", "system_events"
TICKS: Final = "market.tick."
HALT_KEY: Final = "SYSTEM:HALT"
BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
CONNECT_S: Final = 2.0
PING_S: Final = 3.0
SILENT_S: Final = 10.0
"""A connection that answers no ping for this long is gone."""
BLOCK_S: Final = 1.0
"""How long one read waits: redis-py's own socket timeout is 5 s."""
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
BINARY: Final = b"\x89BIN\r\n\x1a\n"
RENAMED: Final = {"alpha_coefficient": "alpha", "momentum": "velocity"}


@dataclass(slots=True)
class BridgeTally:
    """What the bridge has done so far."""

    up: bool = False
    received: Counter[str] = field(default_factory=Counter)
    """Messages by channel; the ticks of all symbols count as one."""
    malformed: int = 0
    gaps: int = 0
    gap_s: float = 0.0


class RedisBridge:
    """Listens to Redis for as long as it runs, and connects again. Used on the loop's thread only."""

    def __init__(self, url: str, publish: Callable[[Message, bool], None]) -> None:
        """A bridge that is not connected.

        Args:
            url: redis://HOST:PORT/DB or rediss://…
            publish: takes a message, and whether it is for the BFF's clients too.

        Raises:
            ConfigError: not such a url; the message shows nothing of it, since it may hold a password.
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
        self._lost_at: float | None = None
        self._trouble = ""

    async def run(self) -> None:
        """Listen until cancelled. Redis that is absent or gone is asked again; the stream goes on meanwhile."""
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
        """Tell everybody on Redis of a HALT or RESUME, and set or clear the key that stands while halted; whether that was done."""
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
        # No retries of its own: redis-py would connect again unseen, and what was published meanwhile would be missing silently.
        return redis.asyncio.Redis.from_url(
            self._url, socket_connect_timeout=CONNECT_S, socket_timeout=SILENT_S, retry=Retry(NoBackoff(), 0), health_check_interval=0
        )

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._client() as client, client.pubsub() as pubsub:
            await pubsub.subscribe(STATE, FORCES, FORECASTS, SIGNALS, EVENTS)
            await pubsub.psubscribe(f"{TICKS}*")
            self._find()
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
                    pinged = now

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
        self._tell("WARNING", f"gap of {seconds:.1f} s: Redis is back, and what was published there meanwhile is missing")

    def _lose(self, why: str) -> None:
        if self.tally.up:
            self.tally.up = False
            self._lost_at = asyncio.get_running_loop().time()
            self._tell("WARNING", f"Redis is gone ({why}); the stream goes on without it")
        elif why != self._trouble:
            log.warning("%s: Redis cannot be reached (%s); it is asked again", TITLE, why)
        self._trouble = why

    def _tell(self, level: str, text: str) -> None:
        """Say it in the log and in the stream."""
        log.warning("%s: %s", TITLE, text)
        self._publish(_log_message(level, f"RedisBridge: {text}"), True)

    def _take(self, channel: str, raw: bytes) -> None:
        self.tally.received[f"{TICKS}*" if channel.startswith(TICKS) else channel] += 1
        try:
            self._publish(*translate(channel, read(raw)))
        except DecodeError as error:
            self.tally.malformed += 1
            log.warning("%s: malformed message on %s: %s", TITLE, _one_line(channel), error)


def read(raw: bytes) -> dict[str, Any]:
    """What was published: raw JSON, or JSON in one of FastStream's two envelopes.

    Raises:
        DecodeError: none of the three, or no JSON object.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise DecodeError(f"more than {MAX_PAYLOAD_BYTES} bytes")
    value = codec.loads(_unframed(raw) if raw.startswith(BINARY) else raw)
    if isinstance(value, dict) and isinstance(value.get("data"), str) and value.keys() <= {"data", "headers"}:
        value = codec.loads(value["data"].encode())
    if not isinstance(value, dict):
        raise DecodeError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _unframed(raw: bytes) -> bytes:
    """The body of FastStream's binary frame: magic, version (u16), where headers and body begin (u32 each), big-endian."""
    try:
        version, _, body = struct.unpack_from(">HII", raw, len(BINARY))
    except struct.error:
        raise DecodeError("a binary frame that is cut off") from None
    if version != 1 or not len(BINARY) + 10 <= body <= len(raw):
        raise DecodeError(f"a binary frame of version {version} that cannot be read")
    return raw[body:]


def translate(channel: str, value: dict[str, Any]) -> tuple[Message, bool]:
    """A channel's message as one of the stream, and whether it is for the BFF's clients too.

    A state goes to everybody, as TELEMETRY; the other channels become the partial packets of deployed bridges, on the engine's socket.
    """
    if channel == STATE:
        enveloped = value.get("data")
        state: dict[str, Any] = enveloped if isinstance(enveloped, dict) else value
        message = {"type": "TELEMETRY", **value} if state is enveloped else {"type": "TELEMETRY", "data": state}
        market = state.get("market")
        symbol = market.get("symbol") if isinstance(market, dict) else state.get("symbol")
        return Message.of(codec.dumps(message), symbol=symbol if isinstance(symbol, str) else None), True
    if channel == EVENTS:
        return _log_message("WARNING", f"system_events: {codec.text(value)[:500]}"), True
    head: dict[str, Any] = {"timestamp": value.get("timestamp") or _now(), "source": channel}
    body = {key: entry for key, entry in value.items() if key != "timestamp"}
    if channel == FORECASTS:
        lists = {name: entry if isinstance(entry, list) else [entry] for name, entry in body.items() if name in {"p10", "p50", "p90"}}
        body |= lists
        body["median"] = body.pop("p50", [])
        head["forecast"] = body
    elif channel == SIGNALS:
        body["confidence"] = body.pop("strength", None)
        head["signal"] = body
    else:
        if channel.startswith(TICKS):
            body = {"symbol": channel.removeprefix(TICKS), **body}
        head["market"] = {RENAMED.get(key, key): entry for key, entry in body.items()}
    symbol = body.get("symbol")
    # No state of its own: a part of one must not stand for the whole in a welcome or in REST.
    return Message.of(codec.dumps(head), is_state=False, symbol=symbol if isinstance(symbol, str) else None), False


def _log_message(level: str, text: str) -> Message:
    """A message that carries a log line and nothing else."""
    line = {"level": level, "message": text, "timestamp": _now()}
    return Message.of(codec.dumps({"type": "TELEMETRY", "data": {"timestamp": line["timestamp"], "logs": [line]}}), is_state=False)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _one_line(what: object) -> str:
    text = str(what)
    with contextlib.suppress(IndexError):
        text = text.splitlines()[0]
    return "".join(char if char.isprintable() else "�" for char in text[:200])
