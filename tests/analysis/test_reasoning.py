"""Words held against sides."""

from __future__ import annotations

import itertools
import json
from importlib import metadata

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis.lexicon import direction
from ccwatch.analysis.reasoning import template
from ccwatch.errors import MissingColumns
from ccwatch.feed.synthetic import messages
from tests.analysis.paraphrases import DOWN, NEITHER, UP
from tests.analysis.reasoned_decisions import FIRST, SECOND


@pytest.mark.slow
def test_paraphrases_are_read_with_precision_and_recall():
    """Among them many that share no word with the lists, and are read by a saying, by what becomes of a force, by VADER, or not at all."""
    right = sum(direction(text).sign == 1 for text in UP) + sum(direction(text).sign == -1 for text in DOWN)
    wrong = sum(direction(text).sign == -1 for text in UP) + sum(direction(text).sign == 1 for text in DOWN)
    wrong += sum(direction(text).sign != 0 for text in NEITHER)
    assert right / len((*UP, *DOWN)) >= 0.8
    assert right / (right + wrong) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("lines", [FIRST, SECOND])
def test_decisions_whose_words_are_against_their_side_are_found(lines):
    """Written without a look at the lists; at first sight the two sets were read with 0.90 / 0.80 and 0.92 / 0.77."""
    found = []
    for line in lines:
        said, text = line.split(": ", 1)
        kind, side = said.split()
        found.append((direction(text).sign * {"BUY": 1, "SELL": -1}[side] < 0, kind == "against"))
    right = sum(is_found and is_so for is_found, is_so in found)
    assert right / sum(is_found for is_found, _ in found) >= 0.95
    assert right / sum(is_so for _, is_so in found) >= 0.9


def test_the_words_of_a_finding_are_in_its_text():
    for text in (*UP, *DOWN):
        for word in direction(text).words:
            assert word.removeprefix("not ") in text.lower().replace("n't", " not"), (word, text)


def test_the_seeded_engines_reasons_point_nowhere_or_with_their_side():
    """Its templates name forces and sides without saying up or down."""
    for raw in itertools.islice(messages(0, "calm", 1.0), 200):
        signal = json.loads(raw)["data"]["signal"]
        side = {"BUY": 1, "SELL": -1}.get(signal["side"], 0)
        assert direction(signal["reasoning"]).sign in (0, side), signal["reasoning"]


def test_the_word_lists_library_hides_no_package_of_tests():
    """A distribution that ships a top-level package `tests` would hide a user's folder of that name."""
    for name in ("nltk", "vaderSentiment"):
        files = metadata.distribution(name).files or []
        assert not [path for path in files if path.parts[0] in ("tests", "test")], name


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


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("Sellers outnumber buyers three to one.", -1),
        ("Buyers absorb every sale.", 1),
        ("The decline has run its course.", 1),
        ("Worries over earnings have eased.", 1),
        ("The best is over.", -1),
        ("Losses mount.", -1),
        ("Losses are being recouped steadily.", 1),
        ("Buying interest has dried up.", -1),
        ("Upside potential has diminished.", -1),
        ("Demand outstrips supply by a wide margin.", 1),
        ("Velocity turned from positive to negative.", -1),
        ("Prices advance despite heavy selling.", 1),
        ("Dip buyers stepped in at the lows.", 1),
        ("Buyers failed to push price over resistance.", -1),
        ("Selling pressure is absorbed by passive bids.", 1),
        ("Buyers absorb what is offered.", 1),
        ("Those who want out overpower purchasers.", -1),
        ("Bears drag the stock lower.", -1),
        ("Selling surges.", -1),
        ("Price cannot hold any gain.", -1),
        ("No sign of exhaustion in the advance.", 1),
        ("The price fails to stay above 4,700.", -1),
        ("Neither buyers nor sellers are in control.", 0),
        ("If 4,750 breaks we go higher.", 0),
        ("Sellers ran out of ammunition.", 1),
        ("Whales keep offloading.", -1),
        ("Expected return is -35 bp.", -1),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t catch the falling knife.", -1),
    ],
)
def test_a_side_of_the_market_is_judged_with_what_becomes_of_it(text, sign):
    assert direction(text).sign == sign
