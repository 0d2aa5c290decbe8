"""One JupyterLab for all browser tests, one Chromium for each module of them; a page in a fresh profile for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.jupyter import Lab, Tab, browser, chromium_path

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # Playwright holds an event loop while it runs, and other tests have one of their own
def chromium() -> Iterator[Browser]:
    if chromium_path() is None:
        reason = "no chromium on the PATH (Debian: apt-get install chromium)"
        if "browser" in os.environ.get("CCWATCH_REQUIRE", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    with browser() as running:
        yield running


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = Lab(tmp_path_factory.mktemp("lab"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def lab(_server: Lab) -> Iterator[Lab]:
    """The session's JupyterLab, whose kernels end with each module: they would keep the processors busy for the rest of the suite."""
    yield _server
    _server.end_kernels()


@pytest.fixture
def tab(lab: Lab, chromium: Browser) -> Iterator[Tab]:
    with chromium.new_context(viewport={"width": 1280, "height": 1150}) as context:
        yield Tab(lab, context.new_page())
