"""All that can be done to a dashboard whose stream has ended, as to a recording: its controls by mouse and by keyboard, on one page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.archives.seeded import items_of, write
from tests.browser.jupyter import Lab, Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

# A real browser on a real JupyterLab misses a beat on a busy machine: one more try, which the report shows as a rerun.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

HOSTILE = "<img src=x onerror=window.hacked=1>"
CELLS = (
    "import ccwatch as cw\nfeed = cw.synthetic(seed=2, scenario='drawdown-halt', packets=400, pace='max')\nfeed.join(60)",
    "def mean_price(frame):\n    return frame['price'].rolling(20).mean()",
    "dashboard = cw.watch(feed, panels=['price', 'drawdown', 'alpha', 'success', mean_price])\ndashboard",
    "row = feed.frame().iloc[250]\nprint('row', row.name.value / 1e6, repr(float(row['price'])))",
)


@pytest.fixture(scope="module")
def tab(lab: Lab, chromium: Browser) -> Iterator[Tab]:
    """A page that shows 400 packets of a stream that has ended; the tests follow each other on it."""
    allowed = ["clipboard-read", "clipboard-write"]
    with chromium.new_context(viewport={"width": 1280, "height": 1150}, permissions=allowed) as context:  # else a page that could not
        page = Tab(lab, context.new_page())  # begin would go on, and save its notebook over that of the next try
        page.open(lab.notebook("controls.ipynb", *CELLS))
        page.run_all()
        page.wait_for(lambda: (page.look("draws") or 0) > 0 and page.look("rows") == 400, 120, "all rows")
        page.wait_for(lambda: page.page.locator('.ccw-values b[data-column="mean_price/price"]').count() == 1, 60, "the user's own line")
        yield page


@pytest.fixture(autouse=True)
def _each_begins_with_all_that_is_there_and_leaves_a_clean_console(tab: Tab) -> Iterator[None]:
    tab.page.locator(".ccw-plot").first.scroll_into_view_if_needed()
    press(tab, "Escape")
    tab.page.get_by_role("button", name="Show all of it (End)").click()
    tab.wait_for(lambda: tab.look("zoom") is None and tab.look("head") is None, 10, "all of the stream")
    shown = tab.page.locator(".ccw-span").first
    tab.wait_for(lambda: shown.inner_text() == "14:30:00 – 14:36:39", 10, "all of the stream to be drawn")
    yield
    assert tab.page.evaluate("() => window.hacked ?? null") is None
    assert tab.errors == []
    assert tab.abroad == []


def picture(tab: Tab, name: str) -> None:
    folder = os.environ.get("CCWATCH_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.page.locator(".ccw-dashboard").first.screenshot(path=str(Path(folder) / name))


def press(tab: Tab, *keys: str, on: str = ".ccw-plot") -> None:
    """Press keys where the keyboard is in the charts, or in what else there is."""
    tab.page.locator(on).first.focus()
    for key in keys:
        tab.page.keyboard.press(key)


def times(tab: Tab) -> list[float]:
    found: list[float] = tab.look("points('time')")
    return found


def place(tab: Tab, time: float) -> tuple[float, float]:
    """Where a time stands on the screen, in the middle of the first panel."""
    tab.page.locator(".ccw-plot").first.evaluate("el => el.scrollIntoView()")
    box = tab.page.locator(".ccw-plot").first.bounding_box()
    assert box is not None
    return box["x"] + tab.look(f"x({time})"), box["y"] + 90


def answered(tab: Tab) -> str:
    """The code of an answer, once it is there."""
    code = tab.page.locator(".ccw-answer .ccw-code")
    tab.wait_for(lambda: code.count() == 1 and code.is_visible(), 30, "an answer")
    return code.inner_text()


def rows(tab: Tab) -> Locator:
    return tab.page.locator(".ccw-body .ccw-row")


def close(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Close").click()
    tab.wait_for(lambda: tab.page.locator(".ccw-answer").is_hidden(), 10, "the answer to close")


def test_one_crosshair_reads_the_frames_own_value_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page = tab.page
    line = page.get_by_text("row ").last
    _, at, price = line.inner_text().split()
    read = page.locator('.ccw-values b[data-column="price"]').first
    last = read.inner_text()
    page.mouse.move(*place(tab, float(at) + 300))  # of 1 s to the next packet
    tab.wait_for(lambda: read.inner_text() == f"{float(price):,.2f} USD", 10, "the price under the mouse")
    page.mouse.down()
    page.mouse.up()  # pinned: it stays when the mouse goes
    page.mouse.move(5, 5)
    press(tab, "Shift+ArrowRight")
    tab.wait_for(lambda: tab.look("cursor") == float(at) + 1000, 10, "the crosshair a packet on")
    assert read.inner_text() != f"{float(price):,.2f} USD"
    page.keyboard.press("Shift+ArrowLeft")
    tab.wait_for(lambda: read.inner_text() == f"{float(price):,.2f} USD", 10, "the crosshair a packet back")
    page.keyboard.press("Escape")
    tab.wait_for(lambda: tab.look("cursor") is None and read.inner_text() == last, 10, "the crosshair to go")


def test_the_crosshair_stands_where_plotly_draws_its_time(tab: Tab) -> None:
    both = """time => {
        document.querySelector('.ccwatch-live-figure').ccwatch.put(time);
        const axis = document.querySelector('.js-plotly-plot')._fullLayout.xaxis;
        return [axis.l2p(time) + axis._offset, Number(document.querySelector('.ccw-cursor').style.transform.match(/[\\d.]+/)[0])];
    }"""
    at = times(tab)
    for time in (at[1], at[200], at[-2]):
        drawn, shown = tab.page.evaluate(both, time)
        assert shown == pytest.approx(drawn, abs=0.6)
    press(tab, "Escape")


def test_a_picture_that_rests_takes_the_colours_of_another_theme(tab: Tab) -> None:
    grid = "() => document.querySelector('.js-plotly-plot')._fullLayout.xaxis.gridcolor"
    light = tab.page.evaluate(grid)
    tab.choose_theme("JupyterLab Dark")
    tab.wait_for(lambda: tab.page.evaluate(grid) != light, 20, "plotly's dark colours")
    assert tab.look("dark")
    tab.choose_theme("JupyterLab Light")
    tab.wait_for(lambda: tab.page.evaluate(grid) == light, 20, "plotly's light colours")


def test_zoom_and_pan_by_key_and_none_of_the_keys_is_the_notebooks(tab: Tab) -> None:
    press(tab, "+")
    first = tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom by key")
    tab.page.keyboard.press("ArrowLeft")
    tab.wait_for(lambda: tab.look("zoom")[0] < first[0], 10, "a pan by key")
    tab.page.keyboard.press("m")
    tab.page.keyboard.press("Escape")
    assert tab.page.locator(".jp-Notebook .jp-MarkdownCell").count() == 0


def test_a_recording_is_played_at_a_speed_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, speed = tab.page, tab.page.get_by_label("Speed")
    speed.select_option("60")
    page.get_by_role("button", name="Play (Space)").click()
    tab.wait_for(lambda: tab.look("head") is not None, 10, "the player to begin")
    page.get_by_role("button", name="Play (Space)").click()
    page.wait_for_timeout(150)
    held = tab.look("head")
    page.wait_for_timeout(300)
    assert tab.look("head") == held, "it stands"
    speed.focus()
    page.keyboard.press("ArrowDown")
    assert speed.input_value() == "600"
    press(tab, " ")
    tab.wait_for(lambda: (tab.look("head") or 1e18) > held, 10, "it goes on by key")
    tab.wait_for(lambda: tab.look("head") is None, 10, "it reaches the end, at ten times the speed")


def test_a_recording_is_stepped_through_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    page.get_by_role("button", name="One packet back (,)").click()
    tab.wait_for(lambda: tab.look("head") == at[-2], 10, "one packet back")
    page.get_by_role("button", name="One packet back (,)").click()
    tab.wait_for(lambda: tab.look("head") == at[-3], 10, "two packets back")
    page.get_by_role("button", name="One packet on (.)").click()
    tab.wait_for(lambda: tab.look("head") == at[-2], 10, "one packet on")
    press(tab, ",")
    tab.wait_for(lambda: tab.look("head") == at[-3], 10, "one packet back by key")
    page.keyboard.press(".")
    page.keyboard.press(".")
    tab.wait_for(lambda: tab.look("head") is None, 10, "the end by key")


def test_a_recording_is_sought_through_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    strip = page.locator(".ccw-strip").first
    box = strip.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    length = at[-1] - at[0]
    sought = tab.wait_for(lambda: tab.look("head"), 10, "a place by mouse")
    assert sought == pytest.approx(at[0] + 0.25 * length, abs=0.01 * length)
    press(tab, "1")
    tab.wait_for(lambda: tab.look("windowMs") == 300_000, 20, "a window of five minutes")
    assert tab.look("head") == sought, "the play head stays"
    press(tab, "End", on=".ccw-strip")
    tab.wait_for(lambda: tab.look("head") is None, 20, "the end, which five minutes hold and the place does not")
    page.mouse.click(box["x"] + box["width"] * 0.05, box["y"] + box["height"] / 2)
    tab.wait_for(lambda: (head := tab.look("head")) and (seen := tab.look("range()"))[0] <= head <= seen[1], 20, "the head in sight")
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    press(tab, "2")
    tab.wait_for(lambda: tab.look("head") == pytest.approx(sought), 20, "the place again")
    press(tab, "ArrowRight", on=".ccw-strip")
    tab.wait_for(lambda: tab.look("head") == pytest.approx(sought + 0.01 * length), 10, "a hundredth on")
    page.keyboard.press("PageDown")
    tab.wait_for(lambda: tab.look("head") == pytest.approx(sought - 0.09 * length), 10, "a tenth back")
    page.keyboard.press("Home")
    tab.wait_for(lambda: tab.look("head") == at[0], 10, "the beginning")
    page.keyboard.press("End")
    tab.wait_for(lambda: tab.look("head") is None, 10, "the end")


def test_a_play_head_that_leaves_a_zoom_takes_it_along_and_every_fact_is_its_own(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    press(tab, "+", "+")
    tab.wait_for(lambda: (zoom := tab.look("zoom")) and zoom[1] < at[-20], 20, "a zoom")
    strip = page.locator(".ccw-strip").first
    strip.click(position={"x": 0.95 * strip.evaluate("el => el.clientWidth"), "y": 12})
    tab.wait_for(lambda: (head := tab.look("head")) and (zoom := tab.look("zoom"))[0] <= head <= zoom[1], 20, "the zoom around the head")
    assert tab.look("cursor") is None, "no crosshair speaks instead"
    known = tab.look("head")
    press(tab, ".")
    tab.wait_for(lambda: (tab.look("head") or 0) > known, 20, "the next packet")
    said = page.locator(".ccw-at").first
    tab.wait_for(lambda: said.inner_text().removeprefix("at ") == tab.header("clock").split()[0], 20, "values and clock of one time")


def test_a_drag_with_shift_as_the_first_action_gives_the_keys_to_the_charts(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    page.locator(".jp-Notebook .jp-CodeCell").first.locator(".cm-content").click()
    page.keyboard.press("Escape")  # the notebook's own command mode
    x, y = place(tab, at[200])
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(place(tab, at[260])[0], y, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    answered(tab)
    assert page.evaluate("() => document.activeElement.classList.contains('ccw-plot')")
    page.keyboard.press("Escape")
    tab.wait_for(lambda: page.locator(".ccw-answer").is_hidden(), 10, "the answer to close by key")
    page.keyboard.press("m")
    page.keyboard.press("Escape")
    assert page.locator(".jp-Notebook .jp-MarkdownCell").count() == 0
    assert page.locator(".jp-Notebook .jp-CodeCell.jp-mod-multiSelected").count() == 0


def test_a_range_is_asked_about_by_mouse_and_by_keyboard_and_its_code_copied_by_both(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    x, y = place(tab, at[200])
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(place(tab, at[260])[0], y, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    code = answered(tab)
    assert "cw.analyze(feed).explain(" in code
    assert float(code.split('window="')[1].split("s")[0]) == pytest.approx(60, abs=2)
    assert tab.look("zoom") is None, "a question moves nothing"
    page.get_by_role("button", name="Copy as code").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == code
    folder = tab.lab.notebooks / "recordings"
    for seed in (2, 3):
        write(folder / f"desk-{seed}", items_of(seed, 400, scenario="drawdown-halt"), url="ws://desk")
    page.get_by_role("button", name="Seen before?").click()
    tab.wait_for(lambda: ".similar(feed, " in (page.locator(".ccw-answer .ccw-code").text_content() or ""), 60, "what was seen before")
    shutil.rmtree(folder)
    assert (page.locator(".ccw-answer h4").text_content() or "").startswith("Seen before?")
    assert "desk-2 · distance 0.00" in page.locator(".ccw-answer").inner_text(), "the same day of another stream"
    picture(tab, "controls-seen.png")
    close(tab)

    page.evaluate(f"() => document.querySelector('.ccwatch-live-figure').ccwatch.put({at[300]})")
    press(tab, "r", *["Shift+ArrowLeft"] * 20)
    tab.wait_for(page.locator(".ccw-band").first.is_visible, 10, "the range to be shaded")
    picture(tab, "controls-range.png")
    page.keyboard.press("a")
    code = answered(tab)
    assert 'window="20s"' in code
    picture(tab, "controls-answer.png")
    page.get_by_role("button", name="Copy as code").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == code
    page.keyboard.press("Escape")
    tab.wait_for(lambda: page.locator(".ccw-answer").is_hidden(), 10, "the answer to close by key")
    page.keyboard.press("Enter")  # the keyboard is in the charts again
    tab.wait_for(lambda: tab.look("zoom") == [at[280], at[300]], 10, "a zoom to the range")
    assert page.locator(".ccw-band").first.is_hidden()


def test_what_is_shown_and_a_moment_of_the_charts_are_asked_about_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    page.get_by_role("button", name="What differs").click()
    assert f'window="{(at[-1] - at[0]) / 1000:g}s"' in answered(tab)
    close(tab)
    press(tab, "Shift+ArrowLeft", "a")
    assert 'window="120s"' in answered(tab), "of a moment"
    page.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: page.locator(".ccw-answer").is_hidden(), 10, "the answer to close")
    page.keyboard.down("Shift")
    page.mouse.click(*place(tab, at[300]))
    page.keyboard.up("Shift")
    assert 'window="120s"' in answered(tab)
    press(tab, "Escape")
    tab.wait_for(lambda: page.locator(".ccw-answer").is_hidden(), 10, "Escape in the charts to close the answer")


def test_tabs_logs_and_events_are_filtered_shown_and_asked_about_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page, found = tab.page, rows(tab)
    page.get_by_role("tab", name="Logs").click()
    level, text = page.get_by_label("Level", exact=True), page.get_by_label("Filter the moments")
    levels = lambda: {words.split("\n")[1] for words in found.all_inner_texts()}  # noqa: E731 - time, level, message
    level.select_option("ERROR")
    tab.wait_for(lambda: found.count() and levels() == {"ERROR"}, 10, "errors alone")
    level.focus()
    page.keyboard.press("ArrowUp")
    tab.wait_for(lambda: found.count() and levels() == {"WARNING"}, 10, "warnings alone, by key")
    level.select_option("all levels")
    text.click()
    page.keyboard.type("halt")
    tab.wait_for(lambda: found.count() and all("halt" in words.lower() for words in found.all_inner_texts()), 10, "the filtered log")
    found.first.click()
    first = tab.wait_for(lambda: tab.look("zoom"), 10, "a jump to the log line")
    found.first.click(modifiers=["Shift"])
    answered(tab)
    close(tab)
    text.fill("")
    tab.wait_for(lambda: "halt" not in found.last.inner_text().lower(), 10, "all lines up to the crosshair")
    found.last.focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: tab.look("zoom") != first, 10, "a jump by key")
    tab.wait_for(found.count, 10, "lines up to the crosshair")
    found.last.focus()
    page.keyboard.press("Shift+Enter")
    answered(tab)
    close(tab)
    page.get_by_role("tab", name="Services").click()
    tab.wait_for(lambda: page.locator(".ccw-table .ccw-spark").count() >= 6, 30, "the services")
    page.get_by_role("tab", name="Stream").click()
    tab.wait_for(lambda: "packets" in page.locator(".ccw-table").inner_text(), 30, "the stream's health")
    page.get_by_role("tab", name="Services").focus()
    page.keyboard.press("ArrowLeft")
    tab.wait_for(lambda: page.get_by_role("tab", name="Timeline").get_attribute("aria-selected") == "true", 10, "a tab by key")


def test_the_reasoning_of_all_decisions_is_searched_from_the_timeline(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("tab", name="Timeline").click()
    text = page.get_by_label("Filter the moments")
    text.fill("Tail INDEX of 2.79")
    said = page.locator(".ccw-row", has=page.locator(".ccw-kind-reason"))
    tab.wait_for(said.count, 20, "decisions whose reasoning says it")
    assert all("tail index of 2.79" in words for words in said.all_inner_texts())
    picture(tab, "reasoning.png")
    said.last.focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: tab.look("zoom"), 10, "a jump to the decision")
    text.fill("")
    tab.wait_for(lambda: not said.count(), 20, "the timeline as it was")


def test_a_jump_to_the_connection_shows_the_streams_beginning_and_its_time_is_marked_as_placed(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    page.get_by_role("tab", name="Timeline").click()
    page.get_by_label("Moments", exact=True).select_option("all")
    connect = rows(tab).filter(has_text="connect").last
    body = page.locator(".ccw-body")
    assert rows(tab).count() < 100, "of hundreds of moments the page holds those in sight, and some more"

    def at_the_end() -> bool:
        body.evaluate("el => el.scrollTo(0, el.scrollHeight)")  # more rows come as the reader comes near the last
        return connect.count() == 1

    tab.wait_for(at_the_end, 20, "the connection, the oldest of all")
    assert connect.locator("time").inner_text().startswith("≈14:29:59")
    assert "by the receiver's clock" in (connect.get_attribute("title") or "")
    picture(tab, "controls-events.png")
    connect.click()
    zoom = tab.wait_for(lambda: tab.look("zoom"), 10, "the jump")
    assert zoom[0] < at[0] < at[100] < zoom[1], "what is shown holds the first packets"


def test_an_alert_is_shown_asked_about_and_acknowledged_by_mouse_and_by_keyboard(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("button", name="All alerts").click()
    names, seen = page.locator(".ccw-alert-name"), page.locator(".ccw-alert .ccw-seen:not([aria-disabled='true']):not([hidden])")
    count = tab.wait_for(lambda: (found := seen.count()) > 1 and found, 20, "alerts")
    names.first.click()
    tab.wait_for(lambda: tab.look("zoom"), 10, "the moment at which it fired")
    press(tab, "Escape", "End")
    tab.wait_for(lambda: tab.look("zoom") is None and seen.count() == count, 10, "all of it")
    names.first.focus()
    page.keyboard.press("Shift+Enter")
    answered(tab)
    assert tab.look("zoom")
    close(tab)
    press(tab, "Escape", "End")
    tab.wait_for(lambda: seen.count() == count, 10, "alerts that wait to be seen")
    page.get_by_role("button", name="All alerts").click()  # a press outside has folded them
    seen.first.click()
    tab.wait_for(lambda: seen.count() == count - 1, 10, "the acknowledged badge")
    seen.first.focus()
    page.keyboard.press("Enter")
    tab.wait_for(lambda: seen.count() == count - 2, 10, "the second, by key")
    page.keyboard.press("Escape")  # the list folds, and the panel below it can be seen
    page.get_by_role("tab", name="Timeline").click()
    tab.wait_for(lambda: sum("acknowledged" in words for words in rows(tab).all_inner_texts()) == 2, 10, "the history to say so")


def test_marks_by_key_and_by_button_stay_text_and_a_reload_finds_view_and_data_again(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("tab", name="Timeline").click()
    press(tab, "m")
    page.locator(".ccw-note-input").fill(f"{HOSTILE} by key")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Note something").click()
    page.locator(".ccw-note-input").fill("by button")
    page.keyboard.press("Enter")

    def noted(words: str) -> Any:
        return any(words in row for row in rows(tab).all_inner_texts())

    tab.wait_for(lambda: noted(f"{HOSTILE} by key") and noted("by button"), 20, "the marks among the events")
    press(tab, "m")
    page.locator(".ccw-note-input").fill("dropped")
    page.keyboard.press("Escape")
    assert page.locator(".ccw-note-input").count() == 0
    press(tab, "+")
    zoom = tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom")
    page.wait_for_timeout(600)  # the zoom is handed to the kernel once it rests
    assert not noted("dropped")
    page.keyboard.press("Control+s")
    tab.wait_for(lambda: "widget-view" in (tab.lab.notebooks / "controls.ipynb").read_text(), 20, "the saved notebook")
    for width in (700, 1200, 1900):
        page.set_viewport_size({"width": width, "height": 1150})
        page.wait_for_timeout(1500 if "CCWATCH_PICTURES" in os.environ else 300)
        picture(tab, f"controls-{width}.png")
    tab.reload()
    tab.wait_for(lambda: tab.look("rows") == 400, 40, "the rows after a reload")
    assert tab.look("zoom") == pytest.approx(zoom)
    tab.wait_for(lambda: noted("by button"), 20, "the marks after a reload")


BOTH = """
    // What plotly draws as SVG, and the canvas above its axes, on one ground.
    const el = document.querySelector('.ccwatch-live-figure'), at = el.ccwatch;
    const box = el.querySelector('.ccw-base'), [width, height] = [box.clientWidth, box.clientHeight];
    const paint = async canvas => {
        const made = document.createElement('canvas');
        [made.width, made.height] = [width, height];
        const pen = made.getContext('2d', { willReadFrequently: true });
        pen.fillStyle = '#fff';
        pen.fillRect(0, 0, width, height);
        for (const svg of box.querySelectorAll('.main-svg')) {
            const copy = svg.cloneNode(true);
            copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
            const image = new Image();
            image.src = 'data:image/svg+xml,' + encodeURIComponent(new XMLSerializer().serializeToString(copy));
            await image.decode();
            pen.drawImage(image, 0, 0, width, height);
        }
        for (const part of canvas ? el.querySelectorAll('.ccw-canvas:not([hidden])') : [])
            pen.drawImage(part, parseFloat(part.style.left) || 0, 0, part.clientWidth, height);
        return pen.getImageData(0, 0, width, height).data;
    };
    const away = (one, other, p) => Math.max(...[0, 1, 2].map(of => Math.abs(one[p + of] - other[p + of])));
