"""The dashboard where it is at home besides JupyterLab: Notebook 7, Voila and JupyterHub, in their dark themes, and marimo."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Error

import ccwatch as cw
from tests.browser.jupyter import Lab, Tab, free_port, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("CCWATCH_FULL" not in os.environ, reason="an expensive proof: CCWATCH_FULL=1 runs it (40 s)"),
]

AWESOME = "cdn.jsdelivr.net/npm/@fortawesome"
"""Voila's own page asks this host for icons, whatever it shows."""


class Notebook7(Lab):
    module = "notebook"
    options = ("--LabApp.extension_manager=readonly",)


class Voila(Lab):
    module = "voila"
    alive = "/voila/static/voila.js"

    def command(self) -> list[str]:
        # The other's extension of the front end, where both are installed, cannot be loaded by Voila and says so in the console.
        denied = "--VoilaConfiguration.extension_denylist=['@jupyter-notebook/lab-extension']"
        # Voila 0.5 sets no XSRF cookie, and then refuses its page's request to end the kernel for want of it.
        ending = "--Voila.tornado_settings={'disable_check_xsrf': True}"
        return [sys.executable, "-m", "voila", f"--port={self.port}", "--no-browser", "--theme=dark", denied, ending, str(self.notebooks)]


@contextmanager
def home(kind: type[Lab], folder: Path, chromium: Browser) -> Iterator[tuple[Tab, str]]:
    """A running server of this kind with a page, and the name of a notebook that watches a live stream."""
    if importlib.util.find_spec(kind.module) is None:
        pytest.skip(f"{kind.module} is not installed (pip install {kind.module})")
    lab = kind(folder / "home")
    context = chromium.new_context(viewport={"width": 1200, "height": 1150})
    with cw.serve(seed=4, rate=20) as server:
        watch = f"dashboard = cw.watch(cw.connect({server.url!r}))\ndashboard"
        name = lab.notebook("home.ipynb", "import ccwatch as cw", watch)
        lab.start()
        try:
            yield Tab(lab, context.new_page()), name
        finally:
            context.close()
            lab.stop()
    kept = re.findall(r"Discarding (\d+) buffered", lab.log.read_text())
    assert all(int(count) < 15 for count in kept), "messages for a page that is gone: 20 s of them would be 200"


def works(tab: Tab) -> None:
    """Paint, go on, pause, zoom, read a tab, ask why; dark."""
    page, plot = tab.page, tab.page.locator(".ccw-plot").first
    tab.wait_for(lambda: (tab.look("draws") or 0) > 0 and tab.look("lastSeq") > 0, 40, "the first drawing")
    assert tab.look("dark")
    tab.moves()
    page.get_by_role("button", name="Pause").click()
    tab.wait_for(lambda: tab.header("note") == "charts paused", 10, "the pause")
    plot.focus()
    page.keyboard.press(" ")
    tab.wait_for(lambda: not tab.header("note"), 10, "the end of the pause by key")
    page.keyboard.press("+")
    tab.wait_for(lambda: tab.look("zoom"), 10, "a zoom by key")
    page.get_by_role("tab", name="Services").click()
    tab.wait_for(lambda: page.locator(".ccw-services .ccw-spark").count() >= 6, 20, "the services")
    page.get_by_role("button", name="What differs").click()
    page.locator(".ccw-answer .ccw-code").wait_for(timeout=20_000)


