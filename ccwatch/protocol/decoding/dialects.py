"""The observed shapes of messages, and how each maps onto one Packet. A dialect is one entry of DIALECTS.

Reading places every field that has a column. A field that has none, or whose column cannot hold it as it came (a number sent as
text, a zero that means "not known yet"), stays in `extra` under its own path, so that writing is exact and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from ccwatch.errors import DecodeError
from ccwatch.protocol import columns, words
from ccwatch.protocol.decoding import forecasts, log_lines, market_lists, metrics
from ccwatch.protocol.decoding.cut import cut
from ccwatch.protocol.decoding.fields import (
    APPROVED,
    APPROVED_RAW,
    BLANK,
    COERCED,
    DIALECT,
    EXTRA,
    FLAGS,
    INDEX,
    KIND,
    NAIVE_TIME,
    NO_TIME,
    NUMBERS,
    PLACEHOLDER,
    PRICE,
    RANGE,
    REGIME,
    REGIME_RAW,
    SIDE,
    SIDE_RAW,
    STATUS,
    STATUS_RAW,
    SYMBOL,
    SYNTHETIC_FORECAST,
    TIME,
    TIMESTAMP,
    UNIT,
    UNKNOWN_WORD,
    WRONG_TYPE,
    keep,
    number,
    slots,
)
from ccwatch.protocol.messages import NAN, Kind, Packet, Status

ENVELOPE: Final = "$envelope"
"""The key of `extra` that keeps foreign fields beside `data`; a field of `data` with this very name goes below it too."""


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
        typed: whether its messages carry their kind as `type`.
    """

    name: str
    recognise: Callable[[Mapping[str, Any]], Kind | None]
    body: str = ""
    places: Mapping[str, Mapping[str, str]] = field(default_factory=contract_places)
    logs: str = "logs"
    forecast: str = "forecast"
    typed: bool = True

    def __post_init__(self) -> None:
        """Prepare the lookups once; reading a message makes none."""
        prepared: dict[str, Any] = {section: slots(keys) for section, keys in self.places.items() if section}
        prepared |= slots(self.places.get("", {}))
        prepared |= {
            "agents": metrics.read_agents,
            "models": metrics.read_models,
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


def read(message: dict[str, Any], received_ns: int, server_tz: str) -> list[Any]:
    """Return the fields of a Packet from a parsed message; `received_ns` is its time if the server gave none.

    Raises:
        DecodeError: the message has none of the known shapes.
    """
    for dialect in DIALECTS:
        kind = dialect.recognise(message)
        if kind is not None:
            break
    else:
        named = ", ".join(repr(key[:24]) for key in islice(message, 8))
        raise DecodeError(f"no known shape: {len(message)} keys {named}".rstrip())
    values = BLANK.copy()
    values[KIND], values[DIALECT] = kind, dialect.name
    residue: dict[str, Any] = {}
    flags = 0
    body = message
    if dialect.body:
        body = message[dialect.body]
        if len(message) > 1 + dialect.typed:
            placed = {"type", dialect.body} if dialect.typed else {dialect.body}
            residue[ENVELOPE] = {key: value for key, value in message.items() if key not in placed}
    if dialect.typed and message.get("type") != kind:
        keep(residue, ENVELOPE if dialect.body else "", "type", message["type"])
    prepared = dialect.prepared
    for key, value in body.items():
        target = prepared.get(key)
        if value is None and target is not None and target not in _KEPT_WHOLE:
            continue
        if target is None:
            if dialect.body:
                _keep_foreign(residue, dialect, key, value)
            elif key != "type" or not dialect.typed:
                residue[key] = value
        elif type(target) is tuple:
            if type(value) is str and not target[1]:
                values[target[0]] = value
            else:
                flags |= _place({key: value}, prepared, values, residue, "")
        elif type(target) is dict:
            if type(value) is dict:
                flags |= _place(value, target, values, residue, key)
            else:
                residue[key] = value
                flags |= WRONG_TYPE
        else:
            flags |= target(key, value, values, residue, server_tz)
    _read_bars(body, values, server_tz)
    if forecasts.is_true(body.get("is_synthetic")):
        flags |= SYNTHETIC_FORECAST
    values[TIME] = received_ns
    flags |= _judge_time(body, values, residue, dialect, server_tz)
    flags |= _judge_words(values)
    flags |= _judge_numbers(values, residue, dialect)
    flags |= cut(values, body, residue, dialect.place_of, dialect.logs)
    values[FLAGS] = flags
    if residue:
        values[EXTRA] = MappingProxyType(residue)
    return values


def write(packet: Packet) -> dict[str, Any]:
    """Return the message of a packet, rebuilt from its columns and the fields that `read` left in `extra`."""
    dialect = next((d for d in DIALECTS if d.name == packet.dialect), DIALECTS[0])
    body: dict[str, Any] = {}
    for section, keys in dialect.places.items():
        into = body.setdefault(section, {}) if section else body
        for key, name in keys.items():
            value = packet[INDEX[name]]
            if value is not None and value is not NAN:
                into[key] = value
    if packet.approved_size_raw is not None:
        section, key = dialect.place_of("approved_size")
        (body[section] if section else body)[key] = float(packet.approved_size_raw)
    stamp = packet.timestamp_raw
    if stamp is not None and stamp[4:5] != "-" and words.is_epoch(stamp):
        section, key = dialect.place_of("timestamp_raw")
        (body[section] if section else body)[key] = int(stamp) if stamp.isdecimal() else float(stamp)
    body = {key: value for key, value in body.items() if value != {}}
    if packet.agents:
        body["agents"] = metrics.write_metrics(packet, "agents")
    if packet.models:
        body["models"] = metrics.write_metrics(packet, "models")
    if packet.logs:
        body[dialect.logs] = [log_lines.write_log(line) for line in packet.logs]
    extra = dict(packet.extra)
    if packet.forecasts and (written := forecasts.write_forecast(packet, extra.get(dialect.forecast))):
        body[dialect.forecast] = written
    envelope = extra.pop(ENVELOPE, {}) if dialect.body else {}
    _overlay(body, extra)
    message: dict[str, Any] = {"type": str(packet.kind)} if dialect.typed else {}
    message |= {dialect.body: body} if dialect.body else body
    _overlay(message, envelope)
    return message


# ── placing ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(section: dict[str, Any], known: Mapping[str, Any], values: list[Any], residue: dict[str, Any], path: str) -> int:
    """Put the fields of a section into their columns; return flags."""
    flags = 0
    for key, value in section.items():
        slot = known.get(key)
        if slot is None:
            keep(residue, path, key, value)
            continue
        index, is_number, low, high = slot
        if not is_number:
            if type(value) is str:
                values[index] = value
            elif index == TIMESTAMP and type(value) in NUMBERS and (stamp := words.epoch_text(value)) is not None:
                values[index] = stamp
                if str(value) != stamp:
                    keep(residue, path, key, value)
            elif index in _NAMES and type(value) in NUMBERS:
                values[index] = market_lists.plain_text(value)
                keep(residue, path, key, value)
                flags |= COERCED
            elif value is not None:
                keep(residue, path, key, value)
                flags |= WRONG_TYPE
            continue
        if type(value) is not float:
            if value is None:
                continue
            found, flag = number(value)
            if flag:
                keep(residue, path, key, value)
                flags |= flag
            if found is None:
                continue
            value = found  # noqa: PLW2901 - the same field, now as a number
        values[index] = value
        if not low <= value <= high:
            flags |= UNIT if index == APPROVED and value > 1.0 else RANGE
    return flags


def _read_bars(body: dict[str, Any], values: list[Any], server_tz: str) -> None:
    """Read the bars of a message from any of their known places; `extra` keeps them as well."""
    market = body.get("market")
    for section, key in ((market, "history"), (market, "bars"), (body, "history"), (body, "bars")):
        if type(section) is dict and type(section.get(key)) is list:
            market_lists.read_bars(section[key], values, server_tz)


_KEPT_WHOLE: Final = (market_lists.read_trades, market_lists.read_scanner)
"""Readers of lists that `extra` keeps whole as well."""
LISTED: Final = {"trades": "trades", "fills": "trades", "scanner": "scanner", "watchlist": "scanner"} | dict.fromkeys(
    ("history", "bars", "market.history", "market.bars"), "bars"
)
"""Paths below the body of lists that are read into separate tables, and the table; `extra` keeps the lists as well."""
_NAMES: Final = frozenset({SYMBOL, INDEX["order_id"], INDEX["strategy"], INDEX["execution_status"]})
"""Fields of text that a server may send as a number: a symbol of digits, an order's number."""


def _keep_foreign(residue: dict[str, Any], dialect: Dialect, key: str, value: Any) -> None:
    if key == ENVELOPE:
        residue.setdefault(ENVELOPE, {})[dialect.body] = {key: value}
    else:
        residue[key] = value


# ── judging ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge_time(body: dict[str, Any], values: list[Any], residue: dict[str, Any], dialect: Dialect, server_tz: str) -> int:
    stamp = values[TIMESTAMP]
    ns, is_naive = (None, False) if stamp is None else words.time_ns(stamp, server_tz)
    if ns is None:
        return NO_TIME
    values[TIME] = ns
    if stamp[4:5] != "-" and words.is_epoch(stamp):
        section, key = dialect.place_of("timestamp_raw")
        sent = (body[section] if section else body)[key]
        if type(sent) is str:  # `write` makes a number of it
            keep(residue, section, key, sent)
        return COERCED
    return NAIVE_TIME if is_naive else 0


def _judge_words(values: list[Any]) -> int:
    flags = 0
    for raw, canonical, meaning in (
        (STATUS_RAW, STATUS, words.status),
        (REGIME_RAW, REGIME, words.regime),
        (SIDE_RAW, SIDE, words.side),
    ):
        word = values[raw]
        if word is not None:
            values[canonical], known = meaning(word[: words.LONGEST_WORD])
            if not known:
                flags |= UNKNOWN_WORD
    return flags


def _judge_numbers(values: list[Any], residue: dict[str, Any], dialect: Dialect) -> int:
    flags = 0
    size = values[APPROVED]
    if size > 1.0:
        values[APPROVED], values[APPROVED_RAW] = NAN, repr(size)
    if values[STATUS] == Status.INITIALIZING or values[PRICE] == 0.0:
        flags |= PLACEHOLDER
        for section, keys in dialect.places.items():
            for key, name in keys.items():
                if name in _UNKNOWN_AS_ZERO and values[INDEX[name]] == 0.0:
                    aside = residue.setdefault(section, {}) if section else residue
                    aside.setdefault(key, 0.0)  # a zero that came as text is there already
                    values[INDEX[name]] = NAN
    if values[SYMBOL] in NO_SYMBOL:
        keep(residue, *dialect.place_of("symbol"), values[SYMBOL])
        values[SYMBOL] = None
    return flags


_UNKNOWN_AS_ZERO: Final = frozenset(
    c.name for c in columns.PACKETS if c.wire.startswith(("market.", "portfolio.")) and c.dtype == "float64"
)
NO_SYMBOL: Final = frozenset({"", "Unknown"})
"""The symbols that a BFF sends if its engine named none."""


def _overlay(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Put the fields kept in `extra` over the rebuilt ones, path by path; entries of a list go by their position."""
    for key, value in extra.items():
        below = body.get(key)
        if type(below) is dict and type(value) is dict:
            _overlay(below, value)
        elif type(below) is list and type(value) is dict:
            for position, entry in value.items():
                below[int(position)] = entry
        else:
            body[key] = value


# ── the dialects ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
    return type(word) is str and word != "" and words.status(word[: words.LONGEST_WORD])[1]


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
    Dialect("bridge", _is_bridge, typed=False),
    Dialect("pipeline", _is_pipeline, places={"": _PIPELINE}, logs="messages", forecast="chronos_forecast", typed=False),
]
"""The dialects, tried in this order; append an entry to read another shape."""
