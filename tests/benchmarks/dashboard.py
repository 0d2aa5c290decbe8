"""The dashboard in a page beside plotly's own FigureWidget: the same four panels, packets, JupyterLab and Chromium, in one run.

Main-thread time is Chromium's TaskDuration (all tasks of the page), so it counts what both do outside of their own drawing. An
hour of stream at ten times its speed takes six minutes and is watched only with CCWATCH_FULL=1.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.live_figure import LARGE, PACKETS_PER_FRAME, SMALL
from tests.benchmarks.row import Row

HZ = 5.0
SECONDS = 15.0
"""How long a stream is watched for one figure."""
FULL_SECONDS = 360.0

SETUP = """
import threading, time
from tests.benchmarks.dashboard import play_figure_widget, play_stamped
from tests.benchmarks.live_figure import FilledView, PACKETS_PER_FRAME
from ccwatch.dashboard.dashboard import Dashboard
view, stop = FilledView({packets}), threading.Event()
"""
OURS = """
shown = Dashboard(view)
threading.Thread(target=view.play, args=(PACKETS_PER_FRAME, {hz}, stop), daemon=True).start()
shown
"""
THEIRS = """
from plotly.graph_objects import FigureWidget
from ccwatch.figures.figures import overview
shown = FigureWidget(overview(view.frame(), view.agents(), view.events()))
threading.Thread(target=play_figure_widget, args=(view, shown, {hz}, stop), daemon=True).start()
shown
"""
STAMPED = """
shown = Dashboard(view, panels={panels!r}, rate=10)
threading.Thread(target=play_stamped, args=(view, {per_frame}, {hz}, stop), daemon=True).start()
shown
"""
AFTER_PLOT = """() => {
    const plot = document.querySelector('.js-plotly-plot');
    window.ccwPlots = 0;
    plot.on('plotly_afterplot', () => { window.ccwPlots += 1; });
}"""


def play_figure_widget(view: Any, shown: Any, hz: float, stop: Any) -> None:
    """What a user of FigureWidget does: hand each trace its whole columns, in one batch, `hz` times a second."""
    from ccwatch.figures.figures import overview  # noqa: PLC0415 - runs in the kernel of the benchmark

    while not stop.wait(1 / hz):
        view.step(PACKETS_PER_FRAME)
        fresh = overview(view.frame(), view.agents(), view.events())
        with shown.batch_update():
            for old, new in zip(shown.data, fresh.data, strict=True):
                if len(new.x):
                    old.x, old.y = new.x, new.y
            shown.layout.xaxis.range = fresh.layout.xaxis.range


def play_stamped(view: Any, per_frame: int, hz: float, stop: Any) -> None:
    """Deliver packets whose time is the clock's own, so that a page of the same machine knows how late it shows them."""
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += 1 / hz
        view.step(per_frame, time_ns=time.time_ns())


class Watched:
    """A page that shows one picture, and what its main thread and its memory do meanwhile."""

    def __init__(self, chromium: Any, lab: Any, name: str, setup: str, cell: str) -> None:
        from tests.browser.jupyter import Tab  # noqa: PLC0415 - needs Playwright

        self.context = chromium.new_context(viewport={"width": 1280, "height": 1150})
        self.tab = Tab(lab, self.context.new_page())
        self.page = self.tab.page
        self.tab.open(lab.notebook(name, setup, cell))
        self.tab.run_cell(0)
        self.tab.wait_for(lambda: self.page.get_by_text("[1]:", exact=True).count(), 60, "the first cell")
        self.tab.idle()
        self.tab.received.clear()
        self.devtools = self.context.new_cdp_session(self.page)
        self.devtools.send("Performance.enable")
        self.began = time.perf_counter()
        self.tab.run_cell(1)

    def metrics(self) -> dict[str, float]:
        return {metric["name"]: metric["value"] for metric in self.devtools.send("Performance.getMetrics")["metrics"]}

    def heap_mb(self) -> float:
        """After a collection."""
        self.devtools.send("HeapProfiler.collectGarbage")
        return self.metrics()["JSHeapUsedSize"] / 1e6

    def close(self) -> None:
        """Leave the page, and end its kernel from without: a page that has fallen behind does not answer."""
        xsrf = next(cookie["value"] for cookie in self.context.cookies() if cookie["name"] == "_xsrf")
        for kernel in self.context.request.get(f"{self.tab.lab.url}/api/kernels").json():
            self.context.request.delete(f"{self.tab.lab.url}/api/kernels/{kernel['id']}", headers={"X-XSRFToken": xsrf})
        self.context.close()


