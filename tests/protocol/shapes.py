"""Messages in every observed shape, hypothesis strategies that bend them, and a check of "nothing is lost".

The check is written from the contract and the field notes, not from ccwatch's own tables, so that both must agree.
"""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from hypothesis import settings, strategies as st

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, Instant, Kind, Packet, from_ns

FULL = os.environ.get("CCWATCH_FULL") == "1"
NOON = 1_766_318_400 * 1_000_000_000  # 2025-12-21T12:00:00Z
NOW = Instant(NOON + 50_000_000, 7_000_000_000)


def examples(count: int) -> settings:
    """So many examples, a third of them in CI, twenty times as many under CCWATCH_FULL=1."""
    return settings(max_examples=count * 20 if FULL else max(count // 3, 6), deadline=None, database=None)


def decode(message: Any, **options: Any) -> Packet:
    """A message, as Python values or bytes, as its packet."""
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    return codec.decode(raw, now=NOW, **options)


CONTRACT: dict[str, Any] = {
    "type": "TELEMETRY",
    "data": {
        "timestamp": "2025-12-21T12:00:00Z",
        "status": "ACTIVE",
        "market": {
            "symbol": "SPY",
            "price": 450.32,
            "alpha": 2.8,
            "regime": "Lévy Stable",
            "velocity": 0.0012,
            "acceleration": 0.00003,
        },
        "portfolio": {"nav": 105234.56, "cash": 85000.00, "daily_pnl": 1234.56, "max_drawdown": -0.05},
        "signal": {"side": "BUY", "confidence": 0.85, "reasoning": "Momentum + Forecast alignment"},
        "governance": {"approved_size": 0.15},
        "logs": [{"level": "INFO", "message": "Physics: Gaussian regime confirmed", "timestamp": "2025-12-21T11:59:58Z"}],
        "agents": {"MacroAgent": {"latency_ms": 45.2, "success_rate": 0.98}},
        "models": {"ChronosService": {"latency_ms": 120.5, "invocations": 1523}},
    },
}
"""Section 2.1 of the contract, as printed."""

WELCOME_BEFORE_ENGINE: dict[str, Any] = {
    "type": "WELCOME",
    "data": {
        "timestamp": None,
        "status": "Initializing",
        "market": {"price": 0.0, "alpha": 0.0, "regime": "Unknown"},
        "sentiment": {"label": "Neutral", "score": 0.0},
        "signals": [],
        "logs": [],
    },
}

ENGINE_LOOP: dict[str, Any] = {
    "type": "TELEMETRY",
    "timestamp": "2025-12-21T12:00:00Z",
    "status": "active",
    "market": {**CONTRACT["data"]["market"], "history": [[1.0, 2.0, 0.5, 1.5]] * 300},
    "forecast": {"median": [451.0, 452.0], "p10": [449.0, 448.0], "p90": [453.0, 456.0]},
    "scanner": [{"symbol": "QQQ", "rank": 1}],
    "signal": {"side": "HOLD", "confidence": 0.4, "reasoning": "wait", "strategy": "momentum", "score": 0.4},
    "sentiment": {"label": "Bullish", "score": 0.7},
    "logs": ["[RISK]: Position approved", "[PHYSICS]: Gaussian"],
}

BRIDGE_MARKET: dict[str, Any] = {
    "timestamp": "2026-01-02T10:00:00.123456",
    "source": "watchtower",
    "market": {
        "symbol": "SPY",
        "price": 450.3,
        "alpha": 1.7,
        "velocity": 0.2,
        "acceleration": 3.0,
        "regime": "LÉVY STABLE (Risky)",
        "history": [],
    },
}
BRIDGE_FORECAST: dict[str, Any] = {
    "timestamp": "2026-01-02T10:00:00.123456",
    "source": "oracle",
    "forecast": {"median": [450.0, 451.0], "p10": [449.0, 449.5], "p90": [452.0, 453.0]},
}
BRIDGE_SIGNAL: dict[str, Any] = {
    "timestamp": "2026-01-02T10:00:00.123456",
    "source": "strategist",
    "signal": {"side": "SELL", "confidence": 0.6, "reasoning": "mean reversion"},
    "sentiment": {"label": "Bearish", "score": -0.3},
}

PIPELINE: dict[str, Any] = {
    "symbol": "SPY",
    "price": 450.3,
    "nav": 105000.0,
    "cash": 85000.0,
    "daily_pnl": 12.5,
    "max_drawdown": -0.02,
    "current_alpha": 2.1,
    "regime": "Gaussian",
    "velocity": 0.1,
    "acceleration": 0.01,
    "signal_side": "BUY",
    "signal_confidence": 0.8,
    "reasoning": "trend",
    "approved_size": 0.1,
    "status": "ACTIVE",
    "messages": ["Physics done", "Risk done"],
    "chronos_forecast": {"median": [451.0], "p10": [450.0], "p90": [452.0], "horizon": 1},
    "iteration": 12,
}

SHAPES = {
    "contract": [CONTRACT, WELCOME_BEFORE_ENGINE],
    "engine_loop": [ENGINE_LOOP],
    "bridge": [BRIDGE_MARKET, BRIDGE_FORECAST, BRIDGE_SIGNAL],
    "pipeline": [PIPELINE],
}


def contract(*, envelope: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The contract's example with fields of `data` changed; a dict changes the fields of a section, `...` takes one away."""
    message = copy.deepcopy(CONTRACT)
    message.update(envelope or {})
    _change(message["data"], changes)
    return message


def dumps_n(n: int, **changes: Any) -> bytes:
    """The contract's message number n, as bytes: one millisecond after the one before, its price above 400."""
    market = CONTRACT["data"]["market"] | {"price": 400.0 + n / 7} | changes.pop("market", {})
    stamp = from_ns(NOON + n * 1_000_000).isoformat()
    message = codec.dumps({"type": "TELEMETRY", "data": CONTRACT["data"] | {"timestamp": stamp, "market": market} | changes})
    return bytes(memoryview(message))  # orjson's own bytes hold ten times their length


def changed(message: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Any other message with fields changed."""
    message = copy.deepcopy(message)
    _change(message, changes)
    return message


def _change(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is ...:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _change(into[key], value)
        else:
            into[key] = value


# ── nothing is lost ────────────────────────────────────────────────────────────────────────────────────────────────────

_SECTIONED = {
    ("timestamp",): ["timestamp_raw"],
    ("status",): ["status_raw"],
    ("market", "symbol"): ["symbol"],
    ("market", "price"): ["price"],
    ("market", "alpha"): ["alpha"],
    ("market", "regime"): ["regime_raw"],
    ("market", "velocity"): ["velocity"],
    ("market", "acceleration"): ["acceleration"],
    ("portfolio", "nav"): ["nav"],
    ("portfolio", "cash"): ["cash"],
    ("portfolio", "daily_pnl"): ["daily_pnl"],
    ("portfolio", "max_drawdown"): ["max_drawdown"],
    ("signal", "side"): ["side_raw"],
    ("signal", "confidence"): ["confidence"],
    ("signal", "reasoning"): ["reasoning"],
    ("governance", "approved_size"): ["approved_size", "approved_size_raw"],
    ("sentiment", "label"): ["sentiment_label"],
    ("sentiment", "score"): ["sentiment_score"],
    ("signal", "strategy"): ["strategy"],
    ("signal", "score"): ["score"],
    ("execution_status",): ["execution_status"],
    ("order_id",): ["order_id"],
}
_FLAT = {
    ("timestamp",): ["timestamp_raw"],
    ("status",): ["status_raw"],
    ("symbol",): ["symbol"],
    ("regime",): ["regime_raw"],
    ("signal_side",): ["side_raw"],
    ("price",): ["price"],
    ("current_alpha",): ["alpha"],
    ("velocity",): ["velocity"],
    ("acceleration",): ["acceleration"],
    ("nav",): ["nav"],
    ("cash",): ["cash"],
    ("daily_pnl",): ["daily_pnl"],
    ("max_drawdown",): ["max_drawdown"],
    ("signal_confidence",): ["confidence"],
    ("approved_size",): ["approved_size", "approved_size_raw"],
    ("reasoning",): ["reasoning"],
    ("strategy",): ["strategy"],
    ("score",): ["score"],
    ("execution_status",): ["execution_status"],
    ("order_id",): ["order_id"],
}
_LOGS = {"pipeline": "messages"}
_FORECAST = {"pipeline": "chronos_forecast"}


def lost(message: dict[str, Any], packet: Packet) -> list[tuple[Any, ...]]:
    """The paths of a message's leaves that are neither in a column nor, at their own path, in `extra`."""
    return [path for path, value in _leaves(message, ()) if not _is_found(path, value, packet)]


def _leaves(value: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list) and value:
        for i, below in enumerate(value):
            yield from _leaves(below, (*path, i))
    else:
        yield path, value


def _is_found(path: tuple[Any, ...], value: Any, packet: Packet) -> bool:
    extra: Any = packet.extra
    if packet.dialect == "contract":
        if path[0] != "data":
            return (path == ("type",) and value == packet.kind) or _is_in(extra.get("$envelope"), path, value)
        path = path[1:]
        if not path:
            return bool(value == {})
        if path[0] == "$envelope":
            return _is_in(extra.get("$envelope"), ("data", *path), value)
    elif path == ("type",) and value == packet.kind:
        return True
    return _is_in(extra, path, value) or _is_in_column(path, value, packet)


def _is_in(extra: Any, path: tuple[Any, ...], value: Any) -> bool:
    for key in path:
        if isinstance(extra, dict) or hasattr(extra, "keys"):
            if key not in extra and str(key) not in extra:
                return False
            extra = extra[key] if key in extra else extra[str(key)]
        elif isinstance(extra, list) and isinstance(key, int) and key < len(extra):
            extra = extra[key]
        else:
            return False
    if type(value) in {int, float} and type(extra) in {int, float}:
        return bool(extra == value)  # a zero that is a placeholder is kept as 0.0
    return type(extra) is type(value) and bool(extra == value)


def _is_in_column(path: tuple[Any, ...], value: Any, packet: Packet) -> bool:
    columns = _FLAT if packet.dialect == "pipeline" else _SECTIONED
    if path in columns:
        return value is None or any(_same(value, getattr(packet, name)) for name in columns[path])
    head, below = path[0], path[1:]
    if head == _LOGS.get(packet.dialect, "logs"):
        return not below or _is_in_log(below, value, packet)
    if head == _FORECAST.get(packet.dialect, "forecast"):
        return not below or (value is None and len(below) == 1) or _is_in_forecast(below, value, packet)
    if head in {"agents", "models"}:
        metrics: dict[Any, Any] = {m[0]: m._asdict() for m in getattr(packet, head)}
        if len(below) < 2:
            return not below or (value == {} and below[0] in metrics)
        name, gauge = below[0], below[1]
        return len(below) == 2 and name in metrics and (value is None or _same(value, metrics[name].get(gauge)))
    sections = {p[0] for p in columns if len(p) > 1}
    return path in {(section,) for section in sections} and value in ({}, None)


def _is_in_log(below: tuple[Any, ...], value: Any, packet: Packet) -> bool:
    line = packet.logs[below[0]]
    if len(below) == 1:
        return isinstance(value, str) and line == (None, value, None, None)
    found = {"level": line.level, "message": line.message, "timestamp": line.log_time_raw}
    return len(below) == 2 and below[1] in found and found[below[1]] == value


def _is_in_forecast(below: tuple[Any, ...], value: Any, packet: Packet) -> bool:
    if len(below) != 2 or below[0] not in {"p10", "median", "p90"} or below[1] >= len(packet.forecasts):
        return False
    found = getattr(packet.forecasts[below[1]], below[0])
    return found is NAN if value is None else _same(value, found)


def _same(value: Any, found: Any) -> bool:
    """Whether a column holds a wire value; a number may have become text only where the column is text."""
    if isinstance(value, bool) or found is None:
        return False
    if isinstance(value, int | float) and isinstance(found, str):
        return found in {str(value), repr(float(value))}
    return type(found) in ({float} if isinstance(value, int | float) else {type(value)}) and bool(found == value)


# ── strategies ─────────────────────────────────────────────────────────────────────────────────────────────────────────

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1) | st.sampled_from([0, 0.0, -0.0, 1])
texts = st.text(max_size=12)
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)
number_texts = st.sampled_from(["450.3", " 12 ", "1e999", "-inf", "nan", "1_000", "0x10", "", "0", "-0.0", "9" * 400, "٣"])
ODD_STAMPS = [
    *("2025-12-21T12:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999-23:59", "20251221T120000Z", "2025-12-21"),
    *("1766318400", "1766318400123", "1766318400.5", "99999999999", "9999999999999", "2025-W51-7", "soon", "", "-5"),
]
stamps = (
    st.datetimes().map(lambda t: t.isoformat())
    | st.datetimes(timezones=st.timezones()).map(lambda t: t.isoformat())
    | st.sampled_from(ODD_STAMPS)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(10**8, 10**13)
)
words_ = st.sampled_from(
    ["ACTIVE", "HALTED_DRAWDOWN", "Initializing", "offline", "Gaussian", "LÉVY STABLE (Risky)", "LÃ©vy Stable", "WAIT", "BUY", "HOLD", ""]
)


def _mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a field should hold, or text of a number, or anything."""
    return st.one_of(usual, usual, usual, number_texts, json_values)


_number, _word = _mostly(numbers), _mostly(words_ | texts)
_foreign = st.dictionaries(texts | st.sampled_from(["$envelope", "type", "data", "history", "0"]), json_values, max_size=3)


def _object(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Some of these fields, and foreign ones."""
    return st.builds(lambda foreign, known: {**foreign, **known}, _foreign, st.fixed_dictionaries({}, optional=fields))


_gauges = _mostly(_object({"latency_ms": _number, "success_rate": _number, "invocations": _number, "cache_hit_rate": _number}))
_metrics = _mostly(st.dictionaries(texts, _gauges, max_size=3))
_log = _object({"level": _word, "message": _mostly(texts), "timestamp": stamps | _word})
_logs = _mostly(st.lists(st.one_of(texts, _log, _log, json_values), max_size=4))
_series = _mostly(st.lists(st.none() | numbers, max_size=4))
_forecast = _mostly(_object({"p10": _series, "median": _series, "p90": _series}))
_body = _object(
    {
        "timestamp": stamps | _word,
        "status": _word,
        "market": _mostly(
            _object(
                {"symbol": _word | st.just("SPY"), "regime": _word} | dict.fromkeys(("price", "alpha", "velocity", "acceleration"), _number)
            )
        ),
        "portfolio": _mostly(_object(dict.fromkeys(("nav", "cash", "daily_pnl", "max_drawdown"), _number))),
        "signal": _mostly(_object({"side": _word, "confidence": _number, "reasoning": _word})),
        "governance": _mostly(_object({"approved_size": _number})),
        "sentiment": _mostly(_object({"label": _word, "score": _number})),
        "agents": _metrics,
        "models": _metrics,
        "logs": _logs,
        "forecast": _forecast,
    }
)
_flat = _object(
    {"timestamp": stamps | _word, "messages": _logs, "chronos_forecast": _forecast, "agents": _metrics, "models": _metrics}
    | dict.fromkeys(("status", "symbol", "regime", "signal_side", "reasoning"), _word)
    | dict.fromkeys(("price", "current_alpha", "velocity", "acceleration", "nav", "cash", "daily_pnl"), _number)
    | dict.fromkeys(("max_drawdown", "signal_confidence", "approved_size"), _number)
)
_types = st.sampled_from([*Kind, "telemetry", "Welcome"]).map(str)


def _without_type(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "type"}


messages: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda kind, body, foreign: {**foreign, "type": kind, "data": body}, _types, _body, _foreign),
    st.builds(lambda kind, body: {**body, "type": kind}, _types, _body),
    _body.map(_without_type),
    _flat.map(_without_type),
)
"""Messages of the four dialects, bent in every way that JSON allows; some are bent beyond recognition."""
