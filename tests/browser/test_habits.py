"""What people do to a notebook: run a cell twice, compute, interrupt, restart, open a second one on the same kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import ccwatch as cw
from tests.browser.jupyter import Tab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("CCWATCH_FULL" not in os.environ, reason="an expensive proof: CCWATCH_FULL=1 runs it (100 s)"),
]

IMPORT = "import threading, time\nimport ccwatch as cw\nprint('ready')"
# One panel, so that all cells stand on the screen: JupyterLab takes cells that do not out of the page.
WATCH = "feed = cw.connect({url!r})\ndashboard = cw.watch(feed, panels=['price'])\ndashboard"
STOP = "cw.stop_all()\nprint(cw.feeds())"
THREADS = "[t.name for t in threading.enumerate() if t.name.startswith('ccwatch-')]"
LOOKS = "() => [...document.querySelectorAll('.ccwatch-live-figure')].map(el => el.ccwatch?.draws ?? 0)"


@pytest.fixture
def server() -> Iterator[cw.Cottage]:
    with cw.serve(seed=4, rate=20) as cottage:
        yield cottage


def output(tab: Tab, cell: int) -> str:
    """What a cell has printed so far, its errors too."""
    outputs = tab.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-OutputArea-output")
    return "\n".join(outputs.all_inner_texts())


def run(tab: Tab, cell: int, until: str) -> str:
    """Run a cell until it has printed a word; returns all that it printed."""
    tab.run_cell(cell)
    tab.wait_for(lambda: until in output(tab, cell), 40, f"{until!r} in cell {cell}")
    return output(tab, cell)


def ask(tab: Tab, cell: int) -> Any:
    """Run a cell that prints JSON behind the count of its own runs, and read it."""
    before = output(tab, cell)
    tab.run_cell(cell)
    tab.wait_for(lambda: output(tab, cell) not in {before, ""}, 20, f"an answer of cell {cell}")
    return json.loads(output(tab, cell).partition(" ")[2])


def question(expression: str) -> str:
    return f"import itertools, json\nruns = globals().get('runs') or itertools.count()\nprint(next(runs), json.dumps({expression}))"


def watching(tab: Tab, name: str, url: str, *more: str) -> None:
    """Open a notebook, import in its cell 0, watch in its cell 1, and wait until something is drawn."""
    tab.open(tab.lab.notebook(name, IMPORT, WATCH.format(url=url), *more))
    run(tab, 0, "ready")
    tab.run_cell(1)
    drawn(tab)


def drawn(tab: Tab) -> None:
    tab.wait_for(lambda: (tab.look("draws") or 0) > 1 and tab.look("lastSeq") > 0, 40, "the first drawing")


def goes_on(tab: Tab, packets: int = 10) -> None:
    """The picture moves: packets come to the page, and are drawn."""
    seq, draws = tab.look("lastSeq"), tab.look("draws")
    tab.wait_for(lambda: tab.look("lastSeq") > seq + packets and tab.look("draws") > draws + 2, 20, "the dashboard to go on")


def choose(tab: Tab, menu: str, item: str) -> None:
    tab.page.get_by_role("menuitem", name=menu, exact=True).click()
    tab.page.get_by_role("menuitem", name=item).first.click()


def says_of_itself(tab: Tab) -> str:
    """What the page writes above a dashboard whose kernel is gone."""
    words = tab.page.locator(".ccw-gone-words")
    return words.first.inner_text() if words.count() and words.first.is_visible() else ""


def share_kernel(tab: Tab, notebook: str, other: str) -> None:
    """Give a second notebook the kernel of the first, as "Use Kernel from Other Session" does."""
    sessions = tab.page.request.get(f"{tab.lab.url}/api/sessions").json()
    kernel = next(session["kernel"]["id"] for session in sessions if session["path"] == notebook)
    token = next(cookie["value"] for cookie in tab.page.context.cookies() if cookie["name"] == "_xsrf")
    answer = tab.page.request.post(
        f"{tab.lab.url}/api/sessions",
        data={"path": other, "name": other, "type": "notebook", "kernel": {"id": kernel}},
        headers={"X-XSRFToken": token},
    )
    assert answer.status == 201, answer.text()


def test_the_cell_that_connects_and_watches_leaves_one_feed_and_one_dashboard_when_it_is_run_again(tab: Tab, server: cw.Cottage) -> None:
    watching(tab, "twice.ipynb", server.url, question(f"{{'feeds': len(cw.feeds()), 'threads': {THREADS}}}"))
    for _ in range(2):
        first = tab.page.locator(".ccwatch-live-figure").element_handle()
        tab.run_cell(1)
        tab.wait_for(lambda first=first: not first.is_visible(), 20, "the old picture to go")
        drawn(tab)
    goes_on(tab)
    assert len(tab.page.evaluate(LOOKS)) == 1
    tab.wait_for(
        lambda: (
            sorted(ask(tab, 2)["threads"]) == ["ccwatch-alerts", "ccwatch-background", "ccwatch-dashboard", f"ccwatch-feed-{server.url}"]
        ),
        20,
        "the old threads to end",
    )
    assert ask(tab, 2)["feeds"] == 1
    assert tab.errors == []


def test_two_cells_that_watch_one_url_go_on_together(tab: Tab, server: cw.Cottage) -> None:
    watch, other = f"cw.watch({server.url!r}, panels=['price'])", f"cw.watch({server.url!r}, panels=['services'])"
    connect = f"feed = cw.connect({server.url!r})\nprint('on')"
    feed = "feed.wait(1)\nfeed"
    tab.open(tab.lab.notebook("shared.ipynb", IMPORT, watch, other, connect, feed, question("[f.state for f in cw.feeds()]")))
    run(tab, 0, "ready")
    tab.run_cell(1)
    drawn(tab)
    tab.run_cell(2)
    tab.wait_for(lambda: len(looks := tab.page.evaluate(LOOKS)) == 2 and min(looks) > 1, 40, "both pictures")
    run(tab, 3, "on")
    run(tab, 4, "OPEN")
    assert ask(tab, 5) == ["OPEN", "OPEN"], "one for both dashboards, one that was connected"
    tab.run_cell(1)
    tab.wait_for(lambda: len(looks := tab.page.evaluate(LOOKS)) == 2 and min(looks) > 1, 40, "both pictures after a cell was run again")
    goes_on(tab)
    assert len(ask(tab, 5)) == 2
    assert tab.errors == []


def test_a_cell_that_computes_does_not_freeze_the_dashboard(tab: Tab, server: cw.Cottage) -> None:
    busy = "print('begun')\nuntil = time.monotonic() + 8\nwhile time.monotonic() < until: sum(range(1000))\nprint('over')"
    watching(tab, "busy.ipynb", server.url, busy)
    run(tab, 2, "begun")
    for _ in range(3):
        goes_on(tab)
    assert "over" not in output(tab, 2), "the picture moved while the kernel computed"
    tab.wait_for(lambda: "over" in output(tab, 2), 30, "the end of the computation")
    assert output(tab, 2).split() == ["begun", "over"]


def test_an_interrupted_kernel_keeps_its_feed_and_its_dashboard(tab: Tab, server: cw.Cottage) -> None:
    watching(
        tab,
        "interrupted.ipynb",
        server.url,
        "print('begun')\nwhile True: time.sleep(0.05)",
        question(f"{{'state': feed.state, 'reconnects': feed.health().reconnects, 'threads': {THREADS}}}"),
    )
    run(tab, 2, "begun")
    choose(tab, "Kernel", "Interrupt Kernel")
    tab.wait_for(lambda: "KeyboardInterrupt" in output(tab, 2), 20, "the interruption")
    goes_on(tab)
    found = ask(tab, 3)
    assert (found["state"], found["reconnects"]) == ("OPEN", 0)
    assert sorted(found["threads"]) == ["ccwatch-alerts", "ccwatch-background", "ccwatch-dashboard", f"ccwatch-feed-{server.url}"]


def test_a_restarted_kernel_leaves_no_process_and_the_page_says_that_its_picture_stands_still(
    tab: Tab, server: cw.Cottage, tmp_path: Path
) -> None:
    record = f"import os\nrecorder = cw.record(feed, {str(tmp_path)!r})\nfeed.wait(feed.health().packets + 20)\nprint('pid', os.getpid())"
    watching(tab, "restarted.ipynb", server.url, record)
    kernel = psutil.Process(int(run(tab, 2, "pid").split()[1]))
    family = [kernel, *kernel.children(recursive=True)]
    choose(tab, "Kernel", "Restart Kernel…")
    tab.page.get_by_role("button", name="Confirm Kernel Restart").or_(
        tab.page.get_by_role("button", name="Restart", exact=True)
    ).first.click()
    tab.wait_for(
        lambda: not any(process.is_running() and process.status() != "zombie" for process in family), 20, "the old kernel to be gone"
    )
    (session,) = tmp_path.iterdir()
    assert cw.open_recording(session).info().status == "killed"
    assert len(cw.open_recording(session).frame()) >= 20
    tab.wait_for(lambda: "run the cell again" in says_of_itself(tab), 20, "the page to say so")
    known = tab.look("lastSeq")
    run(tab, 0, "ready")
    assert tab.look("lastSeq") == known, "nobody feeds the old picture"
    tab.run_cell(1)
    tab.wait_for(
        lambda: (tab.look("draws") or 0) > 1 and tab.look("lastSeq") > 0 and not says_of_itself(tab), 40, "a picture of the new kernel"
    )
    goes_on(tab)


def test_a_page_that_is_reloaded_after_the_kernel_was_restarted_says_what_to_do(tab: Tab, server: cw.Cottage) -> None:
    watching(tab, "reloaded.ipynb", server.url)
    words = tab.page.get_by_text("Run the cell again (Shift+Enter)")
    assert words.count() == 1
    assert not words.is_visible(), "while the charts are there"
    tab.page.keyboard.press("Control+s")
    tab.wait_for(lambda: "widget-view" in (tab.lab.notebooks / "reloaded.ipynb").read_text(), 20, "the saved notebook")
    tab.lab.restart_kernels()
    tab.page.reload()
    tab.idle()
    tab.wait_for(words.is_visible, 40, "the words that were left")
    run(tab, 0, "ready")
    tab.run_cell(1)
    drawn(tab)
    assert not words.is_visible()


def test_no_thread_writes_into_a_cell_whatever_goes_wrong(tab: Tab, server: cw.Cottage) -> None:
    trouble = """
