"""Compaction beside a running recorder: the compactor as a niced process of its own, so that it costs the recording nothing.

A process and not a thread, since compaction would hold the interpreter; never multiprocessing, which would run the user's script
again. It inherits the recorder's lock, and ends when the recorder's process does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from ccwatch.errors import RecordingError

MODULE: Final = "ccwatch.recording.compactor"


class CompactorProcess:
    """One run of the compactor."""

    def __init__(self, folder: Path, keep: Path, lock_handle: int) -> None:
        """Start it.

        Args:
            folder: the recording's.
            keep: the journal file that is being written; it and later ones stay.
            lock_handle: the recorder's lock, which the process holds on to until it ends.
        """
        root = str(Path(__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
        # Not as `-m`: the package is imported before, and Python would complain that the module was there already.
        code = f"from {MODULE} import main; main()"
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-P", "-c", code, str(folder), "--keep", str(keep)],
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
        """End it now; what it had not published is made again later."""
        self._process.kill()
