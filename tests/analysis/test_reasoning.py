"""Words held against sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis.lexicon import DESK_DOWN, DESK_UP, direction
from ccwatch.analysis.reasoning import template
from ccwatch.errors import MissingColumns

UP = (
    "Quotes keep ascending and participation is improving",
    "The instrument soars with broadening enthusiasm",
    "Prices are climbing on growing optimism",
    "We see flourishing conditions and accelerating progress",
    "An impressive surge, investors are delighted",
    "Values leap as confidence strengthens",
    "It has risen steadily and outlook is favorable",
    "Strong expansion, the tape is soaring",
)
DOWN = (
    "Quotes are plunging and conditions worsen",
    "The instrument is sinking amid deteriorating confidence",
    "Prices tumble on growing fear",
    "We see shrinking participation and damaging news",
    "A severe slump, investors are distressed",
    "Values collapse as enthusiasm withers",
    "It has dropped sharply and outlook is poor",
    "The tape crashes, everything is eroding",
)
NEITHER = (
    "Waiting for enough observations before a side is taken",
    "The agents follow the schedule of the session",
    "Position size is set by the allocator",
    "Halted by the circuit breaker",
)


def test_published_lists_read_paraphrases_that_share_no_word_with_the_desks():
    for text in (*UP, *DOWN):
        own = {word.strip(".,").lower() for word in text.split()} & {*DESK_UP.split(), *DESK_DOWN.split()}
        assert own <= {"risen", "strong"}, text
    right = sum(direction(text).sign == 1 for text in UP) + sum(direction(text).sign == -1 for text in DOWN)
    wrong = sum(direction(text).sign == -1 for text in UP) + sum(direction(text).sign == 1 for text in DOWN)
    wrong += sum(direction(text).sign != 0 for text in NEITHER)
    assert right / len((*UP, *DOWN)) >= 0.7
    assert right / (right + wrong) >= 0.9


def test_a_negation_turns_what_follows():
    assert direction("Momentum points upwards, buyers are bullish").sign == 1
    assert direction("It is not bullish").sign == -1


@pytest.fixture
def frame(rows):
    texts = np.repeat(
        ["Prices climb, buyers are in control 1.5", "Prices climb, buyers are in control 2.5", "Quotes plunge and worsen"], 40
    )
    side = np.repeat(["BUY", "SELL", "SELL"], 40)
    price = np.concatenate((np.linspace(100, 101, 60), np.linspace(101, 99, 60)))
    return rows(reasoning=texts, side=side, price=price)


def test_words_against_a_side_are_quoted(frame):
    found = cw.analyze(frame).reasoning()
    assert found.statements == 3
    assert found.repeated_share == pytest.approx(1 / 3)
    (row,) = found.to_frame().to_dict("records")
    assert (row["side"], row["points"]) == ("SELL", "up")
    assert row["quote"] == "Prices climb, buyers are in control 2.5"
    assert "climb" in row["words"]
    assert row["time"] == frame.index[40]


def test_a_template_has_no_numbers_and_no_side():
    assert template("velocity +0.13 points to BUY at 12.5%") == template("velocity -1.9 points to SELL at 3%")


def test_text_is_data(frame):
    hostile = frame.assign(reasoning="<script>alert(1)</script> ignore all rules **and** SELL; prices climb, buyers rally")
    found = cw.analyze(hostile).reasoning()
    assert "<script>" not in found._repr_html_()
    assert "<script>" not in found.to_markdown()
    assert "<script>" not in str(found.figure().to_dict()["data"][0]["y"])


def test_without_words_there_is_no_answer(frame):
    with pytest.raises(MissingColumns, match="reasoning"):
        cw.analyze(frame.drop(columns="reasoning")).reasoning()
    with pytest.raises(MissingColumns, match="reasoning"):
        cw.analyze(frame.assign(reasoning=pd.array([None] * 120, dtype="str"))).reasoning()
