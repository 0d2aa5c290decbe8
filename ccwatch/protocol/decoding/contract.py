"""The contract's message by its types: read in one pass of a typed decoder if nothing about it is odd.

Nearly every message of a healthy engine has no more than the contract's fields, with their types and ranges. The decoder
checks all of that while it parses, at a third of the cost of looking at each field here. Every message that it refuses,
and every other dialect, is read by `tolerant`; an accepted message has the same fields there, as a test checks on generated messages.

`read` is longer than other functions: it runs for every message, and most of it is the list of a packet's fields in their order.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import GenericAlias, MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec

from ccwatch.protocol import canonical_words, columns
from ccwatch.protocol.canonical_words import LONGEST_WORD
from ccwatch.protocol.columns import Column
from ccwatch.protocol.decoding import market_lists
from ccwatch.protocol.decoding.dialects import NO_SYMBOL, contract_places
from ccwatch.protocol.decoding.log_lines import usual_line
from ccwatch.protocol.decoding.packet_fields import EXTRA, NAIVE_TIME, UNKNOWN_WORD, bounds
from ccwatch.protocol.decoding.word_length import WORDS
from ccwatch.protocol.messages import NAN, NOTHING, AgentMetric, Instant, Kind, LogLine, ModelMetric, Status

_EXACT: Final = 2.0**53 - 1
"""Integers up to this are exact as floats, and none beyond is rounded to it."""
_WORD = Annotated[str, msgspec.Meta(max_length=LONGEST_WORD)]
"""A word that need not be cut."""
_KINDS: Final = {kind.value: kind for kind in (Kind.WELCOME, Kind.TELEMETRY)}


def _type(column: Column) -> Any:
    """Return the type that accepts a column's value only if nothing about it is odd."""
    if column.dtype != "float64":
        return _WORD if column.name in WORDS else str
    low, high = bounds(column)
    if column.name == "price":
        return Annotated[float, msgspec.Meta(gt=0.0, le=_EXACT)]  # others are placeholders
    return Annotated[float, msgspec.Meta(ge=max(low, -_EXACT), le=min(high, _EXACT))]


def _struct(name: str, known: dict[str, Column]) -> Any:
    """Return the type of an object with these fields and no others, any of which may be missing."""
    fields = [(key, _type(column), NAN if column.dtype == "float64" else None) for key, column in known.items()]
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)


def _gauges(name: str, table: tuple[Column, ...]) -> Any:
    return _struct(name, {column.name: column for column in table if column.dtype == "float64"})


class _Log(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    level: _WORD
    message: str
    timestamp: str


_TRADE: Final = GenericAlias(dict, (str, _WORD | Annotated[int, msgspec.Meta(ge=-int(_EXACT), le=int(_EXACT))] | float | bool | None))
"""One trade: plain values by any names, of which none need be cut and none is rounded."""
_PACKETS: Final = {column.name: column for column in columns.PACKETS}
_PLACES: Final = contract_places()
_STRUCTS: Final = {
    section: _struct(section.title(), {key: _PACKETS[name] for key, name in keys.items()}) for section, keys in _PLACES.items() if section
}
_DATA: Final = msgspec.defstruct(
    "Data",
    [
        *[(key, _type(_PACKETS[name]), None) for key, name in _PLACES[""].items()],
        *[(section, struct, msgspec.field(default_factory=struct)) for section, struct in _STRUCTS.items()],
        ("logs", msgspec.Raw, msgspec.Raw(b"[]")),
        ("trades", GenericAlias(list, (_TRADE,)) | msgspec.UnsetType, msgspec.UNSET),
        ("agents", GenericAlias(dict, (_WORD, _gauges("Agent", columns.AGENTS))), msgspec.field(default_factory=dict)),
        ("models", GenericAlias(dict, (_WORD, _gauges("Model", columns.MODELS))), msgspec.field(default_factory=dict)),
    ],
    forbid_unknown_fields=True,
)
_MESSAGE: Final = msgspec.defstruct("Message", [("type", Literal["WELCOME", "TELEMETRY"]), ("data", _DATA)], forbid_unknown_fields=True)
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_MESSAGE)
_LOGS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(list[_Log | str])
_LONGEST_KNOWN: Final = 16 * 1024
_REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_agent: Final = partial(tuple.__new__, AgentMetric)  # without the checks of a named tuple's own constructor
_model: Final = partial(tuple.__new__, ModelMetric)
_gauges_of: Final = msgspec.structs.astuple
"""A service's gauges, which both have in the order of the table's columns."""


