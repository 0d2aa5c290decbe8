"""Compaction as a program: `python -m ccwatch.recording.compactor PATH` makes Parquet of a recording's journal, at low priority."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Final

from ccwatch.recording.folder import Session
from ccwatch.recording.recover import compact
from ccwatch.recording.segment_groups import compact as compact_beside

NICE: Final = 10
"""The process's niceness."""


def main() -> None:
    """Compact the recording that the arguments name. A recorder adds --keep or --all, and its lock by inheritance."""
    arguments = argparse.ArgumentParser(description="Make Parquet of a recording's journal.")
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--keep", type=Path, help="for a recorder: the journal file that it writes")
    arguments.add_argument("--all", action="store_true", help="for a recorder that writes no more")
    arguments.add_argument("--at-once", action="store_true", help="at ordinary priority, since someone waits for it")
    asked = arguments.parse_args()
    if not asked.at_once:
        os.nice(NICE)
    gc.disable()  # a sixth of the time would go into looking for cycles, of which it makes none, and a batch bounds its memory
    if asked.keep is None and not asked.all:
        compact(asked.path)
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compact_beside(asked.path, Session.read(asked.path), keep=asked.keep)


def _end_with_parent() -> None:
    """End when the recorder's process does, which closes the pipe to it."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
