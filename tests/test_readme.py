"""What the README prints runs as it is printed: its six lines, on a stream at the address that they name, and its two commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.recording import Recorder
from ccwatch.stream.source import Stop

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = dict(re.findall(r"^\| ([a-z -]+) \| `(cw\..*)` \|$", README, flags=re.MULTILINE))
MORE = re.findall(r"`(cw\.[^`]*)` (?:shows|writes|tries)", README)
ADDRESS = "ws://localhost:3000"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A BFF, and a folder with two recordings; the address of the one, since port 3000 may be another's here."""
    folder = tmp_path_factory.mktemp("desk")
    for seed, name in ((5, "20260102T100000Z-back-test-0000"), (6, "20260103T100000Z-desk-0000")):
        with Recorder(folder / name, url="synthetic:calm", origin="synthetic") as recorder:
            SyntheticSource(seed=seed, packets=900, pace="max", scenario="drawdown-halt").stream(recorder, Stop())
    with cw.serve(seed=7, rate=20) as cottage, pytest.MonkeyPatch.context() as patched:
        patched.setenv("CCWATCH_RECORDINGS", str(folder))
        yield cottage.url
    cw.stop_all()


def test_the_first_picture_moves_and_is_light() -> None:
    picture = (ROOT / re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)[0]).read_bytes()
    assert len(picture) < 2_000_000
    assert picture.startswith(b"GIF89a")
    assert picture.count(b"\x21\xf9\x04") > 10, "its frames; python -m tests.browser.moving_picture makes them"


def test_the_list_of_rooms_names_every_package() -> None:
    """The commands' own rooms, which are modules, are left out."""
    named = set(re.findall(r"^    ccwatch/(\w+)/ ", README, flags=re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "ccwatch").glob("*/__init__.py")}


def test_there_are_six_lines() -> None:
    assert list(LINES) == ["watch live", "record", "be told", "ask why", "compare with the back-test", "look over months"]


@pytest.mark.slow
@pytest.mark.parametrize("what", LINES)
def test_a_line_runs_as_it_is_printed(what: str, desk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "record":  # elsewhere, so that "latest" is what it was
        monkeypatch.setenv("CCWATCH_RECORDINGS", str(tmp_path))
    found = eval(LINES[what].replace(ADDRESS, desk), {"cw": cw})  # noqa: S307 - our own README
    assert found is not None
    if isinstance(found, cw.Dashboard | cw.Recorder):
        found.stop()
    for feed in cw.feeds():
        feed.stop()


@pytest.mark.slow
def test_the_lines_below_run_as_they_are_printed(desk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(MORE) == 3
    monkeypatch.chdir(tmp_path)
    with cw.serve(seed=8, rate=20) as other:
        two, written, tried = (eval(line, {"cw": cw, "url1": desk, "url2": other.url}) for line in MORE)  # noqa: S307 - our own README
        two.stop()
    assert Path(written).name == "report.html"
    assert "desk" in (tmp_path / "report.html").read_text(encoding="utf-8"), "the name of the recording"
    assert "2 % down" in str(tried.to_frame())


@pytest.mark.slow
def test_the_two_commands_run_as_they_are_printed(desk: str, tmp_path: Path) -> None:
    demo, init = re.findall(r"^\.venv/bin/ccwatch (.*)$", README, flags=re.MULTILINE)
    ccwatch = [sys.executable, "-m", "ccwatch"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*ccwatch, *init.replace(ADDRESS, desk).split()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "jupyter lab your-engine.ipynb" in done.stdout
    environment |= {"BROWSER": "true", "JUPYTER_CONFIG_DIR": str(tmp_path)}
    process = subprocess.Popen([*ccwatch, *demo.split()], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("JupyterLab: http://127.0.0.1:")
    assert (tmp_path / "ccwatch-demo" / "01-live.ipynb").is_file()
    time.sleep(0.5)
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / said.strip().splitlines()[-1]).is_dir()
