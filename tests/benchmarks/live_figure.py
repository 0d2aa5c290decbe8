"""What a live view costs: bytes and messages per frame, the kernel's time, the page's first paint and time to draw.

The kernel's figures are taken in this process; those of the page in a real JupyterLab with Chromium, and left out without one.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from ccwatch.dashboard.page_messages import CHUNK_ROWS, Encoder
from ccwatch.feed.buffer import RollingBuffer
from ccwatch.feed.synthetic import emissions
from ccwatch.protocol.messages import ConnectionState, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import read_clock
from ccwatch.stream.table_reader import TableReader
from ccwatch.stream.view import LiveView
from tests.benchmarks.row import Row

PACKETS_PER_FRAME = 10
FRAMES = 60
FLOOD = 5_000
SMALL, LARGE = 1_000, 100_000
BASE = 1_000
"""So many packets are made by the seeded engine; more are these again, at later times."""


class FilledView(TableReader, LiveView):
    """A buffer of as many packets as wanted, with the names of a Feed; `step` delivers more."""

    name, url, origin = "benchmark", "synthetic:", "synthetic"
    state = ConnectionState.OPEN
    latest: Packet | None = None
    error = None
    is_replay = takes_commands = False
    virtual_clock = True  # as a seeded feed's: its stamps tell no silence, which would fire and end alerts in each frame

    def __init__(self, packets: int, rate: float = 50.0) -> None:
        self._buffer = RollingBuffer()
        self._period_ns = round(1e9 / rate)
        self._packets = self._endless(rate, time.time_ns() - packets * self._period_ns)
        self._sinks: list[Any] = []
        self.step(packets)

    def _endless(self, rate: float, start: int) -> Iterator[Packet]:
        session = StreamReader(virtual_clock=True)
        session.opened(read_clock())
        base = [
            item
            for emission in itertools.islice(emissions(0, "calm", rate), BASE)
            for item in session.receive(emission.raw, read_clock())
            if isinstance(item, Packet)
        ]
        received, first = time.time_ns(), base[0].seq
        for n in itertools.count():
            at = n * self._period_ns
            yield base[n % len(base)]._replace(
                seq=first + n, time_ns=start + at, received_at_ns=received + at, received_mono_ns=at, flags=0
            )

    def step(self, packets: int, *, time_ns: int | None = None) -> None:
        """Deliver packets; with `time_ns` all at that time, which must not lie before the last one's."""
        items = list(itertools.islice(self._packets, packets))
        if time_ns is not None:
            items = [item._replace(time_ns=time_ns) for item in items]
        self._buffer.receive(items)
        self.latest = items[-1]
        for sink in self._sinks:
            sink.receive(items)

    def play(self, per_frame: int, hz: float, stop: threading.Event) -> None:
        """Deliver `per_frame` packets `hz` times a second until told to stop."""
        while not stop.wait(1 / hz):
            self.step(per_frame)

    def frame(self, columns: Any = None, last: Any = None, *, clean: bool = True) -> Any:
        return self._buffer.frame(columns, last, clean=clean)

    def _long(self, table: str, last: Any) -> Any:
        return self._buffer.long(table, last)

    def health(self) -> Self:
        return self

    def to_dict(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.state = ConnectionState.STOPPED

    def add_sink(self, sink: Any) -> Callable[[], None]:
        self._sinks.append(sink)
        return lambda: self._sinks.remove(sink)


class _Tap:
    def __init__(self, arrived: list[Any]) -> None:
        self._arrived = arrived

    def receive(self, items: Any) -> None:
        self._arrived.extend(items)


def rows() -> list[Row]:
    """All of them; takes about a minute."""
    found = [row for packets in (SMALL, LARGE) for row in kernel_rows(packets)]
    from tests.browser.jupyter import chromium_path  # noqa: PLC0415 - needs Playwright

    if chromium_path() is None:
        return [*found, Row("LiveFigure: in the page", float("nan"), "", "", "no chromium")]
    return [*found, *page_rows()]


def kernel_rows(packets: int) -> list[Row]:
    """Bytes of one frame as the widget hands it to its comm, and the time that it takes to make it."""
    view = FilledView(packets)
    encoder = Encoder(view)
    encoder.full()
    arrived: list[Any] = []
    view.add_sink(_Tap(arrived))
    sizes, costs = [], []
    for _ in range(FRAMES):
        view.step(PACKETS_PER_FRAME)
        began = time.thread_time()
        message = encoder.new(arrived)
        costs.append(time.thread_time() - began)
        arrived.clear()
        assert message is not None
        sizes.append(len(json.dumps(message.content)) + sum(len(buffer) for buffer in message.buffers))
    view.step(FLOOD)
    flood = encoder.new(arrived)
    assert flood is not None
    window = f"{packets:,} points"
    return [
        Row(
            f"LiveFigure: bytes of a frame of {FLOOD:,} packets, {window}",
            len(json.dumps(flood.content)) + sum(len(buffer) for buffer in flood.buffers),
            "B",
            "≤ 65536",
            "25,000 packets a second at 5 Hz; the worst case is a test's",
        ),
        Row(
            f"LiveFigure: bytes per frame, {window}",
            statistics.mean(sizes),
            "B",
            "≤ 2048",
            "10 packets a frame; mean, marks included",
        ),
        Row(f"LiveFigure: kernel CPU per frame, {window}", statistics.median(costs) * 1e3, "ms", "≤ 0.5", "median"),
    ]


def page_rows() -> list[Row]:
    """First paint, and what a frame costs on the wire and in the page."""
    from tests.browser.jupyter import Lab, Tab, browser  # noqa: PLC0415

    found = []
    lab = Lab(Path(tempfile.mkdtemp(prefix="ccwatch-benchmark-")))
    lab.start()
    try:
        with browser() as chromium:
            for packets in (SMALL, LARGE):
                context = chromium.new_context(viewport={"width": 1280, "height": 1150})
                found += _page(Tab(lab, context.new_page()), packets)
                context.close()
    finally:
        lab.stop()
    return found


def _page(tab: Any, packets: int) -> list[Row]:
    notebook = tab.lab.notebook(
        f"benchmark-{packets}.ipynb",
        "import threading\n"
        "from tests.benchmarks.live_figure import FilledView, PACKETS_PER_FRAME\n"
        "from ccwatch.dashboard.dashboard import Dashboard\n"
        f"view, stop = FilledView({packets}), threading.Event()",
        "threading.Thread(target=view.play, args=(PACKETS_PER_FRAME, 5.0, stop), daemon=True).start()\nDashboard(view)",
    )
    tab.open(notebook)
    tab.run_cell(0)
    tab.wait_for(lambda: tab.page.get_by_text("[1]:", exact=True).count(), 60, "the first cell")
    tab.idle()
    tab.received.clear()
    began = time.perf_counter()
    tab.run_cell(1)
    tab.page.wait_for_function("() => document.querySelector('.ccwatch-live-figure')?.ccwatch?.draws > 0", timeout=60_000, polling=20)
    paint_s, painted = time.perf_counter() - began, list(tab.received)
    tab.wait_for(lambda: tab.look("missing") == 0, 60, "the older rows")
    filled_s = time.perf_counter() - began
    start, frames = len(tab.received), tab.look("frames")
    draws: list[tuple[float, float]] = []
    tab.wait_for(lambda: draws.append((tab.look("lastDrawMs"), tab.look("lastThinMs"))) or tab.look("frames") >= frames + 25, 60, "frames")
    drawn = tab.look("frames") - frames
    kinds = [message.kind for message in tab.received[start:]]
    sizes = [message.size for message in tab.received if message.kind == "rows"]
    older = [message.size for message in tab.received if message.kind == "older"]
    window = f"{packets:,} points"
    found = [
        Row(f"LiveFigure: first paint, {window}", paint_s, "s", "≤ 2.5", "from running the cell to four drawn panels"),
        Row(f"LiveFigure: first paint, {window}, received", sum(m.size for m in painted) / 1e6, "MB", "≤ 2", "plotly's source included"),
        Row(f"LiveFigure: bytes on the wire per frame, {window}", statistics.median(sizes), "B", "≤ 2048", "with Jupyter's envelope"),
        Row(f"LiveFigure: largest frame, {window}", max(sizes), "B", "", "those that carry signals' texts"),
        Row(f"LiveFigure: messages per frame, {window}", kinds.count("rows") / drawn, "", "1", "of LiveFigure"),
        Row(f"LiveFigure: other messages per frame, {window}", len(kinds) / drawn - kinds.count("rows") / drawn, "", "", "the header's"),
        Row(f"LiveFigure: draw, {window}", statistics.median(whole for whole, _ in draws), "ms", "", "main thread, without a GPU"),
        Row(f"LiveFigure: of this before plotly, {window}", statistics.median(thin for _, thin in draws), "ms", "", "thinning to pixels"),
    ]
    if older:
        found += [
            Row(f"LiveFigure: every row in the page, {window}", filled_s, "s", "", "from running the cell"),
            Row(f"LiveFigure: messages with older rows, {window}", len(older), "", "", "after the first paint"),
            Row(f"LiveFigure: largest of these, {window}", max(older) / 1e3, "kB", "", f"{CHUNK_ROWS:,} rows"),
        ]
    return found
