"""From an installed ccwatch to one's own moving chart: the doctor, a settings file and a notebook in one command."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import ccwatch as cw
from ccwatch.config import Settings
from ccwatch.errors import ConfigError
from ccwatch.setup import init


def test_init_writes_settings_and_a_notebook_for_the_stream_and_leaves_what_is_there(tmp_path: Path) -> None:
    with cw.serve(seed=7, rate=50) as cottage:
        made = init(cottage.url, tmp_path, seconds=0.5)
        assert made.found.healthy
        assert Settings.load(tmp_path, environment={}).url == cottage.url
        code = "".join(line for cell in json.loads((tmp_path / "your-engine.ipynb").read_text())["cells"] for line in cell["source"])
        assert f'URL = "{cottage.url}"' in code
        (tmp_path / "ccwatch.toml").write_text('url = "ws://mine:1"\n')
        again = init(cottage.url, tmp_path, seconds=0.3)
    assert again.made == ()
    assert {path.name for path in again.kept} == {"ccwatch.toml", "your-engine.ipynb"}
    assert [path.name for path in again.stale] == ["ccwatch.toml"], "it names another stream, which is said"
    assert Settings.load(tmp_path, environment={}).url == "ws://mine:1"
    assert len(made.next) == 3


def test_no_secret_of_a_url_is_written(tmp_path: Path) -> None:
    made = init("ws://user:passw0rd@127.0.0.1:1/?token=passw0rd", tmp_path, seconds=0.3)
    assert not made.found.healthy
    for path in made.made:
        assert "passw0rd" not in path.read_text()


def test_what_is_no_url_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        init("http//nowhere", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_fourth_command_shows_a_chart_of_ones_own_engine_that_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After pip install: `ccwatch init URL`, `jupyter lab your-engine.ipynb`, Run All; a kernel stands in for the page."""
    with cw.serve(seed=7, rate=50) as cottage:
        init(cottage.url, tmp_path, seconds=0.5)
        notebook = nbformat.read(tmp_path / "your-engine.ipynb", 4)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        at = next(i for i, cell in enumerate(notebook.cells) if cell.id == "watch")
        notebook.cells = [
            *notebook.cells[: at + 1],
            nbformat.v4.new_code_cell("from time import sleep\nbefore = feed.health().packets"),
            nbformat.v4.new_code_cell("sleep(1)\n(feed.url, feed.health().packets > before)"),
        ]
        NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert ast.literal_eval(notebook.cells[-1].outputs[0]["data"]["text/plain"]) == (cottage.url, True)
    assert "application/vnd.jupyter.widget-view+json" in notebook.cells[at].outputs[0]["data"]
