"""Random kills under load: the workers of a port, the bridge, Redis and two recorders of a group are killed with -9, while clients read.

Every state that was published has to be at each client of protocol 2 exactly once, in order, or within a gap that the client reports, and
a gap that names a size has to have that size (counted in entries of the stream). Every entry of the stream has to be in the group's
recordings exactly once.

python -m tests.cottage.worker_kills FOLDER --kills 100 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest.mock
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import redis

import ccwatch as cw
import ccwatch.worker_process
import ccwatch.workers
from ccwatch.cottage import AccessRules, Listen, redis_group
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Event, EventKind, Packet
from ccwatch.workers import Plan, Workers
from tests.cottage.kills import answers, until
from tests.feed.servers import free_port

RATE = 50
LEASE_S = 0.5
WEIGHTS = {"0": 3, "1": 3, "bridge": 1, "redis": 1, "a": 3, "b": 3}
"""How often each is killed, in relation to the others."""


class Reader:
    """A client, and all that it was given: numbers of states, and gaps by their size (None where it is unknown)."""

    def __init__(self, url, **options):
        self.seen = []
        self.diary = []
        self.feed = cw.connect(url, protocol=2, **options)
        self.feed.add_sink(self)

    def receive(self, items, /):
        for item in items:
            is_packet = isinstance(item, Packet)
            what = item.reasoning if is_packet else f"{getattr(item, 'kind', '')} {getattr(item, 'detail', item)}"
            self.diary.append(f"{time.time():.3f} {what}")
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


class Nursery:
    """A process without threads that has all modules and forks the others: so a restart takes milliseconds, and kills hit what serves."""

    def __init__(self):
        self._ours, theirs = socket.socketpair()
        self._lock = threading.Lock()  # several threads of the supervisor ask
        self.pid = os.fork()
        if self.pid == 0:
            self._ours.close()
            self._serve(theirs)
        theirs.close()

    def fork(self, kind, word, fds):
        """Fork a recorder or a child of the supervisor, and return its process."""
        with self._lock:
            socket.send_fds(self._ours, [f"{kind} {word}".encode()], fds)
            return int(self._ours.recv(100))

    def end(self):
        self._ours.close()
        os.waitpid(self.pid, 0)

    def _serve(self, asked):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the dead ones
        while True:
            asked_for, fds, _, _ = socket.recv_fds(asked, 1000, 2)
            if not asked_for:
                os._exit(0)
            process = os.fork()
            if process == 0:
                asked.close()
                self._live(*asked_for.decode().split(" ", 1), fds)
            for fd in fds:
                os.close(fd)
            asked.sendall(str(process).encode())

    def _live(self, kind, word, fds):
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for at, fd in enumerate(fds):
                os.dup2(fd, at)
                os.close(fd)
            if kind == "record":
                redis_group.LEASE_S, redis_group.SETTLE_S = LEASE_S, 0.2
                url, folder = word.split(" ")
                with cw.record(f"{url}?stream=ccwatch&group=desk&start=0", folder):
                    while os.getppid() != 1:
                        time.sleep(0.5)
            else:
                sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
                ccwatch.worker_process.main()
        finally:
            os._exit(1)


class Forked:
    """A child of the supervisor as it sees one, forked by the nursery."""

    nursery = None

    def __init__(self, _command, **_):
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.pid = self.nursery.fork("worker", "-", [theirs_in, theirs_out])
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")

    def poll(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return -9
        return None

    def wait(self, timeout=60.0):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.01)
        return -9

    def terminate(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Recorders:
    """Two recorders of one group."""

    def __init__(self, nursery, url, folder):
        self.nursery, self.url, self.folder = nursery, url, Path(folder)
        self.running = {}

    def start(self, name):
        self.running[name] = self.nursery.fork("record", f"{self.url} {self.folder / name}", [])

    def kill(self, name):
        os.kill(self.running.pop(name), signal.SIGKILL)

    def end(self):
        for name in list(self.running):
            self.kill(name)

    def recorded(self):
        """Return how often each state is in the recordings."""
        found = Counter()
        for path in self.folder.glob("[ab]/*/session.json"):
            for packet in cw.open_recording(path.parent).packets():
                words = (packet.reasoning or "").split()
                if words[:1] == ["state"]:
                    found[int(words[1])] += 1
        return found


class Desk:
    """Redis, a publisher, the workers and their clients."""

    def __init__(self, folder):
        self.folder, self.port = Path(folder), free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.stopped = threading.Event()
        self.published = 0
        self.killed = Counter()
        self.recorded = Counter()

    def start_redis(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no"]
        self.redis = subprocess.Popen(["redis-server", *options, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        with self.asking() as client:
            until(lambda: answers(client))

    def asking(self):
        return redis.Redis(port=self.port, socket_timeout=10, socket_connect_timeout=10)

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
        """Return the number of each state's entry in the stream, by state; all entries are listed in a file as well."""
        found = {}
        with self.asking() as client, (self.folder / "stream.txt").open("w") as diary:
            for id_, fields in client.xrange("ccwatch"):
                words = str(json.loads(fields[b"raw"])["data"].get("signal", {}).get("reasoning", "")).split()
                diary.write(f"{id_.decode()} {fields[b'epoch'].decode()} {int(fields[b'n'])} {' '.join(words[:2])}\n")
                if words[:1] == ["state"]:
                    found[int(words[1])] = int(fields[b"n"])
        return found

    def last(self):
        """Return the last state in the stream."""
        with self.asking() as client:
            for _, fields in client.xrevrange("ccwatch", count=50):
                words = str(json.loads(fields[b"raw"])["data"].get("signal", {}).get("reasoning", "")).split()
                if words[:1] == ["state"]:
                    return int(words[1])
        return 0

    def is_recorded(self):
        """Return whether the group has read and acknowledged everything."""
        with self.asking() as client:
            (group,) = client.xinfo_groups("ccwatch")
            return not group["pending"] and group["lag"] == 0

    def kill(self, name, workers, recorders, pause):
        """Kill one that runs, and see that it starts again."""
        self.killed[name] += 1
        if name == "redis":
            self.redis.kill()
            self.redis.wait()
            time.sleep(pause)
            self.start_redis()
        elif name in recorders.running:
            recorders.kill(name)
            time.sleep(pause / 2)
            recorders.start(name)
        else:
            try:
                os.kill(workers.pids[name], signal.SIGKILL)
            except (KeyError, ProcessLookupError):  # it is only being started again
                self.killed[name] -= 1


