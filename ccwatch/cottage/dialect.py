"""The dialects of the embedded engine: the contract's messages, or one of the shapes that deployed engines were observed to send."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from ccwatch.cottage import deployed
from ccwatch.cottage.broadcaster import Message
from ccwatch.errors import ConfigError
from ccwatch.protocol.decoding import codec

HISTORY: Final = 100
"""Count of prices that are remembered."""
LOOP_HISTORY: Final = 50
"""Count of prices that a state of the engine loop carries."""
DEPLOYED: Final = "deployed"
"""The dialect of an engine and a BFF as they were observed in operation: see `deployed`."""
HORIZON: Final = 5
"""Count of steps of a forecast."""
Z10: Final = 1.2815515655446004
"""The standard normal distribution's 90 % quantile."""
REGIMES: Final = {"Gaussian": "GAUSSIAN (Safe)", "Lévy Stable": "LÉVY STABLE (Risky)", "Critical": "CRITICAL (Chaos)"}
NO_SENTIMENT: Final = {"label": "N/A", "score": 0.0}

State = dict[str, Any]


class Speaker:
    """Turns messages of the contract into those of one dialect. Anything else passes through unchanged."""

    def __init__(self, dialect: str = "contract") -> None:
        """Prepare a speaker of one dialect.

        Args:
            dialect: "contract", "engine_loop", "bridge", "pipeline" or "deployed".

        Raises:
            ConfigError: an unknown dialect.
        """
        if dialect not in SPOKEN_DIALECTS:
            raise ConfigError(f"dialect: expected one of {', '.join(SPOKEN_DIALECTS)}, got {dialect!r}")
        self._shape = SPOKEN_DIALECTS[dialect]
        self._prices: deque[float] = deque(maxlen=HISTORY)
        self._symbol: object = None
        self.is_deployed = dialect == DEPLOYED
        self._database = deployed.Database()

    def speak(self, message: Message) -> Iterable[Message]:
        """Return the messages that say the same in the dialect."""
        if self._shape is None or not message.is_state:
            return (message,)
        state = codec.loads(message.payload).get("data")
        if not isinstance(state, dict) or not isinstance(state.get("market"), dict):
            return (message,)
        if state["market"].get("symbol") != self._symbol:
            self._symbol = state["market"].get("symbol")
            self._prices.clear()
        if isinstance(price := state["market"].get("price"), int | float):
            self._prices.append(float(price))
        if not self._prices:
            return (message,)
        shaped = self._shape(state, list(self._prices))
        return [Message.of(codec.dumps(part), symbol=message.symbol, is_main=message.is_main) for part in shaped]

    def stored(self, message: Message) -> Message:
        """Return the state as the engine's REST routes answer it to a BFF that polls; call it once for each state, in order."""
        if not self.is_deployed:
            return message
        read = codec.loads(message.payload)
        state = read.get("data") if isinstance(read, dict) else None
        if not isinstance(state, dict) or not isinstance(state.get("market"), dict):
            return message
        return Message.of(codec.dumps({**read, "data": self._database.state(state)}), symbol=message.symbol, is_main=message.is_main)


def _engine_loop(state: State, prices: list[float]) -> list[State]:
    signal = state.get("signal") or {}
    direction = {"BUY": 1.0, "SELL": -1.0}.get(signal.get("side", ""), 0.0)
    return [
        {
            "type": "TELEMETRY",
            "timestamp": state.get("timestamp"),
            "status": str(state.get("status", "")).lower(),
            "market": {**state["market"], "history": prices[-LOOP_HISTORY:]},
            "forecast": _forecast(state, prices),
            "scanner": [],
            "signal": {**signal, "score": direction * float(signal.get("confidence") or 0.0)},
            "sentiment": state.get("sentiment", NO_SENTIMENT),
            "logs": _lines(state),
        }
    ]


def _bridge(state: State, prices: list[float]) -> list[State]:
    """Return one partial packet for each part, with the server's local time and no offset (UTC in the usual container)."""
    head = {"timestamp": str(state.get("timestamp", "")).removesuffix("Z"), "source": "watchtower"}
    market, signal = state["market"], dict(state.get("signal") or {})
    if signal.get("side") == "FLAT":
        signal["side"] = "HOLD"
    parts = [{**head, "market": {**market, "regime": REGIMES.get(market.get("regime"), market.get("regime")), "history": []}}]
    if forecast := _forecast(state, prices):
        parts.append({**head, "forecast": forecast})
    if signal:
        parts.append({**head, "signal": signal, "sentiment": state.get("sentiment", NO_SENTIMENT)})
    return parts


def _pipeline(state: State, prices: list[float]) -> list[State]:
    market, signal = state["market"], state.get("signal") or {}
    return [
        {
            **{key: market.get(key) for key in ("symbol", "price")},
            **(state.get("portfolio") or {}),
            "current_alpha": market.get("alpha"),
            **{key: market.get(key) for key in ("regime", "velocity", "acceleration")},
            "signal_side": signal.get("side"),
            "signal_confidence": signal.get("confidence"),
            "reasoning": signal.get("reasoning"),
            "approved_size": (state.get("governance") or {}).get("approved_size"),
            "status": state.get("status"),
            "messages": _lines(state),
            "chronos_forecast": _forecast(state, prices),
        }
    ]


SPOKEN_DIALECTS: Final[dict[str, Callable[[State, list[float]], list[State]] | None]] = {
    "contract": None,
    "engine_loop": _engine_loop,
    "bridge": _bridge,
    "pipeline": _pipeline,
    DEPLOYED: deployed.burst,
}


def _lines(state: State) -> list[str]:
    """Return the log lines as text, without their times."""
    return [f"[{line.get('level')}]: {line.get('message')}" if isinstance(line, dict) else str(line) for line in state.get("logs") or []]


def _forecast(state: State, prices: list[float]) -> State:
    """Return a forecast from the state's velocity and acceleration, with a random walk's spread of the last prices' changes."""
    market = state["market"]
    velocity, acceleration = market.get("velocity"), market.get("acceleration")
    if len(prices) < 3 or not isinstance(velocity, int | float) or not isinstance(acceleration, int | float):
        return {}
    sigma = statistics.stdev(after - before for before, after in itertools.pairwise(prices))
    median = [prices[-1] + velocity * step + 0.5 * acceleration * step * step for step in range(1, HORIZON + 1)]
    reach = [Z10 * sigma * math.sqrt(step) for step in range(1, HORIZON + 1)]
    return {
        "median": [round(m, 4) for m in median],
        "p10": [round(m - r, 4) for m, r in zip(median, reach, strict=True)],
        "p90": [round(m + r, 4) for m, r in zip(median, reach, strict=True)],
    }