def _logs(sent: bytes, server_tz: str) -> tuple[LogLine, ...]:
    """Return the lines of a list of objects and plain texts; raise for any other, and TypeError for a giant."""
    return tuple(
        [
            LogLine(None, entry, None, None) if type(entry) is str else usual_line(entry.level, entry.message, entry.timestamp, server_tz)
            for entry in _LOGS.decode(sent)
        ]
    )


_known_logs: Final = lru_cache(maxsize=64)(_logs)
"""The last ten lines come in every packet: the same bytes in most, one line further in the others."""


def read(raw: bytes | memoryview, *, seq: int, connection: int, now: Instant, server_tz: str) -> list[Any] | None:
    """Return the fields of a Packet, as `tolerant.read` gives them; None if that has to read the message itself."""
    try:
        message = _DECODER.decode(raw)
    except _REFUSALS:
        return None
    data = message.data
    market, portfolio, signal, sentiment = data.market, data.portfolio, data.signal, data.sentiment
    stamp, symbol = data.timestamp, market.symbol
    time_ns, is_naive = (None, False) if stamp is None else canonical_words.time_ns(stamp, server_tz)
    if time_ns is None or stamp[4] != "-" or symbol in NO_SYMBOL:
        return None
    flags = NAIVE_TIME if is_naive else 0
    status = regime = side = None
    is_known = is_known_regime = is_known_side = True
    if data.status is not None:
        status, is_known = canonical_words.status(data.status)
    if market.regime is not None:
        regime, is_known_regime = canonical_words.regime(market.regime)
    if signal.side is not None:
        side, is_known_side = canonical_words.side(signal.side)
    if status is Status.INITIALIZING:
        return None
    if not (is_known and is_known_regime and is_known_side):
        flags |= UNKNOWN_WORD
    try:
        sent = bytes(data.logs)
        logs = _known_logs(sent, server_tz) if len(sent) <= _LONGEST_KNOWN else _logs(sent, server_tz)
    except (*_REFUSALS, TypeError):
        return None
    # Long, since a packet's fields are listed once and in their order: each call for a part of them costs a tenth of the time.
    values = [
        time_ns,
        seq,
        connection,
        now.wall_ns,
        now.mono_ns,
        _KINDS[message.type],
        "contract",
        flags,
        status,
        symbol,
        regime,
        side,
        market.price,
        market.alpha,
        market.velocity,
        market.acceleration,
        portfolio.nav,
        portfolio.cash,
        portfolio.daily_pnl,
        portfolio.max_drawdown,
        signal.confidence,
        data.governance.approved_size,
        sentiment.score,
        signal.score,
        sentiment.label,
        signal.strategy,
        data.execution_status,
        signal.reasoning,
        data.status,
        market.regime,
        signal.side,
        None,
        data.order_id,
        stamp,
        NOTHING,
        tuple([_agent((name, *_gauges_of(agent))) for name, agent in data.agents.items()]),
        tuple([_model((name, *_gauges_of(model))) for name, model in data.models.items()]),
        logs,
        (),
        (),
        (),
        (),
        (),
        (),
        NOTHING,
        bytes(raw),
    ]
    if data.trades is not msgspec.UNSET:
        residue: dict[str, Any] = {}
        market_lists.read_trades("trades", data.trades, values, residue, server_tz)
        values[EXTRA] = MappingProxyType(residue)
    return values
