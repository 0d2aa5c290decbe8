"""Several processes on one port, beside a real redis-server: killed ones are replaced, limits and figures are of all, all end well."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import ccwatch as cw
from ccwatch.cli import main
from ccwatch.cottage.redis_channels import EVENTS, HALT_KEY
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from tests.contract.conftest import wait_until
from tests.cottage import worker_kills
from tests.cottage.conftest import Redis

ROOT = Path(__file__).parents[1]
FULL = os.environ.get("CCWATCH_FULL") == "1"
pytestmark = [pytest.mark.redis, pytest.mark.slow]


class Running:
    """`ccwatch serve --workers N` on a seeded stream."""

    def __init__(self, server: Redis, *options: str) -> None:
        self.redis = server
        command = [sys.executable, "-m", "ccwatch", "serve", "--redis", server.url, "--seeded", "--rate", "20"]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--engine-port", "0", "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.url, self.engine_url = said["url"], said["engine_url"]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{urlsplit(self.url).netloc}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def serves_by(self, workers: set[str]) -> bool:
        """Return whether these workers serve, and no other."""
        try:
            return set(re.findall(r'worker="(\d)"', self.get("/metrics"))) == workers
        except OSError:
            return False

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in found for pid in path.read_text().split()]

    def roles(self) -> dict[str, int]:
        """Return the process of each role that runs."""
        found = {}
        for pid in self.children():
            with contextlib.suppress(OSError, IndexError):  # it has ended
                found[Path(f"/proc/{pid}/comm").read_text().strip().removeprefix("cc-")] = pid
        return found

    def entries(self) -> list[tuple[bytes, int, bytes]]:
        """Return epoch, number and text of each entry of the stream."""
        with redis.Redis(port=self.redis.port) as client:
            return entries_of(client.xrange("ccwatch"))


def entries_of(found: Any) -> list[tuple[bytes, int, bytes]]:
    return [(fields[b"epoch"], int(fields[b"n"]), fields[b"raw"]) for _, fields in found]


@contextlib.contextmanager
def serving(server: Redis, *options: str) -> Iterator[Running]:
    """Run them, and see that all of them end well."""
    started = Running(server, *options)
    try:
        yield started
    finally:
        started.process.terminate()
        _, said = started.process.communicate(timeout=30)
    assert started.process.returncode == 0, said
    assert "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started.children()))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers for all tests; at the end each client is sent 1001."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on the PATH (Debian: apt-get install redis-server)")
    server = Redis(tmp_path_factory.mktemp("redis")).start()
    try:
        with contextlib.ExitStack() as stack, serving(server, "--workers", "2", "--per-ip", "12") as running:
            yield running
            last = stack.enter_context(connect(running.url, max_queue=None))
            running.process.terminate()
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - messages come until it ends
                while True:
                    last.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    finally:
        server.kill()


@pytest.fixture
def running(desk: Running) -> Running:
    """The two workers, once both serve: the test before may have killed one."""
    wait_until(lambda: desk.serves_by({"0", "1"}), 120)
    return desk


class Reader:
    """A client of protocol 2: the texts and the gaps that it was given. A context manager."""

    def __init__(self, running: Running, url: str, **options: Any) -> None:
        self.texts: list[bytes] = []
        self._joined_after = max(0, len(running.entries()) - 20)
        self.gaps: list[str] = []
        self.feed = cw.connect(url, protocol=2, **options)
        self.feed.add_sink(self)
        self.feed.wait(3, timeout=60)

    def receive(self, items: Sequence[Item], /) -> None:
        self.texts += [bytes(item.raw) for item in items if isinstance(item, Packet) and item.raw is not None]
        self.gaps += [
            item.detail for item in items if isinstance(item, Event) and item.kind == EventKind.GAP and "messages=" in item.detail
        ]

    def goes_on(self, packets: int = 3) -> bool:
        """Wait for further packets."""
        before = self.feed.health().packets
        wait_until(lambda: self.feed.health().packets > before + packets, 60)
        return True

    def is_whole(self, entries: Sequence[tuple[bytes, int, bytes]]) -> bool:
        """Return whether it was given every entry from its first message on, once, in order."""
        texts = [raw for _, _, raw in entries]
        begin = texts.index(self.texts[1], self._joined_after)  # the first is the WELCOME; a seeded engine that is restarted says the same
        return self.texts[1:] == texts[begin : begin + len(self.texts) - 1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.stop()


@contextlib.contextmanager
def readers(running: Running) -> Iterator[list[Reader]]:
    """Read both sites, in both encodings."""
    with (
        Reader(running, running.url, name="json", compress=True) as one,
        Reader(running, running.engine_url, name="msgpack", compress=False) as two,
    ):
        yield [one, two]


def ports(running: Running) -> list[str]:
    """Return both addresses often enough that each worker is asked: other ports of a client are given to other workers."""
    return [running.url, running.engine_url] * 8


def test_the_limit_per_address_is_one_of_all_workers(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        taken = 0
        answers: list[int] = []

        def both_workers_refuse() -> bool:
            nonlocal taken
            for _ in range(8):
                try:
                    stack.enter_context(connect(running.url))
                    taken += 1
                    answers.clear()
                except InvalidStatus as error:
                    answers.append(error.response.status_code)
            return len(answers) >= 16

        wait_until(both_workers_refuse, 60)
        assert set(answers) == {429}
        assert taken == 12
    wait_until(lambda: accepts(running), 60)


def accepts(running: Running) -> bool:
    """Return whether all workers let clients in again."""
    try:
        for _ in range(8):
            with connect(running.url):
                pass
    except InvalidStatus:
        return False
    return True


def test_a_halt_at_any_worker_reaches_all_and_stands_for_clients_that_come_late(running: Running) -> None:
    with cw.connect(running.url, name="trader", protocol=2, commands=True) as feed, redis.Redis(port=running.redis.port) as client:
        feed.wait(3, timeout=60)
        halted = feed.halt(confirm="HALT")
        assert (halted.accepted, halted.confirmed, halted.status) == (True, True, "HALT")
        assert client.get(HALT_KEY) == b"true"
        os.kill(running.roles()["0"], signal.SIGKILL)  # one that was not there at the halt tells of it as well
        wait_until(lambda: running.serves_by({"1"}) or running.serves_by({"0", "1"}), 60)
        wait_until(lambda: running.serves_by({"0", "1"}), 60)
        for url in ports(running):
            with connect(url) as late:
                assert any('"status":"HALT"' in str(late.recv(timeout=20)) for _ in range(12)), "greeted with the halt"
        by_rest = urllib.request.Request(f"http://{urlsplit(running.engine_url).netloc}/api/system/resume", method="POST")
        with urllib.request.urlopen(by_rest, timeout=5) as answer:  # noqa: S310 - http, a line above
            assert answer.status == 202
        assert client.get(HALT_KEY) is None
        wait_until(lambda: feed.latest is not None and feed.latest.status == "ACTIVE", 60)
        assert "Operator: HALT, trading is halted" in set(feed.logs().message), "the seeded engine obeyed"

    def is_over() -> bool:
        """Return whether nothing of the halt is left for late clients."""
        with connect(running.url) as late:
            return '"status":"ACTIVE"' in str(late.recv(timeout=20))

    wait_until(lambda: all(is_over() for _ in range(4)), 60)


def test_a_command_is_obeyed_once_by_its_key_whichever_worker_is_asked(running: Running) -> None:
    with redis.Redis(port=running.redis.port) as client, client.pubsub() as heard:
        heard.subscribe(EVENTS)
        wait_until(lambda: (heard.get_message() or {}).get("type") == "subscribe")
        answers = [ask(running.url, {"type": "HALT", "ref": 7, "key": "k-1"}) for _ in range(8)]
        assert {(answer["type"], answer.get("ref")) for answer in answers} == {("ACK", 7)}
        assert ask(running.url, {"type": "RESUME", "ref": 8, "key": "k-1"})["code"] == "key"
        late = ask(running.url, {"type": "HALT", "ref": 9, "key": "k-2", "deadline": "2026-01-02T00:00:00Z"})
        assert (late["type"], late["code"]) == ("NACK", "late")
        assert ask(running.url, {"type": "RESUME", "ref": 10, "key": "k-3"})["type"] == "ACK"
        events: list[str] = []

        def has_resumed() -> bool:
            message = heard.get_message()
            events.extend([json.loads(message["data"])["event"]] if message else [])
            return "SYSTEM_RESUME" in events

        wait_until(has_resumed)
        assert events == ["SYSTEM_HALT", "SYSTEM_RESUME"]


def ask(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send a request on a connection of its own that speaks protocol 2, and return the answer."""
    with connect(url) as client:
        client.send(json.dumps({"type": "HELLO", "ref": 1, "want": {"encodings": ["json"], "channels": ["heartbeat"]}}))
        client.send(json.dumps(request))
        while True:
            said = json.loads(client.recv(timeout=20))
            if said.get("ref") == request["ref"]:
                return dict(said)


