"""The tables beside the charts, as rows that JSON can hold: events, logs, services, health. No widget, no thread.

Text goes as it came: the page writes it as text, never as markup. Times are ms of the display zone's wall clock, as on the time axis.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import objective_of, read_objectives
from ccwatch.config import Settings
from ccwatch.errors import AnalysisError
from ccwatch.protocol.messages import Event, Item, Packet
from ccwatch.stream.view import LiveView, View, report_of

MOST_EVENTS: Final = 500
MOST_LOGS: Final = 1_000
EVENTS_BYTES: Final = 2_500
LOGS_BYTES: Final = 7_000
"""Bytes that one frame's rows may take; of more, the newest are sent, with a row that says how many were left out."""
TEXT_LIMIT, LEVEL_LIMIT = 500, 40
SPARK_CALLS: Final = 40
"""Calls that a sparkline shows."""
SERVICES_WINDOW: Final = "15min"
"""Received time that a feed's quantiles are taken over; a recording's are over all of it."""
CLOCKS_AGREE: Final = pd.Timedelta("1s")
"""Stream and receiver times that differ by less count as one clock."""

Row = list[Any]


def tables(view: View, shift: timedelta, up_to: int | None = None) -> dict[str, list[Row]]:
    """Return the newest events and logs of a view, of those up to seq `up_to`; a row is time, kind or level, text.

    Events before the first packet carry the receiver's time, since the stream's clock was not known yet. Where that clock differs,
    such an event is moved to the stream's time, and its original time follows as a fourth value.
    """
    found = {}
    for name, columns, most in (("events", ("kind", "detail"), MOST_EVENTS), ("logs", ("level", "message"), MOST_LOGS)):
        table = view.events() if name == "events" else view.logs()
        if up_to is not None:
            table = table[table["seq"].to_numpy() <= up_to]
        table = table.iloc[-most:]
        found[name] = _rows(table, columns, shift)
        if name == "events":
            _place_early(view, table, found[name])
    return found


def _place_early(view: View, events: pd.DataFrame, rows: list[Row]) -> None:
    """Move the events before the first packet to the stream's clock, by that packet's two times."""
    early = np.flatnonzero(events["seq"].to_numpy() == 0)
    if not len(early):
        return
    received = view.frame(["received_at"])["received_at"]
    if received.empty:
        return
    ahead = received.index[0] - received.iloc[0]
    if abs(ahead) < CLOCKS_AGREE:
        return
    for place in early:
        own = rows[place][0]
        rows[place][0] = own + ahead / pd.Timedelta("1ms")
        rows[place].append(own)


def grown(view: View, shift: timedelta, counts: dict[str, int]) -> dict[str, list[Row]]:
    """Return the rows of events and logs after their first `counts` ones, and update `counts`."""
    found = {}
    for name, columns in (("events", ("kind", "detail")), ("logs", ("level", "message"))):
        table = view.events() if name == "events" else view.logs()
        if len(table) > counts.get(name, 0):
            found[name] = _of_a_frame(name, _rows(table.iloc[counts.get(name, 0) :], columns, shift))
            counts[name] = len(table)
    return found


def counts(view: View) -> dict[str, int]:
    """Return how many rows the tables of events and logs have, by table."""
    return {"events": len(view.events()), "logs": len(view.logs())}


def of_items(items: Sequence[Item], shift: timedelta) -> dict[str, list[Row]]:
    """Return the rows of events and log lines among a stream's items, by table; a table without rows is left out."""
    by_ms = shift.total_seconds() * 1000.0
    events = [[item.time_ns / 1e6 + by_ms, item.kind, _cut(item.detail)] for item in items if isinstance(item, Event)]
    logs = [
        [item.time_ns / 1e6 + by_ms, _level(line.level), _cut(line.message)]
        for item in items
        if isinstance(item, Packet)
        for line in item.new_logs
    ]
    return {name: _of_a_frame(name, rows) for name, rows in (("events", events), ("logs", logs)) if rows}


def newest_within(rows: Sequence[Row], limit: int) -> list[Row]:
    """Return the newest row, and as many before it as fit with it into `limit` bytes of JSON."""
    room = limit
    for kept, row in enumerate(reversed(rows)):
        room -= len(json.dumps(row, ensure_ascii=False).encode(errors="replace")) + 2
        if room < 0 and kept:
            return list(rows[len(rows) - kept :])
    return list(rows)


def services(view: View) -> list[dict[str, Any]]:
    """Return one dict per agent and model; an empty list where no service made a call.

    Keys: kind, name, n (calls seen), p50, p95, p99 and objective (ms), good (share), invocations, spark (ms), why. The p99 of few calls
    is None, with the reason in `why`.
    """
    from ccwatch.analysis import latency  # noqa: PLC0415 - scipy takes a second to import

    last = SERVICES_WINDOW if isinstance(view, LiveView) else None
    agents, models = view.agents(last), view.models(last)
    try:
        found = latency(agents, models)
    except AnalysisError:
        return []
    newest: dict[tuple[str, str], tuple[float, float]] = {}
    for kind, table, good in (("agent", agents, "success_rate"), ("model", models, "cache_hit_rate")):
        if len(table):
            for name, last_row in table.groupby(kind, observed=True)[[good, "invocations"]].last().iterrows():
                newest[kind, str(name)] = (float(last_row[good]), float(last_row["invocations"]))
    sparks = {
        (str(kind), str(name)): calls.to_numpy()[-SPARK_CALLS:]
        for (kind, name), calls in found.observations.groupby(["kind", "name"], observed=True)["latency_ms"]
    }
    rows = []
    objectives = read_objectives(Settings.load().objectives)
    for row in found.services.to_dict("records"):
        key = (str(row["kind"]), str(row["name"]))
        share, invocations = newest.get(key, (math.nan, math.nan))
        rows.append(
            {
                "kind": key[0],
                "name": key[1],
                "n": int(row["n"]),
                "p50": _number(row["p50_ms"]),
                "p95": _number(row["p95_ms"]),
                "p99": _number(row["p99_ms"]),
                "objective": _number(objective_of(key[1], objectives)),
                "good": _number(share),
                "invocations": _number(invocations),
                "spark": [round(float(value), 2) for value in sparks.get(key, np.empty(0))],
                "why": str(row["reason"]),
            }
        )
    return rows


def health(view: View) -> list[Row]:
    """Return a feed's health or a recording's info, as pairs of a name and words."""
    return [[name, _words(value)] for name, value in report_of(view).items()]


def _of_a_frame(name: str, rows: list[Row]) -> list[Row]:
    kept = newest_within(rows, EVENTS_BYTES if name == "events" else LOGS_BYTES)
    left = len(rows) - len(kept)
    return [[rows[left - 1][0], None, f"{left:,} more came at once and are not listed here: {name}() has them"], *kept] if left else kept


def _rows(table: pd.DataFrame, columns: tuple[str, str], shift: timedelta) -> list[Row]:
    time_ms = pd.DatetimeIndex(table.index).as_unit("ns").asi8 / 1e6 + shift.total_seconds() * 1000.0
    first, second = (table[name].astype(object).where(table[name].notna(), None) for name in columns)
    return [[at, _level(one), _cut(two)] for at, one, two in zip(time_ms.tolist(), first, second, strict=True)]


def _cut(text: Any) -> str:
    words = "" if text is None else str(text)
    return words if len(words) <= TEXT_LIMIT else words[:TEXT_LIMIT] + "…"


def _level(word: Any) -> str | None:
    return None if word is None else str(word)[:LEVEL_LIMIT]


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _cut(", ".join(map(str, value)) if isinstance(value, list | tuple) else value)