"""
PIXELS = f"""async () => {{{BOTH}
    at.still(false); // on axes of its own: those of a player that went before fit what it showed
    const ours = await paint(true);
    at.still(true);
    const theirs = await paint(true);
    at.still(false);
    const bare = await paint(false);
    let [inked, off] = [0, 0];
    for (let p = 0; p < ours.length; p += 4) {{
        if (away(theirs, bare, p) > 24 || away(ours, bare, p) > 24) inked += 1;
        if (away(ours, theirs, p) > 64) off += 1;
    }}
    return [inked, off];
}}"""
MOVED = f"""async () => {{{BOTH}
    // The picture of a view that was moved and rests, and how many of its pixels differ from one whose axes are made at once.
    const moved = await paint(true);
    at.still(false);
    const made = await paint(true);
    let [inked, off] = [0, 0];
    for (let p = 0; p < made.length; p += 4) {{
        if ([0, 1, 2].some(of => made[p + of] < 231)) inked += 1;
        if (away(moved, made, p) > 24) off += 1;
    }}
    return [inked, off];
}}"""


GROWN = """() => {
    // The picture as it grew, packet by packet, and how many of its pixels differ from one that is drawn at once.
    const el = document.querySelector('.ccwatch-live-figure'), at = el.ccwatch;
    const box = el.querySelector('.ccw-base'), [width, height] = [box.clientWidth, box.clientHeight];
    const look = () => {
        const made = document.createElement('canvas');
        [made.width, made.height] = [width, height];
        const pen = made.getContext('2d', { willReadFrequently: true });
        pen.fillStyle = '#fff';
        pen.fillRect(0, 0, width, height);
        const parts = [...el.querySelectorAll('.ccw-canvas:not([hidden])')];
        for (const part of parts) pen.drawImage(part, parseFloat(part.style.left) || 0, 0, part.clientWidth, height);
        return [pen.getImageData(0, 0, width, height).data, parts.length];
    };
    const [grown, parts] = look();
    at.again();
    const [whole] = look();
    let [inked, off] = [0, 0];
    for (let p = 0; p < grown.length; p += 4) {
        if ([0, 1, 2].some(of => whole[p + of] < 231)) inked += 1;
        if ([0, 1, 2].some(of => Math.abs(grown[p + of] - whole[p + of]) > 64)) off += 1;
    }
    return [inked, off, parts];
}"""


def test_a_picture_that_grows_by_its_end_alone_is_the_one_that_is_drawn_at_once(tab: Tab) -> None:
    page, at = tab.page, times(tab)
    strip = page.locator(".ccw-strip").first
    strip.click(position={"x": 0.62 * strip.evaluate("el => el.clientWidth"), "y": 12})
    tab.wait_for(lambda: tab.look("head"), 10, "the play head")
    begun = sum(time <= tab.look("head") for time in at)
    for _ in range(40):
        known = tab.look("draws")
        press(tab, ".")
        tab.wait_for(lambda known=known: tab.look("draws") > known, 10, "the next packet")
    assert sum(time <= tab.look("head") for time in at) == begun + 40
    inked, off, parts = page.evaluate(GROWN)
    assert parts == 2, "the end has a canvas of its own"
    assert inked > 3_000
    assert off <= 0.002 * inked


def test_the_canvas_shows_what_plotly_would(tab: Tab) -> None:
    inked, off = tab.page.evaluate(PIXELS)
    assert inked > 5_000, "there is something to compare"
    assert off / inked < 0.08, f"{off} of {inked} pixels differ"  # edges of lines: measured 5 %


def test_a_view_is_moved_without_new_axes_and_rests_on_the_ones_that_plotly_would_make(tab: Tab) -> None:
    press(tab, "+")
    tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom by key")
    tab.wait_for(lambda: tab.look("rests"), 20, "the zoom to rest")
    before = tab.look("zoom")
    made, again, moved = tab.page.evaluate(
        """() => {
            const el = document.querySelector('.ccwatch-live-figure'), at = el.ccwatch, [made, moved] = [at.bases, at.moves];
            for (let step = 0; step < 5; step += 1) {  // at once, so that the view does not rest between two of them
                el.querySelector('.ccw-plot').dispatchEvent(new WheelEvent('wheel', { deltaX: -30, bubbles: true, cancelable: true }));
                at.drawNow();
            }
            return [made, at.bases, at.moves - moved];
        }"""
    )
    assert (again, moved) == (made, 5)
    assert tab.look("zoom")[0] < before[0], "the wheel moves the view to earlier times"
    tab.wait_for(lambda: tab.look("rests"), 20, "the view to rest")
    inked, off = tab.page.evaluate(MOVED)
    assert inked > 3_000
    assert off <= 0.001 * inked, f"{off} of {inked} pixels differ"


def test_nothing_of_the_page_offends_the_rules_of_accessibility(tab: Tab) -> None:
    axe = Path(__file__).parents[1] / "page" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("npm install in tests/page brings axe-core")
    tab.page.evaluate(axe.read_text(encoding="utf-8"))
    found = tab.page.evaluate("() => axe.run('.ccw-dashboard').then(said => said.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
    assert found == []
