"""The forecast of a message: lists by quantile, single numbers for one horizon, or either under the names of older builds."""

from __future__ import annotations

from typing import Any, Final

from ccwatch.protocol.decoding.packet_fields import BLANK, FORECASTS, NUMBERS, WRONG_TYPE, number
from ccwatch.protocol.messages import NAN, Flag, ForecastPoint, Packet

QUANTILES: Final = ("p10", "median", "p90")
_OTHER_NAMES: Final = {"p50": "median", "low": "p10", "high": "p90"}
_SYNTHETIC: Final = int(Flag.SYNTHETIC_FORECAST)
_FARTHEST: Final = 2**31 - 1


def read_forecast(key: str, value: Any, values: list[Any], residue: dict[str, Any], _server_tz: str) -> int:
    """Read a forecast from an object of lists or single numbers by quantile, and return flags; `horizon` is a single point's step.

    A shorter list is missing at the further steps. Single numbers, and names of other builds (p50, low, high), stay in
    `extra` as well, since the table cannot distinguish them from lists.
    """
    if type(value) is list:  # of medians alone
        values[FORECASTS] = _points({"median": [_plain(entry) for entry in value]}, 1)
        residue[key] = value
        return WRONG_TYPE
    if type(value) is not dict:
        residue[key] = value
        return WRONG_TYPE
    flags = _SYNTHETIC if is_true(value.get("is_synthetic")) else 0
    if _is_listed(value):
        return flags | _read_lists(key, value, values, residue)
    series: dict[str, list[float]] = {}
    for name, entry in value.items():
        quantile = name if name in QUANTILES else _OTHER_NAMES.get(name)
        if quantile is None or entry is None or quantile in series:
            continue
        if type(entry) is list:
            series[quantile] = [_plain(each) for each in entry]
            continue
        found, flag = number(entry)
        flags |= flag
        if found is not None:
            series[quantile] = [found]
    values[FORECASTS] = _points(series, _horizon(value))
    if value:
        residue[key] = value
    return flags


def write_forecast(packet: Packet, kept: Any) -> dict[str, Any]:
    """Return the quantiles of a packet's forecast, except those missing at every step; `kept` is the part of it in `extra`."""
    if kept is not None:
        values = BLANK.copy()
        read_forecast("", kept, values, {}, "")
        if values[FORECASTS] == packet.forecasts:  # it is kept whole
            return {}
    series = zip(QUANTILES, list(zip(*packet.forecasts, strict=True))[1:], strict=True)
    return {name: [None if n is NAN else n for n in numbers] for name, numbers in series if any(n is not NAN for n in numbers)}


def is_true(value: Any) -> bool:
    """Return whether a value means yes: true, 1, or a text of these."""
    return (
        value is True or (type(value) in NUMBERS and value == 1) or (type(value) is str and value.strip().lower() in {"true", "1", "yes"})
    )


def _is_listed(value: dict[str, Any]) -> bool:
    """Return whether a forecast is of the usual shape: lists by quantile, where a single point is the first step."""
    if any(name in value for name in _OTHER_NAMES):
        return False
    lengths = [len(value[name]) for name in QUANTILES if type(value.get(name)) is list]
    if not lengths:
        return all(number(value[name])[0] is None for name in QUANTILES if name in value)
    return not (max(lengths) == 1 and _horizon(value) != 1)


def _read_lists(key: str, value: dict[str, Any], values: list[Any], residue: dict[str, Any]) -> int:
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
    values[FORECASTS] = _points(series, 1)
    if rest:
        residue[key] = rest
    return flags


def _points(series: dict[str, list[float]], first: int) -> tuple[ForecastPoint, ...]:
    steps = max(map(len, series.values()), default=0)
    padded = [series.get(name, []) + [NAN] * (steps - len(series.get(name, []))) for name in QUANTILES]
    start = first if steps == 1 else 1
    rows = enumerate(zip(*padded, strict=True), start=start)
    return tuple([ForecastPoint(step, *row) for step, row in rows if any(n is not NAN for n in row) or steps > 1])


def _horizon(value: dict[str, Any]) -> int:
    """Return how many periods ahead a single point is; 1 where the server does not say."""
    found, _ = number(value.get("horizon"))
    return int(found) if found is not None and 1 <= found <= _FARTHEST else 1


def _plain(value: Any) -> float:
    found = number(value)[0] if value is not None else None
    return NAN if found is None else found
