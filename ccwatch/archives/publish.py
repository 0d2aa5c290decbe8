"""Publish: the sessions as one Delta table per kind, for engines that know no ccwatch. The session folders stay the record.

Times are µs, missing values are NULL, integers are signed, flags are a list of names, rows are clean. A session is one commit per table,
which carries an application transaction of its name and its end then: publishing again adds new sessions and replaces those that
have changed, so no row is there twice. Tables are partitioned by date (of the session's start, UTC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ccwatch.archives.locations import open_place
from ccwatch.archives.object_store import storage_options
from ccwatch.archives.sessions import Session
from ccwatch.errors import CcwatchError, ConfigError, RecordingError
from ccwatch.protocol.columns import TABLES, Column
from ccwatch.protocol.messages import UNCLEAN, Flag

try:
    import deltalake
    from deltalake.exceptions import DeltaError
except ImportError as error:
    raise ConfigError(f"publishing needs {error.name}, which comes with: pip install 'ccwatch[archive]'") from None

FORMATS: Final = ("delta",)
_TYPES: Final[dict[str, Any]] = {
    "time": pa.timestamp("us", "UTC"),
    "uint64": pa.int64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "uint32": pa.int64(),
    "float64": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
}


@dataclass(frozen=True)
class Published:
    """The result of publishing.

    Attributes:
        url: the address of the tables.
        sessions: names of the sessions that were written now.
        unchanged: count of the sessions that were there already.
        rows: by table, the count of rows that were written now.
        left_out: by session, the reason why it is not there.
    """

    url: str
    sessions: tuple[str, ...]
    unchanged: int
    rows: dict[str, int]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self) | {"sessions": list(self.sessions)}


def publish(
    sessions: Sequence[Session],
    url: str,
    *,
    kind: str,
    left_out: dict[str, str],
    on_progress: Any = None,
) -> Published:
    """Write the sessions that are new or have changed; see `Archive.publish`."""
    if kind not in FORMATS:
        raise ConfigError(f"format={kind!r}: expected one of {', '.join(FORMATS)}")
    report = on_progress or (lambda _done, _all: None)
    options = storage_options(url)
    tables = {name: _Table(f"{url.rstrip('/')}/{name}", columns, options) for name, columns in TABLES.items()}
    written: list[str] = []
    left = dict(left_out)
    unchanged = 0
    rows = dict.fromkeys(TABLES, 0)
    for place, session in enumerate(sessions):
        report(place, len(sessions))
        try:
            version = _version(session)
            due = [table for name, table in tables.items() if table.version_of(session.name) != version]
            if not due:
                unchanged += 1
                continue
            source = open_place(session.place)
            for table in due:
                found = of_session(source, session, table.name, table.columns)
                table.write(found, session, version)
                rows[table.name] += found.num_rows
        except DeltaError as error:
            raise RecordingError(f"{url}: {error}") from error
        except (CcwatchError, pa.ArrowException) as error:
            left[session.name] = str(error)
            continue
        except OSError as error:
            raise RecordingError(f"{url} cannot be written: {error}") from error
        written.append(session.name)
    report(len(sessions), len(sessions))
    return Published(url, tuple(written), unchanged, rows, left)


def schema_of(columns: Sequence[Column]) -> Any:
    """Return the schema of a published table: session, origin, the session's date, then the table's own columns."""
    fields = [pa.field("session", pa.string()), pa.field("origin", pa.string()), pa.field("date", pa.date32())]
    fields += [pa.field(c.name, pa.list_(pa.string()) if c.name == "flags" else _TYPES[c.dtype]) for c in columns]
    return pa.schema(fields)


def of_session(source: Any, session: Session, table: str, columns: Sequence[Column]) -> Any:
    """Return a session's clean rows of one table as they are published, in order of arrival."""
    names = [column.name for column in columns]
    rows = source.tables({table: names})[0]
    if table == "packets":
        rows = rows.filter(pa.array((rows["flags"].to_numpy() & np.uint32(UNCLEAN)) == 0))
    arrays = [
        pa.array([session.name] * rows.num_rows, pa.string()),
        pa.array([source.origin] * rows.num_rows, pa.string()),
        pa.array([(session.start_ns or 0) // 86_400_000_000_000] * rows.num_rows, pa.int32()).cast(pa.date32()),
        *(_published(rows[column.name], column) for column in columns),
    ]
    return pa.table(arrays, schema=schema_of(columns))


def _published(array: Any, column: Column) -> Any:
    if column.name == "flags":
        return _flag_names(array.to_numpy())
    if column.dtype == "time":
        return pc.floor_temporal(array, unit="microsecond").cast(_TYPES["time"], safe=False)
    if column.dtype == "float64":
        return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    return array.cast(_TYPES[column.dtype])


def _flag_names(bits: Any) -> Any:
    values, places = np.unique(bits, return_inverse=True)
    words = [[flag.name for flag in Flag if value & int(flag)] for value in values.tolist()]
    return pa.array(words, pa.list_(pa.string())).take(pa.array(places))


def _version(session: Session) -> int:
    """Return a number that changes with the session's rows: the time of its last packet in µs, since a session only grows."""
    return (session.end_ns or 0) // 1000


class _Table:
    """One Delta table, made when the first session is written."""

    def __init__(self, url: str, columns: Sequence[Column], options: dict[str, str]) -> None:
        self.name = url.rpartition("/")[2]
        self.columns = columns
        self._url = url
        self._options = options
        self._table: Any = None
        if deltalake.DeltaTable.is_deltatable(url, storage_options=options):
            self._table = deltalake.DeltaTable(url, storage_options=options)

    def version_of(self, session: str) -> int | None:
        """Return the version of a session that the table holds; None where it holds none."""
        found: int | None = None if self._table is None else self._table.transaction_version(f"ccwatch:{session}")
        return found

    def write(self, rows: Any, session: Session, version: int) -> None:
        """Add a session's rows, or replace those that are there, as one commit."""
        was = self.version_of(session.name)
        properties = deltalake.CommitProperties(app_transactions=[deltalake.Transaction(f"ccwatch:{session.name}", version)])
        if self._table is None:
            self._table = deltalake.DeltaTable.create(
                self._url, schema=rows.schema, partition_by=["date"], storage_options=self._options, mode="ignore"
            )
        shared: dict[str, Any] = {"storage_options": self._options, "commit_properties": properties, "schema_mode": "merge"}
        if was is None:
            deltalake.write_deltalake(self._table, rows, mode="append", **shared)
        else:
            quoted = session.name.replace("'", "''")
            deltalake.write_deltalake(self._table, rows, mode="overwrite", predicate=f"session = '{quoted}'", **shared)
        self._table.update_incremental()
