"""The deployed system's messages: those that its engine sends in each cycle, and those that its BFF makes from the database.

Every shape was observed (see the notebook on real servers). This module turns states of the contract into them; it knows no socket.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HISTORY: Final = 100
"""Count of prices that an analysis of one symbol carries."""
CALLS: Final = {"agents": 10, "models": 20}
"""Count of an agent's or a model's last calls that every state repeats, newest first."""
CALL_STEP: Final = timedelta(milliseconds=50)
"""Time between two calls of one cycle."""
QUANTILES: Final = (-1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6)
"""The nine quantiles of a forecast, in standard deviations from the median."""
NO_SENTIMENT: Final = {"label": "N/A", "score": 0.0}

State = dict[str, Any]


def burst(state: State, prices: Sequence[float]) -> list[State]:
    """Return the two messages of one cycle: the pipeline's raw state, without a stamp, and the loop's TELEMETRY, stamped "now".

    The pipeline says when trading is halted; the loop says "active" all the while.

    Args:
        state: the contract's `data`.
        prices: the last prices, USD, oldest first; at least one.
    """
    market, signal = state["market"], state.get("signal") or {}
    forecast = _forecast(prices)
    rows = [{"symbol": market.get("symbol"), "price": prices[-1], "hurst": 0.5, "signal_potential": 0.4, "volatility": 0.012}]
    report = {
        "symbol": market.get("symbol"),
        "signal_side": signal.get("side"),
        "signal_confidence": signal.get("confidence"),
        "regime": market.get("regime"),
        "current_alpha": market.get("alpha"),
        "price": prices[-1],
        "history": list(prices[-HISTORY:]),
        "chronos_forecast": forecast,
        "success": True,
    }
    pipeline = {
        "symbol": market.get("symbol"),
        "watchlist": rows,
        "candidates": [report],
        "status": _halted(state),
        "analysis_reports": [report],
        "signal_side": signal.get("side"),
        "signal_confidence": signal.get("confidence"),
        "regime": market.get("regime"),
        "reasoning": signal.get("reasoning"),
        "current_alpha": market.get("alpha"),
        "velocity": market.get("velocity"),
        "acceleration": market.get("acceleration"),
        "price": market.get("price"),
        "chronos_forecast": forecast,
        "messages": _lines(state),
        **_portfolio(state),
        "approved_size": _dollars(state),
        "execution_status": "SIMULATED",
    }
    loop = {
        "type": "TELEMETRY",
        "timestamp": "now",
        "status": "active",
        "market": {**market, "history": list(prices[-HISTORY:])},
        "forecast": forecast,
        "scanner": rows,
        "signal": {**signal, "strategy": "None", "score": 0.0},
        "sentiment": {"label": "Neutral", "score": 0.5},
        "logs": _lines(state),
    }
    return [pipeline, loop]


class Database:
    """The engine's database as its BFF reads it: printed enums, dollars, naive timestamps, and calls with their own times."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[State]] = {}
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}  # invocations and good ones, as of the last state

    def state(self, state: State) -> State:
        """Return the database's row of a state; call it once for each state, in order."""
        at = _naive(state.get("timestamp"))
        row = {
            **state,
            "timestamp": None if at is None else at.isoformat(timespec="microseconds"),
            "status": f"TradingStatus.{_halted(state)}",
            "governance": {"approved_size": _dollars(state)},
            "logs": _lines(state),
            "sentiment": state.get("sentiment", NO_SENTIMENT),
        }
        if "portfolio" in state:
            row["portfolio"] = _portfolio(state)
        for kind, share in (("agents", "success_rate"), ("models", "cache_hit_rate")):
            services = state.get(kind)
            if isinstance(services, dict):
                row[kind] = {name: self._service(kind, name, service, share, at) for name, service in services.items()}
        return row

    def _service(self, kind: str, name: str, service: State, share: str, at: datetime | None) -> Any:
        """Return the last calls of an agent, or a model's mean latency (ms) with its last calls."""
        calls = self._calls.setdefault((kind, name), deque(maxlen=CALLS[kind]))
        count = int(service.get("invocations") or 0)
        good = round(count * float(service.get(share) or 0.0))
        before, good_before = self._counts.get((kind, name), (count - 1, good - 1))  # calls before the first state are unknown
        self._counts[kind, name] = count, good
        failed = (count - before) - (good - good_before)
        for n in range(count - before):
            stamp = None if at is None else (at + (n + 1) * CALL_STEP).isoformat(timespec="microseconds")
            call = {"timestamp": stamp, "latency_ms": service.get("latency_ms")}
            if kind == "agents":
                is_good = n >= failed
                call |= {"success": is_good, "output": {}, "error": None if is_good else "timeout"}
            else:
                call |= {"prediction": {}, "confidence": 0.7}
            calls.appendleft(call)
        if kind == "agents":
            return list(calls)
        mean = sum(call["latency_ms"] for call in calls) / len(calls) if calls else 0.0
        return {"avg_latency_ms": mean, "invocations": list(calls), "last_thought": None}


def _halted(state: State) -> str:
    status = str(state.get("status", ""))
    return "HALTED_DRAWDOWN" if status == "HALT" else status


def _dollars(state: State) -> float | None:
    """Return the approved size as these engines send it: USD instead of a fraction of nav."""
    size, nav = (state.get("governance") or {}).get("approved_size"), (state.get("portfolio") or {}).get("nav")
    return round(size * nav, 2) if isinstance(size, int | float) and isinstance(nav, int | float) else None


def _portfolio(state: State) -> State:
    """Return the portfolio with its drawdown as a positive number."""
    portfolio = dict(state.get("portfolio") or {})
    if isinstance(fall := portfolio.get("max_drawdown"), int | float):
        portfolio["max_drawdown"] = abs(fall)
    return portfolio


def _lines(state: State) -> list[str]:
    return [str(line.get("message")) if isinstance(line, dict) else str(line) for line in state.get("logs") or []]


def _forecast(prices: Sequence[float]) -> State:
    """Return a forecast of scalars: the last price as the median, with a spread from the last changes around it."""
    changes = [abs(after - before) for before, after in itertools.pairwise(prices)]
    sigma = max(sum(changes) / len(changes) if changes else 0.0, 0.0001 * abs(prices[-1]))
    p50 = prices[-1]
    return {
        "p10": round(p50 - 1.2816 * sigma, 4),
        "p50": p50,
        "p90": round(p50 + 1.2816 * sigma, 4),
        "trend": round((prices[-1] - prices[0]) / len(prices), 6),
        "spread": round(2.5632 * sigma / p50, 6) if p50 else 0.0,
        "quantiles": [round(p50 + z * sigma, 4) for z in QUANTILES],
    }


def _naive(stamp: object) -> datetime | None:
    """Return the contract's timestamp as a naive datetime in UTC; None where it is none."""
    try:
        return datetime.fromisoformat(str(stamp)).astimezone(UTC).replace(tzinfo=None)
    except ValueError:
        return None
