"""The readers under files that lie with a right checksum: whatever is changed, no error but ours, and no more memory than was checked.

Each reader runs in a process of its own, since what a file must not do either is to end the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.recording.fuzz import READERS

FULL = bool(os.environ.get("CCWATCH_FULL"))
INPUTS = {"parquet": 20, "segment": 60}
"""In CI; 8 of each other reader."""


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_no_file_makes_a_reader_fail_in_another_way_than_ours(reader, capsys):
    """30 CPU minutes for each reader under CCWATCH_FULL=1."""
    inputs = INPUTS.get(reader, 8)
    size = ["--seconds", "1800"] if FULL else ["--inputs", str(inputs)]
    run = [sys.executable, "-X", "faulthandler", "-m", "tests.recording.fuzz", reader, *size]
    ended = subprocess.run(run, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = orjson.loads(ended.stdout)
    with capsys.disabled():
        print(f"{reader}: {found['inputs']} inputs, {found['refused']} refused")
    assert found["inputs"] >= inputs
    assert found["refused"] > 0 or reader in {"journal", "parquet", "archive"}
