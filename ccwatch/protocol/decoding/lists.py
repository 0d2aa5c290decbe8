"""The lists of a message (agents, models, log lines, forecasts): from the wire into tuples and back. It knows no dialect."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from ccwatch.protocol import columns, words
from ccwatch.protocol.decoding.fields import (
    AGENTS,
    COERCED,
    FORECASTS,
    LOGS,
    MODELS,
    NUMBERS,
    RANGE,
    WRONG_TYPE,
    bounds,
    keep,
    number,
)
from ccwatch.protocol.messages import NAN, AgentMetric, ForecastPoint, LogLine, ModelMetric, Packet

LONGEST_USUAL: Final = 1000
"""Characters of a log line beyond which it is read anew each time: a cache of giants would fill the memory."""
QUANTILES: Final = ("p10", "median", "p90")
_GAUGES: Final = {column.name: bounds(column) for column in (*columns.AGENTS, *columns.MODELS) if column.dtype == "float64"}
"""The contract's range of each gauge of an agent or a model."""
_EXACT: Final = 2.0**53
"""Integers up to this are exact as floats."""
_USUAL: Final = {
    metric: (
        itemgetter(*metric._fields[1:]),
        tuple(end for gauge in metric._fields[1:] for end in (max(-_EXACT, _GAUGES[gauge][0]), min(_EXACT, _GAUGES[gauge][1]))),
    )
    for metric in (AgentMetric, ModelMetric)
}
"""How a metric's gauges are read where there is nothing odd about them, and within which bounds there is not."""


# Readers share one signature: the list's key and value, the packet's fields, what goes to `extra`, the server's zone; they
# return flags.


def read_agents(key: str, value: Any, values: list[Any], residue: dict[str, Any], _server_tz: str) -> int:
    """An object of agents by name."""
    values[AGENTS], flags = _metrics(key, value, AgentMetric, residue)
    return flags


def read_models(key: str, value: Any, values: list[Any], residue: dict[str, Any], _server_tz: str) -> int:
    """An object of models by name."""
    values[MODELS], flags = _metrics(key, value, ModelMetric, residue)
    return flags


def write_metrics(metrics: tuple[AgentMetric, ...] | tuple[ModelMetric, ...]) -> dict[str, Any]:
    """Metrics as the object they were read from."""
    return {m[0]: {gauge: v for gauge, v in zip(m._fields[1:], m[1:], strict=True) if v is not NAN} for m in metrics}


def _metrics(key: str, value: Any, metric: type[Any], residue: dict[str, Any]) -> tuple[tuple[Any, ...], int]:
    """Metrics from an object of objects."""
    if type(value) is not dict:
        residue[key] = value
        return (), WRONG_TYPE
    found = []
    flags = 0
    read, (low1, high1, low2, high2, low3, high3) = _USUAL[metric]
    for name, readings in value.items():
        try:  # the usual case, nine times in each packet: just these three gauges, all of them numbers in range
            a, b, c = read(readings)
            if (
                len(readings) == 3
                and (type(a) is float or type(a) is int)
                and (type(b) is float or type(b) is int)
                and (type(c) is float or type(c) is int)
                and low1 <= a <= high1
                and low2 <= b <= high2
                and low3 <= c <= high3
            ):
                found.append(tuple.__new__(metric, (name, float(a), float(b), float(c))))
                continue
        except (TypeError, KeyError):
            pass
        if type(readings) is dict:
            numbers, rest, flag = _readings(readings, metric._fields[1:])
            found.append(metric(name, *numbers))
        else:
            rest, flag = readings, WRONG_TYPE
        flags |= flag
        if rest != {}:
            keep(residue, key, name, rest)
    return tuple(found), flags


def _readings(readings: dict[str, Any], gauges: tuple[str, ...]) -> tuple[list[float], dict[str, Any], int]:
    """One metric's numbers in the order of its gauges, what is none of them, and flags."""
    row = [NAN] * len(gauges)
    rest: dict[str, Any] = {}
    flags = 0
    for gauge, reading in readings.items():
        if gauge not in gauges:
            rest[gauge] = reading
        elif reading is not None:
            found, flag = number(reading)
            flags |= flag
            if flag:
                rest[gauge] = reading
            if found is not None:
                row[gauges.index(gauge)] = found
                low, high = _GAUGES[gauge]
                if not low <= found <= high:
                    flags |= RANGE
    return row, rest, flags


