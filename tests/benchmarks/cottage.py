"""The Cottage beside Node's `ws` and Litestar with a queue per client: sends per CPU second, memory per client; and section 6's times."""

from __future__ import annotations

import itertools
import math
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import START, SyntheticSource, messages
from ccwatch.protocol.decoding import codec
from tests.benchmarks.cottage_servers import NODE, RATE
from tests.benchmarks.row import Row
from tests.contract.test_performance import Stamping

CLIENTS = 500
PACKETS = 200
ROUNDS = 3
ROOT = Path(__file__).parent.parent.parent
NODE_NEEDED = "not measured: needs Node and its package ws: npm install --prefix FOLDER ws, then NODE_PATH=FOLDER/node_modules"


class Run(NamedTuple):
    """One server's figures in one round."""

    sends_per_cpu_s: float
    kib_per_client: float


def rows() -> list[Row]:
    return [*time_rows(), *stalled_rows(), *peer_rows()]


def peer_rows() -> list[Row]:
    """Rounds of ours, Node's and Litestar's, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "lines"), Path(folder, "server.cjs")
        lines.write_bytes(b"\n".join(itertools.islice(messages(seed=1), PACKETS)))
        script.write_text(NODE % RATE)
        servers = str(Path(__file__).with_name("cottage_servers.py"))
        commands = {
            "ours": [sys.executable, servers, "ours", str(lines)],
            "litestar": [sys.executable, servers, "litestar", str(lines)],
        }
        has_node = _has_node()
        if has_node:
            commands["node"] = ["node", str(script), str(lines)]
        size = lines.stat().st_size - PACKETS + 1
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                runs[name].append(_run(command, size))

    def ratio(other: str, figure: str) -> float:
        return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(runs["ours"], runs[other], strict=True))

    note = f"{CLIENTS} clients, {PACKETS} packets at {RATE:g}/s, median of {ROUNDS} interleaved rounds"
    sends = statistics.median(run.sends_per_cpu_s for run in runs["ours"])
    return [
        Row("sends per CPU second", sends, "1/s", "", note),
        Row(
            "sends per CPU second / Node's ws",
            ratio("node", "sends_per_cpu_s") if has_node else math.nan,
            "×",
            "≥ 1.0",
            note if has_node else NODE_NEEDED,
        ),
        Row("sends per CPU second / Litestar, a queue per client", ratio("litestar", "sends_per_cpu_s"), "×", "≥ 3", note),
        Row("memory per client", statistics.median(run.kib_per_client for run in runs["ours"]), "KiB", "", note),
        Row("memory per client / Litestar, a queue per client", ratio("litestar", "kib_per_client"), "×", "≤ 0.6", note),
    ]


def _has_node() -> bool:
    """Return whether Node is installed and finds `ws`."""
    node = shutil.which("node")
    return node is not None and subprocess.run([node, "-e", "require('ws')"], check=False, capture_output=True).returncode == 0


def _run(command: list[str], size: int) -> Run:
    """Connect all clients, tell the server to go, read everything."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            server = psutil.Process(process.pid)
            warm = _connect(port)
            before = server.memory_info().rss
            clients = [_connect(port) for _ in range(CLIENTS - 1)]
            grown = server.memory_info().rss - before
            cpu = server.cpu_times()
            process.stdin.write(b"go\n")
            process.stdin.flush()
            _read_all([warm, *clients], size)
            after = server.cpu_times()
            for client in [warm, *clients]:  # only now: their going is no part of what sending costs
                client.close()
        finally:
            process.kill()
    spent = after.user + after.system - cpu.user - cpu.system
    return Run(CLIENTS * PACKETS / spent, grown / 1024 / (CLIENTS - 1))


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(
        f"GET /ws/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    client.setblocking(False)
    return client


def _read_all(clients: list[socket.socket], size: int) -> None:
    """Until each has got as many bytes as the packets and their frames' heads have."""
    left = dict.fromkeys(clients, size + 4 * PACKETS)
    buffer = bytearray(1 << 16)
    deadline = time.monotonic() + 120
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while left:
            assert time.monotonic() < deadline, f"{len(left)} clients miss something"
            for key, _ in selector.select(1):
                got = key.fileobj.recv_into(buffer)
                left[key.fileobj] -= got
                if left[key.fileobj] <= 0 or not got:
                    assert got, "the server has gone"
                    del left[key.fileobj]
                    selector.unregister(key.fileobj)


def stalled_rows() -> list[Row]:
    """What one client that never reads costs another one, and the server's memory."""
    free, beside, grown = [], [], []
    for _ in range(ROUNDS):
        free.append(_p99_ms(stalled=False))
        before = psutil.Process().memory_info().rss
        beside.append(_p99_ms(stalled=True))
        grown.append((psutil.Process().memory_info().rss - before) / 2**20)
    ratio = statistics.median(b / f for f, b in zip(free, beside, strict=True))
    note = f"1,500 packets at 300/s, median of {ROUNDS} interleaved rounds"
    return [
        Row("p99 beside a stalled client / without one", ratio, "×", "≤ 1.2", note),
        Row("memory grown meanwhile", statistics.median(grown), "MiB", "≤ 2", note + ", feed and server in one process"),
    ]


def _p99_ms(*, stalled: bool) -> float:
    """From source to feed, once the stalled client's buffers are full."""
    rate, packets = 300.0, 1_500
    source = Stamping(SyntheticSource(rate=rate, packets=packets))
    with Cottage(source) as cottage, cw.connect(cottage.engine_url) as feed:
        client = _connect(urlsplit(cottage.engine_url).port) if stalled else None
        feed.wait(packets - 100, timeout=30)
        frame = feed.frame()
        if client is not None:
            client.close()
    numbers = ((frame.index - START).total_seconds() * rate).round().astype(int)
    times = zip(numbers, frame.received_mono_ns, strict=True)
    travel = sorted((got - source.handed_ns[n]) / 1e6 for n, got in times if n > packets // 3)
    return travel[int(0.99 * len(travel))]


def time_rows() -> list[Row]:
    """The contract's section 6: its time in brackets."""
    handshakes = []
    with cw.serve(rate=1) as cottage:
        port = urlsplit(cottage.engine_url).port
        for _ in range(100):
            begun = time.perf_counter()
            _connect(port).close()
            handshakes.append(time.perf_counter() - begun)
            time.sleep(0.005)  # so that it is gone before the next: ten may be open
    states = [codec.loads(raw) for raw in itertools.islice(messages(), 500)]
    made = []
    for state in states:
        begun = time.perf_counter()
        Message.of(codec.dumps(state))
        made.append(time.perf_counter() - begun)
    source = Stamping(SyntheticSource(rate=100.0, packets=1_000))
    with Cottage(source, Options(start_on_first_client=True)) as running, cw.connect(running.engine_url) as feed:
        received = feed.wait(1_000, timeout=30).frame().received_mono_ns.tolist()
    travel = sorted((got - handed) / 1e6 for handed, got in zip(source.handed_ns, received, strict=True))
    return [
        Row("handshake (50)", statistics.median(handshakes) * 1e3, "ms", "≤ 10", "median of 100"),
        Row("serialisation (0.1)", statistics.median(made) * 1e3, "ms", "≤ 0.02", "median of 500, frame included"),
        Row("end to end, p99 (60)", travel[int(0.99 * len(travel))], "ms", "≤ 5", "source to feed, 1,000 packets at 100/s, one process"),
    ]
