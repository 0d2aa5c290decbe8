"""The dashboard in a page beside Perspective and plotly's own FigureWidget: the same four panels, packets, JupyterLab and Chromium.

Main-thread time is Chromium's TaskDuration (all tasks of the page), so it counts what each does outside of its own drawing; it is
given per frame that was offered, and once more in the thread's own CPU time, which a busy machine does not lengthen. The whole
browser's CPU is that of all its processes, the graphics process included. The peers are watched in turn, `ROUNDS` times each, and
medians are compared. Perspective is measured where it is installed (pip install perspective-python).

`python -m tests.benchmarks dashboard:100k` runs one part alone: 1k, 100k, 1M, lag, pan, or heap, an hour of stream at ten times its
speed, which takes six minutes and is not among what is run without a name, unless CCWATCH_FULL=1.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.live_figure import LARGE, PACKETS_PER_FRAME, SMALL, FilledView
from tests.benchmarks.row import Row

HZ = 5.0
MILLION = 1_000_000
ROUNDS = 3
SECONDS = 10.0
"""How long a stream is watched for one figure."""
FULL_SECONDS = 360.0
PANS = 60
PATIENCE_S = 300.0
"""What is waited for gets as long: a machine that does other work too must not end the run."""

SETUP = """
import threading, time
from tests.benchmarks.dashboard import perspective_of, play_figure_widget, play_perspective, play_stamped
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
PERSPECTIVE = """
table, shown = perspective_of(view)
threading.Thread(target=play_perspective, args=(view, table, {hz}, stop), daemon=True).start()
shown
"""
ONCE = """
const loaded = (globalThis.ccwPerspective ??= fetch("/files/perspective.js")
    .then((answer) => answer.text())
    .then((source) => import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })))));
export default {
    async render(parts) {
        const style = document.createElement("style");
        style.textContent = `.PSPContainer { height: 130px !important; min-height: 130px; position: relative; width: 100%; }
            .PSPContainer perspective-viewer { display: block; height: 130px; inset: 0; position: absolute; }`;
        document.head.append(style);
        return (await loaded).default.render(parts);
    },
};
"""
"""Four widgets of one page share one copy of Perspective's module, and are as high as our panels."""
DRAWN = {
    "ccwatch": "document.querySelector('.ccwatch-live-figure')?.ccwatch?.draws > 0",
    "FigureWidget": "document.querySelector('.js-plotly-plot .scatterlayer .trace path')",
    "Perspective": """[...document.querySelectorAll('perspective-viewer')].length === 4
        && [...document.querySelectorAll('perspective-viewer')].every(viewer =>
            [...viewer.children].some(child => child.shadowRoot?.querySelector('canvas.webgl-canvas')?.height > 1))""",
}
"""What is in the page once a picture was drawn."""


def columns_of(frame: Any) -> dict[str, Any]:
    """What four panels show, as Perspective takes it: a column each."""
    peak = frame["nav"].cummax()
    return {
        "time": frame.index.as_unit("ms").asi8.tolist(),
        "price": frame["price"].tolist(),
        "pnl": (frame["nav"] / peak.iloc[0] - 1.0).tolist() if len(frame) else [],
        "alpha": frame["alpha"].tolist(),
        "velocity": frame["velocity"].tolist(),
    }


def perspective_of(view: FilledView) -> tuple[Any, Any]:
    """A table of the view's rows, and four charts of it, one under the other."""
    import ipywidgets  # noqa: PLC0415
    import perspective  # noqa: PLC0415
    from perspective.widget import PerspectiveWidget  # noqa: PLC0415

    schema = {"time": "datetime", "price": "float", "pnl": "float", "alpha": "float", "velocity": "float"}
    table = perspective.table(schema, limit=2 * MILLION)
    frame = view.frame()
    for start in range(0, len(frame), 100_000):
        table.update(columns_of(frame.iloc[start : start + 100_000]))
    source = Path(inspect.getfile(PerspectiveWidget)).parent / "static" / "perspective-anywidget.js"
    shutil.copy(source, "perspective.js")
    shared = type("Shared", (PerspectiveWidget,), {"_esm": ONCE})  # each widget would define the elements again, which fails
    charts = [shared(table, plugin="X/Y Line", columns=["time", column], settings=False) for column in list(schema)[1:]]
    return table, ipywidgets.VBox(charts)


