"""The position of each field of a Packet, and the smallest steps of filling one: shared by the dialects and their lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ccwatch.protocol import columns
from ccwatch.protocol.messages import NAN, NOTHING, Flag, Packet

INDEX: Final = {name: i for i, name in enumerate(Packet._fields)}
TIME, SEQ, CONNECTION = INDEX["time_ns"], INDEX["seq"], INDEX["connection"]
RECEIVED_AT, RECEIVED_MONO, RAW = INDEX["received_at_ns"], INDEX["received_mono_ns"], INDEX["raw"]
KIND, DIALECT, FLAGS, STATUS = INDEX["kind"], INDEX["dialect"], INDEX["flags"], INDEX["status"]
SYMBOL, REGIME, SIDE, PRICE = INDEX["symbol"], INDEX["regime"], INDEX["side"], INDEX["price"]
APPROVED, APPROVED_RAW, TIMESTAMP = INDEX["approved_size"], INDEX["approved_size_raw"], INDEX["timestamp_raw"]
STATUS_RAW, REGIME_RAW, SIDE_RAW, EXTRA = INDEX["status_raw"], INDEX["regime_raw"], INDEX["side_raw"], INDEX["extra"]
AGENTS, MODELS, LOGS, FORECASTS = INDEX["agents"], INDEX["models"], INDEX["logs"], INDEX["forecasts"]
NEW_LOGS, NEW_ROWS = INDEX["new_logs"], INDEX["new_rows"]
CALLS, TRADES, SCANNER, BARS = INDEX["calls"], INDEX["trades"], INDEX["scanner"], INDEX["bars"]

# Plain integers: operators of an IntFlag cost a microsecond each.
NO_TIME, NAIVE_TIME, PLACEHOLDER, UNIT = int(Flag.NO_TIME), int(Flag.NAIVE_TIME), int(Flag.PLACEHOLDER), int(Flag.UNIT)
RANGE, COERCED, WRONG_TYPE = int(Flag.RANGE), int(Flag.COERCED), int(Flag.WRONG_TYPE)
UNKNOWN_WORD, SYNTHETIC_FORECAST = int(Flag.UNKNOWN_WORD), int(Flag.SYNTHETIC_FORECAST)

NUMBERS: Final = frozenset({int, float})
"""The types of a JSON number; bool is neither."""

BLANK: Final[list[Any]] = [
    0 if name in {"time_ns", "seq", "connection", "received_at_ns", "received_mono_ns", "flags"} else None for name in Packet._fields
]
"""The fields of a packet that carries nothing; copied for each message."""
for _column in columns.PACKETS:
    if _column.dtype == "float64":
        BLANK[INDEX[_column.name]] = NAN
BLANK[EXTRA], BLANK[NEW_ROWS], BLANK[RAW] = NOTHING, NOTHING, b""
for _name in ("agents", "models", "logs", "forecasts", "calls", "trades", "scanner", "bars", "new_logs"):
    BLANK[INDEX[_name]] = ()


Slot = tuple[int, bool, float, float]
"""Where a wire field goes: the Packet's field, whether it is a number, and the contract's range. A plain tuple, which unpacks
three times as fast as a named one."""


def slots(places: Mapping[str, str]) -> dict[str, Slot]:
    """Return a slot for each wire key, from a mapping of wire keys to column names."""
    known = {column.name: column for column in columns.PACKETS}
    return {key: (INDEX[name], known[name].dtype == "float64", *bounds(known[name])) for key, name in places.items()}


def bounds(column: columns.Column) -> tuple[float, float]:
    """Return the contract's range of a column; infinite where it has none."""
    return -math.inf if column.low is None else column.low, math.inf if column.high is None else column.high


def number(value: Any) -> tuple[float | None, int]:
    """Return a wire value as a float, and flags for its oddities; None if it is not a finite number."""
    if type(value) is int or type(value) is float:
        found = float(value)
        return found, 0 if found == value else COERCED  # an integer beyond 2^53 is rounded
    if type(value) is str and "_" not in value:
        try:
            found = float(value)
        except ValueError:
            return None, WRONG_TYPE
        return (found if math.isfinite(found) else None), COERCED
    return None, WRONG_TYPE


def keep(residue: dict[str, Any], path: str, key: str, value: Any) -> None:
    """Put a value without a column into `residue`, under its section; section "" is the body itself."""
    (residue.setdefault(path, {}) if path else residue)[key] = value
