"""The embedded BFF: WELCOME, then TELEMETRY, pushed by its engine or polled from any (contract section 4). It knows no source."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp
from aiohttp import web

from ccwatch.cottage.access import Gate, Grant
from ccwatch.cottage.broadcaster import Client, Message, SlowPolicy, StateBroadcaster
from ccwatch.cottage.command_keys import CommandKeys
from ccwatch.cottage.endpoint import Endpoint, Outcome
from ccwatch.cottage.engine import Engine, command_routes, state_of
from ccwatch.cottage.site_http import health
from ccwatch.errors import DecodeError
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.server_paths import AGENTS_PATH, COMMAND_PATHS, MODELS_PATH, ORIGIN_HEADER, STATE_PATH

log = logging.getLogger("ccwatch.cottage")

TITLE: Final = "📡 Telemetry"
POLL_S: Final = 1.0
"""The contract's polling interval."""
ANSWER_S: Final = 2.0
"""Seconds that an engine may take to answer."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_SAID_BYTES: Final = 2000
"""Most bytes of an engine's answer to a command that are passed back."""
MADE_UP: Final = frozenset({"synthetic", "replay"})
"""Origins that must not pass for a live stream, wherever they are passed on."""
INITIALIZING: Final[dict[str, Any]] = {
    "timestamp": None,
    "status": "Initializing",
    "market": {"price": 0.0, "alpha": 0.0, "regime": "Unknown"},
    "sentiment": {"label": "Neutral", "score": 0.0},
    "signals": [],
    "logs": [],
}
"""The state with which deployed BFFs welcome before they have reached their engine: zeros that mean "not known yet"."""


class Bff:
    """Welcomes each client with the last state, then sends it every packet. Used on the loop's thread only."""

    def __init__(
        self,
        welcomed: Callable[[], None],
        gate: Gate,
        *,
        policy: SlowPolicy | None = None,
        engine: Engine | None = None,
        base: str | None = None,
        pushed: bool = True,
        protocol: int = 1,
        keys: CommandKeys | None = None,
    ) -> None:
        """Prepare a BFF without state.

        Args:
            welcomed: called when a client was greeted.
            gate: decides who may watch and command.
            policy: when slow clients skip messages and are dropped.
            engine: the embedded engine, to which commands go.
            base: the base url of another engine's REST routes, to which commands are passed on.
            pushed: whether it receives everything that the engine streams, so that a client can subscribe to another symbol.
            protocol: the highest that clients may ask for.
            keys: the commands that were obeyed, where the engine's own site obeys them too.
        """
        self.broadcaster = StateBroadcaster(policy, protocol=protocol)
        self.endpoint = Endpoint(TITLE, self.broadcaster, self, gate, welcomed, keys=keys)
        self._engine = engine
        self._base = base
        self._pushed = pushed
        self.trouble: str | None = None
        """The reason why its engine cannot be heard; None while it can."""

    def publish(self, message: Message) -> None:
        """Send a message to every client, byte for byte."""
        self.broadcaster.publish(message)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of its site: any path upgrades to a WebSocket."""
        return [
            web.get("/api/health", self._health),
            web.get("/health", self._health),
            *command_routes(self.endpoint),
            web.get("/{path:.*}", self.endpoint.handle),
        ]

    # ── as a site ──

    def greeting(self) -> Iterable[Message]:
        """Return WELCOME with the last state, and the standing message."""
        latest = self.broadcaster.latest
        data = INITIALIZING if latest is None else state_of(codec.loads(latest.payload))
        standing = None if self._engine is None else self._engine.standing
        return (Message.of(codec.dumps({"type": "WELCOME", "data": data})), *([] if standing is None else [standing]))

    async def command(self, what: str, grant: Grant) -> Outcome:
        """Pass HALT or RESUME on to the engine, and return the outcome."""
        if self._engine is not None:
            return await self._engine.command(what, grant)
        return await self._pass_on(what, grant)

    def subscribe(self, client: Client, symbol: str) -> bool:
        """Subscribe as the engine does; a polled engine has one symbol only."""
        return self._engine is not None and (self._pushed or not symbol) and self._engine.subscribe(client, symbol)

    async def _pass_on(self, what: str, grant: Grant) -> Outcome:
        headers = {"Authorization": f"Bearer {grant.token}"} if grant.token else {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S), headers=headers) as session:
            for path in COMMAND_PATHS[what]:
                try:
                    async with session.post(f"{self._base}{path}", allow_redirects=False) as response:
                        if response.status in {404, 405}:
                            continue
                        said = (await response.content.read(MAX_SAID_BYTES)).decode("utf-8", "replace")
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    return Outcome(502, {"error": f"the engine cannot be reached: {type(error).__name__}"})
                passed = {"command": what, "engine_status": response.status, "engine_said": said}
                return Outcome(
                    response.status, passed if response.status < 300 else {**passed, "error": f"the engine answers {response.status}"}
                )
        return Outcome(404, {"error": f"the engine has no route for {what}"})

    async def _health(self, _request: web.Request) -> web.Response:
        return health("bff", self.broadcaster, self.trouble or (None if self._engine is None else self._engine.trouble))


class Poller:
    """Asks an engine for its state once a second, and publishes each answer, even if nothing changed."""

    def __init__(self, base: str, bff: Bff, headers: dict[str, str]) -> None:
        """Prepare a poller for this BFF of the engine at `base`; the origin of a made-up stream is noted in `headers`."""
        self._base = base
        self._bff = bff
        self._headers = headers

    async def run(self) -> None:
        """Poll until cancelled. An engine that is down is asked again; meanwhile nothing is published."""
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
            due = loop.time()
            while True:
                await self._poll(session)
                due = max(due + POLL_S, loop.time())
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
        market = data.get("market")
        symbol = market.get("symbol") if isinstance(market, dict) else data.get("symbol")
        raw = codec.dumps({"type": "TELEMETRY", "data": data})
        self._bff.publish(Message.of(raw, symbol=symbol if isinstance(symbol, str) else None))

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        """Return the engine's answer at a path; None where its status is not 200, or it is not a JSON object."""
        async with session.get(self._base + path) as response:
            if response.headers.get(ORIGIN_HEADER) in MADE_UP:
                self._headers[ORIGIN_HEADER] = response.headers[ORIGIN_HEADER]
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
        """Log once that the engine is in trouble, or that it is back."""
        known = self._bff.trouble
        if trouble and not known:
            log.warning("%s: no state from the engine (%s)", TITLE, trouble)
        elif known and not trouble:
            log.info("%s: the engine answers", TITLE)
        self._bff.trouble = trouble and f"no state from the engine: {trouble}"
