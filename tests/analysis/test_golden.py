"""The report of the shipped bad session, word for word; `python -m tests.analysis.test_golden` writes the golden files again.

Look at what changed (`git diff tests/analysis/golden`) before you commit it: each line of it is something that users read. Of the page,
plotly's script is left out, and the numbers of the pictures.

Text is compared exactly, numbers by value: a processor with other instructions gives other last bits. Two numbers are the same where they
differ by at most a unit of the last decimal that is printed, and where that is finer, by RELATIVE of themselves.
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
    if isinstance(value, list):
        return [outline(item) for item in value] if len(value) <= 3 or isinstance(value[0], dict) else f"{len(value)} items"
    return value


RELATIVE = 1e-9
"""Far above the last bits of sums and fits over 900 packets (1e-13), far below whatever a reader could notice."""
NUMBER = re.compile(r"(?<![\w.])[-+\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def same(ours, theirs):
    """Whether two lines say the same: text to the letter, numbers within the tolerance."""
    if NUMBER.sub("#", ours) != NUMBER.sub("#", theirs):
        return False
    return all(near(a, b) for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True))


def near(one, two):
    """Whether two printed numbers are the same within what rounding may turn."""
    if one == two:
        return True
    a, b = (float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) for text in (one, two))
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), *(unit(text) for text in (one, two)))


def unit(text):
    """One in the last decimal printed; 0 of a whole number, which must be met."""
    digits, _, exponent = text.partition("e")
    decimals = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals else 0.0


def test_the_comparison_finds_what_a_reader_would_and_no_last_bit():
    assert same('"y": -0.021999999999999964, n = 1,234', '"y": -0.02200000000000002, n = 1,234')
    assert same("median 1.23457 ms", "median 1.23456 ms")
    assert same('"y": 1.0000000000000002e-05', '"y": 1e-05')
    assert not same("median 1.23457 ms", "median 1.23455 ms")
    assert not same("n = 1,234", "n = 1,235")
    assert not same("median 1.2 ms", "median 1.2 s")
    assert not same("median 1.2 ms", "median –")
    assert not same("at 10:32:01", "at 10:32:02")
    assert not same('"y": 0.0220001', '"y": 0.0220003')
    assert not same('"color": "#1f2328"', '"color": "#1f2329"')


KINDS = {"sample-bad-session.md": markdown, "sample-bad-session.html": page}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_report_of_the_sample_reads_as_it_did(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # no ccwatch.toml of a developer's
    ours, theirs = KINDS[name]().splitlines(), (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    assert len(ours) == len(theirs)
    assert [pair for pair in zip(ours, theirs, strict=True) if not same(*pair)] == []


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, made in KINDS.items():
        (GOLDEN / name).write_text(made(), encoding="utf-8")
