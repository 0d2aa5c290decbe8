"""Recordings in an object store, read as if they were local: only the parts of a file that a question needs are fetched.

A copy of a file in the user's cache has its full length, with holes: the footer is fetched first, then the column chunks that are
needed. Each is compared with the manifest's checksum before it is used, so parts that an earlier process fetched are used again, and
a hole is never taken for data.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ccwatch.archives.object_store import Store
from ccwatch.config import cache_folder
from ccwatch.errors import CorruptRecording, RecordingError, RecordingNotFound
from ccwatch.recording import Mirrored, Recording, Verification, catalog, folder as files, manifest, segments

WORKERS: Final = 16
"""Count of sessions that are requested of a store at a time."""
FOOTER: Final = 1 << 16
"""Bytes of a file's end that are fetched first."""
APART: Final = 1 << 16
"""Chunks with fewer bytes between them are fetched as one."""
_PATH: Final = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9.-]*\.parquet")
_NAME: Final = re.compile(r"[^/\\\0]{1,255}")


class Mirror:
    """The copy of one recording in the cache."""

    def __init__(self, url: str) -> None:
        """Fetch session.json, the manifest and the marks.

        Raises:
            RecordingNotFound: no recording at the address.
            RecordingError: the store does not answer.
        """
        self._store = Store(url)
        name = url.rstrip("/").rpartition("/")[2]
        if not _NAME.fullmatch(name) or name in {".", ".."}:
            raise RecordingNotFound(f"{url} names no recording")
        key = hashlib.sha256(url.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self.folder = cache_folder() / f"remote-{key}" / name
        # Serialises writes to the copies: two questions may need one chunk.
        self._lock = threading.Lock()
        self._footers: set[str] = set()
        self._whole: set[tuple[str, int]] = set()
        for each in (files.SESSION, files.MANIFEST, files.MARKS):
            self._bring_small(each)

    def bring(self, segment: manifest.Segment, group: int | None, columns: Sequence[str] | None) -> None:
        """Fetch the footer of a segment, or columns (None is all) of a row group."""
        if not _PATH.fullmatch(segment.path):
            raise CorruptRecording(f"{self._store.url}: the manifest names a file outside the recording: {segment.path!r}")
        with self._lock:
            self._bring_footer(segment)
            if group is not None:
                self._bring_chunks(segment, group, columns)

    def _bring_small(self, name: str) -> None:
        try:
            data, _ = self._store.get(name)
        except FileNotFoundError:
            if name == files.SESSION:
                raise RecordingNotFound(f"{self._store.url} holds no recording: there is no {files.SESSION} in it") from None
            (self.folder / name).unlink(missing_ok=True)
            return
        for path in (self.folder / name, *([] if name == files.MARKS else [self.folder / files.COPIES / name])):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != data:
                files.write_durably(path, data)

    def _bring_footer(self, segment: manifest.Segment) -> None:
        if segment.path in self._footers:
            return
        path = self.folder / segment.path
        if not path.exists() or path.stat().st_size != segment.bytes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(segment.bytes)  # a hole as long as the file
        if not _has_footer(path, segment.footer_crc):
            end = self._ask(segment, max(0, segment.bytes - FOOTER), min(FOOTER, segment.bytes))
            length = int.from_bytes(end[-8:-4], "little") + 8
            if length > len(end) and length <= segment.bytes:
                end = self._ask(segment, segment.bytes - length, length)
            _write(path, segment.bytes - len(end), end)
            if not _has_footer(path, segment.footer_crc):
                path.unlink()
                raise CorruptRecording(f"{self._store.url}/{segment.path}: its footer fails its checksum")
        self._footers.add(segment.path)

    def _bring_chunks(self, segment: manifest.Segment, group: int, columns: Sequence[str] | None) -> None:
        path = self.folder / segment.path
        footer = segments.footer(path, segment.footer_crc)
        names = footer.names
        if group >= len(footer.groups) or len(footer.groups) * len(names) != len(segment.chunks):
            raise CorruptRecording(f"{self._store.url}/{segment.path}: it has other columns than the manifest says")
        wanted = []
        for place, name in enumerate(names):
            number = group * len(names) + place
            if (columns is None or name in columns) and (segment.path, number) not in self._whole:
                wanted.append((number, *footer.chunks[group][place][:2]))
        due = [part for part in wanted if _crc(path, part[1], part[2]) != segment.chunks[part[0]]]
        for start, length in _joined([(start, length) for _, start, length in due]):
            _write(path, start, self._ask(segment, start, length))
        for number, start, length in due:
            if _crc(path, start, length) != segment.chunks[number]:
                raise CorruptRecording(f"{self._store.url}/{segment.path}, bytes {start} to {start + length}: a column fails its checksum")
        self._whole.update((segment.path, number) for number, _, _ in wanted)

    def _ask(self, segment: manifest.Segment, start: int, length: int) -> bytes:
        try:
            found = self._store.range(segment.path, start, length)
        except FileNotFoundError:
            raise CorruptRecording(f"{self._store.url}/{segment.path} is missing") from None
        if len(found) != length:
            raise CorruptRecording(f"{self._store.url}/{segment.path} is shorter than the manifest says")
        return found


class RemoteRecording(Recording):
    """A read-only recording in an object store, as it was when it was opened."""

    def __init__(self, url: str) -> None:
        """Open the recording; see `Mirror`."""
        mirror = Mirror(url)
        self._mirrored = Mirrored(mirror.folder, mirror.bring)
        super().__init__(mirror.folder)
        self.url = url.rstrip("/")

    def __repr__(self) -> str:
        return f"<RemoteRecording {self.url}>"

    def verify(self, deep: bool = False, *, on_progress: Callable[[str], None] | None = None) -> Verification:
        """Compare checksums, see `Recording.verify`; the files that are compared are fetched first."""
        for group in manifest.read(self.folder).groups:
            for segment in group.files.values():
                self._mirrored.bring(segment, None, None)
                for number in range(len(segments.footer(self.folder / segment.path).groups) if deep else 0):
                    self._mirrored.bring(segment, number, None)
        return super().verify(deep, on_progress=on_progress)

    @property
    def status(self) -> str:
        """Return "finished", or "open" while more may be pushed."""
        return "finished" if manifest.finish_line(self.folder) is not None else "open"

    def mark(self, time: Any, text: str) -> Any:  # noqa: ARG002 - as in a recording of this machine
        """Refuse the mark: a recording in a store is read-only."""
        raise RecordingError(f"{self.url} is read only: mark the recording that it was pushed from, or pull it first")


def open_remote(url: str) -> RemoteRecording:
    """Open the recording at an address and return it.

    Raises:
        RecordingNotFound: no recording at the address.
        RecordingError: the store does not answer.
        ConfigError: the address cannot be used.
    """
    return RemoteRecording(url)


def table_of_remote(url: str) -> Any:
    """Return the catalog of a folder in an object store, as `catalog.table_of` does for a local one.

    Of each session only session.json and the manifest's end are read; of a finished session once, since it does not change.

    Raises:
        RecordingError: the store does not answer.
    """
    store = Store(url)
    names = [name for name in store.folders() if not name.startswith("_")]
    kept, path = catalog.kept_of(url)
    known = {name: place for place, name in enumerate(kept["session"].to_pylist()) if kept["status"][place].as_py() == catalog.FINISHED}
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="ccwatch-list") as pool:
        fresh = [row for row in pool.map(lambda name: _row(store, name), [name for name in names if name not in known]) if row is not None]
    places = pa.array([known[name] for name in names if name in known], pa.int64())
    found = pa.concat_tables([kept.take(places), pa.Table.from_pylist(fresh, catalog.SCHEMA)]).sort_by("session")
    catalog.keep(path, found)
    return found


def _row(store: Store, name: str) -> dict[str, Any] | None:
    try:
        data, _ = store.get(f"{name}/{files.SESSION}")
        end = store.end(f"{name}/{files.MANIFEST}", manifest.LAST_LINE)
    except FileNotFoundError:
        return None  # no recording, or one whose first segment is still to come
    return catalog.row_of(name, data, end)


# ── bytes of a copy ────────────────────────────────────────────────────────────────────────────────────────────────────


def _write(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def _crc(path: Path, start: int, length: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        return files.crc32c(file.read(length))


def _has_footer(path: Path, crc: int) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        end = file.read()
    length = int.from_bytes(end[:4], "little") + 8
    return end[4:] == b"PAR1" and length <= size and _crc(path, size - length, length) == crc


def _joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges, with those that lie close together joined."""
    found: list[tuple[int, int]] = []
    for start, length in sorted(parts):
        if found and start - (found[-1][0] + found[-1][1]) < APART:
            found[-1] = (found[-1][0], max(found[-1][1], start + length - found[-1][0]))
        else:
            found.append((start, length))
    return found
