"""The fields of a packet that no column and no table holds, by their paths. They are in `extra`; what is read as well is not named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ccwatch.protocol.columns import AGENTS, MODELS
from ccwatch.protocol.decoding import service_metrics
from ccwatch.protocol.decoding.dialects import DIALECTS, ENVELOPE, LISTED, Dialect
from ccwatch.protocol.decoding.market_lists import read_bars, read_scanner, read_trades
from ccwatch.protocol.decoding.packet_fields import BARS, BLANK, CALLS, SCANNER, TRADES

DEEPEST: Final = 4
GAUGES: Final = {
    table: tuple(column.name for column in columns if column.dtype == "float64")
    for table, columns in (("agents", AGENTS), ("models", MODELS))
}
"""The gauges of each kind of service."""
_OF_FORECASTS: Final = frozenset({"p10", "median", "p90", "p50", "low", "high", "horizon", "is_synthetic"})
_NO_ZONE: Final = "UTC"  # whether an entry can be read does not depend on its time


def unplaced(extra: Mapping[str, Any], dialect_name: str) -> tuple[str, ...]:
    """Return the fields without a column or a table, as dotted paths in order of appearance, each once.

    A field whose column could not hold its value as it came is not among them: its packet is flagged. A list is among them where no
    entry of it could be read. Names of services are written as `*`.

    Args:
        extra: what a packet's columns do not hold, see `Packet.extra`.
        dialect_name: of its dialect; an unknown one counts as the contract's.
    """
    dialect = next((dialect for dialect in DIALECTS if dialect.name == dialect_name), DIALECTS[0])
    found = (_name(path, value, extra, dialect) for path, value in _leaves(extra))
    return tuple(dict.fromkeys(name for name in found if name))


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value and len(here) < DEEPEST:
            yield from _leaves(value, here)
        else:
            yield here, value


def _name(path: tuple[str, ...], value: Any, extra: Mapping[str, Any], dialect: Dialect) -> str:
    """Return the name of a field; an empty text where a column or a table holds it."""
    if path[0] == ENVELOPE:
        return "" if path[1:] == ("type",) else ".".join(("(envelope)", *path[1:]))
    for depth in (1, 2):
        table = LISTED.get(".".join(path[:depth]))
        if table is not None:
            return "" if _is_read(table, _at(extra, path[:depth])) else ".".join(path[:depth])
    section, key = (path[0], path[1]) if len(path) > 1 else ("", path[0])
    if key in dialect.places.get(section, ()) or section == dialect.logs or path == ("is_synthetic",):
        return ""
    if section in GAUGES:
        return _of_service(path, value, extra)
    if path[0] == dialect.forecast:
        return "" if len(path) == 1 or key in _OF_FORECASTS else ".".join(("forecast", *path[1:]))
    known = {*dialect.places, *GAUGES, dialect.logs} - {""}
    return "" if path[0] in known and len(path) == 1 else ".".join(path)


def _of_service(path: tuple[str, ...], value: Any, extra: Mapping[str, Any]) -> str:
    """Return the name of a field of a service: what is beyond its gauges, or a list of calls of which none can be read."""
    table, *rest = path
    if isinstance(value, list) and value and rest[-1] in (path[1], "invocations"):
        values = BLANK.copy()
        read = service_metrics.read_agents if table == "agents" else service_metrics.read_models
        read(table, {path[1]: extra[table][path[1]]}, values, {}, _NO_ZONE)
        is_read = any(call.gauge is not None or not math.isnan(call.latency_ms) for call in values[CALLS])
        return "" if is_read else ".".join((table, "*", *rest[1:]))
    return "" if len(path) == 2 or path[-1] in GAUGES[table] else ".".join((table, "*", *rest[1:]))


def _is_read(table: str, value: Any) -> bool:
    """Return whether any entry of a list has a row in its table; an empty list has nothing to read."""
    if not value:
        return True
    values = BLANK.copy()
    if table == "trades":
        read_trades("", value, values, {}, _NO_ZONE)
    elif table == "scanner":
        read_scanner("", value, values, {}, _NO_ZONE)
    else:
        read_bars(value, values, _NO_ZONE)
    return any(values[place] for place in (TRADES, SCANNER, BARS))


def _at(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = tree
    for key in path:
        found = found[key]
    return found
