"""Several processes on one port, beside a real redis-server: killed ones are replaced, limits and figures are of all, all end well."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import ccwatch as cw
from tests.contract.conftest import wait_until
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


@pytest.fixture
def running(server: Redis) -> Iterator[Running]:  # noqa: F811 - the fixture
    server.start()
    started = Running(server.url)
    yield started
    started.process.terminate()
    _, said = started.process.communicate(timeout=20)
    assert started.process.returncode == 0, said
    assert "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started.children()))


def test_workers_serve_one_stream_and_tell_of_all_and_a_killed_one_is_replaced(running: Running, server: Redis) -> None:  # noqa: F811
    with cw.connect(running.url, name="one") as one, cw.connect(running.engine_url, name="two") as two:
        one.wait(3)
        two.wait(3)
        assert json.loads(running.get("/ready"))["ready"]
        wait_until(lambda: set(re.findall(r'worker="(\d)"', running.get("/metrics"))) == {"0", "1"})
        before = one.health()
        for pid in running.children():  # each of them, the bridge too, while clients are served
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.3)
            served = one.health().packets
            wait_until(lambda served=served: one.health().packets > served + 3)
        assert one.health().packets > before.packets
        wait_until(lambda: len(running.children()) == 3)
    with redis.Redis(port=server.port) as client:
        numbers = [int(fields[b"n"]) for _, fields in client.xrange("ccwatch")]
    assert numbers == list(range(1, len(numbers) + 1)), "the bridge that was started again goes on in the numbers of the dead one"


def test_the_limit_per_address_is_one_of_all_workers_and_the_end_is_1001(server: Redis) -> None:  # noqa: F811
    server.start()
    started = Running(server.url, "--per-ip", "4")
    clients, answers = [], []
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(12):
                time.sleep(0.8)  # the workers hear of each other twice a second
                try:
                    clients.append(stack.enter_context(connect(started.url)))
                except InvalidStatus as error:
                    answers.append(error.response.status_code)
            assert len(clients) == 4
            assert answers == [429] * 8
        finally:
            started.process.terminate()
            started.process.communicate(timeout=20)
        assert started.process.returncode == 0
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - messages come until it ends
                while True:
                    client.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001


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
