"""The public surface has the types that a user's checker relies on, and refuses what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ccwatch import wiring
from ccwatch.cottage.dialect import SPOKEN_DIALECTS
from ccwatch.feed.scenarios import SCENARIOS
from ccwatch.figures.panels import PANELS

HERE = Path(__file__).parent


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    root = HERE.parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, files)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_uses_of_the_public_surface_have_the_types_that_are_promised() -> None:
    done = check(HERE / "public_surface.py")
    assert done.returncode == 0, done.stdout


def test_names_in_signatures_are_those_of_the_tables() -> None:
    assert get_args(wiring.PanelName) == tuple(PANELS)
    assert get_args(wiring.Scenario) == tuple(SCENARIOS)
    assert set(get_args(wiring.Dialect)) == set(SPOKEN_DIALECTS)


@pytest.mark.slow
def test_a_wrong_use_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    uses = (
        'cw.connect("ws://localhost", window=8)',
        'cw.record("ws://localhost", fsync="sometimes")',
        'cw.watch("latest", panels=["prices"], align="noon")',
        'cw.serve(dialect="new")',
    )
    wrong.write_text("\n".join(["import ccwatch as cw", *uses]) + "\n")
    done = check(wrong)
    assert done.stdout.count("[arg-type]") == 4, done.stdout
