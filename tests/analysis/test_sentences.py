"""How the answers speak: one sentence each, its numbers with units, one tone, no cause claimed, on recordings, scenarios and dialects."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis import Report, Result
from ccwatch.analysis.result import amount, percent
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.dialect import Speaker
from ccwatch.feed.synthetic import messages
from tests.analysis.conftest import Stream, receive
from tests.analysis.test_bad_input import INPUTS, Source, packets

RECORDINGS = Path(__file__).parents[2] / "recordings"


def vetoed_without_regime():
    """A session that begins with a veto in packets that say no regime."""
    frame = packets()
    begins = np.arange(len(frame)) < 15
    return Source(frame.assign(regime=frame["regime"].mask(begins), approved_size=frame["approved_size"].mask(begins, 0.0), side="BUY"))


def spoken(dialect):
    speaker = Speaker(dialect)
    raws = (part.payload for raw in itertools.islice(messages(3, "drawdown-halt", 1.0), 400) for part in speaker.speak(Message.of(raw)))
    return Stream(receive(raws, step_s=0.25))


SOURCES = {
    "bad session": lambda: cw.open_recording(RECORDINGS / "sample-bad-session"),
    "regimes": lambda: cw.open_recording(RECORDINGS / "sample-regimes"),
    **{dialect: lambda dialect=dialect: spoken(dialect) for dialect in ("engine_loop", "bridge", "pipeline")},
    "vetoes without a regime": vetoed_without_regime,
    **{kind: INPUTS[kind] for kind in ("no portfolio", "constant everything", "zero nav")},
}
FAULTS = {
    "no one sentence": r"[.!?]\s+[A-Z]|[^.]$|^[a-z]",
    "a cause": r"\b(because|caused?|due to|therefore|led to|leads to|thanks to)\b",
    "a number that is none": r"\b(nan|None|inf|NaT)\b",
    "a hyphen for a minus": r"(?<![\w)])-\d",
    "a space before the percent sign": r"\d %",
    "a plural of one": r"(?<![\d.,])1 (packet|signal|veto|event|call|episode|gap|time|alert|measure|change|window|stretch)(s|es)\b",
    "a singular of many": r"(?<![\d.,:])(?!1 )\d+ (packet|signal|veto|event|call|episode|gap|alert|measure)\b(?! (log|of))",
    "a fraction in words": r"\d fraction\b(?! per)",
    "a negative zero": r"\N{MINUS SIGN}0\.00%",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_each_answer_is_one_sentence_of_evidence(name):
    report = Report(SOURCES[name]())
    answers = [answer for answer in report.answers().values() if isinstance(answer, Result)]
    assert len(answers) >= 6
    worst = report.drawdowns().worst if name != "zero nav" else None
    explained = [] if worst is None else [report.explain(worst["start_time"])]
    compared = [report.compare(Report(SOURCES["no portfolio"]()))]
    for answer in [*answers, *explained, *compared]:
        heard = answer.headline()
        found = {fault: re.search(pattern, heard)[0] for fault, pattern in FAULTS.items() if re.search(pattern, heard)}
        assert not found, f"{answer.question}: {heard}"
        card = answer._repr_html_()
        assert re.search(r"<small>n = [\d,]+", card), answer.question  # each says n, and of how much of the stream
        assert "repeats, replays and placeholders left out" in card


def test_numbers_speak_with_their_unit():
    assert amount(0.12345, "fraction") == "12.35%"
    assert amount(-1234.5, "USD") == "−1,234 USD"
    assert amount(2.787, "") == "2.787"
    assert (amount(9e-6, "fraction"), amount(-1e-5, "fraction")) == ("0.0009%", "\N{MINUS SIGN}0.001%")
    assert (amount(-0.0, "fraction"), amount(-2e-9, "USD"), amount(2e-9, "USD")) == ("0%", "\N{MINUS SIGN}2e-09 USD", "2e-09 USD")
    assert percent(-0.00001) == "0.00%"
    assert percent(-0.0001) == "−0.01%"


def test_every_time_in_a_sentence_has_its_date_where_the_session_spans_several_days() -> None:
    index = pd.date_range("2026-01-02T14:30:00Z", periods=40, freq="12h", name="time")
    nav = 100_000.0 - 90.0 * np.arange(40.0)
    nav[:5] = 100_000.0
    regime = pd.Categorical(["Gaussian"] * 20 + ["Critical"] * 20)
    frame = pd.DataFrame({"nav": nav, "price": nav / 200, "regime": regime, "side": pd.Categorical(["BUY"] * 40)}, index=index)
    report = cw.analyze(frame)
    texts = [answer.headline() for answer in report.answers().values() if isinstance(answer, Result)]
    texts += [sentence for _, sentence in report.what_happened()] + [report.explain(index[20]).headline()]
    times = [found for text in texts for found in re.finditer(r"([^\s(]+ )(\d\d:\d\d:\d\d) UTC", text)]
    assert len(times) >= 5
    # the end of a range that begins with its date may leave its own out
    undated = [found[0] for found in times if not re.fullmatch(r"\d{4}-\d\d-\d\d ", found[1]) and found[1] != "to "]
    assert not undated
