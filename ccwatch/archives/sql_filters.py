"""Sessions that a query can touch: its WHERE, as DuckDB parses it, asked of the catalog before any file is opened.

Of each table that a SELECT reads, the conditions that name only session, origin, date and time are put to the catalog's sessions; a
session that meets none of them holds no row of the answer. A condition or clause that is not known here leaves out no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from ccwatch.protocol.columns import TABLES

ORIGINS: Final = ("live", "synthetic", "replay")
OTHER: Final = "unknown"
"""The origin that a session of none of these has in the views."""
Node = dict[str, Any]
_SPANS: Final = "_spans"
_QUESTION: Final = "SELECT DISTINCT session FROM _spans WHERE true"
_NAMED: Final = frozenset({"session", "origin"})
_DATED: Final = frozenset({"date"})
_SETTLED: Final = ("finished", "killed")
"""States of a session that gets no more packets."""
_MOST_DAYS: Final = 400
"""Days of a session beyond which its dates are not counted out; it is always read then."""
# fmt: off
_FUNCTIONS: Final = frozenset({
    "~~", "!~~", "~~*", "!~~*", "+", "-", "lower", "upper", "contains", "starts_with", "prefix", "suffix", "ends_with", "left",
    "right", "substring", "substr", "length", "regexp_matches", "regexp_full_match", "split_part", "date_trunc", "date_part",
    "year", "month", "day", "week", "quarter", "dayofweek", "isodow", "dayofyear", "strftime", "last_day", "to_days", "to_weeks",
    "to_months", "to_years", "to_hours", "to_minutes", "to_seconds", "trunc", "make_date",
})
# fmt: on
"""Functions of known text and dates, whose result is the same whenever it is asked for."""
_CLASSES: Final = frozenset({"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "BETWEEN", "OPERATOR", "CAST", "FUNCTION", "TYPE"})
_MIRRORED: Final = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
}


class _Unknown(Exception):
    """The query has a clause that is not known here."""


class Read(NamedTuple):
    """One reading of a table in a query, with the conditions on it that all hold."""

    table: str
    conditions: tuple[Node, ...]


def touched(connection: Any, query: str, sessions: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Return by table the names of the sessions that a query can touch; a table that is missing may need all of them.

    Args:
        connection: DuckDB's, that parses the query and asks the catalog.
        query: the text.
        sessions: `Archive.sessions`.
    """
    try:
        parsed = _parsed(connection, query)
        reads = list(_reads(parsed["statements"])) if not parsed["error"] else []
        found: dict[str, frozenset[str]] = {}
        for table in {read.table for read in reads}:
            mine = [read.conditions for read in reads if read.table == table]
            if all(mine):
                found[table] = frozenset().union(*(_matching(connection, conditions, sessions) for conditions in mine))
    except (_Unknown, duckdb.Error, KeyError, TypeError, AttributeError, msgspec.DecodeError):
        return {}  # another version of DuckDB may describe a query differently: then it reads every session
    return found


def _parsed(connection: Any, query: str) -> Node:
    """Return a query as DuckDB parses it; "error" is true where it is no SELECT."""
    found: Node = msgspec.json.decode(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0])
    return found


# ── the query ──


def _reads(node: Any, conditions: tuple[Node, ...] = ()) -> Iterator[Read]:
    """Yield every reading of a table below a node.

    Raises:
        _Unknown: the node may read tables in another way.
    """
    if isinstance(node, list):
        for each in node:
            yield from _reads(each)
        return
    if not isinstance(node, dict):
        return
    kind = node.get("type")
    if kind in {"TABLE_FUNCTION", "SHOW_REF", "PIVOT", "DELIM_GET", "COLUMN_DATA", "BOUND_TABLE_REF"}:
        raise _Unknown
    if kind == "BASE_TABLE":
        table = node["table_name"].lower()
        if table in TABLES:
            alias = (node["alias"] or table).lower()
            plain = not node["column_name_alias"] and not node["sample"]
            fitting = (_of_table(condition, alias, table) for condition in conditions) if plain else ()
            yield Read(table, tuple(condition for condition in fitting if condition is not None))
        return
    inner = conditions if kind == "JOIN" and node["join_type"] == "INNER" and node["ref_type"] in {"REGULAR", "CROSS"} else ()
    for key, value in node.items():
        if kind == "SELECT_NODE" and key == "from_table":
            yield from _reads(value, () if node["sample"] else tuple(_conjuncts(node["where_clause"])))
        else:
            yield from _reads(value, inner if key in {"left", "right"} else ())


