"""Makes the README's moving picture: a recorded bad session replayed into a real dashboard in a real JupyterLab.

`python -m tests.browser.moving_picture` writes notebooks/images/incident.gif: the fall, the halt, the alert, Ask why, its answer.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

from tests.browser.jupyter import REPOSITORY, Lab, Tab, browser

TARGET: Final = REPOSITORY / "notebooks" / "images" / "incident.gif"
STILL: Final = REPOSITORY / "notebooks" / "images" / "dashboard.png"
WIDTH, HEIGHT = 1180, 900
CELLS: Final = (
    "import ccwatch as cw",
    f"dashboard = cw.watch({str(REPOSITORY / 'recordings' / 'sample-bad-session')!r})\ndashboard",
)
FALLS_MS: Final = 1_767_364_640_000.0
"""14:37:20 UTC on the session's day: soon the fall begins."""
SHOWN_MS: Final = (1_767_364_500_000.0, 1_767_364_800_000.0)
"""14:35 to 14:40."""
FRAMES: Final = 28
PACKETS: Final = 4
"""Played between two pictures."""
FRAME_MS: Final = 260
COLOURS: Final = 96


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory(prefix="ccwatch-picture-") as folder:
        lab = Lab(Path(folder))
        lab.start()
        try:
            with browser() as chromium:
                page = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}).new_page()
                shots = filmed(Tab(lab, page))
        finally:
            lab.stop()
    write(shots)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB, {len(shots)} pictures")


def filmed(tab: Tab) -> list[tuple[Image.Image, int]]:
    """Return pictures of the dashboard, each with the ms that it stays."""
    page = tab.page
    tab.open(tab.lab.notebook("incident.ipynb", *CELLS))
    tab.run_cell(0)
    tab.run_cell(1)
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("missing") == 0, 60, "the first drawing")
    tab.wait_for(lambda: page.get_by_role("button", name="Ask why the first alert fired").is_visible(), 60, "the alerts")
    shots: list[tuple[Image.Image, int]] = []

    def shoot(ms: int) -> None:
        page.wait_for_timeout(120)
        shots.append((Image.open(io.BytesIO(tab.figure.screenshot())).convert("RGB"), ms))

    tab.figure.evaluate("el => el.scrollIntoView()")
    zoom(tab, *SHOWN_MS)
    strip, whole = page.locator(".ccw-strip").first, tab.look("points('time')")
    share = (FALLS_MS - whole[0]) / (whole[-1] - whole[0])
    strip.click(position={"x": share * strip.evaluate("el => el.clientWidth"), "y": 12})
    tab.wait_for(lambda: tab.look("head"), 20, "the play head")
    page.mouse.move(1, 1)
    page.evaluate("() => document.activeElement.blur()")
    shoot(1200)
    step = page.get_by_role("button", name="One packet on (.)")
    for _ in range(FRAMES):
        for _ in range(PACKETS):
            step.evaluate("el => el.click()")  # without the focus, whose ring would be in the picture
        shoot(FRAME_MS)
    shoot(1500)
    why = page.get_by_role("button", name="Ask why the first alert fired")
    why.hover()
    shoot(700)
    why.click()
    tab.wait_for(lambda: page.locator(".ccw-answer .ccw-code").count(), 60, "the answer")
    page.wait_for_timeout(300)
    shoot(6000)
    return shots


def zoom(tab: Tab, start: float, end: float) -> None:
    """Drag from one time to another, in the middle of the first panel."""
    box = tab.page.locator(".ccw-plot").first.bounding_box()
    assert box is not None
    left, right = (box["x"] + tab.look(f"x({time})") for time in (start, end))
    tab.page.mouse.move(left, box["y"] + 90)
    tab.page.mouse.down()
    tab.page.mouse.move(right, box["y"] + 90, steps=4)
    tab.page.mouse.up()
    tab.wait_for(lambda: tab.look("zoom"), 20, "the zoom")


def write(shots: list[tuple[Image.Image, int]]) -> None:
    """Write the pictures as one animation in one palette, and the last one by itself."""
    last = shots[-1][0]
    last.save(STILL, optimize=True)
    palette = last.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    size = last.size
    flat = [shot.resize(size).quantize(palette=palette, dither=Image.Dither.NONE) for shot, _ in shots]
    flat[0].save(TARGET, save_all=True, append_images=flat[1:], duration=[ms for _, ms in shots], loop=0, optimize=True)


if __name__ == "__main__":
    main()
