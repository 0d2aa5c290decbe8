from __future__ import annotations

import json
import subprocess
import sys
from itertools import count, islice

import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError, RecordingNotFound
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.recording import Recorder, Recording, export
from ccwatch.text import no_formula, plain, plain_json, rounded

COMMANDS = {
    "an escape": "\x1b[2J",
    "a title": "\x1b]0;owned\x07",
    "C1": "\x9b31m",
    "a bidi override": "\u202egnp.exe",
    "an isolate": "\u2066x\u2069",
    "a carriage return": "ok\rFAILED",
    "a backspace": "a\x08b",
    "a zero width space": "a\u200bb",
    "a separator": "a\u2028b",
    "a surrogate": "a\ud800b",
    "delete": "a\x7fb",
}


@pytest.mark.parametrize("case", COMMANDS)
def test_what_a_terminal_obeys_is_replaced_in_text_and_escaped_in_json(case):
    text = COMMANDS[case]
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
    found = plain_json(json.dumps({"a": text}, ensure_ascii=False))
    assert found.isprintable()
    assert json.loads(found) == {"a": text} or case == "a surrogate"


def test_words_of_all_scripts_stay_as_they_are():
    text = "Lévy Stable · αβγ · 東京 · العربية · 😀 · − ½"
    assert plain(text) == text
    assert plain("a\nb\tc", keep="\n") == "a\nb\N{REPLACEMENT CHARACTER}c"
    assert plain("x" * 10, 3) == "xxx"
    assert json.loads(plain_json(json.dumps("😀\U000e0001", ensure_ascii=False))) == "😀\U000e0001"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"])
def test_a_cell_that_begins_a_formula_is_quoted(cell):
    assert no_formula(cell) == f"'{cell}"


def test_a_cell_that_begins_none_is_not():
    assert [no_formula(cell) for cell in ("", "a=1", "SPY", "'=1")] == ["", "a=1", "SPY", "'=1"]


def test_an_error_that_names_a_path_commands_no_terminal(tmp_path):
    with pytest.raises(RecordingNotFound) as found:
        cw.open_recording(tmp_path / "\x1b[2Jevil\u202e")
    assert str(found.value).isprintable()
    assert str(ConfigError("two\nlines")) == "two\nlines"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A recording whose words are commands of a terminal."""
    session = StreamReader(virtual_clock=True)
    clocks = (Instant(n * 10**9, n * 10**9) for n in count(1_767_364_200))
    usual = [item for raw in islice(messages(), 30) for item in session.receive(raw, next(clocks))]
    bad = "\x1b[2J\x9b31m\u202e"
    items = [
        item._replace(symbol=f"=SPY{bad}", reasoning=f"=cmd{bad}", status_raw=bad, raw=b"") if hasattr(item, "symbol") else item
        for item in usual
    ]
    path = tmp_path_factory.mktemp("hostile") / "evil\x1b[2J"
    with Recorder(path, url=f"ws://x/{bad}", origin="live", tags=[bad]) as recorder:
        recorder.receive(items)
    return path


OF_A_RECORDING = ("info", "info --json", "tail", "tail --json", "verify", "verify --json", "ls", "ls --json", "nonsense\x1b[2J")


@pytest.mark.slow
@pytest.mark.parametrize("command", OF_A_RECORDING)
def test_no_command_prints_what_a_terminal_obeys(hostile, command):
    where = hostile.parent if command.startswith("ls") else hostile
    done = subprocess.run([sys.executable, "-m", "ccwatch", *command.split(" "), where], capture_output=True, check=False, timeout=120)
    said = done.stdout.decode() + done.stderr.decode()
    assert said.strip()
    assert all(line.isprintable() for line in said.split("\n")), repr(said[:2000])


@pytest.mark.slow
def test_a_report_as_markdown_holds_none(hostile):
    text = cw.analyze(hostile).to_markdown()
    assert all(line.isprintable() for line in text.split("\n"))


def test_exported_cells_that_begin_a_formula_are_quoted_when_asked(hostile, tmp_path):
    for quote in (False, True):
        export(Recording(hostile), tmp_path / "o.csv", "csv", quote_formulas=quote)
        text = (tmp_path / "o.csv").read_text(encoding="utf-8")
        assert ("'=SPY" in text) is quote
        assert ("'=cmd" in text) is quote
        assert ",=SPY" not in text or not quote
    export(Recording(hostile), tmp_path / "o.jsonl", "jsonl")
    lines = (tmp_path / "o.jsonl").read_text(encoding="utf-8").split("\n")
    assert all(line.isprintable() for line in lines)
    assert "\x1b[2J" in json.loads(lines[0])["message"]["data"]["signal"]["reasoning"]


@pytest.mark.parametrize(("value", "words"), [(0.5, "0.5"), (19.93, "19.9"), (99.96, "100"), (20_100.4, "20,100"), (-1234.5, "-1,234")])
def test_a_number_is_never_written_with_an_exponent_that_hides_its_size(value, words):
    assert rounded(value) == words
