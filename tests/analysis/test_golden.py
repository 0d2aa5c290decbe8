"""The report of the shipped bad session, word for word; `python -m tests.analysis.test_golden` writes the golden files anew.

Look at what changed (`git diff tests/analysis/golden`) before you commit it: each line of it is something that users read. Of the page,
plotly's script is left out, and the numbers of the pictures.
"""

from __future__ import annotations

import json
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
    """The page without plotly's script and the arrays and templates of its pictures, an element to a line."""
    with tempfile.TemporaryDirectory() as folder:
        text = cw.analyze(SAMPLE).to_html(Path(folder) / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"</style><script>.*?</script></head>", "</style><script>plotly</script></head>", text, count=1, flags=re.DOTALL)
    text = re.sub(
        r"(<script type='application/json' class='figure'[^>]*>)(.*?)(?=</script>)",
        lambda found: f"{found[1]}\n{json.dumps(outline(json.loads(found[2])), ensure_ascii=False)}\n",
        text,
        flags=re.DOTALL,
    )
    return re.sub(r"(</(?:li|tr|section|p|h2|details|script|style|nav)>)", r"\1\n", text)


def outline(value):
    """A figure without its numbers: names, titles, kinds and formats."""
    if isinstance(value, dict):
        return {key: outline(item) for key, item in sorted(value.items()) if key not in {"template", "bdata", "uid"}}
    return f"{len(value)} items" if isinstance(value, list) and len(value) > 3 else value


KINDS = {"sample-bad-session.md": markdown, "sample-bad-session.html": page}


@pytest.mark.parametrize("name", KINDS)
def test_the_report_of_the_sample_reads_as_it_did(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no ccwatch.toml of a developer's
    assert KINDS[name]().splitlines() == (GOLDEN / name).read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, made in KINDS.items():
        (GOLDEN / name).write_text(made(), encoding="utf-8")
