"""The live view in a real JupyterLab: what a user sees and does, from first paint to a server that dies and comes back."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.cottage import Listen, Options
from ccwatch.feed.synthetic import emissions
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream.source import DescribedSource, Sink, Stop, read_clock
from tests.browser.jupyter import Tab, free_port

# A real browser on a real JupyterLab misses a beat on a busy machine: one more try, which the report shows as a rerun.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

RATE = 20.0
HELD = "() => ['time', 'price'].map(name => document.querySelector('.ccwatch-live-figure').ccwatch.points(name))"
HOSTILE = "<img src=x onerror=window.hacked=1>"
LINES = ("price", "pnl", "alpha")


class RunningEngine(DescribedSource):
    """An engine that keeps running while its server is down: each server that is started goes on where the last one ended."""

    origin = "synthetic"

    def __init__(self, seed: int, rate: float) -> None:
        self._rate = rate
        self._messages = emissions(seed, "calm", rate)
        self._turn = threading.Lock()  # serialises two servers that overlap for a moment
        self._ended_at: float | None = None

    def message(self, raw: bytes) -> bytes:
        """What is sent for one of its messages."""
        return raw

    def stream(self, sink: Sink, stop: Stop, /) -> None:
        session = StreamReader()
        with self._turn:
            sink.receive(session.opened(read_clock(), "engine"))
            if self._ended_at is not None:  # what it made meanwhile, nobody heard
                for _ in range(int((time.monotonic() - self._ended_at) * self._rate)):
                    next(self._messages)
            due = time.monotonic()
            for emission in self._messages:
                sink.receive(session.receive(self.message(emission.raw), read_clock()))
                due += 1 / self._rate
                if stop.wait(due - time.monotonic()):
                    break
            self._ended_at = time.monotonic()


class HostileEngine(RunningEngine):
    """All text that it sends is markup that would run a script; its log has a new line in each message."""

    def message(self, raw: bytes) -> bytes:
        message = json.loads(raw)
        data = message["data"]
        data["status"] = data["market"]["symbol"] = data["market"]["regime"] = data["signal"]["reasoning"] = HOSTILE
        for table in ("agents", "models"):
            data[table] = {f"{name}{HOSTILE}": metrics for name, metrics in data.get(table, {}).items()}
        data["logs"] = [{"level": HOSTILE, "message": f"{HOSTILE} {data['timestamp']}", "timestamp": data["timestamp"]}]
        return json.dumps(message).encode()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def engine() -> RunningEngine:
    return RunningEngine(seed=4, rate=RATE)


@pytest.fixture
def server(engine: RunningEngine, port: int) -> Iterator[cw.Cottage]:
    cottage = cw.Cottage(engine, Options(Listen(port=port))).start()
    yield cottage
    cottage.stop()


def test_a_stream_is_watched_paused_recorded_lost_found_and_reloaded(tab: Tab, engine: RunningEngine, port: int) -> None:
    server = cw.Cottage(engine, Options(Listen(port=port))).start()
    try:
        tab.watch("live.ipynb", server.url, "len(feed.frame())")

        before = tab.drawn()
        tab.wait_for(lambda: all(tab.drawn()[name] > before[name] for name in LINES), 20, "all four panels to move")
        assert tab.page.locator(".ccwatch-live-figure .subplot").count() >= 4
        assert "Connected" in tab.header("state")
        assert "SPY" in tab.header("symbol")
        assert tab.header("pnl").startswith("P&L")

        tab.page.get_by_role("button", name="Pause").first.click()
        resume = tab.page.get_by_role("button", name="Resume (")
        resume.wait_for()
        tab.page.wait_for_timeout(500)  # the last frame before the pause is drawn
        frozen, points = tab.look("lastSeq"), tab.drawn()
        tab.wait_for(lambda: int(resume.inner_text().split("(")[1].split()[0]) >= 20, 20, "twenty hidden packets")
        assert tab.look("lastSeq") == frozen
        assert tab.drawn() == points
        assert "charts paused" in tab.header("note")
        resume.click()
        tab.wait_for(lambda: tab.look("lastSeq") >= frozen + 20, 20, "the hidden packets")
        assert tab.look("rows - document.querySelector('.ccwatch-live-figure').ccwatch.points('price').length") == 0  # at one moment

        tab.page.get_by_role("button", name="Record", exact=True).click()
        stop = tab.page.get_by_role("button", name="Stop recording")
        stop.wait_for()
        folder = Path(tab.header("recording").removeprefix("recording to "))
        known = tab.look("lastSeq")
        tab.wait_for(lambda: tab.look("lastSeq") > known + 20, 20, "packets to record")
        stop.click()
        tab.wait_for(lambda: tab.header("recording").startswith("recorded to"), 20, "the finished recording")
        assert len(cw.open_recording(folder).frame()) >= 20
        shutil.rmtree(folder)

        server.stop()
        tab.wait_for(lambda: "Disconnected" in tab.header("state"), 20, "Disconnected in the header")
        tab.wait_for(lambda: "next try in" in tab.header("state"), 20, "the countdown")
        width, height = tab.page.evaluate(
            """() => { const words = document.querySelector('.ccw-connection [data-ccw="state"]');
                return [words.clientWidth, words.closest(".ccw-status").clientHeight] }"""
        )
        assert width > 180, "the countdown is in sight"
        assert height <= 32, "nothing below has jumped"
        lost = tab.look("lastSeq")
        server = cw.Cottage(engine, Options(Listen(port=port))).start()
        tab.wait_for(lambda: "Connected" in tab.header("state"), 40, "Connected in the header")
        tab.wait_for(lambda: tab.look("lastSeq") > lost + 10, 20, "packets of the server that came back")
        assert sum(tab.look("points('broken')")) == 1, "the gap is known to the page"

        held = tab.page.evaluate(HELD)
        tab.page.keyboard.press("Control+s")
        saved = tab.lab.notebooks / "live.ipynb"
        tab.wait_for(lambda: "widget-view" in saved.read_text(), 10, "the saved notebook")
        tab.reload()
        tab.wait_for(lambda: tab.look("lastSeq") > lost, 10, "what is new after a reload")
        again = tab.page.evaluate(HELD)
        assert again[0][: len(held[0])] == held[0]
        assert again[1][: len(held[1])] == held[1]
        known = tab.look("lastSeq")
        tab.wait_for(lambda: tab.look("lastSeq") > known, 20, "packets after the reload")
    finally:
        server.stop()
    assert tab.errors == []
    assert tab.abroad == []


def test_several_views_share_one_plotly_and_leave_nothing_behind(tab: Tab, server: cw.Cottage) -> None:
    tab.watch("several.ipynb", server.url, "cw.watch(feed)", "dashboard")
    looks = "() => [...document.querySelectorAll('.ccwatch-live-figure')].map(el => el.ccwatch?.draws ?? 0)"
    tab.wait_for(lambda: len(tab.page.evaluate(looks)) == 3, 30, "three views")
    for number in range(3):  # a view is drawn when it is seen
        tab.page.locator(".ccwatch-live-figure").nth(number).scroll_into_view_if_needed()
        tab.wait_for(lambda number=number: tab.page.evaluate(looks)[number] > 0, 20, f"view {number + 1} to be drawn")
    assert [message.kind for message in tab.received].count("source") == 1, "plotly's source came once"
    tab.page.locator(".jp-Notebook .jp-CodeCell").nth(4).locator(".cm-content").click()
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("d")
    tab.page.keyboard.press("d")
    tab.wait_for(lambda: len(tab.page.evaluate(looks)) == 2, 10, "one view less")
    known = tab.look("lastSeq")
    tab.wait_for(lambda: tab.look("lastSeq") > known + 10, 20, "the others to go on")
    tab.figure.scroll_into_view_if_needed()
    draws = tab.look("draws")
    tab.wait_for(lambda: tab.look("draws") > draws + 2, 20, "the one on the screen to be drawn")
    assert tab.errors == []


def test_markup_in_the_stream_stays_text(tab: Tab, port: int) -> None:
    with cw.Cottage(HostileEngine(seed=4, rate=RATE), Options(Listen(port=port))) as cottage:
        tab.watch("hostile.ipynb", cottage.url, watch=f"cw.watch(cw.connect(feed.url, name={HOSTILE!r}))")
        assert HOSTILE in tab.header("symbol")
        tab.wait_for(lambda: any(item["kind"] in {"signal", "veto"} for item in tab.look("items")), 40, "a signal")
        tab.page.get_by_role("button", name="Pause").first.click()  # what moves cannot be pointed at
        tab.wait_for(lambda: tab.header("note") == "charts paused", 10, "the pause")
        assert "onerror" in tab.page.locator(".ccw-decision").inner_text()
        tab.page.get_by_role("button", name="Resume (").click()
        tab.page.get_by_role("tab", name="Logs").click()
        lines = tab.page.locator(".ccw-row").filter(has_text=HOSTILE)
        tab.wait_for(lines.count, 10, "the log's markup, as text")
        newest = lines.first.inner_text()  # not how many: the list ends at the newest 300
        tab.wait_for(lambda: lines.first.inner_text() != newest, 10, "lines that come while it is looked at")
        assert lines.first.locator("b").inner_text() == HOSTILE, "the level is the stream's too"
        lines.first.focus()
        focused = "() => document.activeElement.innerText"
        line = tab.page.evaluate(focused)
        assert HOSTILE in line
        tab.wait_for(lambda: lines.first.inner_text() != line, 10, "lines above the one that has the focus")
        assert tab.page.evaluate(focused) == line, "which keeps it"
        legend = tab.page.locator(".ccwatch-live-figure .ccw-values .ccw-served, .ccwatch-live-figure .ccw-service").all_text_contents()
        assert any("<img src=x" in name for name in legend), legend
        for name in ("Timeline", "Services", "Stream"):
            tab.page.get_by_role("tab", name=name).click()
            tab.page.wait_for_timeout(200)
        assert tab.page.locator(".ccw-dashboard img").count() == 0
        assert tab.page.evaluate("() => window.hacked ?? null") is None
    assert tab.errors == []


def test_a_halt_is_armed_held_confirmed_and_its_alert_acknowledged(tab: Tab) -> None:
    hostile = "<img src=x onerror=window.hacked=1>"
    watch = (
        "from ccwatch.alerts import DEFAULT_RULES, Rule\n"
        f"rule = Rule({hostile!r}, 'halt', 1.0, {hostile!r})\n"
        "dashboard = cw.watch(cw.connect(URL, commands=True), panels=['price'], rules=[*DEFAULT_RULES, rule])\ndashboard"
    )
    with cw.serve(seed=4, rate=RATE) as cottage:
        tab.watch("commands.ipynb", cottage.url, watch=f"URL = {cottage.url!r}\n{watch}")
        page, results = tab.page, tab.page.locator(".ccw-results")
        halt, resume = page.locator(".ccw-hold-halt"), page.locator(".ccw-hold-resume")
        halt.click()
        tab.wait_for(lambda: halt.get_attribute("data-state") == "armed", 10, "HALT to be armed")
        halt.click()  # released at once
        assert results.inner_text() == ""
        halt.hover()
        page.mouse.down()
        tab.wait_for(lambda: "HALT: CONFIRMED" in results.inner_text(), 15, "HALT to be confirmed")
        page.mouse.up()
        assert halt.get_attribute("data-state") == "idle", "the click that ends a hold arms nothing"
        seen, every = page.get_by_role("button", name="Acknowledge halt"), page.get_by_role("button", name="All alerts")
        every.click()  # the badges are folded until they are asked for
        seen.focus()
        page.keyboard.press("Enter")
        tab.wait_for(lambda: page.locator(".ccw-alert.ccw-muted").count() == 1, 10, "the acknowledged badge")
        assert hostile in page.locator(".ccw-alerts").inner_text()
        assert page.locator(".ccw-dashboard img").count() == 0
        resume.focus()
        page.keyboard.press("Enter")
        tab.wait_for(lambda: resume.get_attribute("data-state") == "armed", 10, "RESUME to be armed")
        page.keyboard.down("Enter")
        tab.wait_for(lambda: "RESUME: CONFIRMED" in results.inner_text(), 15, "RESUME to be confirmed")
        page.keyboard.up("Enter")
        tab.wait_for(lambda: page.locator(".ccw-alert").count() == 0, 15, "the badges to go")
        page.get_by_role("tab", name="Timeline").click()
        tab.wait_for(lambda: ", for " in page.locator(".ccw-body").inner_text(), 10, "the history")
        assert page.evaluate("() => window.hacked ?? null") is None
        # and each the other way
        halt.focus()
        page.keyboard.press("Enter")
        tab.wait_for(lambda: halt.get_attribute("data-state") == "armed", 10, "HALT to be armed by key")
        page.keyboard.down("Enter")
        tab.wait_for(lambda: page.locator(".ccw-alert").count() > 0, 15, "the badges of the second HALT")
        page.keyboard.up("Enter")
        every.click()  # the press on the tab has folded them
        seen.click()
        tab.wait_for(lambda: page.locator(".ccw-alert.ccw-muted").count() == 1, 10, "the badge that was acknowledged by mouse")
        page.keyboard.press("Escape")  # the list folds, and covers nothing
        resume.click()
        tab.wait_for(lambda: resume.get_attribute("data-state") == "armed", 10, "RESUME to be armed by mouse")
        resume.hover()
        page.mouse.down()
        tab.wait_for(lambda: page.locator(".ccw-alert").count() == 0, 15, "the badges to go again")
        page.mouse.up()
        symbol = page.get_by_label("Symbol to subscribe to")
        symbol.fill("QQQ")
        page.keyboard.press("Enter")
        tab.wait_for(lambda: "SUBSCRIBE QQQ: CONFIRMED" in results.inner_text(), 15, "the symbol, by key")
        symbol.fill("IWM")
        page.get_by_role("button", name="Subscribe").click()
        tab.wait_for(lambda: "SUBSCRIBE IWM: CONFIRMED" in results.inner_text(), 15, "the symbol, by mouse")
        tab.wait_for(lambda: page.locator(".ccw-commands option[value='QQQ']").count() == 1, 15, "the symbol among those to choose from")
    assert tab.errors == []


def test_what_is_scrolled_away_draws_nothing(tab: Tab, server: cw.Cottage) -> None:
    long = "\n".join(["pass"] * 60)
    cells = ["import ccwatch as cw", f"feed = cw.connect({server.url!r})", "cw.watch(feed)", long, long]
    tab.open(tab.lab.notebook("scrolled.ipynb", *cells))
    tab.run_all()  # which ends at the last cell
    tab.wait_for(lambda: (tab.look("lastSeq") or 0) > 40, 40, "packets")
    assert tab.look("draws") == 0
    tab.figure.scroll_into_view_if_needed()
    tab.wait_for(lambda: tab.look("draws") > 1, 20, "drawings once it is seen")
    assert tab.errors == []


def wait_for_drawing(tab: Tab) -> None:
    """Wait for a page that joins a running kernel; reload it, as a user would, where the kernel lost what the page asked first."""
    for _ in range(4):
        until = time.monotonic() + 25
        while time.monotonic() < until:
            if (tab.look("draws") or 0) > 0 and tab.look("lastSeq") > 0:
                return
            tab.page.wait_for_timeout(100)
        tab.page.reload()
    raise AssertionError(f"the second page never drew; console: {tab.errors}")


def test_two_pages_on_one_kernel_show_the_same_and_one_may_leave(tab: Tab, server: cw.Cottage) -> None:
    tab.watch("pages.ipynb", server.url)
    tab.page.keyboard.press("Control+s")
    saved = tab.lab.notebooks / "pages.ipynb"
    tab.wait_for(lambda: "widget-view" in saved.read_text(), 10, "the saved notebook")
    second = Tab(tab.lab, tab.page.context.new_page())
    second.page.goto(f"{tab.lab.url}/doc/workspaces/second/tree/pages.ipynb")  # the first page has the default workspace
    wait_for_drawing(second)
    for page in (tab, second):
        known = page.look("lastSeq")
        page.wait_for(lambda page=page, known=known: page.look("lastSeq") > known + 10, 20, "packets in both pages")
    second.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("button", name="Resume (").wait_for()
    tab.wait_for(lambda: tab.look("lastSeq") == second.look("lastSeq"), 10, "both to stand at the same packet")
    assert tab.page.evaluate(HELD) == second.page.evaluate(HELD)
    tab.page.get_by_role("button", name="Resume (").click()
    second.page.close()
    known = tab.look("lastSeq")
    tab.wait_for(lambda: tab.look("lastSeq") > known + 10, 20, "packets in the page that stayed")
    assert tab.errors == second.errors == []


def test_a_long_stream_is_painted_from_little_and_soon_held_in_full_also_after_a_reload(tab: Tab) -> None:
    cells = [
        "import ccwatch as cw\nfeed = cw.synthetic(packets=20_000, rate=20, pace='max')\nfeed.join(60)",
        "dashboard = cw.watch(feed, panels=['price'])\ndashboard",
        "frame = feed.frame()\nprint('sum', repr(float(frame['price'].sum())), len(frame))",
    ]
    tab.open(tab.lab.notebook("long.ipynb", *cells))
    tab.run_all()
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0, 40, "the first drawing")
    line = tab.page.get_by_text("sum ").last
    line.wait_for()
    _, total, count = line.inner_text().split()
    saved = tab.lab.notebooks / "long.ipynb"
    for visit in ("first", "reloaded"):
        tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("missing") == 0, 20, f"every row in the {visit} page")
        assert tab.look("rows") == int(count)
        assert sum(tab.look("points('price')")) == pytest.approx(float(total), rel=1e-12)
        kinds = [message.kind for message in tab.received]
        # At a reload JupyterLab asks for the widget's state twice: once of all widgets, and once of this one.
        first = [message.size for message in tab.received[: kinds.index("older")] if message.kind != "update_states"]
        assert sum(first) < 2_000_000, "before the first paint"
        assert kinds.count("older") == tab.look("older") == 7
        assert max(message.size for message in tab.received if message.kind == "older") < 300_000
        if visit == "first":
            tab.page.keyboard.press("Control+s")
            tab.wait_for(lambda: "widget-view" in saved.read_text(), 10, "the saved notebook")
            tab.received.clear()
            tab.page.reload()
    assert tab.errors == []


def test_a_cell_that_is_run_again_and_again_leaves_one_thread(tab: Tab, server: cw.Cottage) -> None:
    count = "import threading\nprint('threads', sum(t.name == 'ccwatch-dashboard' for t in threading.enumerate()))"
    tab.watch("again.ipynb", server.url, count, watch="cw.watch(feed)")
    for number in range(5 if "CCWATCH_FULL" in os.environ else 2):
        tab.page.evaluate("() => document.querySelector('.ccwatch-live-figure').dataset.old = 'yes'")
        tab.run_cell(2)
        new = "() => document.querySelector('.ccwatch-live-figure:not([data-old])')?.ccwatch?.draws ?? 0"
        tab.wait_for(lambda new=new: tab.page.evaluate(new) > 1, 20, f"the drawing of run {number + 2}")

    def threads() -> str:
        tab.run_cell(3)
        tab.page.wait_for_timeout(300)
        return tab.page.locator(".jp-OutputArea-output pre").last.inner_text().strip()

    tab.wait_for(lambda: threads() == "threads 1", 20, "one thread")
    tab.wait_for(lambda: tab.look("lastSeq") > 0, 10, "packets")
    assert tab.errors == []
