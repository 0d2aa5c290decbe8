"""Messages as deployed systems send them, with values of our own: a BFF over a database engine, and the engine's own socket."""

from __future__ import annotations

import json
from typing import Any


def call(n: int, latency_ms: Any, **more: Any) -> dict[str, Any]:
    """A call of an agent, n seconds past nine."""
    return {
        "timestamp": f"2026-11-27T09:00:{n:02d}.050000",
        "latency_ms": latency_ms,
        "success": True,
        "output": {"n": n},
        "error": None,
    } | more


def over_database(n: int, calls: dict[str, list[dict[str, Any]]], **data: Any) -> bytes:
    """A state of a BFF over a database engine: enums are printed, agents and models are lists of calls, newest first."""
    return json.dumps(
        {
            "type": "TELEMETRY",
            "data": {
                "timestamp": f"2026-11-27T09:00:{n:02d}.000000",
                "status": "TradingStatus.ACTIVE",
                "market": {"symbol": "SPY", "price": 450.0 + n, "alpha": 2.5, "regime": "MarketRegime.GAUSSIAN"},
                "portfolio": {"nav": 100_000.5, "cash": 85_000, "daily_pnl": 8.5, "max_drawdown": 0.004},
                "signal": {"side": "Side.BUY", "confidence": 0.8, "reasoning": "Momentum"},
                "governance": {"approved_size": 15_000},
                "logs": ["⚖️ SIZING (SPY)"],
                "agents": calls,
                "models": {name: {"avg_latency_ms": 5.0, "invocations": listed, "last_thought": None} for name, listed in calls.items()},
                **data,
            },
        },
        ensure_ascii=False,
    ).encode()


RAW_STATE: dict[str, Any] = {
    "symbol": "SPY",
    "watchlist": [{"symbol": "SPY", "price": 449.34, "hurst": 0.55, "signal_potential": 0.4, "volatility": 0.012}],
    "candidates": [{"symbol": "SPY", "history": [448.3, 448.4], "chronos_forecast": {"p50": 449.0}}],
    "status": "HALTED_DRAWDOWN",
    "signal_side": "SELL",
    "signal_confidence": 0.89,
    "regime": "Gaussian",
    "current_alpha": 2.5,
    "price": 449.5,
    "chronos_forecast": {"p10": 444.8, "p50": 449.7, "p90": 453.8, "trend": 0.001, "spread": 0.02, "quantiles": [442.5, 449.7, 457.0]},
    "messages": ["⚖️ SIZING (SPY): 5"],
    "max_drawdown": 0.004,
    "approved_size": 15000.0,
    "cash": 85000.0,
    "execution_status": "SIMULATED",
    "order_id": "sim_5",
}
"""What the pipeline of a deployed engine sends, without a stamp."""

LOOP: dict[str, Any] = {
    "type": "TELEMETRY",
    "timestamp": "now",
    "status": "active",
    "market": {
        "symbol": "SPY",
        "price": 449.5,
        "alpha": 2.4,
        "regime": "Gaussian",
        "velocity": 0.0003,
        "acceleration": -0.0001,
        "history": [],
    },
    "forecast": {"p10": 444.8, "p50": 449.7, "p90": 453.8},
    "scanner": [{"symbol": "QQQ", "price": 380.1, "hurst": "0.5", "signal_potential": 0.4, "volatility": None, "rank": 2}],
    "signal": {"side": "SELL", "confidence": 0.89, "reasoning": "Momentum", "strategy": "Reflexive", "score": 0.25},
    "sentiment": {"label": "Neutral", "score": 0.5},
    "logs": ["⚖️ SIZING (SPY): 5"],
}
"""What the loop of a deployed engine sends, milliseconds later."""