def test_notebook_7_shows_the_dashboard_works_it_and_finds_it_again_after_a_reload(chromium: Browser, tmp_path: Path) -> None:
    with home(Notebook7, tmp_path, chromium) as (tab, name):
        page = tab.page
        page.goto(f"{tab.lab.url}/notebooks/{name}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=40_000)
        page.locator(".jp-NotebookKernelStatus, .jp-Notebook-ExecutionIndicator").first.wait_for()
        tab.choose_theme("JupyterLab Dark")
        page.wait_for_timeout(1000)
        own = set(tab.errors)  # Notebook 7.6 has one of its own ("reading 'schema'"), whatever the notebook holds
        tab.run_all()
        works(tab)
        zoom = tab.look("zoom")
        page.wait_for_timeout(600)  # the zoom is handed to the kernel once it rests
        page.keyboard.press("Control+s")
        tab.wait_for(lambda: "widget-view" in (tab.lab.notebooks / name).read_text(), 20, "the saved notebook")
        page.reload()
        tab.wait_for(lambda: (tab.look("draws") or 0) > 0, 40, "the page after a reload")
        assert tab.look("zoom") == pytest.approx(zoom)
        assert set(tab.errors) <= own
        assert tab.abroad == []


def test_voila_shows_the_dashboard_and_works_it(chromium: Browser, tmp_path: Path) -> None:
    with home(Voila, tmp_path, chromium) as (tab, name):
        tab.page.goto(f"{tab.lab.url}/voila/render/{name}")
        works(tab)
        tab.page.goto("about:blank")
        tab.wait_for(lambda: "Kernel shutdown" in tab.lab.log.read_text(), 20, "the kernel to end with its page")
        assert [error for error in tab.errors if AWESOME not in error] == []
        assert [url for url in tab.abroad if AWESOME not in url] == []


class Hub(Lab):
    """A JupyterHub whose spawner starts the user's JupyterLab as a plain process, behind the Hub's own proxy."""

    module = "jupyterhub"
    alive = "/hub/api/"

    def command(self) -> list[str]:
        proxy, hub = free_port(), free_port()
        lab = self.folder / "share" / "lab" / "settings"
        config = self.folder / "jupyterhub_config.py"
        config.write_text(
            f"""
c.JupyterHub.bind_url = {self.url!r}
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.JupyterHub.db_url = "sqlite://"
c.JupyterHub.cookie_secret_file = {str(self.folder / "cookie")!r}
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.pid_file = {str(self.folder / "proxy.pid")!r}
c.Spawner.cmd = [{sys.executable!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--LabApp.news_url=", "--LabApp.extension_manager=readonly", "--LabApp.app_settings_dir={lab}"]
c.Spawner.notebook_dir = {str(self.notebooks)!r}
c.SimpleLocalProcessSpawner.home_dir_template = {str(self.folder / "users")!r} + "/{{username}}"
c.Spawner.env_keep = ["PATH", "PYTHONPATH", "LANG", "JUPYTER_PLATFORM_DIRS"]
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 180
"""
        )
        return [sys.executable, "-m", "jupyterhub", "-f", str(config)]


def test_jupyterhub_shows_the_dashboard_works_it_and_finds_it_again_after_a_reload(chromium: Browser, tmp_path: Path) -> None:
    if shutil.which("configurable-http-proxy") is None:
        pytest.skip("JupyterHub's proxy is not on the PATH (npm install -g configurable-http-proxy)")
    with home(Hub, tmp_path, chromium) as (tab, name):
        page = tab.page
        page.goto(f"{tab.lab.url}/hub/login")
        page.get_by_label("Username").fill("anna")
        page.get_by_label("Password").fill("of no importance")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/user/anna/lab**", timeout=180_000)
        page.goto(f"{tab.lab.url}/user/anna/doc/tree/{name}?reset")
        tab.idle()
        tab.choose_theme("JupyterLab Dark")
        tab.run_all()
        works(tab)
        tab.picture("jupyterhub-dark.png")
        page.keyboard.press("Control+s")
        tab.wait_for(lambda: "widget-view" in (tab.lab.notebooks / name).read_text(), 20, "the saved notebook")
        tab.reload()
        tab.moves()
        assert tab.abroad == []


MARIMO = """
import marimo
app = marimo.App()

@app.cell
def _():
    import ccwatch as cw
    cw.watch(cw.synthetic(seed=2, rate=10))
    return
"""


def test_marimo_shows_the_dashboard_live(chromium: Browser, tmp_path: Path) -> None:
    if importlib.util.find_spec("marimo") is None:
        pytest.skip("marimo is not installed (pip install marimo)")
    (tmp_path / "app.py").write_text(MARIMO)
    port = Lab(tmp_path / "port").port
    command = [sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        context = chromium.new_context(viewport={"width": 1200, "height": 1100})
        try:
            page = context.new_page()
            wait_until(lambda: opens(page, f"http://127.0.0.1:{port}"), 60)
            page.locator(".ccw-plot").first.wait_for(timeout=90_000)
            seen = page.locator(".ccw-head, .ccw-plot").first.evaluate("node => node.getRootNode().textContent")
            assert "SYNTHETIC" in seen
        finally:
            context.close()
            process.terminate()


def opens(page: Page, url: str) -> bool:
    try:
        return page.goto(url) is not None
    except Error:
        return False