# ── log lines ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_logs(key: str, value: Any, values: list[Any], residue: dict[str, Any], server_tz: str) -> int:
    """A list of objects, plain text, or both; what an entry's line cannot hold stays under its position."""
    if type(value) is not list:
        residue[key] = value
        return WRONG_TYPE
    try:  # the usual case: objects of just these three texts
        lines = [usual_line(level, message, stamp, server_tz) for level, message, stamp in map(_LINE, value)]
        if sum(map(len, value)) == 3 * len(value):
            values[LOGS] = tuple(lines)
            return 0
    except (KeyError, TypeError):
        pass
    lines = []
    flags = 0
    rest: dict[str, Any] = {}
    for i, entry in enumerate(value):
        if type(entry) is str:
            lines.append(LogLine(None, entry, None, None))
            continue
        line, is_whole, flag = _line(entry, server_tz)
        flags |= flag
        if not is_whole:
            rest[str(i)] = entry
        lines.append(line)
    values[LOGS] = tuple(lines)
    if rest:
        residue[key] = rest
    return flags


_LINE: Final = itemgetter("level", "message", "timestamp")


@lru_cache(maxsize=256)  # the same lines come again in the next packets
def usual_line(level: Any, message: Any, stamp: Any, server_tz: str) -> LogLine:
    """The line of three texts; TypeError, which is not cached, for anything else and for giants."""
    if type(level) is not str or type(message) is not str or type(stamp) is not str:
        raise TypeError
    if len(level) + len(message) + len(stamp) > LONGEST_USUAL:
        raise TypeError
    return LogLine(level, message, words.time_ns(stamp, server_tz)[0], stamp)


def _line(entry: Any, server_tz: str) -> tuple[LogLine, bool, int]:
    """The line of any entry that is no plain text, whether it holds the entry whole, and flags."""
    if type(entry) is not dict or type(entry.get("message")) is not str:
        return LogLine(None, _shown(entry), None, None), False, WRONG_TYPE
    level, stamp = entry.get("level"), entry.get("timestamp")
    flags = 0
    if type(stamp) in NUMBERS:
        stamp = str(stamp)
        flags |= COERCED
        is_whole = False
    else:
        is_whole = len(entry) == 3 and type(stamp) is str and (type(level) is str or ("level" in entry and level is None))
    if not (level is None or type(level) is str):
        level, flags = None, flags | WRONG_TYPE
    if not (stamp is None or type(stamp) is str):
        stamp, flags = None, flags | WRONG_TYPE
    return LogLine(level, entry["message"], None if stamp is None else words.time_ns(stamp, server_tz)[0], stamp), is_whole, flags


def _shown(entry: Any) -> str:
    try:
        return repr(entry)[:4096]
    except RecursionError:
        return type(entry).__name__


def write_log(line: LogLine) -> Any:
    """A line as the entry it was read from: an object where it has a time, plain text where it has none."""
    if line.log_time_raw is None:
        return line.message
    return {"level": line.level, "message": line.message, "timestamp": line.log_time_raw}


# ── forecasts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_forecast(key: str, value: Any, values: list[Any], residue: dict[str, Any], _server_tz: str) -> int:
    """An object with one list of numbers for each quantile; a shorter list is missing at the further steps."""
    if type(value) is not dict:
        residue[key] = value
        return WRONG_TYPE
    flags = 0
    rest: dict[str, Any] = {}
    series: dict[str, list[float]] = {}
    for name, numbers in value.items():
        if name not in QUANTILES:
            rest[name] = numbers
        elif type(numbers) is list and all(n is None or (type(n) in NUMBERS and float(n) == n) for n in numbers):
            if any(n is not None for n in numbers):
                series[name] = [NAN if n is None else float(n) for n in numbers]
            else:
                rest[name] = numbers
        elif numbers is not None:
            rest[name] = numbers
            flags |= WRONG_TYPE
    steps = max(map(len, series.values()), default=0)
    padded = [series.get(name, []) + [NAN] * (steps - len(series.get(name, []))) for name in QUANTILES]
    values[FORECASTS] = tuple([ForecastPoint(step, *row) for step, row in enumerate(zip(*padded, strict=True), start=1)])
    if rest:
        residue[key] = rest
    return flags


def write_forecast(packet: Packet) -> dict[str, Any]:
    """The quantiles of a packet's forecast, but for those that are missing at every step."""
    series = zip(QUANTILES, list(zip(*packet.forecasts, strict=True))[1:], strict=True)
    return {name: [None if n is NAN else n for n in numbers] for name, numbers in series if any(n is not NAN for n in numbers)}
