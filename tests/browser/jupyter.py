"""A real JupyterLab on a free port, in an empty home, and Debian's Chromium driven by Playwright: the browser tests' ground."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

from playwright.sync_api import Browser, Locator, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


PATIENCE_S = 90.0
"""What is waited for gets as long at least: where all processors are busy a page takes tens of seconds for what usually takes one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float = 20.0, what: str = "the condition") -> Any:
    """Poll until `condition()` is true and return it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        time.sleep(0.05)


class Received(NamedTuple):
    """A message that came over one of the page's WebSockets."""

    size: int
    kind: str
    """What the kernel calls it (source, full, older, rows, side); "update" of a widget's state; empty for all else."""


def read_message(payload: Any) -> Received:
    """A message of Jupyter's v1.kernel.websocket protocol: a table of offsets, then channel, header, …, content, buffers."""
    if isinstance(payload, str):
        return Received(len(payload), "")  # not of a kernel
    places = [int.from_bytes(payload[at : at + 8], "little") for at in range(8, 8 + 8 * int.from_bytes(payload[:8], "little"), 8)]
    parts = [payload[start:end] for start, end in itertools.pairwise(places)]
    if (
        len(parts) < 5 or places[-1] > len(payload) or json.loads(parts[1])["msg_type"] != "comm_msg"
    ):  # a page that closes cuts the last one
        return Received(len(payload), "")
    data = json.loads(parts[4])["data"]
    return Received(len(payload), data["content"].get("kind", "") if data["method"] == "custom" else data["method"])


