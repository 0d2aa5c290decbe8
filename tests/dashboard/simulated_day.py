"""A soak of simulated hours: `python -m tests.dashboard.simulated_day [--hours H] [--rate HZ] [--pace P] [--window W]`.

Feed, recorder, alerts and an open dashboard in one process, under a clock that the source turns: a day takes minutes. Prints, for each
simulated hour, the process's own memory (RssAnon, MB), the C library's heap, threads and descriptors; then what the recording holds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from threading import Event as Flag, Thread

import ccwatch as cw
from ccwatch.feed.feed import Feed
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import read_clock

START_NS = 1_767_364_200 * 10**9
MOST_BEHIND = 300
"""Packets that the recorder may be behind: the source waits then, as real time would."""


class Clock:
    """Both clocks of a machine, turned by the source."""

    def __init__(self) -> None:
        self.mono_ns = 10**9

    def __call__(self) -> Instant:
        return Instant(START_NS + self.mono_ns, self.mono_ns)


class Day:
    """A source of so many simulated hours; at each full one it calls `note`."""

    def __init__(self, clock, hours, rate, pace, note):
        self.clock, self.hours, self.rate, self.pace, self.note = clock, hours, rate, pace, note
        self.recorder = None
        self.begins = Flag()

    def stream(self, sink, stop):
        reader = StreamReader()
        sink.receive(reader.opened(self.clock()))
        began = time.monotonic()
        step_ns, an_hour = round(10**9 / self.rate), round(3600 * self.rate)
        for n, raw in enumerate(islice(messages(1, "calm", self.rate), round(self.hours * an_hour)), 1):
            self.clock.mono_ns += step_ns
            sink.receive(reader.tick(self.clock()))
            sink.receive(reader.receive(raw, self.clock()))
            if n == 1:
                self.begins.wait()
            ahead = began + n / self.pace - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            while self.recorder.stats.received_seq - self.recorder.stats.written_seq > MOST_BEHIND:
                time.sleep(0.005)
            if n % an_hour == 0:
                self.note(n // an_hour)
            if stop.is_set():
                return


_HEAP = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class Heap(ctypes.Structure):
    """The C library's `mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in _HEAP.split()]


def measured() -> dict[str, float]:
    """Return the process's memory, threads and descriptors."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = Heap
    heap = libc.mallinfo2()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "anon_mb": round(int(status["RssAnon"].split()[0]) / 1024, 1),
        "heap_used_mb": round(heap.uordblks / 1e6, 1),
        "heap_free_mb": round(heap.fordblks / 1e6, 1),
        "blocks": sys.getallocatedblocks(),
        "threads": int(status["Threads"]),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
    }


def paint(dashboard):
    """Say again and again that the picture was drawn, as an open page does."""
    while True:
        time.sleep(0.2)
        dashboard._answer({"page": "soak", "type": "painted"})


def main() -> None:
    """Run the hours that the arguments ask for."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--hours", type=float, default=24.0)
    arguments.add_argument("--rate", type=float, default=1.0)
    arguments.add_argument("--pace", type=float, default=100.0, help="packets in a second of real time, at most")
    arguments.add_argument("--window", default="3min")
    asked = arguments.parse_args()
    clock = Clock()
    for module in [module for name, module in sys.modules.items() if name.startswith("ccwatch")]:
        if getattr(module, "read_clock", None) is read_clock:
            module.read_clock = clock
    began = time.monotonic()

    def note(hour):
        found = {"hour": hour, "took_s": round(time.monotonic() - began), **measured(), "alerts": len(reported)}
        print(" ".join(f"{name}={value}" for name, value in found.items()), flush=True)

    reported = []
    source = Day(clock, asked.hours, asked.rate, asked.pace, note)
    with tempfile.TemporaryDirectory() as place:
        feed = Feed(source, name="day", url="test", window=asked.window, on_demand=True)
        off = feed.on_alert(lambda alert: reported.append(alert.rule))
        recorder = source.recorder = cw.record(feed, f"{place}/r")
        feed.start()
        dashboard = cw.watch(feed)
        dashboard.send = lambda *_, **__: None
        dashboard._answer({"page": "soak", "type": "ready"})
        Thread(target=paint, args=(dashboard,), daemon=True).start()
        source.begins.set()
        feed.join(None)
        dashboard.stop()
        recorder.stop()
        off()
        seqs = cw.open_recording(recorder.path).frame(["seq"], clean=False)["seq"].astype("int64")
        missing = int(seqs.max() - seqs.min() + 1 - len(seqs))
        print(f"recorded {len(seqs)}, missing {missing}, dropped {recorder.dropped}, rows {len(feed.frame())}")
        feed.stop()


if __name__ == "__main__":
    main()
    os._exit(0)