def play_perspective(view: FilledView, table: Any, hz: float, stop: Any) -> None:
    """What a user of Perspective does: hand the table the new rows, `hz` times a second."""
    while not stop.wait(1 / hz):
        view.step(PACKETS_PER_FRAME)
        table.update(columns_of(view.frame(None, PACKETS_PER_FRAME)))


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
        self.name = name
        self.page.goto(f"{lab.url}/doc/tree/{lab.notebook(name, setup, cell)}?reset", timeout=1000 * PATIENCE_S)
        self.idle()
        self.run(0)
        self.tab.wait_for(lambda: self.page.get_by_text("[1]:", exact=True).count(), PATIENCE_S, "the first cell")
        self.idle()
        self.tab.received.clear()
        self.devtools = self.context.new_cdp_session(self.page)
        self.devtools.send("Performance.enable")
        self.own_time = self.context.new_cdp_session(self.page)
        self.own_time.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.run(1)

    def idle(self) -> None:
        self.page.get_by_text("| Idle").first.wait_for(timeout=1000 * PATIENCE_S)

    def run(self, number: int) -> None:
        """Run a cell; once more where the page took no notice, as one does that is still being built."""
        begun = [self.page.get_by_text(words, exact=True) for words in ("[*]:", f"[{number + 1}]:")]
        for _ in range(5):
            self.began = time.perf_counter()
            self.tab.run_cell(number)
            until = self.began + 30.0
            while not (seen := any(one.count() for one in begun)) and time.perf_counter() < until:
                self.page.wait_for_timeout(50)
            if seen:
                return
        raise AssertionError(f"{self.name}: cell {number + 1} does not run")

    def painted(self, whose: str, times: int = 1) -> None:
        """Wait until it has drawn; ours some times."""
        drawn = DRAWN[whose].replace("draws > 0", f"draws >= {times}")
        self.page.wait_for_function(f"() => {drawn}", timeout=1000 * PATIENCE_S, polling=20)

    def reloaded_mb(self) -> float:
        """Save, reload, and return what the page receives until it has drawn again."""
        self.page.keyboard.press("Control+s")
        saved = self.tab.lab.notebooks / self.name
        self.tab.wait_for(lambda: "widget-view" in saved.read_text(), PATIENCE_S, "the saved notebook")
        self.tab.received.clear()
        self.page.reload(timeout=1000 * PATIENCE_S)
        self.painted("ccwatch")
        return sum(message.size for message in self.tab.received) / 1e6

    def metrics(self) -> dict[str, float]:
        return {metric["name"]: metric["value"] for metric in self.devtools.send("Performance.getMetrics")["metrics"]}

    def main_cpu_s(self) -> float:
        """CPU time of the main thread's tasks."""
        found = {metric["name"]: metric["value"] for metric in self.own_time.send("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"])

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


def rows(part: str = "") -> Iterator[Row]:
    """Yield the rows of a part, or of all of them, as they are known; each part takes two to five minutes on a quiet machine."""
    from tests.browser.jupyter import Lab, browser, chromium_path  # noqa: PLC0415 - needs Playwright

    if chromium_path() is None:
        yield Row("dashboard: in the page", float("nan"), "", "", "no chromium")
        return
    parts: dict[str, Callable[[Any, Any], Iterator[Row]]] = {
        "1k": partial(beside_peers, packets=SMALL),
        "100k": partial(beside_peers, packets=LARGE),
        "1M": partial(beside_peers, packets=MILLION, rounds=2),  # a kernel takes half a minute to fill it
        "lag": _lag,
        "pan": _pan,
        "heap": _hour,
    }
    if part and part not in parts:
        raise SystemExit(f"dashboard:{part}: expected one of {', '.join(parts)}")
    lab = Lab(Path(tempfile.mkdtemp(prefix="ccwatch-benchmark-")))
    lab.start()
    try:
        with browser() as chromium:
            for name, run in parts.items():
                if name == part or (not part and (name != "heap" or os.environ.get("CCWATCH_FULL"))):
                    yield from run(chromium, lab)
    finally:
        lab.stop()


