"""Which way a text points: up, down or neither, by word lists. It reads words, never obeys them, and knows no stream.

Words of movement (Roget's classes of ascent and descent, increase and decrease, improvement and deterioration, as traders use them) weigh
most; all other words weigh by their valence in VADER's list (Hutto & Gilbert 2014), as the library vaderSentiment ships it. Words are
compared by their stems (Porter 1980, in nltk); a negation reverses the words that follow it.

All lists are in lexicon.toml. A side of the market (buyers, supply, losses, a rally) is judged with what becomes of it (Polanyi & Zaenen
2006; Moilanen & Pulman 2007): sellers who gain point down as sellers do, and a decline that fades points up.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

from ccwatch.errors import ConfigError

_CLAUSE: Final = re.compile(r"[.,;:!?()]|\b(?:and|but|as|while|with|because|since|after|so|on|into|once|when)\b")
_CONCESSION: Final = re.compile(
    r"\b(?:despite|in spite of|notwithstanding|regardless of|even with|although|even though|though)\b[^.,;:!?]*"
    r"|^while\b[^.,;:!?]*,|\bfrom \w+ (?=to\b)"
    r"|\b(?:if|unless|until|wait\w*(?: for)?|await\w*)\b[^.,;:!?]*|\bafter\b(?:(?!\bcomes?\b)[^.,;:!?])*"
    r"|\bthan\b[^.,;:!?]*|\b(?<=as )(?:many|much)(?= )"
    r"|\b(?:do|does|would|should) not (?:try to )?(?:catch|fight|stand|step|chase|get)\b(?: in)?(?: the way| front)?"
)
"""Words that are said to be overcome, or a warning: they count for nothing."""
_NUMBER: Final = re.compile(r"(?<!\w)([-+]?)\d[\d.,]*%?(?<![.,])|\d[\d.,]*(?<![.,])")
_ADVERBS: Final = ("ward", "wards", "er")
_VERBS: Final = ("s", "ed", "ing")
_PASSIVE: Final = "is are was were be been being get gets got getting by"
_AFTER: Final = 5
"""How many words after a force what becomes of it may come."""
_BEFORE: Final = 4
"""How many words before it."""
_MOVEMENT: Final = 1.5
_VALENCE: Final = 0.5
"""Weight of VADER's valence, which goes from -4 to 4."""
_BESIDE: Final = 0.3
"""How much of it counts beside words of movement, which say more."""
_REACH: Final = 4
"""How many words after a negation it reverses."""
_PHRASE_REACH: Final = 5
"""How many words before a phrase a negation may lie."""
MARGIN: Final = 0.9
"""By how much one direction must outweigh the other."""
RATED_MARGIN: Final = 1.2
"""The same where nothing but VADER speaks."""
_WORD: Final = re.compile(r"[a-z]+(?:-[a-z]+)?")
_LONGEST: Final = 4000


@dataclass(frozen=True)
class _Lists:
    """The words of lexicon.toml, which says what each list is; a list is a text of words."""

    up: str
    down: str
    forces_up: str
    forces_down: str
    latent: str
    grows: str
    shrinks: str
    acts: str
    dominates: str
    heads: str
    participants: str
    prices: str
    moods: str
    negations: str
    neutral: str
    sayings_up: str
    sayings_down: str
    idioms: list[tuple[str, str]]
    phrases: list[tuple[str, float]]


@cache
def _lists() -> _Lists:
    return _Lists(**tomllib.loads((resources.files(__package__) / "lexicon.toml").read_text(encoding="utf-8")))


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
    rest = text[:_LONGEST].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("can't", "cannot").replace("n't", " not")
    rest = _CONCESSION.sub(" ", _NUMBER.sub(lambda hit: f"{hit[1] or ''}#", rest))
    moved, rated, found = 0.0, 0.0, []
    for phrase, weight in _phrases():
        hits = list(phrase.finditer(rest))
        for hit in hits:
            before = _WORD.findall(_CLAUSE.split(rest[: hit.start()])[-1])
            turned = any(_negates(before, spot) for spot in range(max(0, len(before) - _PHRASE_REACH), len(before)))
            moved += -weight if turned else weight
            quoted = max(hit[0].split("#"), key=len).strip()
            found.append(f"not {quoted}" if turned else quoted)
        rest = phrase.sub(" ", rest) if hits else rest
    said: dict[str, str] = {}
    for idiom, word in _idioms():
        if hits := list(idiom.finditer(rest)):
            said[word.strip()] = hits[0][0].strip()
            rest = idiom.sub(word, rest)
    for clause in _CLAUSE.split(rest):
        words = _WORD.findall(clause)
        weights = _alone(words) | _composed(words)
        for place, (weight, is_movement) in sorted(weights.items()):
            moved, rated = (moved + weight, rated) if is_movement else (moved, rated + weight)
            if weight:
                quoted = said.get(words[place], words[place])
                found.append(quoted if _negation(words, place) is None else f"not {quoted}")
    total = moved + (rated * _BESIDE if moved else rated)
    margin = MARGIN if moved else RATED_MARGIN
    return Direction(0 if abs(total) < margin else 1 if total > 0.0 else -1, total, tuple(found))


