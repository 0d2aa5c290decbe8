"""A question of the user's own: the guide's example, as a file, asked of a recording and of an archive."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ccwatch as cw
from ccwatch.errors import AnalysisError, ConfigError
from tests.archives.seeded import make

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return the module that the guide's example makes: one file."""
    text = (ROOT / ".github" / "guide" / "answers.md").read_text(encoding="utf-8")
    code = re.search(r"## A question of your own.*?```python\n(.*?)```", text, re.DOTALL)[1]
    file = tmp_path / "own_question.py"
    file.write_text(code, encoding="utf-8")
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("own_question", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "own_question", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_one_file_makes_a_question(own, tmp_path):
    report = cw.analyze("recordings/sample-bad-session")
    answer = report.ask(own.crossings)
    price = cw.open_recording("recordings/sample-bad-session").frame(["price"])["price"].to_numpy()
    above = price[np.isfinite(price)] > price[np.isfinite(price)][0]
    assert len(answer.to_frame()) == np.count_nonzero(above[1:] != above[:-1])
    assert "crossed" in repr(answer)
    assert answer.to_dict()["question"] == "crossings"

    made = make(tmp_path / "many", sessions=4, packets=60, damaged=1, killed=0, running=0)
    archive = cw.archive(made.root)
    each = [len(cw.analyze(made.root / name).ask(own.crossings).to_frame()) for name in made.names if name not in made.damaged]
    assert len(archive.ask(own.crossings).to_frame()) == sum(each)
    assert len(archive.ask(own.crossings, by="session")) == sum(each)


def wordless(packets, _events):
    return packets


def test_a_question_that_is_none_is_refused():
    report = cw.analyze("recordings/sample-bad-session")
    with pytest.raises(ConfigError, match="did you mean 'governance'"):
        report.ask("governence")
    with pytest.raises(ConfigError, match=r"returned a int; expected a ccwatch\.analysis\.Result"):
        report.ask(lambda packets, _events, **_options: len(packets))
    with pytest.raises(ConfigError, match=r"def wordless\(packets, events=None, \*, symbol=None\)"):
        report.ask(wordless)
    with pytest.raises(ConfigError, match="expected a name"):
        report.ask(3)


def test_a_name_asks_the_method():
    report = cw.analyze("recordings/sample-bad-session")
    assert report.ask("regimes", hold=5).to_dict() == report.regimes(hold=5).to_dict()
    with pytest.raises(AnalysisError):
        report.ask("regimes", symbol="NONE")
