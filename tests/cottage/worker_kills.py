"""Random kills under load: the workers of a port, the bridge and Redis are killed with -9, while clients of protocol 2 read.

Every state that was published has to be at each client exactly once, in order, or within a gap that the client reports, and a gap that
names a size has to have that size (counted in entries of the stream).

python -m tests.cottage.worker_kills FOLDER --kills 100 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import redis

import ccwatch as cw
from ccwatch.cottage import AccessRules, Listen
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.workers import Plan, Workers
from tests.cottage.kills import answers, until
from tests.feed.servers import free_port

RATE = 50


class Reader:
    """A client, and all that it was given: numbers of states, and gaps by their size (None where it is unknown)."""

    def __init__(self, url, **options):
        self.seen = []
        self.feed = cw.connect(url, protocol=2, **options)
        self.feed.add_sink(self)

    def receive(self, items, /):
        for item in items:
            if isinstance(item, Packet) and item.reasoning and item.reasoning.startswith("state "):
                self.seen.append(int(item.reasoning.split()[1]))
            elif isinstance(item, Event) and item.kind == EventKind.GAP and (size := re.search(r"messages=(\w+)", item.detail)):
                self.seen.append((None if size[1] == "unknown" else int(size[1]), item.detail))

    def faults(self, entries):
        """Return what is twice, out of order, or missing without a gap of its size.

        Args:
            entries: the number of each state's entry in the stream; states were published as 1, 2, …
        """
        found, last, gaps = [], 0, []
        for what in self.seen:
            if isinstance(what, tuple):
                gaps.append(what)
                continue
            if what not in entries or what <= last:
                found.append(f"{what} is twice, late or of no entry")
                continue
            if last and what > last + 1:
                sizes = [size for size, _ in gaps]
                missing = sum(state in entries for state in range(last + 1, what))
                between = entries[what] - entries[last] - 1  # the bridge's own words are entries as well
                if not gaps:
                    found.append(f"{last + 1} to {what - 1} missing without a gap")
                elif None not in sizes and (missing < what - last - 1 or not missing <= sum(sizes) <= between):
                    found.append(f"{last + 1} to {what - 1}: {missing} of them in the stream, gaps {gaps}")
            last, gaps = what, []
        if max(entries) > last and not gaps:
            found.append(f"{max(entries) - last} missing at the end, no gap")
        return found


class Desk:
    """Redis, a publisher, the workers and their clients."""

    def __init__(self, folder):
        self.folder, self.port = Path(folder), free_port()
        self.stopped = threading.Event()
        self.published = 0

    def start_redis(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        self.redis = subprocess.Popen(["redis-server", *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            until(lambda: answers(client))

    def publish(self):
        """Publish numbered states as an engine does, until stopped."""
        source = messages(seed=4)
        with redis.Redis(port=self.port, socket_timeout=2) as client:
            while not self.stopped.wait(1 / RATE):
                state = json.loads(next(source))["data"]
                state.setdefault("signal", {})["reasoning"] = f"state {self.published + 1}"
                try:
                    client.publish("state_update", json.dumps(state))
                except (redis.ConnectionError, redis.TimeoutError):
                    continue
                self.published += 1

    def entries(self):
        """Return the number of each state's entry in the stream, by state."""
        found = {}
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            for _, fields in client.xrange("ccwatch"):
                words = str(json.loads(fields[b"raw"])["data"].get("signal", {}).get("reasoning", "")).split()
                if words[:1] == ["state"]:
                    found[int(words[1])] = int(fields[b"n"])
        return found


def run(folder, kills, seed=0, names=("0", "1", "bridge", "redis"), weights=(6, 6, 1, 1), pause=(0.05, 2.0), log=lambda _: None):
    """Kill so often, at random moments; return the desk, the entry of each state in the stream, and the readers."""
    chance, desk = random.Random(seed), Desk(folder)
    desk.start_redis()
    publisher = threading.Thread(target=desk.publish, daemon=True)
    plan = Plan(f"redis://127.0.0.1:{desk.port}/0", "ccwatch", 2, Listen(), AccessRules(), None)
    readers = []
    try:
        with Workers(plan) as workers:
            publisher.start()
            readers = [
                Reader(url, name=f"{site}-{name}-{i}", **options)
                for site, url in (("bff", workers.url), ("engine", workers.engine_url))
                for name, options in (("json", {"compress": True}), ("msgpack", {"compress": False}))
                for i in range(2)
            ]
            try:
                until(lambda: all(len(reader.seen) > 3 for reader in readers))
                for n in range(kills):
                    time.sleep(chance.uniform(*pause))
                    name = chance.choices(names, weights)[0]
                    if name == "redis":
                        desk.redis.kill()
                        desk.redis.wait()
                        time.sleep(chance.choice((0.0, 0.5)))
                        desk.start_redis()
                    elif pid := workers.pids.get(name):
                        os.kill(pid, signal.SIGKILL)
                    log(f"{n + 1} {name}")
                time.sleep(6.0)  # a bridge and workers come back, and write and read what waited
                desk.stopped.set()
                publisher.join()
                until(
                    lambda: all(reader.seen and reader.seen[-1] == max(desk.entries()) for reader in readers), 90
                )  # an unlucky client waits 30 s
            finally:
                for reader in readers:
                    reader.feed.stop()
            return desk, desk.entries(), readers
    finally:
        desk.stopped.set()
        desk.redis.kill()
        desk.redis.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=2.0)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    desk, entries, readers = run(asked.folder, asked.kills, asked.seed, pause=(0.05, asked.pause))
    took = time.monotonic() - begun
    print(f"{asked.kills} kills in {took:.0f} s: {desk.published:,} published, {len(entries):,} entries, {len(readers)} clients")
    for reader in readers:
        states = [what for what in reader.seen if not isinstance(what, tuple)]
        gaps = [what for what in reader.seen if isinstance(what, tuple)]
        faults = reader.faults(entries)
        print(f"{reader.feed.name}: {len(states):,} states, {len(gaps)} gaps, {len(faults)} faults {faults[:3]}")
        print("   ", [detail for _, detail in gaps][:6])
