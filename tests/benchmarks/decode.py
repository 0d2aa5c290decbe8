"""Bytes to Packet, for each dialect's observed shapes, against orjson.loads of the same bytes in the same run."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson

from ccwatch.feed.synthetic import messages
from ccwatch.protocol.decoding import codec
from tests.benchmarks.row import Row
from tests.protocol.shapes import SHAPES

ROUNDS = 41
CALLS = 400


def rows() -> list[Row]:
    usual = list(itertools.islice(messages(seed=1), 200, 250))
    found = _rows("contract, the seeded stream", usual)
    for dialect, shapes in SHAPES.items():
        found += _rows(f"{dialect}, as observed", [orjson.dumps(shape) for shape in shapes])
    return found


def _rows(name: str, raws: list[bytes]) -> list[Row]:
    floor, whole = [], []
    for _ in range(ROUNDS):
        floor.append(_spent(orjson.loads, raws))
        whole.append(_spent(codec.decode, raws))
    size = statistics.mean(map(len, raws))
    ratio = statistics.median(w / f for w, f in zip(whole, floor, strict=True))
    return [
        Row(f"decode: {name}", statistics.median(whole) * 1e6, "µs CPU", "", f"{size:.0f} B"),
        Row(f"decode: {name} / orjson.loads", ratio, "×", "", f"median of {ROUNDS} interleaved pairs"),
    ]


def _spent(read: Callable[[bytes], Any], raws: list[bytes]) -> float:
    begun = time.thread_time()
    for _ in range(CALLS // len(raws)):
        for raw in raws:
            read(raw)
    return (time.thread_time() - begun) / (CALLS // len(raws) * len(raws))