def run(folder, kills, seed=0, weights=WEIGHTS, pause=(0.05, 2.0), seconds=float("inf"), log=lambda _: None):
    """Kill so often, or for so many seconds, at random moments; return the desk, the entry of each state in the stream, and the readers."""
    chance, desk = random.Random(seed), Desk(folder)
    desk.start_redis()
    nursery = Forked.nursery = Nursery()
    recorders = Recorders(nursery, desk.url, folder)
    publisher = threading.Thread(target=desk.publish, daemon=True)
    readers, deadline = [], time.monotonic() + seconds
    try:
        with contextlib.ExitStack() as stack:
            forking = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired)
            stack.enter_context(unittest.mock.patch.object(ccwatch.workers, "subprocess", forking))
            workers = stack.enter_context(Workers(Plan(desk.url, "ccwatch", 2, Listen(), AccessRules(), None)))
            publisher.start()
            for name in ("a", "b"):
                recorders.start(name)
            for site, url in (("bff", workers.url), ("engine", workers.engine_url)):
                for name, options in (("json", {"compress": True}), ("msgpack", {"compress": False})):
                    readers += [Reader(url, name=f"{site}-{name}-{i}", **options) for i in range(2)]
                    for reader in readers[-2:]:
                        stack.callback(reader.feed.stop)
            until(lambda: all(len(reader.seen) > 3 for reader in readers))
            while desk.killed.total() < kills and time.monotonic() < deadline:
                time.sleep(chance.uniform(*pause))
                name = chance.choices([*weights], [*weights.values()])[0]
                desk.kill(name, workers, recorders, chance.choice((0.0, 0.5)))
                log(f"{desk.killed.total()} {name}")
            time.sleep(6.0)  # a bridge and workers come back, and write and read what waited
            desk.stopped.set()
            publisher.join()
            until(lambda: all(reader.seen and reader.seen[-1] == desk.last() for reader in readers), 90)  # an unlucky client waits 30 s
            until(desk.is_recorded, 90)
            entries = desk.entries()
        desk.recorded = recorders.recorded()
        return desk, entries, readers
    finally:
        desk.stopped.set()
        recorders.end()
        nursery.end()
        desk.redis.kill()
        desk.redis.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    progress = asked.folder / "progress"
    desk, entries, readers = run(
        asked.folder, asked.kills, asked.seed, pause=(0.05, asked.pause), seconds=asked.seconds, log=progress.write_text
    )
    took = time.monotonic() - begun
    print(f"{desk.killed.total()} kills {dict(desk.killed)} in {took:.0f} s: {desk.published:,} published, {len(entries):,} entries")
    twice = sum(count - 1 for count in desk.recorded.values())
    missing = len(entries.keys() - desk.recorded.keys())
    strange = len(desk.recorded.keys() - entries.keys())
    print(f"recorded: {desk.recorded.total():,} states, {missing} missing, {twice} twice, {strange} of no entry")
    for reader in readers:
        states = [what for what in reader.seen if not isinstance(what, tuple)]
        gaps = [what for what in reader.seen if isinstance(what, tuple)]
        faults = reader.faults(entries)
        sized = [size for size, _ in gaps if size is not None]
        print(f"{reader.feed.name}: {len(states):,} states, {len(gaps)} gaps, {len(sized)} sized, {len(faults)} faults {faults[:3]}")
        if faults:
            (asked.folder / f"{reader.feed.name}.txt").write_text("\n".join([*faults, *reader.diary]))
