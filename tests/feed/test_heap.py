"""Free pages of the C library's heap go back to the system."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from ccwatch.feed import heap

BURST = """
    import sys
    from pathlib import Path
    from ccwatch.feed import heap
    heap.GIVE_BACK_S = 0.0

    def anon_mb():
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024

    keep, burst = [], []
    for n in range(3_000):  # blocks that stay between those that go
        burst.append(bytearray(20_000))
        keep.append(bytearray(600))
    full = anon_mb()
    del burst
    freed = anon_mb()
    assert heap.Heap().give_back()
    print(full, freed, anon_mb())
"""


@pytest.mark.skipif(heap.Heap()._trim is None, reason="another C library than glibc")
def test_what_a_burst_took_is_given_back_although_small_blocks_stay_between():
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(BURST)], capture_output=True, text=True, check=True)
    full, freed, after = map(float, ended.stdout.split())
    assert freed > full - 10, "glibc keeps it by itself"
    assert after < full - 35


def test_it_is_done_once_a_minute(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(heap, "monotonic", lambda: now[0])
    calls = []
    monkeypatch.setattr(heap, "_trim", lambda: calls.append)
    kept = heap.Heap()
    done = []
    for now[0] in range(100, 300, 10):
        done.append(kept.give_back())
    assert sum(done) == len(calls) == 3


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(heap, "_trim", lambda: None)
    monkeypatch.setattr(heap, "GIVE_BACK_S", 0.0)
    assert not heap.Heap().give_back()
