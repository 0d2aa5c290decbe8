"""The statements that an archive answers: those that only read. DuckDB parses each before it runs; what is not known to read is refused.

DuckDB's own kind of a statement does not say it: EXPLAIN ANALYZE runs what it explains, a WITH may hold a COPY, a PIVOT whose columns are
found in the data is of the same kind as a COPY of one, and `query()` runs a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb
import msgspec

from ccwatch.errors import ConfigError

_EXPLAIN: Final = re.compile(r"explain\b(?:\s+analyze\b|\s*\([^()]*\))?", re.IGNORECASE)
_PRAGMA: Final = re.compile(r"pragma\s+table_info\b", re.IGNORECASE)
"""The one that describes a table; others set, write or load something."""
_QUERIES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "STATEMENT_NODE"})
"""DuckDB's kinds of parts of a query that only read."""
_RUNS_TEXT: Final = frozenset({"query", "json_execute_serialized_sql"})
"""Functions that run a text, which is not looked into."""
# fmt: off
_WRITES: Final = frozenset({
    "alter", "analyze", "attach", "call", "checkpoint", "copy", "create", "deallocate", "delete", "detach", "drop", "execute", "export",
    "import", "insert", "install", "load", "merge", "pragma", "prepare", "replace", "set", "truncate", "update", "upsert", "use", "vacuum",
})
# fmt: on
"""Words that no PIVOT needs, unless in quotes."""


def the_question(query: Any, connection: Any) -> str:
    """Return the one question of a text, without comments and semicolons around it: what is run is what was looked into.

    Args:
        query: the text.
        connection: DuckDB's, which describes a query as JSON.

    Raises:
        ConfigError: it is no SQL, several statements, or one that does not only read.
    """
    text = _without_end(query) if isinstance(query, str) else ""
    if not _only_reads(text, connection):
        raise ConfigError(
            "sql: expected one question (SELECT, WITH, PIVOT, SUMMARIZE, DESCRIBE, EXPLAIN …); to write, use .df(), .arrow() or publish()"
        )
    return text


def _only_reads(text: str, connection: Any) -> bool:
    statements = _statements(text)
    if len(statements) != 1:
        return False
    kind = statements[0].type.name
    explained = _EXPLAIN.match(text)
    if explained is not None:
        return kind in {"EXPLAIN", "MULTI"} and _only_reads(_without_end(text[explained.end() :]), connection)
    if kind == "PRAGMA":
        return _PRAGMA.match(text) is not None
    if kind == "SELECT":
        return _is_query(text, connection)
    return kind == "MULTI" and _is_pivot(text)


def _without_end(text: str) -> str:
    """Return a statement without the comments and semicolons around it."""
    tokens = [start for start, word, kind in _tokens(text) if kind != "comment" and word != ";"]
    if not tokens:
        return ""
    end = next((start for start, _, _ in _tokens(text) if start > tokens[-1]), len(text))
    return text[tokens[0] : end].strip()


def line(error: Exception) -> str:
    """Return DuckDB's error in one line."""
    return " ".join(str(error).split())[:600]


def _is_query(text: str, connection: Any) -> bool:
    """Return whether every part of a SELECT only reads."""
    found = msgspec.json.decode(connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0])
    nodes = list(_nodes(found))
    kinds = {node["type"] for node in nodes if isinstance(node.get("type"), str) and node["type"].endswith("_NODE")}
    functions = {str(node["function_name"]).lower() for node in nodes if "function_name" in node}
    return not found["error"] and kinds <= _QUERIES and not functions & _RUNS_TEXT


def _is_pivot(text: str) -> bool:
    """Return whether a statement that DuckDB cannot describe can be selected from, and has no word of one that writes."""
    if re.search(r"\bcopy\b", text, re.IGNORECASE):  # even in quotes: it is the one that would write a file
        return False
    words = {word.lower().strip('"') if kind == "identifier" else word.lower() for _, word, kind in _tokens(text) if kind != "string_const"}
    if words & _RUNS_TEXT or {word.lower() for _, word, kind in _tokens(text) if kind == "keyword"} & _WRITES:
        return False
    try:
        return [each.type.name for each in duckdb.extract_statements(f"SELECT * FROM (\n{text}\n)")] == ["MULTI"]  # noqa: S608 - parsed, not run
    except duckdb.Error:
        return False


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within a value of JSON."""
    if isinstance(value, dict):
        yield value
        value = [*value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def _tokens(text: str) -> list[tuple[int, str, str]]:
    """Return start, text and kind of each token."""
    raw = text.encode()  # DuckDB counts bytes
    found = duckdb.tokenize(text)
    ends = [*(start for start, _ in found), len(raw)][1:]
    return [
        (len(raw[:start].decode()), raw[start:end].decode().strip(), str(kind).rpartition(".")[2])
        for (start, kind), end in zip(found, ends, strict=True)
    ]


def _statements(query: str) -> list[Any]:
    try:
        found: list[Any] = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise ConfigError(f"sql: {line(error)}") from None
    return found
