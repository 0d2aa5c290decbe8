"""The recorder: a Sink that takes items without waiting and keeps them, in a folder of its own, until it is stopped.

A Recorder is the object that a user holds, and may be garbage-collected. `writer.Writer` does the work behind it.
"""

from __future__ import annotations

import os
import secrets
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NoReturn, Self, get_args

from ccwatch.errors import ConfigError, RecordingError
from ccwatch.protocol.messages import Item
from ccwatch.recording.folder import SESSION, Session, WriterLock, boot_id, is_being_written, sync_folder
from ccwatch.recording.stats import RecorderStats
from ccwatch.recording.writer import Writer
from ccwatch.stream.source import read_clock

Fsync = Literal["strict", "balanced", "lazy", "off"]
Raw = Literal["auto", "always", "never"]


class Recorder:
    """Records what it receives into a folder of its own. A context manager; `stop` ends it."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        origin: str | Callable[[], str],
        fsync: Fsync = "balanced",
        raw: Raw = "auto",
        tags: Sequence[str] | None = None,
        server_tz: str = "UTC",
        min_free: int | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """Begin to record.

        Args:
            folder: the session's folder, which is created.
            url: where the stream comes from, without secrets.
            origin: "live", "synthetic" or "replay"; or a function that returns it, called at each connect, since only the
                handshake says it.
            fsync: when packets reach the disk: "strict" at once, "balanced" within 0.2 s, "lazy" within 5 s, "off" when the
                system chooses. None of them makes the source wait.
            raw: which messages are kept byte for byte: "auto" those that cannot be rebuilt from their fields, "always", or "never".
                Malformed ones are always kept.
            tags: words to find the recording by.
            server_tz: IANA zone in which the stream's timestamps without an offset are read.
            min_free: bytes that must remain free on the disk: with less, recording waits, and resumes when there is room again.
            on_stop: called when `stop` is called, before the waiting items are written.

        Raises:
            ConfigError: an unknown `fsync` or `raw`.
            RecordingBusy: another recorder writes there.
            RecordingError: the folder holds a recording already, or cannot be written.
        """
        for name, value, allowed in (("fsync", fsync, get_args(Fsync)), ("raw", raw, get_args(Raw))):
            if value not in allowed:
                raise ConfigError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
        folder = Path(folder)
        self._on_stop = on_stop
        self._stop_lock = threading.Lock()  # serialises stop(), which a user, a context manager and an api may call at once
        self._stopped = False
        self._ended = threading.Event()
        ask_origin = origin if callable(origin) else lambda: origin
        clock = read_clock()
        session = Session(
            session=folder.name,
            url=url,
            origin=ask_origin(),
            tags=(tags,) if isinstance(tags, str) else tuple(tags or ()),
            server_tz=server_tz,
            fsync=fsync,
            raw=raw,
            wall_ns=clock.wall_ns,
            mono_ns=clock.mono_ns,
            boot_id=boot_id(),
            nonce=secrets.token_hex(8),
            writer=_version(),
        )
        lock = _claim(folder)
        try:
            session.write(folder)
            sync_folder(folder.parent)
            self._writer = Writer(folder, session, lock, ask_origin, min_free=min_free)
        except OSError as error:
            lock.release()
            raise RecordingError(f"{folder} cannot be written: {error}") from error
        self._finalizer = weakref.finalize(self, _left_open, self._writer)
        _OF_THIS_PROCESS.add(self)

    def __repr__(self) -> str:
        return f"<Recorder {self.path} {'stopped' if self._stopped else 'recording'} {self.stats.packets} packets>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled or copied: it owns a thread and a folder's lock; hand over its path")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def path(self) -> Path:
        """Return the recording's folder, even after it was moved; it can be opened while it is written."""
        return self._writer.folder

    @property
    def is_recording(self) -> bool:
        """Return whether `stop` has not been called yet."""
        return not self._stopped

    @property
    def stats(self) -> RecorderStats:
        """Return the recorder's counters as they are now."""
        return self._writer.stats()

    @property
    def dropped(self) -> int:
        """Return the count of packets and events that were not recorded; a feed's health adds these up."""
        return self._writer.stats().dropped

    @property
    def compacting(self) -> bool:
        """Return whether older files of the journal are being turned into Parquet; a feed's health shows it."""
        return self._writer.stats().compacting

    def receive(self, items: Sequence[Item], /) -> None:
        """Take items without waiting for the disk. After `stop` they are ignored."""
        self._writer.receive(items)

    def rotate(self) -> None:
        """Close the journal's file and turn it into Parquet now, while recording goes on in a new one.

        Returns once the Parquet files are written: the recording's tables are then complete up to this call.

        Raises:
            RecordingError: the recorder was stopped, or the disk refuses.
        """
        with self._stop_lock:
            if self._stopped:
                raise RecordingError(f"{self.path}: the recorder was stopped, or belongs to the process that this one was forked from")
            self._writer.rotate()

    def stop(self, finish: bool = True) -> None:
        """Write the waiting items durably, within a second; then turn the journal into Parquet. Stopping twice is harmless.

        Turning it into Parquet takes ten seconds at most. The rest stays in the journal, which a Recording reads as well: a
        RuntimeWarning and `stats.left` say so, and `ccwatch recover` finishes it.

        Args:
            finish: turn the journal into Parquet (about 1 s per 30,000 packets). Otherwise the recording is read from its journal.

        Raises:
            RecordingError: the Parquet files could not be written; the journal still holds everything.
        """
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            self._finalizer.detach()
            try:
                if self._on_stop is not None:
                    self._on_stop()
            finally:
                try:
                    self._writer.stop(finish=finish)
                finally:
                    self._ended.set()

    def leave_to_parent(self) -> None:
        """Stop being a recorder in a forked child, without touching the folder: it belongs to the process that has the threads."""
        self._stop_lock = threading.Lock()  # a thread of the parent may have held it at the fork
        self._stopped = True
        self._finalizer.detach()
        self._ended.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the recorder has stopped, and return whether it has.

        Args:
            timeout: in seconds; None waits forever.
        """
        return self._ended.wait(timeout)


_OF_THIS_PROCESS: Final[weakref.WeakSet[Recorder]] = weakref.WeakSet()
"""The recorders of this process, which end in a forked child."""


def _leave_all_to_parent() -> None:
    for recorder in list(_OF_THIS_PROCESS):
        recorder.leave_to_parent()
    _OF_THIS_PROCESS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)


def _claim(folder: Path) -> WriterLock:
    """Create a new recording's folder and return its lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SESSION).exists() and not is_being_written(folder):
            raise RecordingError(f"{folder} holds a recording already; record into a new folder")
        lock = WriterLock(folder)
    except OSError as error:
        raise RecordingError(f"{folder} cannot be written: {error}") from error
    if (folder / SESSION).exists():
        lock.release()
        raise RecordingError(f"{folder} holds a recording already; record into a new folder")
    return lock


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow to import, needed once per recording

    try:
        return version("ccwatch")
    except PackageNotFoundError:
        return "unknown"


def _left_open(work: Writer) -> None:
    """Write the waiting items and warn, where a recorder was garbage-collected or the interpreter ends without a stop."""
    work.stop(finish=False)
    warnings.warn(f"Recorder of {work.folder} was left open: call stop(), or use it in a with statement", ResourceWarning, stacklevel=2)
