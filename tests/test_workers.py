"""Several processes on one port, beside a real redis-server: killed ones are replaced, limits and figures are of all, all end well."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import ccwatch as cw
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from tests.contract.conftest import wait_until
from tests.cottage import worker_kills
from tests.cottage.conftest import Redis, server  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[1]
FULL = os.environ.get("CCWATCH_FULL") == "1"
pytestmark = [pytest.mark.redis, pytest.mark.slow]


class Running:
    """`ccwatch serve --workers 2` on a seeded stream."""

    def __init__(self, redis_url: str, *options: str) -> None:
        command = [sys.executable, "-m", "ccwatch", "serve", "--redis", redis_url, "--seeded", "--workers", "2", "--rate", "20"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--engine-port", "0", "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        said = json.loads(self.process.stdout.readline())
        self.url, self.engine_url = said["url"], said["engine_url"]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{urlsplit(self.url).netloc}{path}", timeout=5) as answer:
            return answer.read().decode()

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in found for pid in path.read_text().split()]

    def roles(self) -> dict[str, int]:
        """Return the process of each role that runs."""
        found = {}
        for pid in self.children():
            with contextlib.suppress(OSError, IndexError):  # it has ended
                found[Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2].decode()] = pid
        return found


@contextlib.contextmanager
def serving(redis_url: str, *options: str) -> Iterator[Running]:
    """Run them, and see that all of them end well."""
    started = Running(redis_url, *options)
    try:
        yield started
    finally:
        started.process.terminate()
        _, said = started.process.communicate(timeout=20)
    assert started.process.returncode == 0, said
    assert "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started.children()))


def test_workers_serve_one_stream_and_a_killed_or_stopped_one_is_replaced(server: Redis) -> None:  # noqa: F811
    server.start()
    with (
        serving(server.url) as running,
        Reader(running.url, name="json", compress=True) as one,
        Reader(running.engine_url, name="msgpack", compress=False) as two,
    ):
        feeds = one.feed, two.feed
        for feed in feeds:
            feed.wait(3, timeout=60)
        assert json.loads(running.get("/ready"))["ready"]
        wait_until(lambda: set(re.findall(r'worker="(\d)"', running.get("/metrics"))) == {"0", "1"})
        for role, how in [("0", signal.SIGKILL), ("1", signal.SIGTERM), ("bridge", signal.SIGKILL)]:
            pid = running.roles()[role]
            os.kill(pid, how)
            served = [feed.health().packets for feed in feeds]
            wait_until(lambda served=served: all(feed.health().packets > before + 3 for feed, before in zip(feeds, served, strict=True)))
            wait_until(lambda role=role, pid=pid: running.roles().get(role, pid) != pid)
        hung = running.roles()["1"]
        os.kill(hung, signal.SIGSTOP)  # the system still gives it clients, so it has to go
        wait_until(lambda: running.roles().get("1", hung) != hung)
        with redis.Redis(port=server.port) as client:
            found = [(fields[b"epoch"], int(fields[b"n"]), fields[b"raw"]) for _, fields in client.xrange("ccwatch")]
        assert [n for _, n, _ in found] == list(range(1, len(found) + 1)), "a bridge goes on in the numbers of the dead one"
        assert len({epoch for epoch, _, _ in found}) == 2, "what a dead bridge had heard may be missing"
        wait_until(lambda: min(feed.health().packets for feed in feeds) > 10)
    texts = [raw for _, _, raw in found]
    for reader in (one, two):
        (gap,) = [detail for detail in reader.gaps if "messages=" in detail]
        assert "messages=unknown" in gap, "workers alone lose nothing"
        assert "reason=restarted" in gap
        first = texts.index(reader.texts[1])
        count = len(texts) - first
        assert reader.texts[1 : count + 1] == texts[first:][: len(reader.texts) - 1], "each message once, in order"


class Reader:
    """A client of protocol 2: the texts and the gaps that it was given. A context manager."""

    def __init__(self, url: str, **options: Any) -> None:
        self.texts: list[bytes] = []
        self.gaps: list[str] = []
        self.feed = cw.connect(url, protocol=2, **options)
        self.feed.add_sink(self)

    def receive(self, items: Sequence[Item], /) -> None:
        self.texts += [bytes(item.raw) for item in items if isinstance(item, Packet) and item.raw is not None]
        self.gaps += [item.detail for item in items if isinstance(item, Event) and item.kind == EventKind.GAP]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop()


def test_the_limit_per_address_is_one_of_all_workers_and_the_end_is_1001(server: Redis) -> None:  # noqa: F811
    server.start()
    with contextlib.ExitStack() as stack:
        with serving(server.url, "--per-ip", "2") as started:
            clients = [stack.enter_context(connect(started.url)) for _ in range(2)]
            answers: list[int] = []

            def both_workers_refuse() -> bool:
                """Other ports are given to other workers; they hear of each other twice a second."""
                for _ in range(8):
                    try:
                        with connect(started.url):
                            answers.clear()
                    except InvalidStatus as error:
                        answers.append(error.response.status_code)
                return len(answers) >= 16

            wait_until(both_workers_refuse)
            assert set(answers) == {429}
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - messages come until it ends
                while True:
                    client.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001


@pytest.mark.skipif(not FULL, reason="a minute")
def test_random_kills_leave_each_client_its_sequence_or_a_gap(tmp_path: Path) -> None:
    _, entries, readers = worker_kills.run(tmp_path, 30, seed=3)
    assert [reader.faults(entries) for reader in readers] == [[]] * len(readers)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--workers", "2"], "--redis URL"), (["--workers", "2", "--redis", "redis://x", "--engine", "http://y"], "do not go")],
)
def test_what_does_not_go_with_workers_is_usage(options: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ccwatch", "serve", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert message in done.stderr
