"""The archive: listing, asking and SQL over 100 and 1,000 sessions (10,000 with CCWATCH_FULL=1), and `similar` beside scipy's FFT.

Each archive is measured in a process of its own, so that its peak of memory is its own. Sessions are copies of seeded ones of 60 packets
under other desks' names: what is measured is what a session costs, not what a packet costs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from scipy import fft

from ccwatch.archives import Archive
from ccwatch.archives.distance import nearest
from tests.archives.seeded import copy_of, make
from tests.benchmarks.row import Row

SEEDS = 20
SIZES = (100, 1_000, 10_000) if "CCWATCH_FULL" in os.environ else (100, 1_000)
STRETCH = 300
VALUES = 23_400 * (1_000 if "CCWATCH_FULL" in os.environ else 100)
"""Values at one a second of so many sessions of 6.5 hours."""
ROUNDS = 3
BLOCK = 1 << 16
VETOES = "SELECT count(*) FROM {} WHERE side IN ('BUY', 'SELL') AND approved_size = 0"


def rows() -> list[Row]:
    work = Path(tempfile.mkdtemp(prefix="ccwatch-bench-"))
    try:
        return [*(row for size in SIZES for row in archive_rows(work / str(size), size)), *similar_rows()]
    finally:
        shutil.rmtree(work)


def archive_rows(root: Path, sessions: int) -> list[Row]:
    """What is asked of an archive first and again, in CPU time of a process of its own."""
    made = make(root, sessions=SEEDS, packets=60, damaged=0, killed=0, running=0)
    for n in range(1, sessions // SEEDS):
        for name in made.names:
            desk = f"{name[9:]}{n}"
            copy_of(root / name, root / f"{name[:9]}{desk}", desk=desk)
    environment = os.environ | {"CCWATCH_CACHE": str(root.with_name(f"{root.name}-cache"))}
    command = [sys.executable, "-m", "tests.benchmarks.archives", str(root)]
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
    note, bound = f"{sessions:,} sessions; CPU", "≤ 0.5" if sessions == SIZES[-1] else ""
    return [
        Row(f"list {sessions:,} sessions for the first time", found["cold"], "s", "", note),
        Row("  again", found["warm"], "s", bound, note),
        Row("  peak memory of it, beyond that of the imports", found["list_mb"], "MB", "", note),
        Row(f"ask governance of {min(sessions, 1000):,} sessions", found["ask"], "s", "", note),
        Row("  peak memory so far, beyond that of the imports", found["ask_mb"], "MB", "", note),
        Row("  sql: vetoes, as a multiple of DuckDB's own over the same files", found["sql"], "times", "≤ 3", "DuckDB has no clean rows"),
    ]


def measured(root: str) -> dict[str, float]:
    """Return the figures of one archive; runs in a process of its own."""
    from ccwatch.archives.ask import ask  # noqa: F401, PLC0415 - so that imports are not measured

    begun = _peak_mb()
    cold, archive = _taken(lambda: Archive(root))
    warm = statistics.median(_taken(lambda: Archive(root))[0] for _ in range(ROUNDS))
    listed = _peak_mb()
    few = archive.filter(where=lambda frame: frame.index[:1000])
    taken, _ = _taken(lambda: few.ask("governance"))
    asked = _peak_mb()
    files = [str(path) for path in Path(root).glob("*/packets/*.parquet")]
    plain = VETOES.format("read_parquet($files)")
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_taken(lambda: archive.sql(VETOES.format("packets")).fetchone())[0])
        theirs.append(_taken(lambda: duckdb.execute(plain, {"files": files}).fetchone())[0])
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {"cold": cold, "warm": warm, "list_mb": listed - begun, "ask": taken, "ask_mb": asked - begun, "sql": ratio}


def similar_rows() -> list[Row]:
    """The nearest stretches of random walks, beside scipy's real FFT there and back of the same values in the same blocks."""
    rng = np.random.default_rng(1)
    channels = [np.cumsum(rng.normal(size=VALUES)) for _ in range(3)]
    found = []
    for count, bound in ((1, ""), (3, "")):
        series = channels[:count]
        queries = [channel[1000 : 1000 + STRETCH] for channel in series]
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(_wall(lambda queries=queries, series=series: nearest(queries, series, 20)))
            theirs.append(_wall(lambda series=series: _there_and_back(series)))
        mine, peer = statistics.median(ours), statistics.median(theirs)
        note = f"{VALUES:,} values, a stretch of {STRETCH}; scipy takes {peer:.2f} s on one thread"
        found.append(Row(f"the 20 nearest stretches on {count} channel{'s' if count > 1 else ''}", mine, "s", bound, note))
        found.append(Row("  as a multiple of scipy's rfft and irfft", mine / peer, "times", "≤ 4", note))
    return found


def _there_and_back(series: list[Any]) -> None:
    for values in series:
        for start in range(0, len(values), BLOCK):
            fft.irfft(fft.rfft(values[start : start + BLOCK], BLOCK), BLOCK)


def _taken(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def _wall(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(sys.argv[1])))
