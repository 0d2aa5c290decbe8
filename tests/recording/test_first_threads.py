"""Several threads may be the first of a process to open a recording: checking types for the first time is no business of theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.archives.seeded import items_of, write

SCRIPT = """
import sys, threading
from pathlib import Path
from ccwatch.recording import Recording

sys.setswitchinterval(1e-6)
barrier, found = threading.Barrier(4), []

def read():
    barrier.wait()
    recording = Recording(Path(sys.argv[1]))
    found.append((len(recording.frame()), len(recording.marks), recording.status))

threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [(50, 0, "finished")] * 4, found
"""


@pytest.mark.slow
def test_four_threads_at_once_are_the_first_to_open_a_recording(tmp_path):
    write(tmp_path / "a", items_of(1, 50), url="ws://x")
    for _ in range(3):  # without the types prepared, five processes of six ended with a segmentation fault
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "a")], check=True, timeout=120)
