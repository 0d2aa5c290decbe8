"""Push and pull: recordings to an object store and back, whole or while they grow. Nothing is deleted, nothing renamed.

A segment's file is compared with its checksum before it is sent; then the manifest, which names it, is written on condition that it has
not changed meanwhile. So no manifest names a file that is not there yet, a push that was cut resumes, a second push changes nothing,
and of two pushers of one recording the slower one finds its work done.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ccwatch.archives.object_store import Store
from ccwatch.errors import CorruptRecording, RecordingError, RecordingNotFound
from ccwatch.recording import folder as files, manifest

ATTEMPTS: Final = 20
"""How often writing the manifest is tried where another pusher was faster."""
FOLLOW_S: Final = 5.0
"""Seconds between two looks for finished segments of a recording in progress."""
_PATH: Final = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9.-]*\.parquet")
_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')
Report = Callable[[str], object]


@dataclass(frozen=True)
class Pushed:
    """The result of one push or pull of a recording.

    Attributes:
        session: the recording's name.
        url: its address in the store.
        path: its folder on this machine.
        segments: count of files that were transferred now.
        there: count of files that were there already.
        bytes: count of bytes that were transferred.
        finished: whether all of a finished recording is there now.
    """

    session: str
    url: str
    path: Path
    segments: int = 0
    there: int = 0
    bytes: int = 0
    finished: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return asdict(self) | {"path": str(self.path)}


def push(
    path: Path, url: str, *, follow: bool = False, on_progress: Report | None = None, wait: Callable[[float], object] = time.sleep
) -> Pushed:
    """Upload the finished segments of a recording, below `url` under its own name.

    Args:
        path: the recording's folder.
        url: the address to upload to, such as s3://BUCKET/FOLDER.
        follow: whether to go on while a recorder writes it.
        on_progress: called with each file before it is sent.
        wait: the function that waits between two looks; called with a count of seconds.

    Raises:
        RecordingNotFound: no recording at the path.
        CorruptRecording: a file here fails its checksum; files that were sent before stay.
        RecordingError: the store refuses, or holds another recording of this name.
    """
    session = files.Session.read(path)
    store = Store(f"{url.rstrip('/')}/{path.name}")
    done = Pushed(path.name, store.url, path)
    while True:
        is_open = follow and files.is_being_written(path)
        done = _push_once(path, session, store, done, on_progress or (lambda _: None))
        if not is_open:
            return done
        wait(FOLLOW_S)
        session = files.Session.read(path)


def _push_once(path: Path, session: files.Session, store: Store, done: Pushed, report: Report) -> Pushed:
    local = (path / files.MANIFEST).read_bytes() if (path / files.MANIFEST).exists() else b""
    found = manifest.read(path)
    theirs, _ = _remote_manifest(store)
    _put_session(path, session, store, has_segments=bool(theirs))
    known = {segment.path: segment for segment in manifest.segments_of(theirs, Path(files.MANIFEST))}
    for group in found.groups:
        for segment in group.files.values():
            if segment.path in known:
                if known[segment.path].sha256 != segment.sha256:
                    raise RecordingError(f"{store.url} holds another recording of this name: {segment.path} differs; push it elsewhere")
                done = replace(done, there=done.there + 1)
                continue
            report(f"{path.name}/{segment.path}")
            done = _put_segment(path, segment, store, done)
        _put_manifest(store, _lines_up_to(local, group.entries[1]))
    _put_manifest(store, local)
    if (path / files.MARKS).exists():
        store.put(files.MARKS, (path / files.MARKS).read_bytes())
    return replace(done, finished=found.finish is not None)


def _put_session(path: Path, session: files.Session, store: Store, *, has_segments: bool) -> None:
    mine = (path / files.SESSION).read_bytes()
    try:
        files.unseal(mine)
    except ValueError:
        mine = (path / files.COPIES / files.SESSION).read_bytes()
    try:
        there, _ = store.get(files.SESSION)
    except FileNotFoundError:
        if store.put_if(files.SESSION, mine, None) is not None:
            return
        there, _ = store.get(files.SESSION)
    if there == mine:
        return
    if has_segments and files.Session.of(there, Path(files.SESSION)).nonce != session.nonce:
        raise RecordingError(f"{store.url} holds another recording of this name: push it elsewhere")
    store.put(files.SESSION, mine)


def _put_segment(path: Path, segment: manifest.Segment, store: Store, done: Pushed) -> Pushed:
    """Upload one file, unless it is there, and make sure that it arrived whole."""
    data = (path / segment.path).read_bytes() if (path / segment.path).exists() else b""
    if len(data) != segment.bytes or hashlib.sha256(data).hexdigest() != segment.sha256:
        raise CorruptRecording(f"{path / segment.path} fails its checksum: it was not pushed")
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    there = store.head(segment.path)
    if there is not None and there["size"] == len(data) and _md5(there.get("e_tag")) == digest:
        return replace(done, there=done.there + 1)
    store.put(segment.path, data)
    there = store.head(segment.path)
    if there is None or there["size"] != len(data) or (_md5(there.get("e_tag")) != digest and store.get(segment.path)[0] != data):
        raise RecordingError(f"{store.url}/{segment.path}: the store does not hold what was sent; push again")
    return replace(done, segments=done.segments + 1, bytes=done.bytes + len(data))


def _put_manifest(store: Store, wanted: bytes) -> None:
    """Write the manifest to the store, if it says more than the one that is there.

    Raises:
        RecordingError: another pusher changed it each time, or it is another recording's.
    """
    mine = _whole_lines(wanted)
    if not mine:
        return
    for _ in range(ATTEMPTS):
        there, tag = _remote_manifest(store)
        theirs = _whole_lines(there)
        if set(mine) <= set(theirs):
            return
        if not set(theirs) <= set(mine):
            raise RecordingError(f"{store.url} holds another recording of this name: its manifest differs; push it elsewhere")
        if store.put_if(files.MANIFEST, b"".join(mine), tag) is not None:
            return
    raise RecordingError(f"{store.url}/{files.MANIFEST} was changed by another pusher {ATTEMPTS} times: push again")


def _remote_manifest(store: Store) -> tuple[bytes, str | None]:
    try:
        return store.get(files.MANIFEST)
    except FileNotFoundError:
        return b"", None


def _whole_lines(data: bytes) -> list[bytes]:
    """Return the lines whose checksum is right, each once, in order."""
    found: dict[bytes, None] = {}
    for line in data.splitlines(keepends=True):
        try:
            files.unseal(line)
        except ValueError:
            continue
        found[line if line.endswith(b"\n") else line + b"\n"] = None
    return list(found)


def _lines_up_to(data: bytes, entry: int) -> bytes:
    """Return the segment lines of a manifest up to an entry."""
    kept = []
    for line in _whole_lines(data):
        value = files.unseal(line)
        if value.get("line") == "segment" and value["entries"][1] <= entry:
            kept.append(line)
    return b"".join(kept)


def _md5(tag: Any) -> str:
    found = _MD5.fullmatch(str(tag or ""))
    return found.group(1) if found else ""


# ── back ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def pull(url: str, root: Path, *, on_progress: Report | None = None) -> Pushed:
    """Download a recording from a store into a folder below `root`, except files that are there already.

    Args:
        url: the recording's address.
        root: the folder of recordings.
        on_progress: called with each file before it is downloaded.

    Raises:
        RecordingNotFound: no recording at the address.
        CorruptRecording: a downloaded file fails its checksum.
        RecordingError: the store does not answer, or another recording of this name is here.
    """
    store = Store(url)
    name = store.url.rpartition("/")[2]
    folder = root / name
    report = on_progress or (lambda _: None)
    try:
        described, _ = store.get(files.SESSION)
        lines, _ = store.get(files.MANIFEST)
    except FileNotFoundError:
        raise RecordingNotFound(f"{store.url} holds no recording that was pushed") from None
    session = files.Session.of(described, Path(files.SESSION))
    if name in {"", ".", ".."} or name.startswith((".", "_")):
        raise RecordingNotFound(f"{url} names no recording")
    if (folder / files.SESSION).exists() and files.Session.read(folder).nonce != session.nonce:
        raise RecordingError(f"{folder} holds another recording: pull into another folder")
    done = Pushed(name, store.url, folder)
    try:
        (folder / files.COPIES).mkdir(parents=True, exist_ok=True)
        lock = files.WriterLock(folder)
        try:
            for segment in manifest.segments_of(lines, Path(files.MANIFEST)):
                done = _get_segment(folder, segment, store, done, report)
            _settle(folder, described, lines, store)
        finally:
            lock.release()
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{folder} cannot be written: {error}") from error
    return replace(done, finished=manifest.read(folder).finish is not None)


def _get_segment(folder: Path, segment: manifest.Segment, store: Store, done: Pushed, report: Report) -> Pushed:
    if not _PATH.fullmatch(segment.path):
        raise CorruptRecording(f"{store.url}: the manifest names a file outside the recording: {segment.path!r}")
    path = folder / segment.path
    if path.exists() and path.stat().st_size == segment.bytes and hashlib.sha256(path.read_bytes()).hexdigest() == segment.sha256:
        return replace(done, there=done.there + 1)
    report(f"{folder.name}/{segment.path}")
    try:
        data, _ = store.get(segment.path)
    except FileNotFoundError:
        raise CorruptRecording(f"{store.url}/{segment.path} is missing") from None
    if len(data) != segment.bytes or hashlib.sha256(data).hexdigest() != segment.sha256:
        raise CorruptRecording(f"{store.url}/{segment.path} fails its checksum")
    path.parent.mkdir(exist_ok=True)
    files.write_durably(path, data)
    return replace(done, segments=done.segments + 1, bytes=done.bytes + len(data))


def _settle(folder: Path, described: bytes, lines: bytes, store: Store) -> None:
    """Write the files that make the others count, last of all: the manifest, then session.json."""
    mine = (folder / files.MANIFEST).read_bytes() if (folder / files.MANIFEST).exists() else b""
    if not set(_whole_lines(lines)) <= set(_whole_lines(mine)):
        whole = b"".join(dict.fromkeys([*_whole_lines(mine), *_whole_lines(lines)]))
        for name in (f"{files.COPIES}/{files.MANIFEST}", files.MANIFEST):
            files.write_durably(folder / name, whole)
    try:
        marks, _ = store.get(files.MARKS)
        if not (folder / files.MARKS).exists():
            files.write_durably(folder / files.MARKS, marks)
    except FileNotFoundError:
        pass
    for name in (f"{files.COPIES}/{files.SESSION}", files.SESSION):
        if not (folder / name).exists():
            files.write_durably(folder / name, described)


def sessions_of(url: str) -> Iterable[str]:
    """Return the addresses of the recordings at an address: itself, or those below it."""
    store = Store(url)
    if store.head(files.SESSION) is not None:
        return [store.url]
    return [f"{store.url}/{name}" for name in store.folders() if not name.startswith("_")]
