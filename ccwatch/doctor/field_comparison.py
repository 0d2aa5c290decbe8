"""A stream's fields compared with the contract's: those that never came, and those beyond it. Pure; it knows no connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ccwatch.protocol.columns import PACKETS
from ccwatch.protocol.decoding.unplaced import GAUGES, unplaced
from ccwatch.protocol.messages import Packet

MOST_FIELDS: Final = 100
"""Foreign fields listed at most, since a server may invent a new one for each message."""
_BEYOND: Final = ("sentiment", "forecast")
"""Sections that the contract lacks and ccwatch has columns for."""
_BESIDE: Final = frozenset({"signal.score", "signal.strategy", "execution_status", "order_id"})
"""Fields that the contract lacks, in sections that it has."""
_OPTIONAL: Final = frozenset({"models.*.cache_hit_rate"})
"""Fields that the contract itself calls optional."""


def missing(packets: Sequence[Packet]) -> tuple[str, ...]:
    """Return the contract's fields that no packet carried, as dotted paths below `data`; a zero for "not known yet" does not count."""
    places: dict[str, list[str]] = {}
    for column in PACKETS:
        if column.wire and column.dtype != "time" and not column.wire.startswith(_BEYOND) and column.wire not in _BESIDE:
            places.setdefault(column.wire, []).append(column.field)
    found = [path for path, fields in places.items() if not any(_carries(packet, fields) for packet in packets)]
    for table, gauges in GAUGES.items():
        entries = [entry for packet in packets for entry in getattr(packet, table)]
        gaps = [f"{table}.*.{gauge}" for gauge in gauges if not any(_carries(entry, [gauge]) for entry in entries)]
        found += [path for path in gaps if path not in _OPTIONAL] if entries else [table]
    lines = [line for packet in packets for line in packet.logs]
    parts = {"logs.*.level": "level", "logs.*.timestamp": "log_time_raw"}
    found += [path for path, field in parts.items() if not any(_carries(line, [field]) for line in lines)] if lines else ["logs"]
    return tuple(found)


def beyond(packets: Sequence[Packet]) -> tuple[str, ...]:
    """Return the sections that came, are not in the contract, and have columns in ccwatch."""
    came = {
        "sentiment": any(_carries(packet, ["sentiment_score", "sentiment_label"]) for packet in packets),
        "forecast": any(packet.forecasts for packet in packets),
    }
    return tuple(name for name in _BEYOND if came[name])


def foreign(packets: Sequence[Packet]) -> tuple[str, ...]:
    """Return the fields without a column, as dotted paths in order of appearance; their values are in `extra`.

    A field whose column could not hold its value as it came is not foreign: its packet is flagged.
    """
    found: dict[str, None] = {}
    for packet in packets:
        for name in unplaced(packet.extra, packet.dialect) if packet.extra else ():
            if len(found) < MOST_FIELDS:
                found[name] = None
    return tuple(found)


def _carries(entry: Any, fields: Sequence[str]) -> bool:
    return any(value is not None and value == value for value in (getattr(entry, field) for field in fields))  # noqa: PLR0124 - NaN
