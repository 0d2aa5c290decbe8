"""The dashboard's controls in a real JupyterLab: crosshair, tabs, time, marks and questions, by mouse and by keyboard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.jupyter import Tab

# A real browser on a real JupyterLab misses a beat on a busy machine: one more try, which the report shows as a rerun.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

CELLS = (
    "import ccwatch as cw\nfeed = cw.synthetic(seed=2, scenario='drawdown-halt', packets=400, pace='max')\nfeed.join(60)",
    "def mean_price(frame):\n    return frame['price'].rolling(20).mean()",
    "dashboard = cw.watch(feed, panels=['price', 'drawdown', 'alpha', 'success', mean_price])\ndashboard",
    "row = feed.frame().iloc[250]\nprint('row', row.name.value / 1e6, repr(float(row['price'])))",
)


def picture(tab: Tab, name: str) -> None:
    folder = os.environ.get("CCWATCH_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.page.locator(".ccw-dashboard").first.screenshot(path=str(Path(folder) / name))


def test_every_control_of_time_and_reading_works_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page = tab.page
    tab.open(tab.lab.notebook("controls.ipynb", *CELLS))
    tab.run_all()
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("rows") == 400, 40, "all rows")
    line = page.get_by_text("row ").last
    line.wait_for()
    _, at, price = line.inner_text().split()
    plot = page.locator(".ccw-plot").first
    plot.scroll_into_view_if_needed()

    # one crosshair reads the frame's own value in the legend of each panel
    page.evaluate(f"() => document.querySelector('.ccwatch-live-figure').ccwatch.put({float(at) + 1})")
    read = page.locator('.ccw-legend b[data-column="price"]').first
    tab.wait_for(lambda: read.inner_text() == f"{float(price):,.2f} USD", 10, "the price at the crosshair")
    tab.wait_for(lambda: page.locator('.ccw-legend b[data-column="mean_price/price"]').count() == 1, 30, "the line of the user's function")

    # keys: zoom, pan, all, live, the crosshair row by row, playback
    plot.focus()
    page.keyboard.press("+")
    first = tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom by key")
    page.keyboard.press("ArrowLeft")
    tab.wait_for(lambda: tab.look("zoom")[0] < first[0], 10, "a pan by key")
    here = tab.look("cursor")
    page.keyboard.press("Shift+ArrowRight")
    tab.wait_for(lambda: tab.look("cursor") > here, 10, "the crosshair a row on")
    page.keyboard.press("End")
    tab.wait_for(lambda: tab.look("zoom") is None, 10, "the end of the zoom by key")
    page.keyboard.press(",")
    head = tab.wait_for(lambda: tab.look("head"), 10, "one packet back")
    page.keyboard.press(",")
    tab.wait_for(lambda: tab.look("head") == pytest.approx(head - 1000), 10, "one more packet back")
    assert page.locator(".jp-Notebook .jp-MarkdownCell").count() == 0, "the notebook took none of the keys"

    # the player, by mouse
    page.get_by_role("button", name="Follow the stream (End)").click()
    page.get_by_label("Speed").select_option("600")
    page.get_by_role("button", name="Play (Space)").click()
    tab.wait_for(lambda: tab.look("head") is not None, 10, "the player to begin")
    tab.wait_for(lambda: tab.look("head") is None, 20, "the player to reach the end")

    # tabs: filter the log, find an event, read the services
    page.get_by_role("tab", name="Logs").click()
    page.get_by_label("Filter the log").fill("halt")
    rows = page.locator(".ccw-body .ccw-row")
    tab.wait_for(lambda: rows.count() > 0 and all("halt" in words.lower() for words in rows.all_inner_texts()), 10, "the filtered log")
    rows.first.click()
    tab.wait_for(lambda: tab.look("zoom") is not None, 10, "a jump to the log line")
    page.get_by_role("tab", name="Agents and Models").click()
    tab.wait_for(lambda: page.locator(".ccw-table .ccw-spark").count() >= 6, 30, "the services")
    page.get_by_role("tab", name="Logs").focus()
    page.keyboard.press("ArrowLeft")
    tab.wait_for(lambda: page.get_by_role("tab", name="Events").get_attribute("aria-selected") == "true", 10, "a tab by key")

    # a mark by key, a question by button
    plot.focus()
    page.keyboard.press("m")
    page.locator(".ccw-note-input").fill("<img src=x onerror=window.hacked=1> here")
    page.keyboard.press("Enter")
    tab.wait_for(lambda: any("onerror" in words for words in rows.all_inner_texts()), 20, "the mark among the events")
    page.get_by_role("button", name="What differs").click()
    code = page.locator(".ccw-answer .ccw-code")
    code.wait_for(timeout=30_000)
    assert "cw.analyze(feed).explain(" in code.inner_text()
    assert page.evaluate("() => window.hacked ?? null") is None

    # a reload finds view and data again
    zoom = tab.look("zoom")
    page.wait_for_timeout(600)  # the zoom is handed to the kernel once it rests
    page.keyboard.press("Control+s")
    tab.wait_for(lambda: "widget-view" in (tab.lab.notebooks / "controls.ipynb").read_text(), 20, "the saved notebook")
    for width in (700, 1200, 1900):
        page.set_viewport_size({"width": width, "height": 1150})
        page.wait_for_timeout(1500)
        picture(tab, f"controls-{width}.png")
    page.reload()
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("rows") == 400, 40, "the page after a reload")
    assert tab.look("zoom") == pytest.approx(zoom)
    assert tab.errors == []
    assert tab.abroad == []
