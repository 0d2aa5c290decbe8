"""SQL over all sessions, by DuckDB, which reads the Parquet files as they are; rows that only a journal holds come from memory.

A view per table has the public columns, and `session`, `origin` and `date`. The catalog chooses the sessions that a query can touch (see
`sql_filters`); no file of another is opened, and each file is opened when it is its turn. Filters on time and words skip row groups.
No text of a recording becomes SQL: files are passed as values, and the rest of the text is fixed.
DuckDB reads only below the archive's folder; it writes nothing.
"""

from __future__ import annotations

import contextlib
import html
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ccwatch.archives.locations import is_remote, open_place
from ccwatch.archives.sessions import left_out_note
from ccwatch.archives.sql_filters import ORIGINS, OTHER, touched
from ccwatch.archives.sql_statements import line, the_question
from ccwatch.errors import AnalysisError, ConfigError, RecordingError
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.messages import UNCLEAN, Flag
from ccwatch.recording import FINISHED, SCHEMAS, Recording, footer_crc
from ccwatch.stream.dataframes import TEXT

try:
    import duckdb
except ImportError as error:
    raise ConfigError(f"SQL needs {error.name}, which comes with: pip install 'ccwatch[archive]'") from None

_GLOBBED: Final = frozenset("*?[]")
"""Characters of a path that DuckDB would expand."""
# fmt: off
_NOT_OFFERED: Final = frozenset({
    "create", "create_view", "insert", "insert_into", "query", "to_csv", "to_parquet", "to_table", "to_view", "update", "write_csv",
    "write_parquet",
})
# fmt: on
"""DuckDB's methods that write, and `query`: another query may touch sessions that this one left out."""
_OF_QUERY: Final = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
    duckdb.NotImplementedException,
    duckdb.PermissionException,
    duckdb.OutOfMemoryException,
)
"""Errors that no file is to blame for."""
Answer = TypeVar("Answer")


class UnreadableError(AnalysisError):
    """The error of a query that may be right, but that DuckDB cannot read the files for."""


