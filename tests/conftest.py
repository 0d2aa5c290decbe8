"""Settings of the whole suite: no environment of the machine leaks in, nothing is left running, and nothing may use a display."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# These machines are shared: a deadline would measure the neighbours. Only a search at full length draws new examples in each run.
settings.register_profile(
    "ccwatch", deadline=None, derandomize="CCWATCH_FULL" not in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ccwatch")

for _name in [
    name for name in os.environ if name.startswith("CCWATCH_") and name not in {"CCWATCH_REQUIRE", "CCWATCH_FULL", "CCWATCH_PICTURES"}
]:
    del os.environ[_name]
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
_cache = tempfile.TemporaryDirectory(prefix="ccwatch-cache-")  # the user's own is none of ours
os.environ["CCWATCH_CACHE"] = _cache.name


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_thread_of_ours_outlives_a_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    ours = [t for t in threading.enumerate() if t not in before and t.name.startswith("ccwatch-")]
    for thread in ours:
        thread.join(10.0)
    left = [thread.name for thread in ours if thread.is_alive()]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def _the_root_logger_is_left_alone() -> Iterator[None]:
    before = list(logging.getLogger().handlers)
    yield
    added = [
        handler for handler in logging.getLogger().handlers if handler not in before and type(handler).__module__.startswith("ccwatch")
    ]
    assert not added
