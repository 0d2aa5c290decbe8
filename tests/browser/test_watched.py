"""One live dashboard in one notebook, and all that can be done to it: its controls by mouse and by keyboard, its values, its looks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ccwatch as cw
from tests.browser.jupyter import Lab, Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A real browser on a real JupyterLab misses a beat on a busy machine: one more try, which the report shows as a rerun.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

AXIS = "() => document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range.map(d => Date.parse(d.replace(' ', 'T') + 'Z'))"
SUM = "runs = globals().get('runs', 0) + 1\nframe = feed.frame()\nprint('run', runs, repr(float(frame['price'].sum())), len(frame))"
STOP = "if runs > 1:\n    dashboard.stop()"  # not when all cells are run


@pytest.fixture(scope="module")
def tab(lab: Lab, chromium: Browser) -> Iterator[Tab]:
    """A page that shows a stream of 20 packets a second; the tests follow each other on it."""
    with chromium.new_context(viewport={"width": 1280, "height": 1150}) as context, cw.serve(seed=4, rate=20) as server:
        page = Tab(lab, context.new_page())
        page.watch("watched.ipynb", server.url, SUM, STOP)
        yield page


@pytest.fixture(autouse=True)
def _the_console_stays_clean_and_nothing_is_asked_of_the_network(tab: Tab) -> Iterator[None]:
    tab.page.evaluate("() => document.querySelector('.ccw-dashboard').scrollIntoView()")
    yield
    assert tab.errors == []
    assert tab.abroad == []


def notes(tab: Tab) -> str:
    return tab.header("note")


def test_every_value_in_the_page_is_the_frames_own(tab: Tab) -> None:
    tab.wait_for(lambda: tab.look("rows") > 40, 20, "forty rows")
    line = tab.page.locator(".jp-OutputArea-output pre").filter(has_text="run ").last
    before = line.inner_text()
    tab.run_cell(3)
    tab.wait_for(lambda: line.count() and line.inner_text() not in {"", before}, 10, "the frame's own sum")
    _, _, total, count = line.inner_text().split()
    tab.wait_for(lambda: tab.look("rows") >= int(count), 10, "as many rows")
    assert sum(tab.look("points('price')")[: int(count)]) == pytest.approx(float(total), rel=1e-12)


def test_pause_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, plot = tab.page, tab.page.locator(".ccw-plot").first
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_role("button", name="Resume (").click()
    tab.wait_for(lambda: not notes(tab), 10, "the end of the pause")
    plot.focus()
    page.keyboard.press(" ")
    tab.wait_for(lambda: notes(tab) == "charts paused", 10, "the pause")
    frozen = tab.look("lastSeq")
    page.keyboard.press(" ")
    tab.wait_for(lambda: tab.look("lastSeq") > frozen, 10, "the hidden packets")
    page.get_by_role("button", name="Pause").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Resume (").wait_for()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: not notes(tab), 10, "the end of the pause by a button's key")


def test_a_window_is_chosen_by_mouse_and_by_keyboard(tab: Tab) -> None:
    assert tab.look("windowMs") == 1_800_000
    tab.page.get_by_role("button", name="5 minutes (1)").click()
    tab.wait_for(lambda: tab.look("windowMs") == 300_000, 10, "the choice")
    tab.page.locator(".ccw-plot").first.focus()
    for key, expected in (("2", 1_800_000), ("1", 300_000), ("3", 0)):
        tab.page.keyboard.press(key)
        tab.wait_for(lambda expected=expected: tab.look("windowMs") == expected, 10, "the choice by key")
    tab.moves()


def test_a_zoom_survives_new_packets_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, plot = tab.page, tab.page.locator(".ccw-plot").first
    box = page.locator(".ccw-canvas").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=5)
    page.mouse.up()
    zoom = tab.wait_for(lambda: tab.look("zoom"), 10, "the zoom")
    tab.moves()
    assert page.evaluate(AXIS) == pytest.approx(zoom, abs=2)
    page.mouse.dblclick(box["x"] + box["width"] / 2, y)
    tab.wait_for(lambda: tab.look("zoom") is None, 10, "a double click to follow the stream")
    page.get_by_role("button", name="Show less time (+)").click()
    narrow = tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom by button")
    page.get_by_role("button", name="Show more time (−)").click()
    tab.wait_for(lambda: tab.look("zoom")[1] - tab.look("zoom")[0] > 1.9 * (narrow[1] - narrow[0]), 10, "a wider view by button")
    page.get_by_role("button", name="Earlier (←)").click()
    earlier = tab.wait_for(lambda: tab.look("zoom"), 10, "an earlier view")
    page.get_by_role("button", name="Later (→)").click()
    tab.wait_for(lambda: tab.look("zoom")[0] > earlier[0], 10, "a later view")
    page.get_by_role("button", name="Follow the stream (End)").click()
    tab.wait_for(lambda: tab.look("zoom") is None, 10, "a button to follow the stream")
    plot.focus()
    page.keyboard.press("Home")
    tab.wait_for(lambda: tab.look("zoom"), 10, "all of it by key")
    page.keyboard.press("-")
    page.keyboard.press("End")
    tab.wait_for(lambda: tab.look("zoom") is None, 10, "a key to follow the stream")
    strip = page.locator(".ccw-strip").first.bounding_box()
    assert strip is not None
    page.mouse.click(strip["x"] + strip["width"] * 0.2, strip["y"] + strip["height"] / 2)
    scrubbed = tab.wait_for(lambda: tab.look("zoom"), 10, "a scrub through the history")
    tab.moves()
    assert tab.look("zoom") == scrubbed, "kept while the stream goes on"
    page.locator(".ccw-strip").first.focus()
    page.keyboard.press("ArrowLeft")
    tab.wait_for(lambda: tab.look("zoom")[0] < scrubbed[0], 10, "a scrub by key")
    page.keyboard.press("End")
    tab.wait_for(lambda: tab.look("zoom") is None, 10, "the stream again")


def test_a_recording_by_keyboard_and_a_line_of_the_legend_by_both(tab: Tab) -> None:
    page = tab.page
    entry = page.locator(".ccw-values button").filter(has_text="price")
    entry.click()
    tab.wait_for(lambda: entry.get_attribute("aria-pressed") == "false", 10, "the line to go")
    entry.focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: entry.get_attribute("aria-pressed") == "true", 10, "the line to come back")
    page.get_by_role("button", name="Record", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop recording").wait_for()
    folder = Path(tab.header("recording").removeprefix("recording to "))
    tab.moves(20)
    page.get_by_role("button", name="Stop recording").focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: tab.header("recording").startswith("recorded to"), 20, "the finished recording")
    assert len(cw.open_recording(folder).frame()) >= 10
    shutil.rmtree(folder)


def test_the_picture_is_light_or_dark_as_the_lab_is(tab: Tab) -> None:
    colour = "() => getComputedStyle(document.querySelector('.ccw-dashboard')).color"
    light = tab.page.evaluate(colour)
    tab.picture("dashboard.png")
    tab.choose_theme("JupyterLab Dark")
    try:
        tab.wait_for(lambda: tab.page.evaluate(colour) != light, 20, "dark text colours")
        tick = "() => document.querySelector('.xtick text').style.fill"
        tab.wait_for(lambda: min(map(int, re.findall(r"\d+", tab.page.evaluate(tick))[:3])) > 150, 10, "light ticks on dark")
        tab.picture("dashboard-dark.png")
    finally:
        tab.choose_theme("JupyterLab Light")
    tab.wait_for(lambda: tab.page.evaluate(colour) == light, 20, "light text colours")


def hide(tab: Tab, hidden: bool) -> None:
    """Set the page's own flag by hand: Playwright has Chromium believe that every page is seen, whatever lies over it."""
    value = str(hidden).lower()
    tab.page.evaluate(
        f"""() => {{
            Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {value} }});
            document.dispatchEvent(new Event('visibilitychange'));
        }}"""
    )


def test_a_tab_that_nobody_sees_draws_nothing_and_catches_up(tab: Tab) -> None:
    hide(tab, True)
    draws, known = tab.look("draws"), tab.look("lastSeq")
    tab.wait_for(lambda: tab.look("lastSeq") > known + 20, 20, "packets in a hidden page")
    assert tab.look("draws") == draws
    hide(tab, False)
    tab.wait_for(lambda: tab.look("draws") > draws, 20, "drawings of a page that is seen again")
    tab.moves()


def test_a_view_that_was_stopped_says_what_it_saw_last_and_holds_no_hope(tab: Tab) -> None:
    tab.run_cell(4)
    tab.wait_for(lambda: "Connected, when the view was stopped" in tab.header("state"), 10, "the header to say so")
    assert notes(tab) == "view stopped"
    seq = tab.look("lastSeq")
    tab.page.wait_for_timeout(400)
    assert tab.look("lastSeq") == seq
