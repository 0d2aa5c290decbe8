"""Random kills under load: two recorders of a group, the writer and Redis are killed with -9, each restarted at once.

At the end every entry of the stream must be in the recordings of the group exactly once. Processes are forked from this one, so that a
restart takes milliseconds, and the lease is short; all else is as a user runs it.

python -m tests.cottage.kills FOLDER --kills 250 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import redis

import ccwatch as cw
from ccwatch.cottage import StreamAddress, StreamWriter, redis_group
from ccwatch.feed.synthetic import messages
from tests.feed.servers import free_port

LEASE_S = 0.4
RATE = 100


class Kills:
    """The processes of one run, by name: redis, writer, a and b."""

    def __init__(self, folder):
        self.folder, self.port = Path(folder), free_port()
        self.address = f"redis://127.0.0.1:{self.port}/0?stream=desk"
        self.running = {}

    def start(self, name):
        self.running[name] = self._redis() if name == "redis" else fork(getattr(self, f"_{name}"))
        if name == "redis":
            with redis.Redis(port=self.port, socket_timeout=10) as client:
                until(lambda: answers(client))

    def kill(self, name):
        process = self.running.pop(name)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)

    def _redis(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", str(self.folder)]
        silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        return os.posix_spawnp("redis-server", ["redis-server", *options], os.environ, file_actions=silent)

    def _writer(self):
        source, n = messages(seed=4), 0
        with StreamWriter(StreamAddress.parse(self.address), max_length=10_000_000) as writer:
            while True:
                message = json.loads(next(source))
                message["data"]["reasoning"] = f"{os.getpid()}-{n}"  # no two are equal
                writer.add(json.dumps(message).encode())
                n += 1
                time.sleep(1 / RATE)

    def _record(self, folder):
        redis_group.LEASE_S, redis_group.SETTLE_S = LEASE_S, 0.2
        with cw.record(f"{self.address}&group=desk&start=0", self.folder / folder):
            while True:
                time.sleep(1)

    def _a(self):
        self._record("a")

    def _b(self):
        self._record("b")

    def settled(self):
        """Return whether the group has read and acknowledged everything."""
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            (group,) = client.xinfo_groups("desk") or [None]
            return group is not None and not group["pending"] and group["lag"] == 0

    def counted(self):
        """Return the entries of the stream and the packets of all recordings, each counted by its bytes."""
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            sent = Counter(fields[b"raw"] for _, fields in client.xrange("desk"))
        kept = Counter()
        for path in self.folder.glob("[ab]/*/session.json"):
            kept.update(bytes(packet.raw) for packet in cw.open_recording(path.parent).packets())
        return sent, kept


def fork(work):
    """Run a function in a process of its own, until it is killed."""
    process = os.fork()
    if process == 0:
        try:
            work()
        finally:
            os._exit(1)
    return process


def answers(client):
    try:
        return client.ping()
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def run(folder, kills, seed=0, log=lambda _: None):
    """Kill so often, at random moments, and return (entries of the stream, packets recorded)."""
    chance, all_ = random.Random(seed), Kills(folder)
    names = ["redis", "writer", "a", "b"]
    try:
        for name in names:
            all_.start(name)
        until(lambda: (all_.folder / "a").exists() and (all_.folder / "b").exists())
        for n in range(kills):
            time.sleep(chance.uniform(0.05, 1.2))
            name = chance.choices(names, (1, 1, 4, 4))[0]
            all_.kill(name)
            time.sleep(chance.choice((0.0, 0.0, 0.3)))
            all_.start(name)
            log(f"{n + 1} {name}")
        all_.kill("writer")
        until(all_.settled)
        return all_.counted()
    finally:
        for name in list(all_.running):
            all_.kill(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    sent, kept = run(asked.folder, asked.kills, asked.seed)
    twice = sum(count - 1 for count in kept.values() if count > 1)
    missing, strange = len(sent.keys() - kept.keys()), len(kept.keys() - sent.keys())
    print(f"{asked.kills} kills in {time.monotonic() - begun:.0f} s: {sum(sent.values()):,} entries, {sum(kept.values()):,} recorded")
    print(f"{missing} missing, {twice} twice, {strange} of no entry")