from ccwatch.alerts import Rule

class Failing:
    def receive(self, items): raise RuntimeError('a sink that fails')

def failing(packet): raise RuntimeError('a callback that fails')

feed.add_sink(Failing())
forget = feed.on_packet(failing)
always = Rule('always', 'drawdown_peak', 1.0, 'fires with any packet', 'fraction', below=True)
other = cw.watch(feed, rules=[always])
other.on_alert(failing)
print('set up')"""
    look = question(
        "{'errors': feed.health().callback_errors, 'alerts': other.callback_errors, 'dropped': feed.health().dropped, 'state': feed.state}"
    )
    watching(tab, "quiet.ipynb", server.url, trouble, look)
    run(tab, 2, "set up")
    tab.wait_for(lambda: (found := ask(tab, 3))["errors"] > 5 and found["alerts"] > 0, 20, "callbacks that failed")
    server.stop()
    tab.wait_for(lambda: "Disconnected" in tab.header("state"), 20, "Disconnected in the header")
    tab.wait_for(lambda: ask(tab, 3)["state"] in {"DISCONNECTED", "CONNECTING"}, 20, "the feed to know")
    assert output(tab, 2).split() == ["set", "up"]
    tab.page.keyboard.press("Control+s")
    saved = tab.lab.notebooks / "quiet.ipynb"
    tab.wait_for(lambda: "widget-view" in saved.read_text(), 10, "the saved notebook")
    cells = json.loads(saved.read_text())["cells"]
    streams = [output["name"] for cell in cells for output in cell["outputs"] if output["output_type"] == "stream"]
    assert set(streams) == {"stdout"}
    assert [len(cell["outputs"]) for cell in cells] == [1, 2, 1, 1], "the watching cell's second is for a page without the widget"


def test_feeds_of_two_notebooks_on_one_kernel_are_listed_and_stopped_together(tab: Tab, server: cw.Cottage) -> None:
    watching(tab, "left.ipynb", server.url, question("sorted(feed.name for feed in cw.feeds())"))
    share_kernel(
        tab, "left.ipynb", tab.lab.notebook("right.ipynb", IMPORT, f"other = cw.connect({server.engine_url!r}).wait(1)\nprint('on')", STOP)
    )
    right = Tab(tab.lab, tab.page.context.new_page())
    right.open("right.ipynb")
    run(right, 0, "ready")
    run(right, 1, "on")
    assert ask(tab, 2) == sorted([server.url, server.engine_url])
    assert run(right, 2, "[").strip() == "[]"
    tab.wait_for(lambda: tab.header("note") == "view stopped", 10, "the other notebook's header to say so")


def test_a_page_whose_question_the_kernel_never_answers_says_so(tab: Tab) -> None:
    """As where ipykernel loses what a page asks first; here nobody was told to answer."""
    silent = "import threading\nfrom ccwatch.dashboard.widget import PageWidget\nprint('ready')"
    tab.open(tab.lab.notebook("silent.ipynb", silent, "PageWidget(lock=threading.RLock())"))
    run(tab, 0, "ready")
    tab.run_cell(1)
    words = tab.page.locator(".ccw-note")
    tab.wait_for(lambda: words.count() and "Waiting for the kernel" in words.inner_text(), 20, "the figure")
    tab.wait_for(lambda: "has not answered yet" in words.inner_text(), 25, "the page's patience to end")