def _negation(words: list[str], place: int) -> int | None:
    """Return the place of a negation that reaches a word; None without one, or where two of them cancel out."""
    found = [spot for spot in range(max(0, place - _REACH), place) if _negates(words, spot)]
    return found[-1] if len(found) % 2 else None


def _negates(words: list[str], spot: int) -> bool:
    """Return whether a word is a negation; a failure is one of what it is a failure to do."""
    return words[spot] in _words(_lists().negations) and (not words[spot].startswith("fail") or words[spot + 1 : spot + 2] == ["to"])


def _alone(words: list[str]) -> dict[int, tuple[float, bool]]:
    """Return the weight of each word by itself, and whether it is a word of movement, by its place in the clause.

    A general word of praise or blame counts only beside something of the market that can be good or bad.
    """
    of_market = not (_words(_lists().moods) | _words(_lists().prices)).isdisjoint(words)
    found: dict[int, tuple[float, bool]] = {}
    for place, word in enumerate(words):
        weight, is_movement = _weight(word)
        weight = weight if is_movement or of_market else 0.0
        found[place] = weight if _negation(words, place) is None else -weight, is_movement
    return found


def _composed(words: list[str]) -> dict[int, tuple[float, bool]]:
    """Return the weights of forces and of the words that say what becomes of them, by their place in the clause.

    A force points its own way where it grows or acts on the opposite one, the other way where it shrinks. The other words of the pair
    count for nothing, and neither does a force that only says what kind the next one is ("dip buyers"). Any word with a direction is a
    force where a word after it says that it grows or shrinks ("worries ease").
    """
    found: dict[int, tuple[float, bool]] = {}
    signs = {place: sign for place, word in enumerate(words) if (sign := _force(word))}
    for place, word in enumerate(words):
        if place in found:
            continue
        if place in signs and place + 1 in signs:
            found[place] = 0.0, True
            signs[place + 1] = signs[place] if words[place + 1] in _words(_lists().heads) else signs[place + 1]
            continue
        if place in signs and words[place + 1 : place + 2] == ["interest"]:
            found[place + 1] = 0.0, True
        is_subject = place not in signs and _weight(word)[1] and not word.endswith(_ADVERBS) and word not in _words(_lists().negations)
        weight = _weight(word)[0] if is_subject and _shift(word) == 0.0 else 0.0
        becomes = _becomes(words, place, found, signs) if place in signs or weight else None
        sign = signs.get(place, 0.0)
        if place not in signs:
            if becomes is None or any(spot in signs for spot in range(place, becomes + 1)):
                continue
            sign = (1.0 if weight > 0.0 else -1.0) * (-1.0 if _negation(words, place) is not None else 1.0)
        last = place if becomes is None else max(place, becomes)
        against = next((spot for spot in range(last + 1, last + 5) if signs.get(spot, sign) != sign), None)
        if against is not None and (becomes is not None or word in _words(_lists().participants)):
            found[against] = 0.0, True
        elif becomes is None:
            found |= {place: (0.0, True)} if word in _words(_lists().latent) else {}
            continue
        if becomes is not None and (_change(words, place, becomes) < 0.0) != _suffers(words, place, becomes):
            sign = sign if _acts(words, place, becomes, against) else -sign
        negations = {_negation(words, place), None if becomes is None else _negation(words, becomes)} - {becomes, None}
        if becomes is not None:
            found[becomes] = 0.0, True
        found[place] = (-sign if negations else sign) * _MOVEMENT, True
    return found


@lru_cache(maxsize=20_000)
def _force(word: str) -> float:
    """Return 1 for a force that points up, -1 for one that points down, else 0."""
    if word.endswith("s") and (single := _force(word[:-1])):
        return single
    return 1.0 if word in _words(_lists().forces_up) else -1.0 if word in _words(_lists().forces_down) else 0.0


@cache
def _stems(text: str) -> frozenset[str]:
    return frozenset(key for word in text.split() for key in (word, _stemmer()(word)))


def _is_in(word: str, text: str) -> bool:
    return word in _stems(text) or _stemmer()(word) in _stems(text)


@lru_cache(maxsize=20_000)
def _shift(word: str) -> float:
    """Return 1 for a word that says that a force grows, -1 for one that says that it shrinks, else 0."""
    for text, sign in ((_lists().grows, 1.0), (_lists().shrinks, -1.0)):
        if word in _words(text):
            return sign
    return 1.0 if _is_in(word, _lists().grows) else -1.0 if _is_in(word, _lists().shrinks) else 0.0