class Relation:
    """An answer that is computed when it is read: DuckDB's relation, with one method per library.

    Other attributes are those of DuckDB's relation: `filter`, `order`, `limit`, `columns`, `types`, …
    """

    def __init__(self, views: Views, make: Callable[[], Any]) -> None:
        self._views = views
        self._make = make
        self._relation = self._again(make)
        self._reader: Iterator[tuple[Any, ...]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in _NOT_OFFERED:
            raise AttributeError(name)
        return getattr(self._relation, name)

    @property
    def left_out(self) -> dict[str, str]:
        """Return by session why it is not in the answer; what is damaged within a file is known once the answer has been read."""
        return self._views.left_out_of_question()

    def __repr__(self) -> str:
        shown = self._read(repr)
        return "\n".join([shown, *left_out_note(self.left_out)])

    def _repr_html_(self) -> str:
        shown = self._read(lambda relation: relation.limit(20).df().to_html())  # pandas escapes it
        return "".join([shown, *(f"<p><small>{html.escape(note)}</small></p>" for note in left_out_note(self.left_out))])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow().__arrow_c_stream__(requested_schema)

    def arrow(self) -> Any:
        """Return the answer as a pyarrow.Table."""
        return self._read(lambda relation: relation.to_arrow_table())

    def df(self) -> pd.DataFrame:
        """Return the answer as a DataFrame; times are datetime64[ns, UTC]. `.attrs["left_out"]` says what is not in it, and why."""
        found: pd.DataFrame = self.arrow().to_pandas(date_as_object=True)
        found.attrs["left_out"] = self.left_out
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
        try:
            return self._views.run(lambda: read(self._relation))
        except UnreadableError as error:
            return self._again(lambda: read(self._renewed()), error)

    def _renewed(self) -> Any:
        self._relation = self._make()
        return self._relation

    def _again(self, work: Callable[[], Answer], failed: UnreadableError | None = None) -> Answer:
        """Return a function's result; where a file cannot be read as the others are, once more with what `Views.mend` found out."""
        while failed is None or self._views.mend():
            try:
                return self._views.run(work)
            except UnreadableError as error:
                failed = error
        raise failed


class Views:
    """The tables of sessions as views of a separate DuckDB database in memory."""

    def __init__(self, sessions: pd.DataFrame, *, memory: str = "1GB", left_out: Mapping[str, str] | None = None) -> None:
        """Open the database; files are looked for when a query names their table.

        Args:
            sessions: `Archive.sessions`.
            memory: DuckDB's limit, such as "1GB".
            left_out: by session that is not among them, but may belong to the question, why it cannot be read.

        Raises:
            ConfigError: `memory` is no size that DuckDB takes.
        """
        self._sessions = sessions
        self.touched: dict[str, frozenset[str]] = {}
        """By table the sessions that the last query can touch; a table that is missing may need all of them."""
        self._mended = 0
        status = sessions["status"].astype(TEXT).to_dict()
        self.left_out = dict(left_out or {}) | {str(name): str(word) for name, word in status.items() if str(word).startswith("unreadable")}
        # Serialises what is asked of the one connection: relations of several threads share it.
        self._lock = threading.RLock()
        # Without this, DuckDB 2.0 takes a column whose statistics hold no NaN for one that has none; Parquet's never hold it.
        settings: dict[str, Any] = {"disabled_optimizers": "statistics_propagation", "memory_limit": memory}
        try:
            self._connection = duckdb.connect(config=settings)
        except duckdb.Error as error:
            raise ConfigError(f"memory={memory!r}: {line(error)}") from None
        self._connection.execute("SET temp_directory = ?", [os.path.join(tempfile.gettempdir(), f"ccwatch-sql-{os.getpid()}")])  # noqa: PTH118 - text for DuckDB
        with contextlib.suppress(duckdb.Error):  # without its extension for time zones DuckDB knows UTC alone
            self._connection.execute("SET TimeZone = 'UTC'")
        roots = sorted({str(Path(path).parent) + "/" for path in sessions["path"] if not is_remote(path)})
        self._connection.execute("SET allowed_directories = ?", [roots])
        for setting in ("enable_external_access = false", "lock_configuration = true"):
            self._connection.execute(f"SET {setting}")
        self._made: set[str] = set()

    def ask(self, query: Any) -> Relation:
        """Return the answer to one query.

        Raises:
            ConfigError: DuckDB refuses it, or it is not a statement that only reads.
        """
        with self._lock:
            query = the_question(query, self._connection)
            self.touched = touched(self._connection, query, self._sessions)
            self._made.clear()  # the views of another query may lack what this one touches
        words = query.lower()
        is_list = words.split() == ["show", "tables"]

        def make() -> Any:
            for table in (*TABLES, "sessions"):
                if (table in words or is_list) and table not in self._made:
                    self._make_view(table)
            return self._connection.sql("FROM (SHOW TABLES) WHERE NOT starts_with(name, '_')" if is_list else query)

        try:
            return Relation(self, make)
        except AnalysisError as error:
            raise ConfigError(f"sql: {error}") from None

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Run a function on the connection while no other thread uses it, and return its result.

        Raises:
            UnreadableError: DuckDB fails to read a file.
            AnalysisError: it refuses the query.
        """
        with self._lock:
            try:
                return work()
            except _OF_QUERY as error:
                raise AnalysisError(line(error)) from None
            except duckdb.Error as error:
                raise UnreadableError(line(error)) from None

    def mend(self) -> bool:
        """Find out what DuckDB cannot read, and return whether there is more to find out by asking again.

        First the sessions with a file whose end is damaged are left out, and files of different columns are read apart, as an older
        ccwatch wrote fewer. If it fails again, every checksum of the sessions that the query touches is compared.
        """
        with self._lock:
            self._mended += 1
            found = self._check_ends() if self._mended == 1 else self._check_all()
            self._made.clear()  # so that asking again makes the views without what was found out
            return self._mended == 1 or found

    def _check_ends(self) -> bool:
        before = len(self.left_out)
        for name, path in self._local():
            for table in self._made & set(TABLES):
                for file in _files(f"{path}/{table}"):
                    try:
                        footer_crc(Path(file))
                    except (RecordingError, OSError) as error:
                        self.left_out[name] = str(error)
        return len(self.left_out) > before

    def _check_all(self) -> bool:
        before = len(self.left_out)
        for name, path in self._local():
            problems = Recording(Path(path)).verify().problems
            if problems:
                self.left_out[name] = f"{problems[0].file}: {problems[0].what}"
        return len(self.left_out) > before

    def _local(self) -> Iterator[tuple[str, str]]:
        """Yield name and path of the sessions of this machine that the query touches."""
        needed = [self.touched.get(table) for table in self._made & set(TABLES)]
        for name, path in self._sessions["path"].items():
            if str(name) not in self.left_out and not is_remote(path) and any(names is None or name in names for names in needed):
                yield str(name), str(path)

    def left_out_of_question(self) -> dict[str, str]:
        """Return by session why its rows are missing, of the sessions that the last query touches."""
        with self._lock:
            tables = self._made & set(TABLES)
            needed = [self.touched.get(table) for table in tables]
            return {name: why for name, why in self.left_out.items() if any(names is None or name in names for names in needed)}

    # ── inside ──

    def _make_view(self, table: str) -> None:
        self._made.add(table)
        if table == "sessions":
            self._connection.register("sessions", _sessions_table(self._sessions))
            return
        branches = []
        for place, origin in enumerate((*ORIGINS, OTHER)):
            files, tails = self._sources(table, origin)
            for part, alike in enumerate(self._alike(table, files)):
                self._connection.read_parquet(alike, filename=True).create_view(f"_{table}_{place}_{part}", replace=True)
                branches.append(f"SELECT *, '{origin}' AS origin FROM _{table}_{place}_{part}")  # noqa: S608 - names of ours
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

    def _alike(self, table: str, files: list[str]) -> list[list[str]]:
        """Return the files in groups that have the same columns: DuckDB opens the first of a group, and takes the others to be like it.

        To ask every file for its columns costs more than most queries. So it is done only where the first one lacks a column, or
        after DuckDB found one that does.
        """
        if not files:
            return []
        if not self._mended and not set(SCHEMAS[table].names) - _columns_of(files[0]):
            return [files]
        groups: dict[frozenset[str], list[str]] = {}
        for file in files:
            groups.setdefault(_columns_of(file), []).append(file)
        return list(groups.values())

    def _sources(self, table: str, origin: str) -> tuple[list[str], list[Any]]:
        """Return a table's Parquet files, and Arrow tables of the rows in no file, for the sessions of one origin."""
        rows = self._sessions[_is_origin(self._sessions["origin"], origin)]
        if table in self.touched:
            rows = rows[rows.index.isin(self.touched[table])]
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


def _columns_of(file: str) -> frozenset[str]:
    """Return the names of a Parquet file's columns; of one that cannot be read, none."""
    try:
        return frozenset(pq.read_schema(file).names)
    except (pa.ArrowException, OSError):
        return frozenset()


def _plain(table: Any, folder: str) -> Any:
    """Return rows in memory with words as text, and the path that a file of the table would have."""
    arrays = [column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    names = [*table.schema.names, "filename"]
    return pa.table([*arrays, pa.array([folder] * table.num_rows, pa.string())], names=names)


def _is_origin(column: Any, origin: str) -> Any:
    return ~column.isin(ORIGINS) if origin == OTHER else column == origin


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
