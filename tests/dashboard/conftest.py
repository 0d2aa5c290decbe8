"""A view of a real stream that moves when a test says so, and a page that reads what the widgets really send."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import comm
import comm.base_comm
import numpy as np
import pytest

from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import emissions
from ccwatch.protocol.messages import ConnectionState, Instant, Packet
from ccwatch.protocol.session import Session

TYPES = {"f8": "<f8", "f4": "<f4", "u1": "u1"}
SECOND = 1_000_000_000
START = Instant(1_767_364_200 * SECOND, 0)


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
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


class SteppedView:
    """The seeded stream through the real session and buffer, one step at a time, with the names of a Feed."""

    name = "stepped"
    url = "synthetic:"

    def __init__(self, seed: int = 3, rate: float = 20.0) -> None:
        self.origin = "synthetic"
        self.state = ConnectionState.OPEN
        self.latest: Packet | None = None
        self.facts: dict[str, Any] = {"gaps": 0, "age_s": 0.5, "retry_in_s": None}
        self.stopped = 0
        self._buffer = RollingBuffer()
        self._emissions = emissions(seed, "calm", rate)
        self._session = Session(virtual_clock=True)
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

    def frame(self, columns: Any = None, last: Any = None) -> Any:
        return self._buffer.frame(columns, last)

    def agents(self, last: Any = None) -> Any:
        return self._buffer.long("agents", last)

    def events(self, last: Any = None) -> Any:
        return self._buffer.long("events", last)

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


class Mirror:
    """The page's half of the protocol: rebuilds the columns from the messages, as live_figure.js does."""

    def __init__(self) -> None:
        self.columns: list[list[str]] = []
        self.rows: dict[str, Any] = {}
        self.sketch: dict[str, Any] = {}
        self.missing = 0  # exact rows that did not come yet
        self.marks: list[Any] = []
        self.seq = 0
        self.missed = 0

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if content["kind"] == "full":
            self.columns = content["columns"]
            rows = self.decode(buffers[0], content["rows"])
            self.sketch = {name: values[: content["sketched"]] for name, values in rows.items()}
            self.rows = {name: values[content["sketched"] :] for name, values in rows.items()}
            self.missing = content["total"] - len(self)
            self.marks = list(content["marks"])
            self.seq = content["seq"]
        elif content["kind"] == "older":
            assert content["at"] + content["rows"] == self.missing, "older rows come from the newest to the oldest, without a hole"
            more = self.decode(buffers[0], content["rows"])
            self.sketch = {name: values[: content["sketched"]] for name, values in self.sketch.items()}
            self.rows = {name: np.concatenate((more[name], self.rows[name])) for name in more}
            self.missing = content["at"]
            self.marks = content.get("marks", []) + self.marks
        elif content["kind"] == "rows":
            if content["after"] != self.seq:
                self.missed += 1
                return
            more = self.decode(buffers[0], content["rows"])
            self.rows = {name: np.concatenate((self.rows[name], more[name])) for name in more}
            self.marks += content.get("marks", [])
            self.seq = content["seq"]

    def decode(self, buffer: bytes, count: int) -> dict[str, Any]:
        found, at = {}, 0
        for kind, name in self.columns:
            column = np.frombuffer(buffer, dtype=TYPES[kind], count=count, offset=at)
            found[name], at = column, at + column.nbytes
        assert at == len(buffer), "the buffer holds exactly its columns"
        return found

    def __len__(self) -> int:
        return len(self.rows.get("time", ()))


class Sent:
    """What all widgets sent over their comms."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any], list[bytes]]] = []

    def custom(self, kind: str | None = None) -> list[tuple[dict[str, Any], list[bytes]]]:
        found = []
        for _, data, buffers in list(self.messages):
            if data.get("method") == "custom" and kind in (None, data["content"]["kind"]):
                found.append((data["content"], buffers))
        return found

    def mirror(self) -> Mirror:
        mirror = Mirror()
        for content, buffers in self.custom():
            mirror.take(content, buffers)
        return mirror


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Comms as a kernel makes them, whose messages stay here."""
    found = Sent()

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
