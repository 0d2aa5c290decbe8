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
from ccwatch.domain.drawdown import episodes, under_water
from tests.benchmarks.row import Row
from tests.recording import make_sample

PACKETS = 23_400
"""6.5 hours at one a second."""
ROWS = 1_000_000
ROUNDS = 5


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
    """A nav of many episodes and one of few: the time hangs on how many there are.

    ffn's details are a table of start, end, length and depth of each episode. The kernel finds these (and the trough), `details`
    makes the same table of them, and the whole answer adds gaps, peaks, regimes, least alpha and the curve, which ffn does not know.
    Versions of ffn before 1.2.2 went through the episodes one by one and took ten times as long.
    """
    found = []
    for kind, drift, bound in (("many", 1e-5, "≥ 20"), ("few", 0.0, "")):
        walk = 100_000.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(drift, 1e-4, ROWS)))
        index = pd.date_range("2026-01-02T14:30:00Z", periods=ROWS, freq="s", unit="ns", name="time")
        frame = pd.DataFrame({"nav": walk}, index=index)
        kernel, table, whole, theirs = [], [], [], []
        for _ in range(ROUNDS):
            kernel.append(_cpu_seconds(lambda walk=walk: episodes(walk, under_water(walk)[0])))
            table.append(_cpu_seconds(lambda frame=frame: details(frame["nav"])))
            whole.append(_cpu_seconds(lambda frame=frame: drawdowns(frame)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ffn's own, of the pandas in use
                theirs.append(_cpu_seconds(lambda frame=frame: ffn.drawdown_details(ffn.to_drawdown_series(frame["nav"]))))
        ours, same, answer, peers = (statistics.median(taken) for taken in (kernel, table, whole, theirs))
        note = f"{len(drawdowns(frame).episodes):,} episodes; ffn {ffn.__version__} takes {peers:.2f} s of one core"
        found.append(Row(f"drawdowns of {ROWS:,} rows with {kind} episodes: the kernel", ours, "s", "", note))
        found.append(Row("  how many times as fast as ffn's drawdown_details", peers / ours, "times", bound, note))
        found.append(Row("  the table that ffn makes, of the kernel's indices", same, "s", "", note))
        found.append(Row("  how many times as fast as ffn's drawdown_details", peers / same, "times", bound, note))
        found.append(Row("  the whole answer", answer, "s", "", note))
        found.append(Row("  how many times as fast as ffn's drawdown_details", peers / answer, "times", "", note))
    return found


def details(nav: pd.Series) -> pd.DataFrame:
    """ffn's table: start, end, length in days and depth of each episode."""
    values, index = nav.to_numpy(), pd.DatetimeIndex(nav.index)
    found = episodes(under_water(values)[1], values)
    start, end = index[found.start], index[np.minimum(found.end, len(index) - 1)]
    return pd.DataFrame(
        {"Start": start, "End": end, "Length": (end - start).days, "drawdown": values[found.trough] / values[found.peak] - 1.0}
    )


def _cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