def beside_peers(chromium: Any, lab: Any, packets: int, rounds: int = ROUNDS) -> Iterator[Row]:
    """Watch each in turn, some rounds long; FigureWidget once and up to LARGE, beyond which it does not answer."""
    cells = {"ccwatch": OURS, "Perspective": PERSPECTIVE, "FigureWidget": THEIRS}
    if packets > LARGE:
        del cells["FigureWidget"]
    if importlib.util.find_spec("perspective") is None:
        del cells["Perspective"]
    window = f"{packets:,} points"
    seen: dict[str, list[dict[str, float]]] = {whose: [] for whose in cells}
    for turn in range(rounds):
        for whose, cell in cells.items():
            if whose == "FigureWidget" and turn:
                continue
            name = f"{whose}-{packets}-{turn}.ipynb"
            try:
                one = _steady(Watched(chromium, lab, name, SETUP.format(packets=packets), cell.format(hz=HZ)), whose)
            except Exception as error:  # noqa: BLE001 - a peer that did not draw in time must not end the run
                yield Row(f"turn {turn + 1}: {whose}, {window}", float("nan"), "", "", f"not seen: {str(error)[:90]!r}")
                _end(chromium, lab)
                continue
            seen[whose].append(one)
            yield Row(f"turn {turn + 1}: {whose}: main thread per frame, {window}", one["main_ms"], "ms", "", "seen once; medians follow")
            yield Row(f"turn {turn + 1}: {whose}: the same in CPU time, {window}", one["main_cpu_ms"], "ms", "", "")
    found = {whose: {key: statistics.median(one[key] for one in all_of) for key in all_of[0]} for whose, all_of in seen.items() if all_of}
    for whose, of in found.items():
        bounded = whose == "ccwatch"
        yield from (
            Row(f"{whose}: first paint, {window}", of["paint_s"], "s", "", "from running the cell"),
            Row(f"{whose}: received until then, {window}", of["paint_mb"], "MB", "≤ 2" if bounded else "", "on the wire"),
            Row(f"{whose}: bytes per frame, {window}", of["bytes"], "B", "≤ 2200" if bounded else "", "on the wire, 10 packets a frame"),
            Row(f"{whose}: main thread per frame, {window}", of["main_ms"], "ms", "", "TaskDuration per frame offered"),
            Row(f"{whose}: main thread's CPU per frame, {window}", of["main_cpu_ms"], "ms", "", "the same in CPU time"),
            Row(f"{whose}: main thread busy, {window}", 100 * of["busy"], "%", "≤ 10" if bounded else "", f"{HZ:g} Hz offered"),
            Row(f"{whose}: CPU of the browser, {window}", 100 * of["cpu"], "%", "", "of one core, all of its processes"),
        )
        if bounded:
            yield Row(f"{whose}: frames drawn, {window}", of["drawn_hz"], "Hz", "", f"{HZ:g} Hz offered")
            yield Row(
                f"{whose}: received at a reload until painted, {window}",
                of["reload_mb"],
                "MB",
                "≤ 2",
                "JupyterLab asks for the state twice",
            )
    measures = (("main_ms", "main thread"), ("main_cpu_ms", "main thread's CPU"), ("cpu", "CPU of the browser"), ("paint_s", "first paint"))
    for whose, bounds in (("Perspective", ("≤ 0.3", "", "≤ 0.333", "≤ 0.8")), ("FigureWidget", ("≤ 0.333", "", "", ""))):
        if whose not in found or "ccwatch" not in found:
            continue
        for (key, words), bound in zip(measures, bounds, strict=True):
            ratio = found["ccwatch"][key] / found[whose][key]
            yield Row(f"{words}, ccwatch / {whose}, {window}", ratio, "", bound, f"medians of {rounds} turns")


def _steady(watched: Watched, whose: str) -> dict[str, float]:
    """First paint, then a while of a stream that goes on; ours is reloaded at the end."""
    tab, page = watched.tab, watched.page
    watched.painted(whose)
    paint_s, paint_mb = time.perf_counter() - watched.began, sum(message.size for message in tab.received) / 1e6
    if whose == "ccwatch":
        tab.wait_for(lambda: tab.look("missing") == 0, PATIENCE_S, "the older rows")
    page.wait_for_timeout(3000)
    draws = tab.look("draws") or 0
    before, cpu, start, since = watched.metrics(), browser_cpu_s(), len(tab.received), time.perf_counter()
    main_cpu = watched.main_cpu_s()
    page.wait_for_timeout(SECONDS * 1000)
    after, cpu_after, took = watched.metrics(), browser_cpu_s(), time.perf_counter() - since
    received = tab.received[start:]
    if whose == "ccwatch":
        received = [message for message in received if message.kind == "rows"]
    busy_s, offered = after["TaskDuration"] - before["TaskDuration"], HZ * took
    found = {
        "paint_s": paint_s,
        "paint_mb": paint_mb,
        "bytes": sum(message.size for message in received) / (max(1, len(received)) if whose == "ccwatch" else offered),
        "main_ms": 1e3 * busy_s / offered,
        "main_cpu_ms": 1e3 * (watched.main_cpu_s() - main_cpu) / offered,
        "drawn_hz": ((tab.look("draws") or 0) - draws) / took,
        "busy": busy_s / took,
        "cpu": (cpu_after - cpu) / took,
    }
    if whose == "ccwatch":
        found["reload_mb"] = watched.reloaded_mb()
    watched.close()
    return found


def _end(chromium: Any, lab: Any) -> None:
    """Close what a page that was given up has left."""
    for context in chromium.contexts:
        context.close()
    lab.end_kernels()


