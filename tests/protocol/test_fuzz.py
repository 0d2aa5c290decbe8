"""The fuzzers themselves, of the codec and of the frame parser: the same few runs in CI, many other ones under CCWATCH_FULL=1."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.protocol.shapes import FULL


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (no wheel for this Python)")
@pytest.mark.parametrize("target", ["tests.protocol.fuzz", "tests.feed.fuzz"])
def test_no_bytes_that_a_fuzzer_finds_break_a_promise(target):
    runs, seed = ("1000000", "0") if FULL else ("3000", "1")
    done = subprocess.run(
        [sys.executable, "-m", target, runs, seed],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * 3600 if FULL else 600,
    )
    said = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"  # the fuzzer writes the exception on stdout
    assert done.returncode == 0, said
    assert f"Done {runs} runs" in done.stderr, said