def _change(words: list[str], place: int, spot: int) -> float:
    """Return 1 where a word says of a force that it grows, -1 that it shrinks, else 0; a verb of movement says so too ("selling surges").

    Such a verb with a price for its object is the move of the price, not of the force ("sellers sink the stock").
    """
    weight, is_movement = _weight(words[spot])
    if (sign := _shift(words[spot])) or not (weight and is_movement) or _force(words[spot]) or not words[spot].endswith(_VERBS):
        return sign
    if spot > place and not _words(_lists().prices).isdisjoint(words[spot : spot + 4]):
        return 0.0
    return 1.0 if weight > 0.0 else -1.0


def _becomes(words: list[str], place: int, taken: dict[int, tuple[float, bool]], signs: dict[int, float]) -> int | None:
    """Return the place of the nearest word, some before a force or some after it, that says whether it grows or shrinks."""
    before = _BEFORE if place in signs else 0
    near = [*range(place + 1, min(len(words), place + 1 + _AFTER)), *range(place - 1, max(-1, place - 1 - before), -1)]
    near.sort(key=lambda spot: (abs(spot - place), spot > place))
    return next((spot for spot in near if spot not in taken and words[spot] != words[place] and _change(words, place, spot)), None)


def _acts(words: list[str], place: int, becomes: int, against: int | None) -> bool:
    """Return whether a force does to another what the verb after it says, in the active voice."""
    helpers = words[max(place, becomes - 1) : becomes]
    is_passive = helpers == ["being"] if words[becomes].endswith("ing") else not _words(_PASSIVE).isdisjoint(helpers)
    if becomes < place or becomes == len(words) - 1 or is_passive:
        return False
    if against is not None:
        return "by" not in words[becomes:against]
    return _is_in(words[becomes], _lists().acts) and not words[becomes].endswith("ed")


def _suffers(words: list[str], place: int, becomes: int) -> bool:
    """Return whether something unnamed dominates a force ("those who want out overpower purchasers")."""
    return becomes < place and _is_in(words[becomes], _lists().dominates) and not any(_force(word) for word in words[:becomes])


@cache
def _phrases() -> tuple[tuple[re.Pattern[str], float], ...]:
    sayings = ((_sayings(_lists().sayings_up), _MOVEMENT), (_sayings(_lists().sayings_down), -_MOVEMENT))
    return (*sayings, *((re.compile(text), weight) for text, weight in _lists().phrases))


def _sayings(text: str) -> re.Pattern[str]:
    """Return the pattern of any of some sayings, the longest first."""
    lines = sorted((line.strip() for line in text.replace("\n", ",").split(",") if line.strip()), key=len, reverse=True)
    endings = "|".join(re.escape(line).replace(r"\*", r"\w*") for line in lines)
    return re.compile(rf"\b(?:{endings})\b")


@cache
def _idioms() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(text), word) for text, word in _lists().idioms)


@cache
def _stemmer() -> Any:
    try:
        porter = importlib.import_module("nltk.stem.porter")  # an extra: only this question needs it
    except ImportError:
        raise ConfigError(_NEEDED) from None
    return lru_cache(maxsize=20_000)(porter.PorterStemmer().stem)


def _weight(word: str) -> tuple[float, bool]:
    """Return the weight of a word, above zero up, below zero down, and whether it is a word of movement."""
    return _weights().get(word) or _weights().get(_stemmer()(word)) or (0.0, False)


@cache
def _weights() -> dict[str, tuple[float, bool]]:
    """Return the weight of each word and stem, above zero up, below zero down, and whether it is a word of movement."""
    stem = _stemmer()
    try:
        lines = (resources.files("vaderSentiment") / "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    except ImportError:
        raise ConfigError(_NEEDED) from None
    found: dict[str, tuple[float, bool]] = {}
    for line in lines:
        word, valence, *_ = line.split("\t")
        if _WORD.fullmatch(word):
            found[word] = _VALENCE * float(valence), False
    for words, sign in ((_lists().up, 1), (_lists().down, -1)):
        for word in _words(words):
            for key in {word, stem(word)}:
                found[key] = sign * _MOVEMENT, True
    for word, (_, is_movement) in list(found.items()):
        if not is_movement and (moving := found.get(stem(word), (0.0, False)))[1]:
            found[word] = moving
    found |= {"up": (0.5, True), "down": (-0.5, True)}  # in many phrases they point nowhere
    for word in _words(_lists().neutral):
        found.pop(word, None)
        found.pop(stem(word), None)
    return found


_NEEDED: Final = "reasoning needs the word lists: pip install 'ccwatch[words]'"
