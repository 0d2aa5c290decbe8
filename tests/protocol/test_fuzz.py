"""The fuzzers themselves, of the codec and of the frame parser, for a few runs in CI and for many under CCWATCH_FULL=1."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.protocol.shapes import FULL


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (no wheel for this Python)")
@pytest.mark.parametrize("target", ["tests.protocol.fuzz", "tests.feed.fuzz"])
def test_no_bytes_that_a_fuzzer_finds_break_a_promise(target):
    runs = 1_000_000 if FULL else 3000
    done = subprocess.run(
        [sys.executable, "-m", target, str(runs)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * 3600 if FULL else 120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr
