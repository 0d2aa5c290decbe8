"""Several workers: cost per client and a model that predicts the next point; Node's `ws` with its cluster; storms and stalled clients."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import psutil
import redis

from ccwatch.cottage import AccessRules, Listen
from ccwatch.feed.synthetic import messages
from ccwatch.workers import Plan, Workers
from tests.benchmarks.cottage import NODE_NEEDED, ROOT, _has_node
from tests.benchmarks.row import Row
from tests.cottage.conftest import Redis
from tests.feed.servers import free_port

RATE = 10.0
SECONDS = 5.0
SIZES = (500, 1000, 2000, 3000)
ROUNDS = 3
CLUSTER = """
const cluster = require("cluster");
if (cluster.isPrimary) {
  const lines = require("fs").readFileSync(process.argv[2], "utf8").trimEnd().split("\\n");
  const workers = [cluster.fork(), cluster.fork()];
  let up = 0, n = 0;
  cluster.on("message", (worker, port) => {
    if (++up < 2) return;
    console.log(JSON.stringify({ port, pids: workers.map((w) => w.process.pid) }));
    setInterval(() => { for (const w of workers) w.send(lines[n %% lines.length]); n++; }, 1000 / %g);
  });
} else {
  const { WebSocketServer } = require("ws");
  const server = new WebSocketServer({ port: %d, host: "127.0.0.1", perMessageDeflate: false });
  server.on("listening", () => process.send(server.address().port));
  process.on("message", (line) => { for (const client of server.clients) client.send(line); });
}
"""


class Cost(NamedTuple):
    """What serving some clients costs."""

    workers: int
    clients: int
    cpu: float
    """Of the serving processes, s per s."""
    cpu_all: float
    """With the process that writes and Redis, or that sends to the workers."""
    mib: float
    """Memory that the serving processes have grown by with the clients."""
    bytes_per_s: float
    """Per client."""


def rows() -> list[Row]:
    return [*cost_rows(), *peer_rows(), *storm_rows()]


def cost_rows() -> list[Row]:
    """Measure every size with one and two workers, and predict the largest from the others."""
    costs = []
    for workers in (1, 2):
        for clients in SIZES:
            with served(workers, seeded=True) as desk:
                costs.append(desk.cost(clients))
    note = f"{RATE:g} messages/s, {SECONDS:g} s, plain contract clients"
    found = [Row(f"CPU of {c.workers} worker(s), {c.clients:,} clients", c.cpu * 100, "%", "", note) for c in costs]
    found += [
        Row(f"memory per client, {c.workers} worker(s), {c.clients:,} clients", c.mib * 1024 / c.clients, "KiB", "", note) for c in costs
    ]
    found.append(Row("bytes per client", statistics.median(c.bytes_per_s for c in costs) / 1024, "KiB/s", "", note))
    known, last = [c for c in costs if c.clients < SIZES[-1]], [c for c in costs if c.clients == SIZES[-1]]
    for name, unit, of in (("CPU", "µs per client and message", lambda c: c.cpu), ("memory", "KiB per client", lambda c: c.mib)):
        per_worker, per_client = np.linalg.lstsq(
            np.array([[c.workers, c.clients] for c in known]), np.array([of(c) for c in known]), rcond=None
        )[0]
        scale = 1e6 / RATE if name == "CPU" else 1024
        model = f"{name} = {per_worker:.3g} per worker + {per_client * scale:.3g} {unit}, from {SIZES[0]} to {SIZES[-2]:,} clients"
        for c in last:
            predicted = per_worker * c.workers + per_client * c.clients
            found.append(
                Row(f"{name} at {c.clients:,} clients, {c.workers} worker(s) / predicted", of(c) / predicted, "×", "0.8 to 1.25", model)
            )
    return found


def peer_rows() -> list[Row]:
    """Interleave ours and Node's `ws` with its cluster module, 1,000 clients on two workers."""
    note = f"1,000 clients, two workers, {RATE:g} messages/s, median of {ROUNDS} interleaved rounds"
    if not _has_node():
        return [Row("CPU / Node's ws with cluster", math.nan, "×", "≤ 1.0", NODE_NEEDED)]
    pairs = []
    for _ in range(ROUNDS):
        with served(2, seeded=True) as desk:
            ours = desk.cost(1000)
        with cluster() as peer:
            pairs.append((ours, peer.cost(1000)))
    names = {"CPU of the workers": "cpu", "CPU of all processes": "cpu_all", "memory grown": "mib"}
    return [
        Row(f"{name} / Node's ws with cluster", statistics.median(getattr(a, key) / getattr(b, key) for a, b in pairs), "×", "≤ 1.0", note)
        for name, key in names.items()
    ]


