"""The agents and models of a message: gauges by name, lists of single calls, lists of named gauges; from the wire and back.

Deployed engines send calls (`{name: [call, …]}`, `{name: {avg_latency_ms, invocations: [call, …]}}`), the contract gauges
(`{name: {latency_ms, …}}`), and the REST documentation a list of them (`{"agents": [{name, latency_ms, last_run}]}`). Calls stay
in `extra` too, since a call has more fields than columns.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from ccwatch.protocol import columns
from ccwatch.protocol.decoding.market_lists import stamp_ns
from ccwatch.protocol.decoding.packet_fields import AGENTS, CALLS, MODELS, NUMBERS, RANGE, WRONG_TYPE, bounds, keep, number
from ccwatch.protocol.decoding.word_length import has_longest_name
from ccwatch.protocol.messages import NAN, AgentMetric, Flag, ModelMetric, Packet, ServiceCall

MOST_CALLS: Final = 10_000
"""How many calls of one message are read at most; deployed engines send ten of each name."""
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
"""How a metric's gauges are read if nothing about them is odd, and the bounds within which that holds."""
_BLANK: Final = {metric: dict.fromkeys(metric._fields[1:], NAN) for metric in (AgentMetric, ModelMetric)}
_TABLES: Final[dict[type[Any], str]] = {AgentMetric: "agents", ModelMetric: "models"}
_STAMPS: Final = ("timestamp", "time", "last_run", "ts")


# Readers share one signature: the list's key and value, the packet's fields, the residue for `extra`, the server's zone; they
# return flags.


def read_agents(key: str, value: Any, values: list[Any], residue: dict[str, Any], server_tz: str) -> int:
    """Read agents from an object by name of gauges or lists of calls, or from a list of named gauges; return flags."""
    values[AGENTS], calls, flags = _metrics(key, value, AgentMetric, residue, server_tz)
    if calls:
        values[CALLS] += calls
    return flags


def read_models(key: str, value: Any, values: list[Any], residue: dict[str, Any], server_tz: str) -> int:
    """Read models in the same forms as agents; return flags."""
    values[MODELS], calls, flags = _metrics(key, value, ModelMetric, residue, server_tz)
    if calls:
        values[CALLS] += calls
    return flags


def write_metrics(packet: Packet, table: str) -> dict[str, Any]:
    """Return metrics as the object they were read from, without those that came as calls or were cut, which are in `extra`."""
    metrics: tuple[AgentMetric | ModelMetric, ...] = packet.agents if table == "agents" else packet.models
    if packet.flags & Flag.CUT and has_longest_name(metrics):
        return {}
    called = {call.name for call in packet.calls if call.table == table} if packet.calls else ()
    return {m[0]: {gauge: v for gauge, v in zip(m._fields[1:], m[1:], strict=True) if v is not NAN} for m in metrics if m[0] not in called}


def _metrics(
    key: str, value: Any, metric: type[Any], residue: dict[str, Any], server_tz: str
) -> tuple[tuple[Any, ...], tuple[ServiceCall, ...], int]:
    """Return the metrics of an object by name or of a list, the calls among them, and flags."""
    if type(value) is list:
        residue[key] = value
        return _named(value, metric, server_tz)
    if type(value) is not dict:
        residue[key] = value
        return (), (), WRONG_TYPE
    found = []
    latest: list[Any] = []  # of the names that came as calls
    calls: list[ServiceCall] = []
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
        if _has_calls(readings):
            residue.setdefault(key, {})[name] = readings
            if name == _TABLES[metric] and isinstance(readings, list) and any(type(e) is dict and "name" in e for e in readings):
                gauges, named, flag = _named(readings, metric, server_tz)
                latest += gauges
                calls += named
                flags |= flag
                continue
            listed: list[Any] = readings if isinstance(readings, list) else readings["invocations"]
            called, flag = _calls(name, listed, metric, server_tz)
            flags |= flag
            calls += called
            if called:
                latest.append(metric(name, **_BLANK[metric] | {"latency_ms": _latest(called).latency_ms}))
            continue
        if type(readings) is dict:
            numbers, rest, flag = _readings(readings, metric._fields[1:])
            found.append(metric(name, *numbers))
        else:
            rest, flag = readings, WRONG_TYPE
        flags |= flag
        if rest != {}:
            keep(residue, key, name, rest)
    if calls:
        residue[key] = value
    return (*found, *latest), tuple(calls), flags


def _calls(name: str, listed: list[Any], metric: type[Any], server_tz: str) -> tuple[list[ServiceCall], int]:
    """Return the calls of one name, in the order in which they were sent, and flags."""
    found = []
    flags = 0
    for entry in listed[:MOST_CALLS]:
        if type(entry) is not dict:
            flags |= WRONG_TYPE
            continue
        latency, flag = number(entry["latency_ms"]) if entry.get("latency_ms") is not None else (None, 0)
        flags |= flag
        time_ns = _own_time(entry, server_tz)
        found.append(ServiceCall(_TABLES[metric], name, time_ns, NAN if latency is None else latency, _success(entry)))
    return found, flags


def _named(listed: list[Any], metric: type[Any], server_tz: str) -> tuple[tuple[Any, ...], tuple[ServiceCall, ...], int]:
    """Return the gauges of a list of objects that carry their names, the calls that hold their own times, and flags."""
    found = {}
    calls = []
    flags = 0
    for entry in listed[:MOST_CALLS]:
        name = (entry.get("name") or entry.get("agent") or entry.get("model")) if type(entry) is dict else None
        if type(name) is not str:
            flags |= WRONG_TYPE
            continue
        gauges = {gauge: entry[gauge] for gauge in metric._fields[1:] if gauge in entry}
        numbers, _, flag = _readings(gauges, metric._fields[1:])
        flags |= flag
        found[name] = metric(name, *numbers)
        calls.append(ServiceCall(_TABLES[metric], name, _own_time(entry, server_tz), found[name].latency_ms, NAN, found[name]))
    return tuple(found.values()), tuple(calls), flags


def _has_calls(readings: Any) -> bool:
    """Return whether a name's value is its calls: a list of them, by itself or as `invocations`."""
    if type(readings) is list:
        return True
    listed = readings.get("invocations") if type(readings) is dict else None
    return type(listed) is list and (not listed or any(type(entry) is dict for entry in listed))


def _latest(calls: list[ServiceCall]) -> ServiceCall:
    """Return the latest call; of equal or unknown times, the first in the list."""
    return max(calls, key=lambda call: -(2**63) if call.time_ns is None else call.time_ns)


def _own_time(entry: dict[str, Any], server_tz: str) -> int | None:
    return next((found for name in _STAMPS if (found := stamp_ns(entry.get(name), server_tz)) is not None), None)


def _success(call: dict[str, Any]) -> float:
    """Return 1 for a call that succeeded, 0 for one that failed, and NaN if the server does not say."""
    said = call.get("success")
    if said is None:
        return NAN if call.get("error") in (None, "") else 0.0
    if type(said) is bool:
        return float(said)
    if type(said) is str:
        return {"true": 1.0, "1": 1.0, "ok": 1.0, "false": 0.0, "0": 0.0}.get(said.strip().lower(), NAN)
    return float(said) if type(said) in NUMBERS and said in (0, 1) else NAN


def _readings(readings: dict[str, Any], gauges: tuple[str, ...]) -> tuple[list[float], dict[str, Any], int]:
    """Return one metric's numbers in the order of its gauges, the remaining fields, and flags."""
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
