"""A stream's fields compared with the contract's: those that never came, and those beyond it. Pure; it knows no connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ccwatch.protocol.columns import AGENTS, MODELS, PACKETS
from ccwatch.protocol.decoding.dialects import DIALECTS, ENVELOPE, LISTED
from ccwatch.protocol.messages import Packet

MOST_FIELDS: Final = 100
"""Foreign fields listed at most, since a server may invent a new one for each message."""
DEEPEST: Final = 4
_BEYOND: Final = ("sentiment", "forecast")
"""Sections that the contract lacks and ccwatch has columns for."""
_BESIDE: Final = frozenset({"signal.score", "signal.strategy", "execution_status", "order_id"})
"""Fields that the contract lacks, in sections that it has."""
_GAUGES: Final = {
    table: tuple(column.name for column in columns if column.dtype == "float64")
    for table, columns in (("agents", AGENTS), ("models", MODELS))
}
_OPTIONAL: Final = frozenset({"models.*.cache_hit_rate"})
"""Fields that the contract itself calls optional."""


def missing(packets: Sequence[Packet]) -> tuple[str, ...]:
    """Return the contract's fields that no packet carried, as dotted paths below `data`; a zero for "not known yet" does not count."""
    places: dict[str, list[str]] = {}
    for column in PACKETS:
        if column.wire and column.dtype != "time" and not column.wire.startswith(_BEYOND) and column.wire not in _BESIDE:
            places.setdefault(column.wire, []).append(column.field)
    found = [path for path, fields in places.items() if not any(_carries(packet, fields) for packet in packets)]
    for table, gauges in _GAUGES.items():
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
        for path in _leaves(packet.extra):
            table = LISTED.get(path[0]) or LISTED.get(".".join(path[:2]))
            name = "" if table is not None and getattr(packet, table) else _foreign_name(path, packet.dialect)
            if name and len(found) < MOST_FIELDS:
                found[name] = None
    return tuple(found)


def _carries(entry: Any, fields: Sequence[str]) -> bool:
    return any(value is not None and value == value for value in (getattr(entry, field) for field in fields))  # noqa: PLR0124 - NaN


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value and len(here) < DEEPEST:
            yield from _leaves(value, here)
        else:
            yield here


def _foreign_name(path: tuple[str, ...], dialect_name: str) -> str:
    """Return the dotted path, without names of agents and positions of log lines; an empty text where the field has a column."""
    if path[0] == ENVELOPE:
        return "" if path[1:] == ("type",) else ".".join(("(envelope)", *path[1:]))
    dialect = next((dialect for dialect in DIALECTS if dialect.name == dialect_name), DIALECTS[0])
    section, key = (path[0], path[1]) if len(path) > 1 else ("", path[0])
    if key in dialect.places.get(section, ()) or section == dialect.logs:
        return ""
    if path == ("is_synthetic",):
        return ""
    if section in _GAUGES:
        return "" if path[-1] in _GAUGES[section] or len(path) == 2 else ".".join((section, "*", *path[2:]))
    if path[0] == dialect.forecast:
        return "" if key in {"p10", "median", "p90", "p50", "low", "high", "horizon", "is_synthetic"} else ".".join(("forecast", *path[1:]))
    known = {*dialect.places, "agents", "models", dialect.logs} - {""}
    return "" if path[0] in known and len(path) == 1 else ".".join(path)