def storm_rows() -> list[Row]:
    """Measure what a storm of connects, and clients that never read, cost the others: the delay from publishing to a client."""
    calm, storm, beside, rates, welcomed = [], [], [], [], []
    for _ in range(ROUNDS):
        with served(2) as desk, desk.clients("hold", 300), desk.clients("probe", 20) as probe:
            calm.append(p99_ms(probe, 5))
            with desk.clients("storm", 250, 4) as stormy:
                probe.ask()
                heard = stormy.ask()
                storm.append(_p99(probe.ask()))
            rates.append(heard["rate"])
            welcomed.append(heard["welcomed"] / heard["asked"])
            time.sleep(1.0)
            with desk.clients("stall", 20):
                time.sleep(2.0)
                beside.append(p99_ms(probe, 5))
    note = f"320 clients on two workers, 20 messages/s, from publishing to the client, median of {ROUNDS} rounds"
    ratios = [statistics.median(b / a for a, b in zip(calm, other, strict=True)) for other in (storm, beside)]
    return [
        Row("p99 without a storm", statistics.median(calm), "ms", "", note),
        Row("connects per second in the storm", statistics.median(rates), "1/s", "≥ 200", "1,000 clients that stay"),
        Row("of these welcomed", min(welcomed), "", "1", "the worst round"),
        Row("p99 of the others in the storm / without", ratios[0], "×", "≤ 1.5", note),
        Row("p99 of the others beside 20 stalled clients / without", ratios[1], "×", "≤ 1.5", note),
    ]


def p99_ms(probe: Clients, seconds: float) -> float:
    probe.ask()
    time.sleep(seconds)
    return _p99(probe.ask())


def _p99(delays: list[float]) -> float:
    return sorted(delays)[int(0.99 * len(delays))]


class Clients:
    """Clients in a process of their own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert self.hear() == "up"

    def hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def ask(self) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return self.hear()


class Desk:
    """A running server of several processes."""

    def __init__(self, port: int, serving: list[int], others: list[int]) -> None:
        self.port = port
        self.serving, self.others = [psutil.Process(pid) for pid in serving], [psutil.Process(pid) for pid in others]
        self.workers = len(serving)

    @contextlib.contextmanager
    def clients(self, *words: Any) -> Iterator[Clients]:
        what, *more = map(str, words)
        command = [sys.executable, str(Path(__file__).with_name("worker_clients.py")), what, str(self.port), *more]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            yield Clients(process)

    def cost(self, clients: int) -> Cost:
        """Connect so many, and measure."""
        time.sleep(1.0)
        before = sum(process.memory_info().rss for process in self.serving)
        with contextlib.ExitStack() as stack:
            holders = [stack.enter_context(self.clients("hold", clients // 2)) for _ in range(2)]
            time.sleep(1.0)
            grown = sum(process.memory_info().rss for process in self.serving) - before
            came, cpu, others, begun = sum(h.ask() for h in holders), _cpu_s(self.serving), _cpu_s(self.others), time.monotonic()
            time.sleep(SECONDS)
            cpu, others = _cpu_s(self.serving) - cpu, _cpu_s(self.others) - others
            took = time.monotonic() - begun
            came = sum(h.ask() for h in holders) - came
        return Cost(self.workers, clients, cpu / took, (cpu + others) / took, grown / 2**20, came / took / clients)


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


@contextlib.contextmanager
def served(workers: int, *, seeded: bool = False) -> Iterator[Desk]:
    """Serve a seeded stream, or states that are published with a stamp."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        server = Redis(folder).start()
        stack.callback(server.kill)
        source = {"seed": 1, "scenario": "calm", "rate": RATE} if seeded else None
        running = stack.enter_context(Workers(Plan(server.url, "ccwatch", workers, Listen(), AccessRules(per_ip=None), source)))
        if not seeded:
            stop = threading.Event()
            publisher = threading.Thread(target=_publish, args=(server.port, stop), daemon=True)
            publisher.start()
            stack.callback(publisher.join)
            stack.callback(stop.set)
        pids = running.pids
        serving = [pid for role, pid in pids.items() if role != "bridge"]
        assert server.process is not None
        port = urlsplit(running.engine_url).port
        assert port is not None
        time.sleep(4.0)  # the spare process has loaded its modules then
        yield Desk(port, serving, [pids["bridge"], server.process.pid])


def _publish(port: int, stop: threading.Event) -> None:
    source = messages(seed=1)
    with redis.Redis(port=port) as client:
        while not stop.wait(1 / (2 * RATE)):
            state = json.loads(next(source))["data"]
            state.setdefault("signal", {})["reasoning"] = f"sent {time.time_ns()}!"
            client.publish("state_update", json.dumps(state))


@contextlib.contextmanager
def cluster() -> Iterator[Desk]:
    """Serve the same stream by Node's `ws`, with its cluster module and two workers."""
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "lines"), Path(folder, "server.cjs")
        lines.write_bytes(b"\n".join(itertools.islice(messages(seed=1), 600)))
        script.write_text(CLUSTER % (RATE, free_port()))
        with subprocess.Popen(
            ["node", str(script), str(lines)], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
        ) as process:
            try:
                assert process.stdout is not None
                heard = json.loads(process.stdout.readline())
                yield Desk(heard["port"], heard["pids"], [process.pid])
            finally:
                process.kill()
