"""The table of commands, and the overview that is printed without them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from ccwatch.cli.app import cli
from ccwatch.cli.command_table import COMMANDS, overview

HEAVY = "click", "pandas", "pyarrow", "plotly", "scipy", "aiohttp", "orjson", "numpy"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_own_help_begins_with_its_sentence_of_the_table(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    heard = " ".join((command.help or "").split())
    assert heard.startswith(COMMANDS[name][1].removesuffix("."))
    if not isinstance(command, click.Group) and name != "guard":  # the one goes to its commands; the other answers nothing, it goes on
        assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_the_overview_names_every_command_once_and_no_line_is_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = overview().splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split()[0] for line in lines if line[:2] == "  " and line[2] != " "] == list(COMMANDS)


def test_help_imports_nothing_that_takes_time(root: Path) -> None:
    code = f"import sys; from ccwatch.cli import main; main(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("Usage: ccwatch")
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_takes_less_than_five_bare_interpreter_starts(root: Path) -> None:
    def seconds(*arguments: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=root, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begun

    rounds = [(seconds("-m", "ccwatch", "--help"), seconds("-c", "pass")) for _ in range(9)]
    assert statistics.median(ours for ours, _ in rounds) < 5 * statistics.median(bare for _, bare in rounds)
