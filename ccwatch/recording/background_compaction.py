"""Compaction beside a running recorder: the compactor as a separate niced process, so that it does not slow the recording.

A process and not a thread, since compaction would hold the interpreter; never multiprocessing, which would run the user's script
again. It inherits the recorder's lock, and ends when the recorder's process does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

from ccwatch.errors import RecordingError
from ccwatch.recording.folder import WriterLock

MODULE: Final = "ccwatch.recording.compactor"


class CompactorProcess:
    """One run of the compactor."""

    def __init__(self, folder: Path, keep: Path | None, lock_handle: int, *, nice: bool = True) -> None:
        """Start the process.

        Args:
            folder: the recording's folder.
            keep: the journal file that is being written; it and later ones stay. None: none is written any more.
            lock_handle: the recorder's lock, which the process holds on to until it ends.
            nice: whether it runs at low priority; False where someone waits for it.
        """
        what = ["--all"] if keep is None else ["--keep", str(keep)]
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
        # Not as `-m`: the package is imported before, and Python would complain that the module was there already.
        code = f"from {MODULE} import main; main()"
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", "-c", code, str(folder), *what, *([] if nice else ["--at-once"])],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(lock_handle,),
        )

    def wait(self) -> None:
        """Wait until it has ended.

        Raises:
            RecordingError: it failed; the journal holds everything.
        """
        assert self._process.stdin is not None and self._process.stderr is not None  # noqa: PT018, S101 - both are pipes, for mypy
        with self._process.stdin, self._process.stderr:  # the first stays open until it ends: that is how it knows we live
            said = self._process.stderr.read()
            self._process.wait()
        if self._process.returncode > 0:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise RecordingError(f"compaction failed, the journal holds everything: {''.join(last)}")

    def kill(self) -> None:
        """End the process now; groups that it has not published are made again later."""
        self._process.kill()


class Compacting(NamedTuple):
    """A report: a compaction begins, or has ended, with an error or without."""

    is_running: bool
    error: str | None = None


class Compactor:
    """Makes Parquet of the journal's older files whenever the journal has gone on in a new one."""

    def __init__(self, lock: WriterLock, first: Path, report: Callable[[Any], None]) -> None:
        """Prepare a compactor that has nothing to do yet.

        Args:
            lock: the recorder's lock, which knows the recording's folder.
            first: the journal's file that is written now.
            report: called with a `Compacting` at each beginning and end.
        """
        self._lock = lock
        self._report = report
        # Serialises compactions: one works in _staging at a time, in this process or in one of its own.
        # Reentrant: `rotate` takes it before the journal goes on, so that no process is started for what it does itself.
        self.working = threading.RLock()
        # Guards the four below, and wakes the thread when one changes.
        self._changed = threading.Condition()
        self._newest = self._compacted_below = first
        self._process: CompactorProcess | None = None
        self._is_closed = False

    def rolled(self, newest: Path) -> None:
        """Say which file of the journal is written from now on."""
        with self._changed:
            self._newest = newest
            self._changed.notify_all()

    def compacted(self, below: Path) -> None:
        """Say that someone else has made Parquet of all files before this one."""
        with self._changed:
            self._compacted_below = below

    def close(self, patience_s: float) -> None:
        """Begin no more runs; a running process gets so many seconds to end by itself."""
        deadline = monotonic() + patience_s
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            while self._process is not None and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)
            if self._process is not None:
                self._process.kill()

    def run(self) -> None:
        """Compact until closed."""
        while True:
            with self._changed:
                while self._newest == self._compacted_below and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
            with self.working:
                keep = self._newest
                if keep == self._compacted_below:  # `rotate` was faster
                    continue
                self._report(Compacting(is_running=True))
                self._report(Compacting(is_running=False, error=self._compact(keep)))

    def _compact(self, keep: Path) -> str | None:
        """Run the process for all files before this one, and return why it failed; None where it did not."""
        try:
            with self._changed:
                if self._is_closed:
                    return None
                self._process = CompactorProcess(self._lock.folder, keep, self._lock.handle)
            self._process.wait()
        except (OSError, RecordingError) as error:
            return str(error)
        finally:
            with self._changed:
                self._process = None
                self._compacted_below = keep
                self._changed.notify_all()
        return None
