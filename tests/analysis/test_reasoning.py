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

UP = (
    "Quotes keep ascending and participation is improving",
    "The instrument soars with broadening enthusiasm",
    "Prices are climbing on growing optimism",
    "We see flourishing conditions and accelerating progress",
    "An impressive surge, investors are delighted",
    "Values leap as confidence strengthens",
    "It has risen steadily and outlook is favorable",
    "Strong expansion, the tape is soaring",
    "Buyers are firmly in charge and each pullback gets absorbed",
    "The quote keeps ticking to new territory on top of the range",
    "Shares gather steam after an upbeat print",
    "Everything we watch is heading skywards",
    "Bulls dominate; the path of least effort is higher",
    "Prices have been inching north all session",
    "Momentum keeps building and the trend is intact",
    "Sentiment turned rosy, money flows in",
    "Earnings exceeded hopes, the stock is winning",
    "The market is roaring ahead",
    "Dips get bought quickly",
    "A powerful upswing is underway",
    "Technical picture improved considerably",
    "The chart shows a series of ascending bottoms",
    "Investors are confident and adding exposure",
    "Stock is undervalued, a rerating is likely",
    "Bids stack up and the ask keeps getting taken out",
    "We anticipate further appreciation given resilient demand",
    "Everything points to a continued ascent",
    "Strong hands are accumulating on every retrace",
    "The ticker is on fire",
    "Positive surprise in guidance should send it higher",
    "Its trajectory is steeply ascending",
    "Large players are loading up",
    "Relative performance is excellent",
    "Bottom formation complete, upturn ahead",
    "Trend followers would stay long here",
    "A sharp jump in quotes with widening breadth",
    "Price action is encouraging",
    "Value has doubled since the open",
    "Expected path is skyward with high probability",
    "Energetic advance, little selling interest",
    "A wave of purchasing is carrying the name to levels unseen this month",
    "The setup favors an ascent from here",
    "Quotes leapt after the announcement and have not looked back",
    "Participants bid aggressively for every lot",
    "The curve bends skyward",
    "A brisk upturn is in progress",
    "Improving liquidity encourages fresh purchases",
    "Our indicators agree that value will appreciate",
    "Stellar figures, the crowd is jubilant",
    "The rebound has gained traction",
    "Shares vault to a record",
    "We are witnessing a melt-up",
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
    "Sellers are firmly in charge and each bounce gets sold",
    "The quote keeps ticking to new territory at the bottom of the range",
    "Shares lose steam after a disappointing print",
    "Everything we watch is heading for the floor",
    "Bears dominate; the path of least effort is lower",
    "Prices have been inching south all session",
    "Momentum is rolling over and the trend is broken",
    "Sentiment turned sour, money flows out",
    "Earnings fell short of hopes, the stock is losing",
    "The market is bleeding out",
    "Rallies get sold quickly",
    "A violent downswing is underway",
    "Technical picture deteriorated considerably",
    "The chart shows a series of descending tops",
    "Investors are nervous and cutting exposure",
    "Stock is overvalued, a derating is likely",
    "Offers stack up and the bid keeps getting hit",
    "We anticipate further depreciation given waning demand",
    "Everything points to a continued descent",
    "Weak hands are dumping on every bounce",
    "The ticker is in freefall",
    "Negative surprise in guidance should send it lower",
    "Its trajectory is steeply descending",
    "Large players are heading for the exits",
    "Relative performance is terrible",
    "Top formation complete, downturn ahead",
    "Trend followers would stay short here",
    "A sharp drop in quotes with narrowing breadth",
    "Price action is worrying",
    "Value has halved since the open",
    "Expected path is southward with high probability",
    "Listless decline, little buying interest",
    "A wave of disposal is carrying the name to levels unseen this month",
    "The setup favors a descent from here",
    "Quotes nosedived after the announcement and have not recovered",
    "Participants hit every bid in size",
    "The curve bends groundward",
    "A brisk downturn is in progress",
    "Worsening liquidity discourages fresh purchases",
    "Our indicators agree that value will depreciate",
    "Dismal figures, the crowd is alarmed",
    "The relapse has gathered pace",
    "Shares plummet to a record trough",
    "We are witnessing a meltdown",
)
NEITHER = (
    "Waiting for enough observations before a side is taken",
    "The agents follow the schedule of the session",
    "Position size is set by the allocator",
    "Halted by the circuit breaker",
    "Velocity +0.13 and alignment 0.8 point to BUY",
    "HALT received, flat until resume",
    "No signal this cycle",
    "Allocator caps the position at 10 percent",
    "Hill estimator updated on 250 returns",
    "Latency budget exceeded, using cached forecast",
    "Regime Critical: governance vetoes all trades",
    "Scanner found QQQ with hurst 0.55",
    "Mean reversion candidate, spread 0.02",
    "Waiting for the next bar",
    "Order routed to venue V",
    "Sizing 15 percent of nav",
)


@pytest.mark.slow
def test_paraphrases_are_read_with_precision_and_recall():
    """Among them some that share no word with the lists of movement, and are read by VADER's list, by a phrase, or not at all."""
    right = sum(direction(text).sign == 1 for text in UP) + sum(direction(text).sign == -1 for text in DOWN)
    wrong = sum(direction(text).sign == -1 for text in UP) + sum(direction(text).sign == 1 for text in DOWN)
    wrong += sum(direction(text).sign != 0 for text in NEITHER)
    assert right / len((*UP, *DOWN)) >= 0.8
    assert right / (right + wrong) >= 0.9


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
    ],
)
def test_a_side_of_the_market_is_judged_with_what_becomes_of_it(text, sign):
    assert direction(text).sign == sign
