"""The catalog: one row per recording below a folder.

A finished recording's row is in the last line of its manifest, so listing reads session.json and the manifest's end, and opens no
table. Recordings without that line (in progress, killed, of an earlier ccwatch, damaged) are opened and read. The rows are kept in the
user's cache folder, with the sizes and times of the files that they were read from; never in a recording.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from ccwatch.config import cache_folder
from ccwatch.errors import RecordingError
from ccwatch.recording import manifest, notes, summary
from ccwatch.recording.folder import COPIES, JOURNAL, MANIFEST, MARKS, SESSION, Session, is_being_written
from ccwatch.recording.journal import journal_files
from ccwatch.recording.recording import Recording
from ccwatch.recording.schemas import ALL_TABLES
from ccwatch.recording.summary import Summary
from ccwatch.stream.dataframes import TEXT

FINISHED: Final = "finished"
SCHEMA: Final = pa.schema(
    [
        ("session", pa.string()),
        ("signature", pa.list_(pa.int64())),
        ("status", pa.string()),
        ("origin", pa.string()),
        ("url", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("wall_ns", pa.int64()),
        ("ended_ns", pa.int64()),
        ("start_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("packets", pa.int64()),
        ("events", pa.int64()),
        ("symbols", pa.list_(pa.string())),
        ("nav_first", pa.float64()),
        ("nav_last", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("halts", pa.int64()),
        ("gaps", pa.int64()),
        ("connections", pa.int64()),
        ("malformed", pa.int64()),
        ("damaged", pa.int64()),
        ("bytes", pa.int64()),
        ("curve", pa.list_(pa.float64())),
    ]
)
"""A row per session: the fields of `Summary`, `wall_ns` and `ended_ns` (receiver's clock at the beginning and the end), and `signature`
(sizes and times of the files that the row was read from)."""
_DTYPES: Final = {
    "start": "datetime64[ns, UTC]",
    "end": "datetime64[ns, UTC]",
    "status": "str",
    "origin": "str",
    "symbols": "object",
    "packets": "int64",
    "nav_change": "float64",
    "max_drawdown": "float64",
    "halts": "int64",
    "gaps": "int64",
    "damaged": "int64",
    "tags": "object",
    "note": "str",
    "bytes": "int64",
    "url": "str",
    "path": "str",
}
_VERSION: Final = b"1"
"""Version of the cache's format; it is part of the file's name."""
_LOG: Final = logging.getLogger(__name__)


def list_recordings(root: str | Path) -> pd.DataFrame:
    """Return the recordings in a folder as a DataFrame, in order of their names.

    Returns:
        Index `session` (str); start, end (datetime64[ns, UTC], server's clock), status (open, finished, killed, or
        "unreadable: why"), origin, symbols (tuple), packets, nav_change (USD), max_drawdown (fraction of the highest nav, ≤ 0),
        halts (times that the engine went into HALT), gaps, damaged (places that are known to fail their checksum), tags (tuple, with
        those added later), note (the newest one), bytes, url, path. If the folder does not exist, there are no rows.
    """
    return frame_of(table_of(Path(root)), Path(root))


def frame_of(table: Any, root: Path | str) -> pd.DataFrame:
    """Return the frame of `list_recordings`, made from a catalog's Arrow table."""
    names, before = table["session"].to_pylist(), _before(root)
    noted = notes.by_session(notes.read(root)) if isinstance(root, Path) else {}
    found = [notes.applied(noted.get(name, ()), name, tags) for name, tags in zip(names, table["tags"].to_pylist(), strict=True)]
    columns = {
        "start": _times(table["start_ns"]),
        "end": _times(table["end_ns"]),
        "symbols": _tuples(table["symbols"].to_pylist()),
        "nav_change": _floats(table["nav_last"]) - _floats(table["nav_first"]),
        "max_drawdown": _floats(table["max_drawdown"]),
        "tags": _tuples([each.tags for each in found]),
        "note": pd.array([each.note for each in found], dtype=TEXT),
        "path": pd.array([before + name for name in names], dtype=TEXT),
    }
    plain = {name: table[name].to_pandas().array for name in ("status", "origin", "packets", "halts", "gaps", "damaged", "bytes", "url")}
    index = pd.Index(names, dtype=TEXT, name="session")
    return pd.DataFrame({name: (columns | plain)[name] for name in _DTYPES}, index=index, columns=list(_DTYPES)).astype(_DTYPES)


def table_of(root: Path) -> Any:
    """Return the catalog of a folder as an Arrow table of `SCHEMA`, in order of the names."""
    path = _cache_path(root)
    known = _read_cache(path)
    places = {name: place for place, name in enumerate(known["session"].to_pylist())}
    signatures = known["signature"].to_pylist()
    finished = (known["status"].to_numpy() == FINISHED).tolist()
    kept: list[int] = []
    fresh: list[dict[str, Any]] = []
    before = _before(root)
    for name in _names(root):
        place = places.get(name)
        if place is not None and _signature(before + name, is_finished=finished[place]) == signatures[place] and signatures[place]:
            kept.append(place)
        elif (row := _row(root / name)) is not None:
            fresh.append(row)
    found = pa.concat_tables([known.take(pa.array(kept, pa.int64())), pa.Table.from_pylist(fresh, SCHEMA)]).sort_by("session")
    if fresh or len(kept) < known.num_rows:
        _write_cache(path, found)
    return _with_status(found, root)


def _before(root: Path | str) -> str:
    """Return what comes before a recording's name in its path: a Path for each of thousands takes as long as all else."""
    return str(root / "x").removesuffix("x") if isinstance(root, Path) else f"{root}/"


def _names(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith((".", "_")) and entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _signature(folder: str, *, is_finished: bool) -> list[int]:
    """Return times and sizes of session.json, manifest, marks and, until it is finished, journal: they change if the row does."""
    found: list[int] = []
    for name in (SESSION, MANIFEST, MARKS):
        try:
            status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - a Path would take as long as the look itself
        except OSError:
            found += (0, 0)
            continue
        found += (status.st_mtime_ns, status.st_size)
    if not found[1]:
        return []
    if not is_finished:
        for path in journal_files(Path(folder) / JOURNAL):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found += (int(path.stem), status.st_mtime_ns, status.st_size)
    return found


def signature(folder: Path) -> list[int]:
    """Return numbers that change whenever the content of a recording does, without opening it; empty without a recording."""
    return _signature(str(folder), is_finished=False)


def _with_status(table: Any, root: Path) -> Any:
    """Return the rows with the status of this moment: only the lock shows whether a recording is being written."""
    status = table["status"].to_pylist()
    for place, (name, was) in enumerate(zip(table["session"].to_pylist(), status, strict=True)):
        if was in {"open", "killed"}:
            status[place] = "open" if is_being_written(root / name) else "killed"
    return table.set_column(table.schema.get_field_index("status"), "status", pa.array(status, pa.string()))


# ── one recording ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _row(folder: Path) -> dict[str, Any] | None:
    """Return the row of one folder; None where it holds no recording."""
    row = _empty_row(folder.name)
    if not (folder / SESSION).exists() and not (folder / COPIES / SESSION).exists():
        return None
    signature = _signature(str(folder), is_finished=False)
    try:
        session = Session.read(folder)
        row |= {"origin": session.origin, "url": session.url, "tags": list(session.tags), "wall_ns": session.wall_ns}
        line = None if journal_files(folder / JOURNAL) else manifest.finish_line(folder)
        found = None if line is None else Summary.read(line.get("row"))
        if line is not None and isinstance(line.get("wall_ns"), int):
            row["ended_ns"] = line["wall_ns"]
        if found is not None:
            row |= _facts(found)
            row["bytes"] = found.bytes + _growing_bytes(folder)
            if _segment_bytes(folder) == found.segment_bytes:
                return row | {"status": FINISHED, "signature": signature}
        row |= _looked_into(folder, was_whole=found is not None)
    except (RecordingError, OSError) as error:
        return row | {"status": f"unreadable: {error}", "damaged": max(1, row["damaged"]), "signature": []}
    return row | {"signature": signature}


def _empty_row(name: str) -> dict[str, Any]:
    row: dict[str, Any] = {column: [] if pa.types.is_list(kind) else 0 for column, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)}
    row |= dict.fromkeys(("start_ns", "end_ns", "nav_first", "nav_last", "max_drawdown", "ended_ns"))
    return row | {"session": name, "status": "", "origin": "", "url": ""}


def _looked_into(folder: Path, *, was_whole: bool) -> dict[str, Any]:
    """Return the row of a recording whose manifest has none, by reading its tables."""
    recording = Recording(folder)
    info = recording.info()
    found = summary.of_tables(*recording.tables(summary.COLUMNS), damaged=info.damaged, missing=0, folder=folder)
    row = _facts(found) | {"bytes": found.bytes + _growing_bytes(folder), "status": info.status, "gaps": info.gaps}
    if was_whole:  # a file is missing, or has another size than when it was finished
        row["damaged"] = max(info.damaged, len(recording.verify().problems))
    return row


def _facts(found: Summary) -> dict[str, Any]:
    facts = found.to_dict()
    del facts["segment_bytes"]
    return facts


def _growing_bytes(folder: Path) -> int:
    """Return the bytes of the files that `Summary.bytes` leaves out."""
    total = 0
    for name in (MANIFEST, f"{COPIES}/{MANIFEST}", MARKS):
        try:
            total += (folder / name).stat().st_size
        except OSError:
            continue
    return total


def _segment_bytes(folder: Path) -> int:
    total = 0
    for table in ALL_TABLES:
        try:
            with os.scandir(folder / table) as entries:
                total += sum(entry.stat().st_size for entry in entries if entry.is_file())
        except OSError:
            continue
    return total


# ── the cache ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cache_path(root: Path | str) -> Path:
    name = hashlib.sha256(
        str(root.absolute() if isinstance(root, Path) else root).encode("utf-8", "surrogateescape") + _VERSION
    ).hexdigest()[:24]
    return cache_folder() / f"catalog-{name}.arrow"


def kept_of(place: str) -> tuple[Any, Path]:
    """Return the cached catalog of a remote place, and the path of its file."""
    path = _cache_path(place)
    return _read_cache(path), path


def keep(path: Path, table: Any) -> None:
    """Write a catalog to its file in the user's cache."""
    _write_cache(path, table)


def row_of(name: str, session: bytes, end: bytes) -> dict[str, Any]:
    """Return the row of a remote recording, from its session.json and the end of its manifest."""
    row = _empty_row(name)
    try:
        found = Session.of(session, Path(name))
    except RecordingError as error:
        return row | {"status": f"unreadable: {error}", "damaged": 1}
    row |= {"origin": found.origin, "url": found.url, "tags": list(found.tags), "wall_ns": found.wall_ns, "status": "open"}
    line = manifest.finish_of(end)
    summary = None if line is None else Summary.read(line.get("row"))
    if line is not None and isinstance(line.get("wall_ns"), int):
        row["ended_ns"] = line["wall_ns"]
    if summary is not None:
        row |= _facts(summary) | {"status": FINISHED}
        return row
    spans = [segment for segment in manifest.segments_of(end, Path(name)) if segment.table == "packets"]
    times = [segment.time_ns for segment in spans if segment.time_ns is not None]
    row |= {"packets": sum(segment.rows for segment in spans), "status": "open" if line is None else FINISHED}
    return row | {"start_ns": min((low for low, _ in times), default=None), "end_ns": max((high for _, high in times), default=None)}


def _read_cache(path: Path) -> Any:
    """Return the cached table; an empty one where there is no such file or it has another schema."""
    try:
        with pa.memory_map(str(path)) as file:
            found = pa.ipc.open_file(file).read_all()
        found.validate(full=True)
    except (OSError, pa.ArrowException):
        return SCHEMA.empty_table()
    return found if found.schema.equals(SCHEMA) else SCHEMA.empty_table()


def _write_cache(path: Path, table: Any) -> None:
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            writer.write_table(table.combine_chunks())
        part.replace(path)
    except OSError as error:  # then the next listing looks again
        _LOG.info("%s cannot be written: %s", path, error)
        part.unlink(missing_ok=True)


def _times(column: Any) -> pd.DatetimeIndex:
    ns = column.fill_null(np.iinfo(np.int64).min).to_numpy()
    return pd.DatetimeIndex(np.array(ns, dtype=np.int64).view("M8[ns]")).tz_localize("UTC")


def _floats(column: Any) -> Any:
    return column.fill_null(np.nan).to_numpy()


def _tuples(lists: Iterable[Iterable[str]]) -> Any:
    values = [tuple(words) for words in lists]
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