def rows() -> list[Row]:
    """All of them; takes about three minutes, with CCWATCH_FULL=1 six more."""
    from tests.browser.jupyter import Lab, browser, chromium_path  # noqa: PLC0415 - needs Playwright

    if chromium_path() is None:
        return [Row("dashboard: in the page", float("nan"), "", "", "no chromium")]
    lab = Lab(Path(tempfile.mkdtemp(prefix="ccwatch-benchmark-")))
    lab.start()
    try:
        with browser() as chromium:
            found: list[Row] = []
            for packets in (SMALL, LARGE):
                found += _beside_figure_widget(chromium, lab, packets)
            found += _lag(chromium, lab)
            if os.environ.get("CCWATCH_FULL"):
                found += _hour(chromium, lab)
    finally:
        lab.stop()
    return found


def _beside_figure_widget(chromium: Any, lab: Any, packets: int) -> list[Row]:
    window = f"{packets:,} points"
    ours = _steady(Watched(chromium, lab, f"ours-{packets}.ipynb", SETUP.format(packets=packets), OURS.format(hz=HZ)), ours=True)
    theirs = _steady(Watched(chromium, lab, f"theirs-{packets}.ipynb", SETUP.format(packets=packets), THEIRS.format(hz=HZ)), ours=False)
    made = []
    for whose, of in (("ccwatch", ours), ("FigureWidget", theirs)):
        bounded = whose == "ccwatch"
        made += [
            Row(f"{whose}: first paint, {window}", of["paint_s"], "s", "≤ 2" if bounded else "", "from running the cell"),
            Row(f"{whose}: received until then, {window}", of["paint_mb"], "MB", "≤ 2" if bounded else "", "on the wire"),
            Row(f"{whose}: bytes per frame, {window}", of["bytes"], "B", "≤ 2048" if bounded else "", "on the wire, 10 packets a frame"),
            Row(f"{whose}: messages per frame, {window}", of["messages"], "", "1" if bounded else "", "of the picture"),
            Row(f"{whose}: main thread per frame, {window}", of["main_ms"], "ms", "", "TaskDuration per frame drawn"),
            Row(f"{whose}: frames drawn, {window}", of["drawn_hz"], "Hz", "", f"{HZ:g} Hz offered"),
            Row(f"{whose}: main thread busy, {window}", 100 * of["busy"], "%", "≤ 30" if bounded else "", "TaskDuration over time"),
        ]
    ratio = ours["main_ms"] / theirs["main_ms"]
    made.append(
        Row(f"main thread per frame, ccwatch / FigureWidget, {window}", ratio, "", "≤ 0.333" if packets == LARGE else "", "same run")
    )
    return made


