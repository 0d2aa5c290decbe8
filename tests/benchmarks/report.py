"""The full report of a session of 6.5 hours, and drawdowns of a long series beside ffn's details. Same run, interleaved."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import ffn
import numpy as np
import pandas as pd

import ccwatch as cw
from ccwatch.analysis.drawdowns import drawdowns
from tests.benchmarks.row import Row
from tests.recording import make_sample

PACKETS = 23_400
"""6.5 hours at one a second."""
ROWS = 1_000_000
ROUNDS = 3


def rows() -> list[Row]:
    work = Path(tempfile.mkdtemp(prefix="ccwatch-bench-"))
    try:
        return [report_row(work), *drawdown_rows()]
    finally:
        shutil.rmtree(work)


def report_row(work: Path) -> Row:
    """From a path to the written page, everything read and answered anew; imports are warm."""
    path = make_sample.make(work / "session", make_sample.items("calm", 1, PACKETS))
    taken = [_seconds(lambda: cw.analyze(path).to_html(work / "report.html")) for _ in range(ROUNDS + 1)][1:]
    return Row(f"full report of {PACKETS:,} packets as a page", statistics.median(taken), "s", "≤ 2", "recording to HTML")


def drawdown_rows() -> list[Row]:
    """Navs as frames of one's own. The time hangs on how many episodes there are, so both kinds are shown."""
    found = []
    for kind, drift, bound in (("that rises", 1e-5, "≥ 20"), ("with few episodes", 0.0, "")):
        walk = 100_000.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(drift, 1e-4, ROWS)))
        index = pd.date_range("2026-01-02T14:30:00Z", periods=ROWS, freq="s", unit="ns", name="time")
        frame = pd.DataFrame({"nav": walk}, index=index)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(_seconds(lambda frame=frame: drawdowns(frame)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ffn's own, of the pandas in use
                theirs.append(_seconds(lambda frame=frame: ffn.drawdown_details(ffn.to_drawdown_series(frame["nav"]))))
        mine, peers = statistics.median(ours), statistics.median(theirs)
        note = f"{len(drawdowns(frame).episodes):,} episodes; ffn takes {peers:.2f} s"
        found.append(Row(f"drawdowns of {ROWS:,} rows of a nav {kind}", mine, "s", "", note))
        found.append(Row("  how many times as fast as ffn's drawdown_details", peers / mine, "times", bound, note))
    return found


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
