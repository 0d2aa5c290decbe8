"""SQL over all sessions, by DuckDB, which reads the Parquet files as they are; rows that only a journal holds come from memory.

A view per table has the public columns, and `session`, `origin` and `date`. Filters on session and origin choose files, those on time and
words skip row groups. No text of a recording becomes SQL: files are passed as values, and the rest of the text is fixed.
DuckDB reads only below the archive's folder; it writes nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
import pyarrow as pa

from ccwatch.archives.locations import is_remote, open_place
from ccwatch.errors import AnalysisError, ConfigError, RecordingError
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.messages import UNCLEAN, Flag
from ccwatch.recording import FINISHED, SCHEMAS, footer_crc
from ccwatch.stream.dataframes import TEXT

try:
    import duckdb
except ImportError as error:
    raise ConfigError(f"SQL needs {error.name}, which comes with: pip install 'ccwatch[archive]'") from None

ORIGINS: Final = ("live", "synthetic", "replay")
_OTHER: Final = "unknown"
_GLOBBED: Final = frozenset("*?[]")
"""Characters of a path that DuckDB would expand."""
_READS: Final = frozenset({"SELECT", "EXPLAIN", "PRAGMA", "CALL"})
Answer = TypeVar("Answer")


class Relation:
    """An answer that is computed when it is read: DuckDB's relation, with one method per library.

    Other attributes are those of DuckDB's relation: `filter`, `order`, `limit`, `columns`, `types`, …
    """

    def __init__(self, views: Views, make: Callable[[], Any]) -> None:
        self._views = views
        self._make = make
        try:
            self._relation = views.run(make)
        except AnalysisError:
            if not views.leave_out_damaged():
                raise
            self._relation = views.run(make)
        self._reader: Iterator[tuple[Any, ...]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._relation, name)

    def __repr__(self) -> str:
        return repr(self._relation)

    def _repr_html_(self) -> str:
        return self._relation.limit(20).df().to_html()  # type: ignore[no-any-return] # pandas escapes it

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow().__arrow_c_stream__(requested_schema)

    def arrow(self) -> Any:
        """Return the answer as a pyarrow.Table."""
        return self._read(lambda relation: relation.to_arrow_table())

    def df(self) -> pd.DataFrame:
        """Return the answer as a DataFrame; times are datetime64[ns, UTC]."""
        found: pd.DataFrame = self.arrow().to_pandas(date_as_object=True)
        return found

    def pl(self) -> Any:
        """Return the answer as a polars.DataFrame."""
        return self._read(lambda relation: relation.pl())

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row; None after the last one."""
        if self._reader is None:
            self._reader = iter(self.fetchall())
        return next(self._reader, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows as a list of tuples."""
        found: list[tuple[Any, ...]] = self._read(lambda relation: relation.fetchall())
        return found

    to_arrow = arrow
    to_df = df
    to_polars = pl

    def _read(self, read: Callable[[Any], Answer]) -> Answer:
        """Read the answer; if a file turns out to be damaged, read it once more without that session."""
        try:
            return self._views.run(lambda: read(self._relation))
        except AnalysisError:
            if not self._views.leave_out_damaged():
                raise
            self._relation = self._views.run(self._make)
            return self._views.run(lambda: read(self._relation))


class Views:
    """The tables of sessions as views of a separate DuckDB database in memory."""

    def __init__(self, sessions: pd.DataFrame, *, memory: str = "1GB") -> None:
        """Open the database; files are looked for when a query names their table.

        Args:
            sessions: `Archive.sessions`.
            memory: DuckDB's limit, such as "1GB".

        Raises:
            ConfigError: `memory` is no size that DuckDB takes.
        """
        self._sessions = sessions
        status = sessions["status"].astype(TEXT).to_dict()
        self.left_out = {str(name): str(word) for name, word in status.items() if str(word).startswith("unreadable")}
        # Serialises what is asked of the one connection: relations of several threads share it.
        self._lock = threading.RLock()
        # Without this, DuckDB 2.0 takes a column whose statistics hold no NaN for one that has none; Parquet's never hold it.
        settings: dict[str, Any] = {"disabled_optimizers": "statistics_propagation", "memory_limit": memory}
        try:
            self._connection = duckdb.connect(config=settings)
        except duckdb.Error as error:
            raise ConfigError(f"memory={memory!r}: {_line(error)}") from None
        self._connection.execute("SET temp_directory = ?", [os.path.join(tempfile.gettempdir(), f"ccwatch-sql-{os.getpid()}")])  # noqa: PTH118 - text for DuckDB
        with contextlib.suppress(duckdb.Error):  # without its extension for time zones DuckDB knows UTC alone
            self._connection.execute("SET TimeZone = 'UTC'")
        roots = sorted({str(Path(path).parent) + "/" for path in sessions["path"] if not is_remote(path)})
        self._connection.execute("SET allowed_directories = ?", [roots])
        for setting in ("enable_external_access = false", "lock_configuration = true"):
            self._connection.execute(f"SET {setting}")
        self._made: set[str] = set()

    def ask(self, query: str) -> Relation:
        """Return the answer to one query.

        Raises:
            ConfigError: DuckDB refuses it, or it is not a statement that only reads.
        """
        statements = _statements(query)
        if len(statements) != 1 or statements[0].type.name not in _READS:
            raise ConfigError("sql: expected one question (SELECT, WITH, DESCRIBE, EXPLAIN …); to write, use .df(), .arrow() or publish()")
        words = query.lower()

        def make() -> Any:
            for table in (*TABLES, "sessions"):
                if table in words and table not in self._made:
                    self._make_view(table)
            return self._connection.sql(query)

        try:
            return Relation(self, make)
        except AnalysisError as error:
            raise ConfigError(f"sql: {error}") from None

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Run a function on the connection while no other thread uses it, and return its result.

        Raises:
            AnalysisError: DuckDB fails.
        """
        with self._lock:
            try:
                return work()
            except duckdb.Error as error:
                raise AnalysisError(_line(error)) from None

    def leave_out_damaged(self) -> bool:
        """Check the end of every file, leave out the sessions with a damaged one, and return whether there are any."""
        with self._lock:
            before = len(self.left_out)
            for name, path in self._sessions["path"].items():
                for file in [] if name in self.left_out or is_remote(path) else sorted(Path(path).glob("*/*.parquet")):
                    try:
                        footer_crc(file)
                    except (RecordingError, OSError) as error:
                        self.left_out[str(name)] = str(error)
            for table in self._made & set(TABLES):
                self._make_view(table)
            return len(self.left_out) > before

    # ── inside ──

    def _make_view(self, table: str) -> None:
        self._made.add(table)
        if table == "sessions":
            self._connection.register("sessions", _sessions_table(self._sessions))
            return
        branches = []
        for place, origin in enumerate((*ORIGINS, _OTHER)):
            files, tails = self._sources(table, origin)
            if files:
                self._connection.read_parquet(files, filename=True, union_by_name=True).create_view(f"_{table}_{place}", replace=True)
                branches.append(f"SELECT *, '{origin}' AS origin FROM _{table}_{place}")  # noqa: S608 - names of ours
            if tails:
                self._connection.register(f"_{table}_{place}_tail", pa.concat_tables(tails))
                branches.append(f"SELECT *, '{origin}' AS origin FROM _{table}_{place}_tail")  # noqa: S608 - as above
        self._connection.register(f"_{table}_none", _plain(SCHEMAS[table].empty_table(), ""))
        branches.append(f"SELECT *, '' AS origin FROM _{table}_none")  # noqa: S608 - as above
        columns = ", ".join(_expression(column) for column in TABLES[table])
        clean = f" WHERE (flags & {int(UNCLEAN)}) = 0" if table == "packets" else ""
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {table} AS SELECT split_part(filename, '/', -3) AS session, origin, "  # noqa: S608 - fixed text
            f"CAST(timezone('UTC', time) AS DATE) AS date, {columns} FROM ({' UNION ALL BY NAME '.join(branches)}){clean}"
        )

    def _sources(self, table: str, origin: str) -> tuple[list[str], list[Any]]:
        """Return a table's Parquet files, and Arrow tables of the rows in no file, for the sessions of one origin."""
        rows = self._sessions[_is_origin(self._sessions["origin"], origin)]
        files: list[str] = []
        tails: list[Any] = []
        for name, path, status, damaged in zip(rows.index, rows["path"], rows["status"], rows["damaged"], strict=True):
            if name in self.left_out:
                continue
            if status == FINISHED and not damaged and not is_remote(path) and not _GLOBBED & set(path):
                files += _files(f"{path}/{table}")
                continue
            try:
                mine, tail = _parts(path, table)
            except Exception as error:  # noqa: BLE001 - one session that cannot be read ends no question
                self.left_out[str(name)] = str(error)
                continue
            files += mine
            tails += [_plain(tail, f"{path}/{table}/")] if tail.num_rows else []
        return files, tails


def _parts(path: str, table: str) -> tuple[list[str], Any]:
    """Return the whole files of a damaged or growing recording and the rows of its journal, as of one moment."""
    recording = open_place(path)
    if is_remote(path) or _GLOBBED & set(path):
        return [], recording.tables({table: SCHEMAS[table].names})[0]
    files, tail = recording.parts(table)
    return [str(file) for file in files], tail


def _files(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.name.endswith(".parquet"))
    except FileNotFoundError:
        return []


def _plain(table: Any, folder: str) -> Any:
    """Return rows in memory with words as text, and the path that a file of the table would have."""
    arrays = [column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    names = [*table.schema.names, "filename"]
    return pa.table([*arrays, pa.array([folder] * table.num_rows, pa.string())], names=names)


def _is_origin(column: Any, origin: str) -> Any:
    return ~column.isin(ORIGINS) if origin == _OTHER else column == origin


def _expression(column: Column) -> str:
    if column.name == "flags":
        names = ", ".join(f"CASE WHEN (flags & {int(flag)}) <> 0 THEN '{flag.name}' END" for flag in Flag)
        return f"list_filter([{names}], lambda x: x IS NOT NULL) AS flags, flags AS flag_bits"
    if column.dtype == "float64":
        return f'CASE WHEN isnan("{column.name}") THEN NULL ELSE "{column.name}" END AS "{column.name}"'
    return f'"{column.name}"'


def _sessions_table(frame: pd.DataFrame) -> Any:
    whole = frame.reset_index()
    arrays = []
    for name in whole.columns:
        if name in {"symbols", "tags"}:
            arrays.append(pa.array([list(words) for words in whole[name]], pa.list_(pa.string())))
        else:
            arrays.append(pa.array(whole[name], from_pandas=True))
    return pa.table(arrays, names=[str(name) for name in whole.columns])


def _statements(query: str) -> list[Any]:
    try:
        found: list[Any] = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise ConfigError(f"sql: {_line(error)}") from None
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
