"""A forecast ahead of the price on the live page: in sight while the last burst carries one, called a mock one where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.jupyter import Tab

# A real browser on a real JupyterLab misses a beat on a busy machine: one more try, which the report shows as a rerun.
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

CELLS = (
    """\
import ccwatch as cw
from ccwatch.dashboard.dashboard import Dashboard
from ccwatch.protocol.messages import Flag, ForecastPoint
from tests.dashboard.conftest import SteppedView
view = SteppedView(rate=1)
view.step(200)""",
    "dashboard = Dashboard(view, window='5min')\ndashboard",
    """\
price = view.latest.price
points = tuple(ForecastPoint(n, price - 0.2 * n, price + 0.05 * n, price + 0.3 * n) for n in range(1, 41))
view.change(forecasts=points, flags=Flag.SYNTHETIC_FORECAST)
print('sent')""",
    "view.step(5)\nprint('without')",
)
INK = """() => {
    // Pixels that the canvas shows right of the newest packet, in the price's panel.
    const el = document.querySelector('.ccwatch-live-figure'), at = el.ccwatch, width = el.querySelector('.ccw-base').clientWidth;
    const made = document.createElement('canvas');
    [made.width, made.height] = [width, 130];
    const pen = made.getContext('2d', { willReadFrequently: true });
    for (const part of el.querySelectorAll('.ccw-canvas:not([hidden])'))
        pen.drawImage(part, parseFloat(part.style.left) || 0, 0, part.clientWidth, part.clientHeight);
    const left = Math.ceil(at.x(at.points('time').at(-1)) + 12);
    const { data } = pen.getImageData(left, 0, width - left, 130);
    let count = 0;
    for (let p = 3; p < data.length; p += 4) if (data[p] > 0) count += 1;
    return count;
}"""


def test_a_forecast_is_in_sight_ahead_of_the_price_until_a_burst_comes_without_one(tab: Tab) -> None:
    page = tab.page
    tab.open(tab.lab.notebook("forecast.ipynb", *CELLS))
    for cell in (0, 1):
        tab.run_cell(cell)
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("rows") == 200, 40, "the first drawing")
    entry = page.locator(".ccw-values button").filter(has_text="forecast")
    assert entry.count() == 0
    assert page.evaluate(INK) == 0, "nothing lies ahead of the newest packet"
    tab.run_cell(2)
    tab.wait_for(lambda: page.evaluate(INK) > 500, 30, "the band ahead of the price")
    assert entry.inner_text().startswith("mock forecast")
    newest, end = tab.look("points('time').at(-1)"), tab.look("range()[1]")
    assert end >= newest + 40 * 50 - 1, "the axis reaches the forecast's end"
    folder = os.environ.get("CCWATCH_PICTURES")
    if folder:
        page.locator(".ccw-dashboard").first.screenshot(path=str(Path(folder) / "forecast.png"))
    entry.click()
    tab.wait_for(lambda: page.evaluate(INK) == 0, 10, "all of it to be hidden by its entry")
    entry.click()
    tab.wait_for(lambda: page.evaluate(INK) > 500, 10, "and shown again")
    tab.run_cell(3)
    tab.wait_for(lambda: entry.count() == 0 and page.evaluate(INK) == 0, 30, "the forecast to go")
    assert tab.errors == []
