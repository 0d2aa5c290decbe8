"""The embedded engine: `/ws/stream` and the REST routes that a BFF polls (contract sections 1, 2, 4). It knows no BFF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from ccwatch.cottage.broadcaster import Message, SlowPolicy, StateBroadcaster
from ccwatch.cottage.endpoint import Endpoint, answer, health
from ccwatch.protocol import codec

TITLE: Final = "🧠 BrainStream"
STREAM_PATHS: Final = ("/ws/stream", "/api/ws/stream")
STATE_PATH: Final = "/api/system/state/current"
AGENTS_PATH: Final = "/api/system/metrics/agents"
MODELS_PATH: Final = "/api/system/metrics/models"
NO_STATE: Final = {"error": "No state available", "status": "offline"}


def state_of(message: dict[str, Any]) -> dict[str, Any]:
    """The state that a message carries: its `data` where it is enveloped, else its fields beside `type`."""
    data = message.get("data")
    if isinstance(data, dict):
        return data
    return {key: value for key, value in message.items() if key != "type"}


class Engine:
    """Streams what it is given and answers for the last state. Used on the loop's thread only."""

    def __init__(self, welcomed: Callable[[], None], policy: SlowPolicy | None = None) -> None:
        """An engine without state; `welcomed` is called when a client of its socket was greeted."""
        self.broadcaster = StateBroadcaster(policy)
        self.endpoint = Endpoint(TITLE, self.broadcaster, lambda: tuple(self.broadcaster.history), welcomed)

    def publish(self, message: Message) -> None:
        """Stream a message, in the words that it came in."""
        self.broadcaster.publish(message)

    def routes(self) -> list[web.RouteDef]:
        """Its site."""
        return [
            *(web.get(path, self.endpoint.handle) for path in STREAM_PATHS),
            web.get(STATE_PATH, self._state_current),
            web.get(AGENTS_PATH, self._metrics_agents),
            web.get(MODELS_PATH, self._metrics_models),
            web.get("/api/health", self._health),
        ]

    def _state(self) -> dict[str, Any] | None:
        latest = self.broadcaster.latest
        return None if latest is None else state_of(codec.loads(latest.payload))

    async def _state_current(self, _request: web.Request) -> web.Response:
        state = self._state()
        if state is None:
            return answer(NO_STATE)
        return answer({key: value for key, value in state.items() if key not in {"agents", "models"}})

    async def _metrics_agents(self, _request: web.Request) -> web.Response:
        return answer((self._state() or {}).get("agents", {}))

    async def _metrics_models(self, _request: web.Request) -> web.Response:
        return answer((self._state() or {}).get("models", {}))

    async def _health(self, _request: web.Request) -> web.Response:
        return health("engine", self.broadcaster)
