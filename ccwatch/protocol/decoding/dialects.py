"""The observed shapes of messages, as data: how each is recognised, and where its fields are. A dialect is one entry of DIALECTS.

`tolerant` reads every one of them, `rewriting` writes them; `contract` and `one_layout` read the usual messages of some faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from ccwatch.protocol import canonical_words, columns
from ccwatch.protocol.decoding import forecasts, log_lines, market_lists, service_metrics
from ccwatch.protocol.decoding.packet_fields import slots
from ccwatch.protocol.messages import Kind

ENVELOPE: Final = "$envelope"
"""The key of `extra` that keeps foreign fields beside `data`; a field of `data` with this very name goes below it too."""
LISTED: Final = {"trades": "trades", "fills": "trades", "scanner": "scanner", "watchlist": "scanner"} | dict.fromkeys(
    ("history", "bars", "market.history", "market.bars"), "bars"
)
"""Paths below the body of lists that are read into separate tables, and the table; `extra` keeps the lists as well."""
NO_SYMBOL: Final = frozenset({"", "Unknown"})
"""The symbols that a BFF sends if its engine named none."""


def contract_places() -> dict[str, dict[str, str]]:
    """Return section to wire key to column, as the column table has it; section "" is the body itself."""
    sections: dict[str, dict[str, str]] = {"": {}}
    for column in columns.PACKETS:
        # Words with a canonical form are read into their raw column, and the canonical one is derived from it.
        if column.wire and column.name not in {"time", "status", "regime", "side", "approved_size_raw"}:
            section, _, key = column.wire.rpartition(".")
            sections.setdefault(section, {})[key] = column.name
    return sections


@dataclass(frozen=True)
class Dialect:
    """One observed shape.

    Attributes:
        name: as in the `dialect` column.
        recognise: the kind of a message of this shape, None for any other message.
        body: the key below which the fields are; "" if they are beside the type.
        places: section to wire key to column name; section "" is the body itself.
        logs: the key of the list of log lines.
        forecast: the key of the forecast's arrays.
        has_type: whether its messages carry their kind as `type`.
    """

    name: str
    recognise: Callable[[Mapping[str, Any]], Kind | None]
    body: str = ""
    places: Mapping[str, Mapping[str, str]] = field(default_factory=contract_places)
    logs: str = "logs"
    forecast: str = "forecast"
    has_type: bool = True

    def __post_init__(self) -> None:
        """Prepare the lookups once; reading a message makes none."""
        prepared: dict[str, Any] = {section: slots(keys) for section, keys in self.places.items() if section}
        prepared |= slots(self.places.get("", {}))
        prepared |= {
            "agents": service_metrics.read_agents,
            "models": service_metrics.read_models,
            self.logs: log_lines.read_logs,
            self.forecast: forecasts.read_forecast,
            "trades": market_lists.read_trades,
            "fills": market_lists.read_trades,
            "scanner": market_lists.read_scanner,
            "watchlist": market_lists.read_scanner,
        }
        object.__setattr__(self, "prepared", MappingProxyType(prepared))

    def place_of(self, column: str) -> tuple[str, str]:
        """Return section and wire key of a column that this dialect carries."""
        return next((section, key) for section, keys in self.places.items() for key, name in keys.items() if name == column)

    prepared: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    """Body key to a slot, to the slots of a section, or to the reader of a list."""


_KINDS: Final = {"WELCOME": Kind.WELCOME, "TELEMETRY": Kind.TELEMETRY}
_LISTS: Final = frozenset({"trades", "scanner", "agents", "models"})
_SECTIONS: Final = frozenset({"market", "portfolio", "signal", "governance", "sentiment", "forecast"})


def _type_of(message: Mapping[str, Any]) -> Kind | None:
    word = message.get("type")
    return _KINDS.get(word.upper()) if type(word) is str else None


def _is_contract(message: Mapping[str, Any]) -> Kind | None:
    return _type_of(message) if type(message.get("data")) is dict else None


def _is_engine_loop(message: Mapping[str, Any]) -> Kind | None:
    return _type_of(message) if _carries(message, "status") or any(_carries(message, name) for name in _SECTIONS) else None


def _is_bridge(message: Mapping[str, Any]) -> Kind | None:
    if "type" in message or any(_carries(message, key) for key in _FLAT):
        return None
    parts = (name for name in _SECTIONS if type(message.get(name)) in {dict, list})
    is_part = any(_carries(message, name) for name in parts) or any(type(message.get(name)) is list for name in _LISTS)
    return Kind.PARTIAL if is_part or ("source" in message and _says_status(message)) else None


def _is_pipeline(message: Mapping[str, Any]) -> Kind | None:
    if "type" in message:
        return None
    keys = _FLAT if message.get("error") else _PIPELINE_KEYS  # an error may be about a symbol, and is no state of it then
    return Kind.STATE if any(_carries(message, key) for key in keys) or _says_status(message) else None


def _says_status(message: Mapping[str, Any]) -> bool:
    """Return whether a message has a known status word, even if it has nothing else: an engine without a state says it is offline."""
    word = message.get("status")
    return type(word) is str and word != "" and canonical_words.status(word[: canonical_words.LONGEST_WORD])[1]


def _carries(message: Mapping[str, Any], key: str) -> bool:
    """Return whether the message has a value at this key; nulls alone do not count, since they are not kept."""
    value = message.get(key)
    return any(v is not None for v in value.values()) if type(value) is dict else value is not None


_PIPELINE: Final = {
    "timestamp": "timestamp_raw",
    "status": "status_raw",
    "symbol": "symbol",
    "regime": "regime_raw",
    "signal_side": "side_raw",
    "price": "price",
    "current_alpha": "alpha",
    "velocity": "velocity",
    "acceleration": "acceleration",
    "nav": "nav",
    "cash": "cash",
    "daily_pnl": "daily_pnl",
    "max_drawdown": "max_drawdown",
    "signal_confidence": "confidence",
    "approved_size": "approved_size",
    "reasoning": "reasoning",
    "strategy": "strategy",
    "score": "score",
    "execution_status": "execution_status",
    "order_id": "order_id",
}
_PIPELINE_KEYS: Final = frozenset(_PIPELINE) - {"timestamp", "status"}
_FLAT: Final = _PIPELINE_KEYS - {"symbol"}
"""Keys that a raw state has at its top level, and a bridge's message only within its parts."""

DIALECTS: Final[list[Dialect]] = [
    Dialect("contract", _is_contract, body="data"),
    Dialect("engine_loop", _is_engine_loop),
    Dialect("bridge", _is_bridge, has_type=False),
    Dialect("pipeline", _is_pipeline, places={"": _PIPELINE}, logs="messages", forecast="chronos_forecast", has_type=False),
]
"""The dialects, tried in this order. Put another one before `pipeline`, which takes any flat message with one of its keys."""


def recognised_as(message: Mapping[str, Any]) -> tuple[Dialect, Kind] | None:
    """Return the dialect of a message and its kind; None if it has none of the known shapes."""
    for dialect in DIALECTS:
        kind = dialect.recognise(message)
        if kind is not None:
            return dialect, kind
    return None