def _steady(watched: Watched, *, ours: bool) -> dict[str, float]:
    """First paint, then a while of a stream that goes on, frames counted by what plotly drew."""
    tab, page = watched.tab, watched.page
    drawn = (
        "document.querySelector('.ccwatch-live-figure')?.ccwatch?.draws > 0"
        if ours
        else "document.querySelector('.js-plotly-plot .scatterlayer .trace path')"
    )
    page.wait_for_function(f"() => {drawn}", timeout=120_000, polling=20)
    paint_s, paint_mb = time.perf_counter() - watched.began, sum(message.size for message in tab.received) / 1e6
    if ours:
        tab.wait_for(lambda: tab.look("missing") == 0, 60, "the older rows")
    page.wait_for_timeout(3000)
    page.evaluate(AFTER_PLOT)
    before, start, since = watched.metrics(), len(tab.received), time.perf_counter()
    page.wait_for_timeout(SECONDS * 1000)
    after, took = watched.metrics(), time.perf_counter() - since
    plots = max(1, page.evaluate("() => window.ccwPlots"))
    received = tab.received[start:]
    frames = (
        [message for message in received if message.kind == "rows"]
        if ours
        else [m for m in received if m.kind in {"custom", "update", ""} and m.size > 1000]
    )
    sent = len(frames) if ours else plots
    busy_s = after["TaskDuration"] - before["TaskDuration"]
    found = {
        "paint_s": paint_s,
        "paint_mb": paint_mb,
        "bytes": sum(message.size for message in frames) / max(1, sent),
        "messages": len(frames) / max(1, sent),
        "main_ms": 1e3 * busy_s / plots,
        "drawn_hz": plots / took,
        "busy": busy_s / took,
    }
    watched.close()
    return found


def _lag(chromium: Any, lab: Any) -> list[Row]:
    """How late the page draws what the kernel has: at 10 Hz, and when 60 Hz are offered."""
    made = []
    for hz, bound in ((10.0, "≤ 150"), (60.0, "bounded")):
        cell = STAMPED.format(panels=["price", "drawdown", "alpha", "latency"], per_frame=1, hz=hz)
        watched = Watched(chromium, lab, f"lag-{hz:g}.ipynb", SETUP.format(packets=SMALL), cell)
        watched.page.wait_for_function("() => document.querySelector('.ccwatch-live-figure')?.ccwatch?.draws > 3", timeout=60_000)
        watched.page.evaluate(
            """() => {
                const { ccwatch } = document.querySelector('.ccwatch-live-figure');
                window.ccwLags = [];
                let draws = ccwatch.draws;
                const look = () => {
                    if (ccwatch.draws !== draws) {
                        draws = ccwatch.draws;
                        window.ccwLags.push(Date.now() - ccwatch.range()[1]);
                    }
                    requestAnimationFrame(look);
                };
                look();
            }"""
        )
        watched.page.wait_for_timeout(SECONDS * 1000)
        lags = sorted(watched.page.evaluate("() => window.ccwLags"))
        half = len(lags) // 2
        made += [
            Row(f"lag p95, {hz:g} Hz offered", lags[int(0.95 * (len(lags) - 1))], "ms", bound, "drawn minus delivered in the kernel"),
            Row(f"lag median, {hz:g} Hz offered", lags[half], "ms", "", f"{len(lags)} drawings in {SECONDS:g} s"),
        ]
        watched.close()
    return made


def _hour(chromium: Any, lab: Any) -> list[Row]:
    """The page's heap over an hour of a stream of one packet a second, at ten times its speed."""
    cell = STAMPED.format(panels=["price", "drawdown", "alpha", "latency"], per_frame=1, hz=10.0)
    watched = Watched(chromium, lab, "hour.ipynb", SETUP.format(packets=SMALL), cell)
    watched.page.wait_for_function("() => document.querySelector('.ccwatch-live-figure')?.ccwatch?.draws > 20", timeout=60_000)
    heaps = []
    until = time.perf_counter() + FULL_SECONDS
    while time.perf_counter() < until:
        heaps.append(watched.heap_mb())
        watched.page.wait_for_timeout(10_000)
    watched.close()
    first, last = statistics.median(heaps[1:6]), statistics.median(heaps[-5:])
    return [
        Row("page heap, first minute", first, "MB", "", "after a collection"),
        Row(
            "page heap, last minute, against the first",
            100 * (last / first - 1),
            "%",
            "± 10",
            f"{len(heaps)} samples in {FULL_SECONDS:g} s",
        ),
    ]
