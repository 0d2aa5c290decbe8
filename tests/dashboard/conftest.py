"""A view of a real stream that moves when a test says so, and a page that reads what the widgets really send."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import comm
import comm.base_comm
import numpy as np
import pytest

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import emissions
from ccwatch.protocol.messages import ConnectionState, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import LiveView

ROOT = Path(__file__).parents[2]
TYPES = {"f8": "<f8", "f4": "<f4", "u1": "u1"}
SECOND = 1_000_000_000
START = Instant(1_767_364_200 * SECOND, 0)


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain; last seen: {value!r}"
        time.sleep(0.01)
    return value


class Health:
    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def to_dict(self) -> dict[str, Any]:
        return self.values


class SteppedView(TableReader, LiveView):
    """The seeded stream through the real session and buffer, one step at a time, with the names of a Feed."""

    name = "stepped"
    url = "synthetic:"
    origin = "synthetic"
    state = ConnectionState.OPEN
    latest: Packet | None = None
    error = None
    virtual_clock = is_replay = takes_commands = False

    def __init__(self, seed: int = 3, rate: float = 20.0) -> None:
        self.facts: dict[str, Any] = {"gaps": 0, "age_s": 0.5, "retry_in_s": None}
        self.stopped = 0
        self._buffer = RollingBuffer()
        self._emissions = emissions(seed, "calm", rate)
        self._session = StreamReader(virtual_clock=True)
        self._sinks: list[Any] = []
        self._now = START
        self.deliver(self._session.opened(self._now))

    def deliver(self, items: Any) -> None:
        self._buffer.receive(items)
        for item in items:
            if isinstance(item, Packet):
                self.latest = item
        for sink in list(self._sinks):
            sink.receive(items)

    def step(self, packets: int = 1) -> None:
        for emission in islice(self._emissions, packets):
            self._now = Instant(self._now.wall_ns + SECOND // 20, self._now.mono_ns + SECOND // 20)
            self.deliver(self._session.receive(emission.raw, self._now))

    def reconnect(self) -> None:
        self.deliver(self._session.closed(self._now, "reset by peer"))
        self._now = Instant(self._now.wall_ns + 5 * SECOND, self._now.mono_ns + 5 * SECOND)
        self.deliver(self._session.connecting(self._now))
        self.deliver(self._session.opened(self._now))

    def change(self, **fields: Any) -> None:
        """Deliver one more packet, with some of its fields replaced."""
        raw = next(self._emissions).raw
        self._now = Instant(self._now.wall_ns + SECOND // 20, self._now.mono_ns + SECOND // 20)
        items = self._session.receive(raw, self._now)
        self.deliver([item._replace(**fields) if isinstance(item, Packet) else item for item in items])

    def frame(self, columns: Any = None, last: Any = None, *, clean: bool = True) -> Any:
        return self._buffer.frame(columns, last, clean=clean)

    def _long(self, table: str, last: Any) -> Any:
        return self._buffer.long(table, last)

    def health(self) -> Health:
        return Health({"state": self.state, "packets": 0 if self.latest is None else self.latest.seq, **self.facts})

    def add_sink(self, sink: Any) -> Callable[[], None]:
        self._sinks.append(sink)
        return lambda: self._sinks.remove(sink)

    def stop(self) -> None:
        self.stopped += 1
        self.state = ConnectionState.STOPPED


class Tap:
    """A sink that keeps what a view delivers, to be taken as one frame's items."""

    def __init__(self, view: SteppedView) -> None:
        self._items: list[Any] = []
        view.add_sink(self)

    def receive(self, items: Any) -> None:
        self._items.extend(items)

    def take(self) -> list[Any]:
        taken, self._items = self._items, []
        return taken


class Node:
    """The page's own modules in a Node.js of their own, asked by lines of JSON: what a page holds is never guessed in Python."""

    def __init__(self) -> None:
        command = ["node", str(ROOT / "tests" / "page" / "held.js")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self._pages = itertools.count()

    def page(self) -> str:
        return f"page-{next(self._pages)}"

    def say(self, **line: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Mirror:
    """A page as `ccwatch/dashboard/page` itself makes it of the messages."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._page = node.page()
        self._held: dict[str, Any] | None = None
        self.missed = 0

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self._held = None
        words = [base64.b64encode(buffer).decode() for buffer in buffers]
        self.missed += self._node.say(page=self._page, content=content, buffers=words) == "ask"

    @property
    def held(self) -> dict[str, Any]:
        if self._held is None:
            found = self._node.say(page=self._page, ask=True)
            found["rows"] = {
                name: np.frombuffer(base64.b64decode(data), dtype=TYPES[kind]) for name, (kind, data) in found["columns"].items()
            }
            self._held = found
        return self._held

    @property
    def seq(self) -> int:
        return int(self.held["seq"])

    @property
    def marks(self) -> list[Any]:
        return list(self.held["marks"])

    @property
    def missing(self) -> int:
        """Exact rows that did not come yet."""
        return int(self.held["exact"])

    @property
    def _sketched(self) -> int:
        return int(self.held["exact"] - self.held["first"])

    @property
    def sketch(self) -> dict[str, Any]:
        return {name: values[: self._sketched] for name, values in self.held["rows"].items()}

    @property
    def rows(self) -> dict[str, Any]:
        return {name: values[self._sketched :] for name, values in self.held["rows"].items()}

    def __len__(self) -> int:
        return len(self.rows.get("time", ()))


class Sent:
    """What all widgets sent over their comms."""

    def __init__(self, node: Callable[[], Node]) -> None:
        self.messages: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self._node = node

    def custom(self, kind: str | None = None) -> list[tuple[dict[str, Any], list[bytes]]]:
        found = []
        for _, data, buffers in list(self.messages):
            if data.get("method") == "custom" and kind in (None, data["content"]["kind"]):
                found.append((data["content"], buffers))
        return found

    def mirror(self) -> Mirror:
        mirror = Mirror(self._node())
        for content, buffers in self.custom():
            mirror.take(content, buffers)
        return mirror


@pytest.fixture(scope="session")
def node() -> Iterator[Callable[[], Node]]:
    """The page's modules, started when a test first asks what a page holds."""
    running: list[Node] = []

    def start() -> Node:
        if shutil.which("node") is None:
            pytest.skip("no node on the PATH")
        if not running:
            running.append(Node())
        return running[0]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch, node: Callable[[], Node]) -> Sent:
    """Comms as a kernel makes them, whose messages stay here."""
    found = Sent(node)

    class KeptComm(comm.base_comm.BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any) -> None:
            del metadata, keys
            if msg_type == "comm_msg":
                found.messages.append((self.comm_id, data, buffers or []))

    monkeypatch.setattr(comm, "create_comm", KeptComm)
    return found


@pytest.fixture
def view() -> SteppedView:
    stepped = SteppedView()
    stepped.step(50)
    return stepped