def _conjuncts(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    if node["type"] == "CONJUNCTION_AND":
        for child in node["children"]:
            yield from _conjuncts(child)
    else:
        yield node


def _of_table(condition: Node, alias: str, table: str) -> Node | None:
    """Return a condition with the columns' bare names, if it can be asked of the catalog; otherwise None."""
    bare: Node = _bared(condition, alias)
    columns = set(_columns(bare))
    if not columns or not _is_known(bare):
        return None
    if columns <= _NAMED:
        return bare
    if table != "packets":  # rows of the other tables have their own times, which the catalog does not know
        return None
    if columns <= _NAMED | _DATED:
        return bare
    return _of_time(bare) if columns == {"time"} else None


def _bared(node: Any, alias: str) -> Any:
    if isinstance(node, list):
        return [_bared(each, alias) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "COLUMN_REF":
        names = [name.lower() for name in node["column_names"]]
        return node | {"column_names": names[1:] if len(names) == 2 and names[0] == alias else names}
    return {key: _bared(value, alias) for key, value in node.items()}


def _columns(node: Any) -> Iterator[str]:
    for each in _expressions(node):
        if each.get("class") == "COLUMN_REF":
            yield ".".join(each["column_names"])


def _is_known(node: Node) -> bool:
    return all(
        each["class"] in _CLASSES and (each["class"] != "FUNCTION" or (each["function_name"] in _FUNCTIONS and not each["filter"]))
        for each in _expressions(node)
    )


def _expressions(node: Any) -> Iterator[Node]:
    if isinstance(node, list):
        for each in node:
            yield from _expressions(each)
    elif isinstance(node, dict):
        if "class" in node:
            yield node
        for value in node.values():
            yield from _expressions(value)


def _of_time(node: Node) -> Node | None:
    """Return a comparison of `time` with a fixed value as one of a session's first and last time; None for any other condition."""
    if node["class"] == "BETWEEN" and node["type"] == "COMPARE_BETWEEN" and _is_time(node["input"]):
        low = _compared("last", "COMPARE_GREATERTHANOREQUALTO", node["lower"])
        return _all_of([low, _compared("first", "COMPARE_LESSTHANOREQUALTO", node["upper"])])
    if node["class"] != "COMPARISON" or node["type"] not in _MIRRORED:
        return None
    kind, value = node["type"], node["right"]
    if _is_time(node["right"]):
        kind, value = _MIRRORED[kind], node["left"]
    elif not _is_time(node["left"]):
        return None
    if "time" in _columns(value):
        return None
    if kind == "COMPARE_EQUAL":
        return _all_of([_compared("first", "COMPARE_LESSTHANOREQUALTO", value), _compared("last", "COMPARE_GREATERTHANOREQUALTO", value)])
    return _compared("last" if "GREATER" in kind else "first", kind, value)


def _is_time(node: Node) -> bool:
    return bool(node["class"] == "COLUMN_REF" and node["column_names"] == ["time"])


def _column(name: str) -> Node:
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "column_names": [name]}


def _compared(name: str, kind: str, value: Node) -> Node:
    return {"class": "COMPARISON", "type": kind, "alias": "", "left": _column(name), "right": value}


def _all_of(conditions: Iterable[Node], kind: str = "CONJUNCTION_AND") -> Node:
    return {"class": "CONJUNCTION", "type": kind, "alias": "", "children": list(conditions)}


# ── the catalog ──


def _matching(connection: Any, conditions: tuple[Node, ...], sessions: pd.DataFrame) -> frozenset[str]:
    """Return the sessions that meet all conditions on some of their days, or whose days are not known."""
    named = [condition for condition in conditions if set(_columns(condition)) <= _NAMED]
    dated = [condition for condition in conditions if condition not in named]
    connection.register(_SPANS, _spans(sessions, by_day=any("date" in _columns(condition) for condition in dated)))
    try:
        asked = _parsed(connection, _QUESTION)
        every = [*named, *([_all_of([_column("is_unknown"), _all_of(dated)], "CONJUNCTION_OR")] if dated else [])]
        asked["statements"][0]["node"]["where_clause"] = _all_of(every)
        text = connection.execute("SELECT json_deserialize_sql(?)", [msgspec.json.encode(asked).decode()]).fetchall()[0][0]
        return frozenset(name for (name,) in connection.execute(text).fetchall())
    finally:
        connection.unregister(_SPANS)


def _spans(sessions: pd.DataFrame, *, by_day: bool) -> Any:
    """Return session, origin, first and last time (ns, UTC), is_unknown, and with `by_day` date: a row per session and day."""
    first, last = sessions["start"], sessions["end"]
    first_day, last_day = (times.dt.tz_localize(None).to_numpy().astype("M8[D]") for times in (first, last))
    days = np.where(first.isna() | last.isna(), 1, (last_day - first_day).astype(np.int64) + 1)
    is_unknown = ~sessions["status"].isin(_SETTLED).to_numpy() | (sessions["damaged"] > 0).to_numpy() | (days > _MOST_DAYS) | (days < 1)
    is_unknown |= first.isna().to_numpy()
    columns = {
        "session": pa.array(sessions.index.astype("str"), pa.string()),
        "origin": pa.array(sessions["origin"].where(sessions["origin"].isin(ORIGINS), OTHER).astype("str"), pa.string()),
        "first": pa.array(first, pa.timestamp("ns", "UTC")),
        "last": pa.array(last, pa.timestamp("ns", "UTC")),
        "is_unknown": pa.array(is_unknown),
    }
    table = pa.table(columns)
    if not by_day:
        return table
    counts = np.where(is_unknown, 1, days)
    rows = np.repeat(np.arange(len(sessions)), counts)
    offset = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return table.take(pa.array(rows)).append_column("date", pa.array(first_day[rows] + offset.astype("m8[D]"), pa.date32()))