def test_a_rolling_restart_loses_nothing(running: Running) -> None:
    before = running.roles()
    with readers(running) as all_:
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(running.roles().get(role, before[role]) != before[role] for role in ("0", "1")), 60)
        wait_until(lambda: running.serves_by({"0", "1"}), 60)
        assert all(reader.goes_on() for reader in all_)
    assert running.roles()["bridge"] == before["bridge"]
    assert [(reader.gaps, reader.is_whole(running.entries())) for reader in all_] == [([], True)] * 2


def test_a_second_server_of_the_same_stream_stands_by_and_serves_it(running: Running) -> None:
    with serving(running.redis, "--workers", "1", "--seed", "5") as second, Reader(second, second.url, name="second") as reader:
        assert reader.goes_on(10)
        assert reader.feed.origin == "synthetic"
        assert running.serves_by({"0", "1"}), "workers of another port are another server's"
        assert second.serves_by({"0"})
    entries = running.entries()
    assert [n for _, n, _ in entries] == list(range(1, len(entries) + 1))
    assert len({epoch for epoch, _, _ in entries}) == 1, "one writer"
    assert reader.is_whole(entries)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_a_worker_that_dies_or_hangs_is_replaced_and_clients_of_protocol_2_lose_nothing(running: Running, how: signal.Signals) -> None:
    with readers(running) as all_:
        gone = running.roles()["1"]
        os.kill(gone, how)
        wait_until(lambda: running.roles().get("1", gone) != gone, 60)
        assert all(reader.goes_on() for reader in all_)
    assert [(reader.gaps, reader.is_whole(running.entries())) for reader in all_] == [([], True)] * 2


