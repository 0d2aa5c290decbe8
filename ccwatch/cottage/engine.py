"""The embedded engine: `/ws/stream` and the REST routes that a BFF polls (contract sections 1, 2, 4). It knows no BFF."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiohttp import web

from ccwatch.cottage.access import Gate, Grant, Refusal
from ccwatch.cottage.broadcaster import HISTORY, Client, Message, SlowPolicy, StateBroadcaster
from ccwatch.cottage.command_keys import CommandKeys
from ccwatch.cottage.dialect import Speaker
from ccwatch.cottage.endpoint import Endpoint, Outcome
from ccwatch.cottage.site_http import answer, health, refused
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.server_paths import AGENTS_PATH, COMMAND_PATHS, HISTORY_PATH, MODELS_PATH, STATE_PATH, STATUS_PATH, STREAM_PATHS
from ccwatch.stream.source import Steerable

log = logging.getLogger("ccwatch.cottage")

TITLE: Final = "🧠 BrainStream"
NO_STATE: Final = {"error": "No state available", "status": "offline"}
MOST_SYMBOLS: Final = 1000
"""Most symbols of a stream that are remembered."""

Announce = Callable[[str], Awaitable[bool]]
"""A function that announces a command on Redis, and returns whether it could."""


def state_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return the state that a message carries: its `data` where it is enveloped, else its fields beside `type`."""
    data = message.get("data")
    if isinstance(data, dict):
        return data
    return {key: value for key, value in message.items() if key != "type"}


class Engine:
    """The engine: streams messages, answers with the last states, and obeys commands. Used on the loop's thread only."""

    def __init__(
        self,
        welcomed: Callable[[], None],
        gate: Gate,
        *,
        policy: SlowPolicy | None = None,
        speaker: Speaker | None = None,
        steering: Callable[[], Steerable | None] = lambda: None,
        protocol: int = 1,
        keys: CommandKeys | None = None,
    ) -> None:
        """Prepare an engine without state.

        Args:
            welcomed: called when a client of its socket was greeted.
            gate: decides who may watch and command.
            policy: when slow clients skip messages and are dropped.
            speaker: the shape in which it speaks on its socket.
            steering: returns the running source that obeys commands, if there is one.
            protocol: the highest that clients may ask for.
            keys: the commands that were obeyed, where the BFF obeys them too.
        """
        self.broadcaster = StateBroadcaster(policy, protocol=protocol)
        self._speaker = speaker or Speaker()
        self.endpoint = Endpoint(TITLE, self.broadcaster, self, gate, welcomed, reads=not self._speaker.is_deployed, keys=keys)
        self.states: deque[Message] = deque(maxlen=HISTORY)
        self.announce: Announce | None = None
        self.on_follow: Callable[[], None] = lambda: None
        self.standing: Message | None = None
        """A message for every new client besides the last states, such as that trading is halted; None without one."""
        self.trouble: str | None = None
        """The reason why no state can come any more; None while one can."""
        self._steering = steering
        self._symbols: set[str] = set()

    def publish(self, message: Message) -> None:
        """Stream a message, translated to the engine's dialect."""
        if message.symbol is not None and len(self._symbols) < MOST_SYMBOLS:
            self._symbols.add(message.symbol)
        if message.is_state and message.is_main:
            self.states.append(self._speaker.stored(message))
        for spoken in self._speaker.speak(message):
            self.broadcaster.publish(spoken)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of its site."""
        paths = STREAM_PATHS[1:] if self._speaker.is_deployed else STREAM_PATHS  # these serve everything under /api
        return [
            *(web.get(path, self.endpoint.handle) for path in paths),
            *(web.get(path, self._forbidden) for path in STREAM_PATHS if path not in paths),
            web.get(STATE_PATH, self._state_current),
            web.get(HISTORY_PATH, self._state_history),
            web.get(AGENTS_PATH, self._metrics_agents),
            web.get(MODELS_PATH, self._metrics_models),
            web.get(STATUS_PATH, self._status),
            web.get("/api/health", self._health),
            web.get("/health", self._health),
            *command_routes(self.endpoint),
        ]

    # ── as a site ──

    def greeting(self) -> Iterable[Message]:
        """Return the last ten states, as deployed engines replay them, and the standing message."""
        return (*self.broadcaster.history, *([] if self.standing is None else [self.standing]))

    async def command(self, what: str, grant: Grant) -> Outcome:
        """Pass HALT or RESUME on to the source and to Redis, and return the outcome."""
        announced = self.announce is not None and await self.announce(what)
        source = self._steering()
        if source is not None:
            (source.halt if what == "HALT" else source.resume)()
            log.warning("%s: %s by %s", TITLE, what, grant.ip)
            return Outcome(200, {"command": what, "announced": announced, "message": "the next state of the stream confirms it"})
        if announced:
            log.warning("%s: %s by %s, announced on Redis", TITLE, what, grant.ip)
            return Outcome(202, {"command": what, "announced": True, "message": "who trades has to obey; the stream confirms it"})
        return Outcome(409, {"error": f"nothing here can obey {what}: {self.trouble or 'the stream is a recording, or has ended'}"})

    def subscribe(self, client: Client, symbol: str) -> bool:
        """Send this client packets of `symbol` only ("" is the main stream again), and return whether there are any."""
        if symbol and self._steering() is None and symbol not in self._symbols:
            return False
        client.symbol = symbol or None
        self.on_follow()
        return True

    # ── REST ──

    def _state(self) -> dict[str, Any] | None:
        return state_of(codec.loads(self.states[-1].payload)) if self.states else None

    async def _state_current(self, _request: web.Request) -> web.Response:
        state = self._state()
        return answer(NO_STATE if state is None else _without_metrics(state))

    async def _state_history(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", str(HISTORY))
        if not (limit.isascii() and limit.isdecimal() and 0 < len(limit) < 7):
            return refused(Refusal(400, f"limit: expected a number from 1; the last {HISTORY} states are kept"))
        kept = list(self.states)[-int(limit) :] if int(limit) else []
        return answer([_without_metrics(state_of(codec.loads(message.payload))) for message in kept])

    async def _metrics_agents(self, _request: web.Request) -> web.Response:
        return answer((self._state() or {}).get("agents", {}))

    async def _metrics_models(self, _request: web.Request) -> web.Response:
        return answer((self._state() or {}).get("models", {}))

    async def _status(self, _request: web.Request) -> web.Response:
        state = self._state() or {}
        return answer({"status": state.get("status", "offline"), "timestamp": state.get("timestamp"), "clients": len(self.broadcaster)})

    async def _forbidden(self, _request: web.Request) -> web.Response:
        return web.Response(status=403)

    async def _health(self, _request: web.Request) -> web.Response:
        return health("engine", self.broadcaster, self.trouble)


def command_routes(endpoint: Endpoint) -> list[web.RouteDef]:
    """Return the routes of HALT and RESUME by REST, under both of the paths that deployed engines have."""

    def post(what: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await endpoint.post(request, what)

        return handle

    return [web.post(path, post(what)) for what, paths in COMMAND_PATHS.items() for path in paths]


def _without_metrics(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in {"agents", "models"}}
