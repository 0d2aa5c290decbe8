"""The embedded BFF: WELCOME, then TELEMETRY, pushed by its engine or polled from any (contract section 4). It knows no source."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from ccwatch.cottage.broadcaster import Message, SlowPolicy, StateBroadcaster
from ccwatch.cottage.endpoint import Endpoint, health
from ccwatch.cottage.engine import AGENTS_PATH, MODELS_PATH, STATE_PATH, state_of
from ccwatch.errors import ConfigError, DecodeError
from ccwatch.protocol import codec

log = logging.getLogger("ccwatch.cottage")

TITLE: Final = "📡 Telemetry"
POLL_S: Final = 1.0
"""The contract's polling interval."""
ANSWER_S: Final = 2.0
"""How long an engine may take to answer."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
INITIALIZING: Final[dict[str, Any]] = {
    "timestamp": None,
    "status": "Initializing",
    "market": {"price": 0.0, "alpha": 0.0, "regime": "Unknown"},
    "sentiment": {"label": "Neutral", "score": 0.0},
    "signals": [],
    "logs": [],
}
"""What deployed BFFs welcome with before they have reached their engine: zeros that mean "not known yet"."""


class Bff:
    """Welcomes each client with the last state, then sends it every packet. Used on the loop's thread only."""

    def __init__(self, welcomed: Callable[[], None], policy: SlowPolicy | None = None) -> None:
        """A BFF that has not heard of an engine; `welcomed` is called when a client was greeted."""
        self.broadcaster = StateBroadcaster(policy)
        self.endpoint = Endpoint(TITLE, self.broadcaster, self._greeting, welcomed)

    def publish(self, message: Message) -> None:
        """Send a message to every client, byte for byte."""
        self.broadcaster.publish(message)

    def routes(self) -> list[web.RouteDef]:
        """Its site: any path upgrades."""
        return [web.get("/api/health", self._health), web.get("/{path:.*}", self.endpoint.handle)]

    def _greeting(self) -> tuple[Message]:
        latest = self.broadcaster.latest
        data = INITIALIZING if latest is None else state_of(codec.loads(latest.payload))
        return (Message.of(codec.dumps({"type": "WELCOME", "data": data})),)

    async def _health(self, _request: web.Request) -> web.Response:
        return health("bff", self.broadcaster)


def rest_base(engine_url: str) -> str:
    """Where the REST routes of an engine stand, from its http or ws url.

    Raises:
        ConfigError: not such a url.
    """
    wanted = "engine_url: expected http://HOST:PORT or ws://HOST:PORT/ws/stream"  # what came may hold a password
    try:
        parts = urlsplit(engine_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(wanted) from None
    scheme = {"ws": "http", "http": "http", "wss": "https", "https": "https"}.get(parts.scheme)
    if scheme is None or not host:
        raise ConfigError(wanted)
    return f"{scheme}://{parts.netloc}"


class Poller:
    """Asks an engine for its state once a second; publishes what it answers, the same again where nothing changed."""

    def __init__(self, base: str, publish: Callable[[Message], None], *, every_s: float = POLL_S) -> None:
        """A poller of the engine whose REST routes stand at `base`."""
        self._base = base
        self._publish = publish
        self._every_s = every_s
        self._trouble: str | None = None

    async def run(self) -> None:
        """Poll until cancelled. An engine that is down is asked again; meanwhile nothing is published."""
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
            due = loop.time()
            while True:
                await self._poll(session)
                due = max(due + self._every_s, loop.time())
                await asyncio.sleep(due - loop.time())

    async def _poll(self, session: aiohttp.ClientSession) -> None:
        try:
            state, agents, models = await asyncio.gather(
                self._get(session, STATE_PATH), self._get(session, AGENTS_PATH), self._get(session, MODELS_PATH)
            )
        except (aiohttp.ClientError, TimeoutError, DecodeError, OSError) as error:
            self._note(f"{type(error).__name__}: {error}")
            return
        except Exception:
            log.exception("%s: polling failed; it goes on", TITLE)
            return
        if not state or "error" in state:
            self._note(f"{STATE_PATH}: {(state or {}).get('error', 'no state')!s:.100}")
            return
        self._note(None)
        data = state_of(state)
        data |= {key: value for key, value in (("agents", agents), ("models", models)) if value}
        self._publish(Message.of(codec.dumps({"type": "TELEMETRY", "data": data})))

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        """What the engine answers there; None where it does not have the route, or answers something else than an object."""
        async with session.get(self._base + path) as response:
            if response.status != 200:
                return None
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise DecodeError(f"{path}: more than {MAX_ANSWER_BYTES} bytes")
        value = codec.loads(memoryview(body))
        return value if isinstance(value, dict) else None

    def _note(self, trouble: str | None) -> None:
        """Say once that the engine is in trouble, or that it is back."""
        if trouble and not self._trouble:
            log.warning("%s: no state from the engine (%s)", TITLE, trouble)
        elif self._trouble and not trouble:
            log.info("%s: the engine answers", TITLE)
        self._trouble = trouble