def test_what_a_killed_bridge_may_have_heard_is_a_gap_of_unknown_size(running: Running) -> None:
    before = running.entries()[-1]
    with readers(running) as all_:
        gone = running.roles()["bridge"]
        os.kill(gone, signal.SIGKILL)
        wait_until(lambda: running.roles().get("bridge", gone) != gone, 60)
        wait_until(lambda: running.entries()[-1][0] != before[0], 60)
        assert all(reader.goes_on() for reader in all_)
    entries = running.entries()
    assert [n for _, n, _ in entries] == list(range(1, len(entries) + 1)), "a bridge goes on in the numbers of the dead one"
    for reader in all_:
        (gap,) = reader.gaps
        assert "messages=unknown" in gap
        assert "reason=restarted" in gap
        assert reader.is_whole(entries)


@pytest.mark.parametrize(
    "lose",
    [
        lambda client: client.xtrim("ccwatch", maxlen=0, approximate=False),
        lambda client: client.delete("ccwatch"),
        lambda client: client.flushall(),
    ],
    ids=["trimmed", "evicted", "emptied"],
)
def test_entries_that_are_gone_before_workers_read_them_are_a_gap(running: Running, lose: Callable[[Any], object]) -> None:
    """The workers are paused, so that they have not read what is lost."""
    with readers(running) as all_, redis.Redis(port=running.redis.port) as client:
        roles = running.roles()
        workers = [roles["0"], roles["1"]]
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        first = running.entries()[-1][1]
        wait_until(lambda: running.entries()[-1][1] > first + 10)
        with client.pipeline(transaction=True) as both:  # a worker that was started meanwhile may read at any moment
            both.xrange("ccwatch")
            lose(both)
            lost = entries_of(both.execute()[0])
        wait_until(lambda: len(running.entries()) > 3)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        assert all(reader.goes_on(10) for reader in all_)
    left = running.entries()
    assert {epoch for epoch, _, _ in left} == {lost[-1][0]}
    for reader in all_:
        (gap,) = reader.gaps
        numbers = {raw: n for _, n, raw in [*lost, *left]}
        seen = [numbers[text] for text in reader.texts[1:]]
        (missing,) = [after - before - 1 for before, after in itertools.pairwise(seen) if after != before + 1]
        assert f"messages={missing} " in gap


@pytest.mark.skipif(not FULL, reason="a minute")
def test_random_kills_leave_each_client_its_sequence_or_a_gap(tmp_path: Path) -> None:
    _, entries, all_ = worker_kills.run(tmp_path, 30, seed=3)
    assert [reader.faults(entries) for reader in all_] == [[]] * len(all_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--redis URL"),
        (["--workers", "2", "--redis", "redis://x", "--engine", "http://y"], "do not go"),
        (["--workers", "2", "--redis", "redis://x", "--dialect", "deployed"], "does not go"),
    ],
)
def test_what_does_not_go_with_workers_is_usage(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ccwatch.cottage"), "handlers", [])  # a command adds its own
    with pytest.raises(SystemExit) as left:
        main(["serve", *options])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