class Lab:
    """A running JupyterLab."""

    module = "jupyterlab"
    options = ("--LabApp.news_url=", "--LabApp.extension_manager=readonly")
    alive = "/api/status"
    """What answers as soon as it listens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "lab.log"
        settings = folder / "share" / "lab" / "settings"
        settings.mkdir(parents=True)
        overrides = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
        (settings / "overrides.json").write_text(json.dumps(overrides))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        home = self.folder / "home"
        home.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "CCWATCH_"))}
        environment |= {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "user-settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
            "JUPYTER_PLATFORM_DIRS": "1",
            "IPYTHONDIR": str(self.folder / "ipython"),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self.command(), env=environment, cwd=self.notebooks, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._answers, 180.0, f"{self.module} at {self.url} (its log: {self.log})")

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", self.module, "--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.password="),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", "--ServerApp.open_browser=False"),
            *(f"--ServerApp.root_dir={self.notebooks}", f"--LabApp.app_settings_dir={self.folder / 'share' / 'lab' / 'settings'}"),
            *self.options,
        ]

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"{self.module} ended: {self.log.read_text(errors='replace')[-2000:]}")
        try:
            with urlopen(f"{self.url}{self.alive}", timeout=2) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End the server; it ends its kernels."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def end_kernels(self) -> None:
        """End all kernels, and wait until they have gone."""
        self._to_each_kernel("", "DELETE")

    def restart_kernels(self) -> None:
        """Restart all kernels, as a server's own page of running kernels does."""
        self._to_each_kernel("/restart", "POST")

    def _to_each_kernel(self, path: str, method: str) -> None:
        opener = build_opener(HTTPCookieProcessor(cookies := CookieJar()))
        opener.open(f"{self.url}/lab", timeout=20).close()  # brings the cookie that guards against forged requests
        token = next((cookie.value for cookie in cookies if cookie.name == "_xsrf"), "") or ""
        with opener.open(f"{self.url}/api/kernels", timeout=20) as answer:
            running = [kernel["id"] for kernel in json.load(answer)]
        for kernel in running:
            request = Request(f"{self.url}/api/kernels/{kernel}{path}", method=method, headers={"X-XSRFToken": token})  # noqa: S310 - our own server
            opener.open(request, timeout=60).close()

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells; returns its name."""
        content = {
            "cells": [
                {"cell_type": "code", "execution_count": None, "id": f"cell-{n}", "metadata": {}, "outputs": [], "source": source}
                for n, source in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.notebooks / name).write_text(json.dumps(content))
        return name


class Tab:
    """A page of the lab, with what its console said and what it asked of the network."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab = lab
        self.page = page
        self.errors: list[str] = []
        self.abroad: list[str] = []
        self.received: list[Received] = []
        page.set_default_timeout(1000 * PATIENCE_S)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.on("websocket", self._connected)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.lab.url, "blob:", "data:")):
            self.abroad.append(request.url)

    def _connected(self, socket_: Any) -> None:
        if not socket_.url.startswith(f"ws://127.0.0.1:{self.lab.port}/"):
            self.abroad.append(socket_.url)
        socket_.on("framereceived", lambda payload: self.received.append(read_message(payload)))

    def open(self, notebook: str) -> None:
        """Open a notebook alone, and wait for its kernel."""
        self.page.goto(f"{self.lab.url}/doc/tree/{notebook}?reset")
        self.idle()

    def watch(self, notebook: str, url: str, *more: str, watch: str = "dashboard = cw.watch(feed)\ndashboard") -> None:
        """Open a notebook that watches a stream, and run it until something is drawn."""
        self.open(self.lab.notebook(notebook, "import ccwatch as cw", f"feed = cw.connect({url!r})", watch, *more))
        self.run_all()
        self.wait_for(lambda: (self.look("draws") or 0) > 0 and self.look("lastSeq") > 0, 120, "the first drawing")

    def idle(self) -> None:
        """Wait until the kernel is idle, as the status bar says it."""
        self.page.get_by_text("| Idle").first.wait_for(timeout=120_000)

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()

    def run_cell(self, number: int) -> None:
        """Run one cell, counted from 0."""
        self.page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def choose_theme(self, name: str) -> None:
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        self.page.get_by_text("Theme", exact=True).first.hover()
        self.page.get_by_text(name, exact=True).first.click()

    @property
    def figure(self) -> Locator:
        return self.page.locator(".ccwatch-live-figure").first

    def look(self, what: str) -> Any:
        """A property of the picture, for example `lastSeq` or `points("price")`; None while it is not there."""
        return self.page.evaluate(f"() => document.querySelector('.ccwatch-live-figure')?.ccwatch?.{what} ?? null")

    def drawn(self) -> dict[str, int]:
        """How many points the canvas shows of each line of the first panels."""
        found: dict[str, int] = self.page.evaluate(
            """() => { const at = document.querySelector('.ccwatch-live-figure').ccwatch;
                return Object.fromEntries(['price', 'pnl', 'alpha'].map(column => [column, at.line(column)])) }"""
        )
        return found

    def picture(self, name: str) -> None:
        """Keep a picture of the dashboard, where CCWATCH_PICTURES names a folder."""
        folder = os.environ.get("CCWATCH_PICTURES")
        if folder:
            self.wait_for(lambda: self.look("rows") > 400, 60, "something to look at")
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.locator(".ccw-dashboard").first.screenshot(path=str(Path(folder) / name))

    def reload(self) -> None:
        """Reload the page and wait for its picture; once more where the page says that the kernel lost what it was asked.

        ipykernel may hand nothing to a subshell that JupyterLab makes while it deletes another; then no widget of the page works.
        """
        self.page.reload()
        lost = self.page.get_by_text("The kernel has not answered yet")
        self.wait_for(lambda: self.look("draws") or lost.count(), 40, "the page after a reload")
        if not self.look("draws"):
            self.page.reload()
            self.wait_for(lambda: self.look("draws"), 40, "the page after another reload")

    def moves(self, packets: int = 5) -> None:
        """Wait until new packets have come and were drawn."""
        seq, draws = self.look("lastSeq"), self.look("draws")
        self.wait_for(lambda: self.look("lastSeq") >= seq + packets and self.look("draws") > draws, 20, "the dashboard to go on")

    def header(self, key: str) -> str:
        """What the status line says under a name; `recording` says its path in its title."""
        words: str = self.page.evaluate(
            """key => { const el = document.querySelector(`.ccw-header [data-ccw="${key}"]`);
                return !el || el.hidden ? '' : key === 'recording' ? el.title : el.textContent }""",
            key,
        )
        return words

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20.0, what: str = "the page") -> Any:
        """Poll while the browser's events are handled, for PATIENCE_S seconds at least."""
        deadline = time.monotonic() + max(seconds, PATIENCE_S)
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}; console: {self.errors}")
            self.page.wait_for_timeout(50)
        return value


def chromium_path() -> str | None:
    return shutil.which("chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    path = chromium_path()
    assert path is not None, "no chromium on the PATH"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()