def browser_cpu_s() -> float:
    """CPU that this process's browser has used so far, with its page, graphics and network processes."""
    import psutil  # noqa: PLC0415

    used = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if "chrom" in process.name():
                times = process.cpu_times()
                used += times.user + times.system
        except psutil.Error:
            continue
    return used


def _lag(chromium: Any, lab: Any) -> Iterator[Row]:
    """How late the page draws what the kernel has: at 10 Hz, and when 60 Hz are offered."""
    for hz, bound in ((10.0, "≤ 150"), (60.0, "≤ 100")):
        cell = STAMPED.format(panels=["price", "drawdown", "alpha", "latency"], per_frame=1, hz=hz)
        watched = Watched(chromium, lab, f"lag-{hz:g}.ipynb", SETUP.format(packets=SMALL), cell)
        watched.painted("ccwatch", 4)
        watched.page.evaluate(
            """() => {
                const { ccwatch } = document.querySelector('.ccwatch-live-figure');
                window.ccwLags = [];
                let draws = ccwatch.draws;
                const look = () => {
                    if (ccwatch.draws !== draws) {
                        draws = ccwatch.draws;
                        window.ccwLags.push(Date.now() - ccwatch.newest);
                    }
                    requestAnimationFrame(look);
                };
                look();
            }"""
        )
        watched.page.wait_for_timeout(SECONDS * 1000)
        lags = sorted(watched.page.evaluate("() => window.ccwLags"))
        watched.close()
        half = len(lags) // 2
        yield Row(f"lag p95, {hz:g} Hz offered", lags[int(0.95 * (len(lags) - 1))], "ms", bound, "drawn minus delivered in the kernel")
        yield Row(f"lag median, {hz:g} Hz offered", lags[half], "ms", "", f"{len(lags)} drawings in {SECONDS:g} s")


def _pan(chromium: Any, lab: Any) -> Iterator[Row]:
    """The longest tasks of the main thread while a million packets are panned through by key, at three widths of the view."""
    watched = Watched(chromium, lab, "pan.ipynb", SETUP.format(packets=MILLION), OURS.format(hz=HZ))
    watched.painted("ccwatch")
    watched.tab.wait_for(lambda: watched.tab.look("missing") == 0, PATIENCE_S, "the older rows")
    page = watched.page
    page.wait_for_timeout(3000)
    page.evaluate(
        """() => {
            window.ccwTasks = [];
            new PerformanceObserver((list) => window.ccwTasks.push(...list.getEntries().map((entry) => entry.duration)))
                .observe({ type: 'longtask' });
        }"""
    )
    plot = page.locator(".ccw-plot").first
    plot.focus()
    for name, keys in (("of all", ["3", "+"]), ("of an hour", ["3", "+", "+"]), ("of 30 minutes", ["2"])):
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(500)
        page.evaluate("() => { window.ccwTasks.length = 0; }")
        own, draws = watched.main_cpu_s(), watched.tab.look("draws")
        for at in range(PANS):
            page.keyboard.press("ArrowLeft" if at % 10 < 5 else "ArrowRight")
            page.wait_for_timeout(100)
        tasks = sorted(page.evaluate("() => window.ccwTasks"))
        drawn = max(1, watched.tab.look("draws") - draws)
        window = f"a view {name}, {MILLION:,} points"
        yield Row(f"longest task while panning, {window}", tasks[-1] if tasks else 0.0, "ms", "≤ 100", f"{len(tasks)} above 50 ms")
        yield Row(
            f"main thread's CPU a picture, {window}",
            1e3 * (watched.main_cpu_s() - own) / drawn,
            "ms",
            "",
            f"{drawn} pictures",
        )
    watched.close()


def _hour(chromium: Any, lab: Any) -> Iterator[Row]:
    """The page's heap over an hour of a stream of one packet a second, at ten times its speed."""
    cell = STAMPED.format(panels=["price", "drawdown", "alpha", "latency"], per_frame=1, hz=10.0)
    watched = Watched(chromium, lab, "hour.ipynb", SETUP.format(packets=SMALL), cell)
    watched.painted("ccwatch", 20)
    heaps = []
    until = time.perf_counter() + FULL_SECONDS
    while time.perf_counter() < until:
        heaps.append(watched.heap_mb())
        watched.page.wait_for_timeout(10_000)
    watched.close()
    first, last = statistics.median(heaps[1:6]), statistics.median(heaps[-5:])
    yield Row("page heap, first minute", first, "MB", "", "after a collection")
    note = f"{len(heaps)} samples in {FULL_SECONDS:g} s"
    yield Row("page heap, last minute, against the first", 100 * (last / first - 1), "%", "± 10", note)
