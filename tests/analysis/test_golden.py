"""The report of the shipped bad session, word for word; `python -m tests.analysis.test_golden` writes the golden files anew.

Look at what changed (`git diff tests/analysis/golden`) before you commit it: each line of it is something that users read. Of the page,
plotly's script is left out, and what is binary in the pictures.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

import ccwatch as cw

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "recordings" / "sample-bad-session"
GOLDEN = Path(__file__).parent / "golden"


def markdown():
    return cw.analyze(SAMPLE).to_markdown()


def page():
    """The page without plotly's script and the arrays of its pictures, an element to a line."""
    with tempfile.TemporaryDirectory() as folder:
        text = cw.analyze(SAMPLE).to_html(Path(folder) / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<script>(?!\nconst dark).*?</script>", "<script>plotly</script>", text, count=1, flags=re.DOTALL)
    text = re.sub(r'"bdata":"[^"]*"', '"bdata":"…"', text)
    text = re.sub(r'"(x|y|base|customdata|text)":\[[^\[\]]*\]', r'"\1":"…"', text)
    text = re.sub(r'"template":\{.*?\}(?=,"(?:xaxis|yaxis|title|legend|height|margin|font))', '"template":"…"', text)
    return re.sub(r"(</(?:li|tr|section|p|h2|details|script|style|nav)>)", r"\1\n", text)


KINDS = {"sample-bad-session.md": markdown, "sample-bad-session.html": page}


@pytest.mark.parametrize("name", KINDS)
def test_the_report_of_the_sample_reads_as_it_did(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no ccwatch.toml of a developer's
    assert KINDS[name]().splitlines() == (GOLDEN / name).read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, made in KINDS.items():
        (GOLDEN / name).write_text(made(), encoding="utf-8")
