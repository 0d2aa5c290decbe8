"""Sessions of 6.5 hours for `similar`: clones of a seeded one with shifted times and new noise, and what a search over them costs.

python -m tests.archives.days FOLDER --sessions 1000
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import fft

from ccwatch.archives import Archive
from ccwatch.archives.index import build
from ccwatch.recording import manifest, recover, summary
from ccwatch.recording.folder import Session as Identity
from tests.archives.seeded import FIRST, items_of, write

PACKETS = 23_400
NOISY = ("price", "alpha", "nav", "latency_ms")
CHANNELS = ("price", "alpha", "latency:RiskAgent")
BLOCK = 1 << 16


def original(folder, *, packets=PACKETS, seed=0):
    """Record the session that all others are clones of."""
    write(folder, items_of(seed, packets), url="ws://paris:3000", state="killed")  # stopping is given less time than this many take
    recover(folder)
    return folder


def clone(folder, target, *, days, seed):
    """Write a recording of another day: the packets and agents have other times, and prices, measures and latencies of their own."""
    rng = np.random.default_rng(seed)
    shift = days * 86_400 * 10**9
    (target / "_copies").mkdir(parents=True)
    replace(Identity.read(folder), session=target.name).write(target)
    segments = []
    for group in manifest.read(folder).groups:
        for segment in group.files.values():
            file = target / segment.path
            file.parent.mkdir(exist_ok=True)
            span = segment.time_ns and (segment.time_ns[0] + shift, segment.time_ns[1] + shift)
            if segment.table in {"packets", "agents"}:
                pq.write_table(_noisy(pq.read_table(folder / segment.path), shift, rng), file, compression="zstd", compression_level=1)
                segments.append(replace(segment, time_ns=span).measured(file))
            else:
                os.link(folder / segment.path, file)
                segments.append(segment)
    manifest.append_group(target, segments)
    manifest.append_finish(target, {"entries": segments[0].entries[1], **summary.of_finished(target)})
    return target


def _noisy(table, shift, rng):
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            moved = pa.array(table[field.name].cast(pa.int64()).to_numpy() + shift).cast(field.type)
        elif field.name in {"time_us", "received_at_us"}:
            moved = pa.array(table[field.name].to_numpy() + shift // 1000)
        elif field.name in NOISY:
            values = table[field.name].to_numpy()
            walk = np.cumsum(rng.normal(0.0, 2e-4, len(values)))
            moved = pa.array(values * np.exp(walk))
        else:
            continue
        table = table.set_column(place, field, moved)
    return table


def measured(root: Path, *, rounds: int = 3) -> dict[str, float]:
    """Return the seconds of a search on one and on three channels, and those of scipy's FFT of the same values, on one thread."""
    archive = Archive(root)
    name = archive.sessions.index[len(archive) // 2]
    start = archive.sessions.loc[name, "start"] + timedelta(hours=2)
    found: dict[str, float] = {}
    for count in (1, 3):
        end, on = start + timedelta(seconds=299), CHANNELS[:count]
        search = partial(archive.similar, name, start, end, on=on, top=20)
        found[f"first_{count}"] = _wall(search)
        index = build(archive.place, archive.asked(), on, 10**9)
        peer = partial(_there_and_back, [index.channels[channel] for channel in on])
        pairs = [(_wall(search), _wall(peer)) for _ in range(rounds)]
        found[f"similar_{count}"], found[f"scipy_{count}"] = (statistics.median(each) for each in zip(*pairs, strict=True))
    return found


def _there_and_back(channels):
    for values in channels:
        for start in range(0, len(values), BLOCK):
            fft.irfft(fft.rfft(np.nan_to_num(values[start : start + BLOCK]), BLOCK), BLOCK)


def _wall(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=1000)
    asked = parser.parse_args()
    first = asked.folder / f"{FIRST:%Y%m%d}-paris"
    if not first.exists():
        original(first)
    for day in range(1, asked.sessions):
        target = asked.folder / f"{FIRST + timedelta(days=day):%Y%m%d}-paris"
        if not target.exists():
            clone(first, target, days=day, seed=day)
    print(measured(asked.folder))
