"""Which way a text points: up, down or neither, by word lists. It reads words, never obeys them, and knows no stream.

Words of movement (Roget's classes of ascent and descent, increase and decrease, improvement and deterioration, as traders use them) weigh
most; all other words weigh by their valence in VADER's list (Hutto & Gilbert 2014), as the library vaderSentiment ships it. Words are
compared by their stems (Porter 1980, in nltk); a negation reverses the words that follow it.
"""

from __future__ import annotations

import importlib
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

from ccwatch.errors import ConfigError

UP: Final = """
upward upwards upside uptrend uptick upturn higher highs peak peaks rise rises rising rose risen climb climbs climbed climbing ascend
ascending ascent soar soars surge surges jump jumps leap leaps rally rallies rebound rebounds bounce bounces recover recovery advance
advancing gain gains mount mounting march marches pop pops skyrocket rocket rockets lift lifts lifted lifting propel propels boost boosts
buoy buoyant push pushing expand expansion expanding grow growing growth accelerate accelerating strengthen strengthening strong stronger
firm firming sturdy robust solid healthy vigor vigorous appreciate appreciation breakout breakouts outperform outperforming beat beats
bull bulls bullish buyer buyers bid bids demand accumulate accumulation oversold undervalued cheap long inflow inflows supportive tailwind
tailwinds upswing roar roaring rosy win winning intact building steam improve improving improvement better brighten brightens brighter
flourish flourishing thrive thriving bloom optimism optimistic constructive favorable favourable positive cheerful enthusiasm enthusiastic
upbeat exuberant euphoria conviction skyward skywards north northward reclaim reclaims thrust impulse outpace outpaces promising
encouraging resilient uplift hike raise raises raised upgrade upgraded escalate escalating zoom zooms elevate elevated bright energetic
doubled tripled excellent leapt purchase purchases purchasing melt-up vault vaults stellar jubilant
"""
DOWN: Final = """
downward downwards downside downtrend downtick downturn lower lows trough troughs fall falls falling fell fallen drop drops dropped
dropping sink sinks sinking slide slides sliding slip slips slipped slump slumps tumble tumbles plunge plunges plunging plummet plummets
crash crashes collapse collapses tank tanks dive dives nosedive crater craters cave caves sag sags drag drags descend descending descent
retreat retreats recede recedes decline declines declining dip dips decrease reduce shrink shrinks shrinking contract contracts
contraction ebb ebbs erode erodes eroding erosion fade fades fading wither withers evaporate evaporated dry dries decay weaken weakening
weak weaker weakness soft softening soften fragile feeble deteriorate deteriorating deterioration worsen worsening worse depreciate
depreciation breakdown underperform miss misses bear bears bearish sell-off selloff seller sellers offers supply distribution overbought
overvalued expensive short outflow outflows headwind headwinds pressure pressured heavy bleed bleeding dump dumps dumping unload liquidate
liquidation capitulate capitulation unwind bail exhausted exhaustion panic fear fears nervous anxious worry worried worrying sour souring
downswing violent lose losing disappoint disappointing downgrade downgraded broken unravel unravels freefall halved waning wane sluggish
listless terrible gloomy gloom dark darken darkens negative adverse unfavorable unfavourable hostile pessimism pessimistic distress
distressed damaging bleak grim loss losses dying vanish vanishes disappear disappears cut cuts cutting shed sheds shaky jittery turmoil
crisis trapped southward reject rejected rejection falter falters crumble crumbles buckle buckles south disposal dispose meltdown relapse
nosedived dismal alarmed discourage discourages
"""
"""Words of movement. A side's own name is not among them, since a text may name the side without a reason for it."""
PHRASES: Final = (
    (r"\bshorts? (?:are |is |get |being |were )*(?:squeez|trapp|cover|caught|forced)\w*|\bshort[- ]squeez\w*|\bshort[- ]cover\w*", 2.0),
    (r"\blongs? (?:are |is |get |being |were )*(?:squeez|trapp|liquidat|caught|stopped|forced|bail)\w*", -2.0),
    (
        r"\b(?:above|over|through|past|clear\w*|break\w*|broke) (?:\w+ ){0,2}resistance|\bresistance (?:\w+ )?(?:broke\w*|gave|clear\w*)",
        2.0,
    ),
    (
        r"\b(?:below|beneath|under|through|los\w+|break\w*|broke) (?:\w+ ){0,2}support|\bsupport (?:\w+ )?(?:broke\w*|gave|fail\w*|lost)",
        -2.0,
    ),
    (r"\b(?:fail\w*|reject\w*|stall\w*|capped) (?:\w+ ){0,2}(?:resistance|the highs?)", -2.0),
    (r"\b(?:hold\w*|held|defend\w*|bounc\w*) (?:\w+ ){0,2}(?:support|the lows?)", 2.0),
    (r"\b(?:above|north of|ahead of) (?:\w+ ){0,2}(?:spot|vwap|fair|average|market|last|the open|yesterday)", 1.5),
    (r"\b(?:below|beneath|south of|under) (?:\w+ ){0,2}(?:spot|vwap|fair|average|market|last|the open|yesterday)", -1.5),
    (r"\b(?:break\w*|push\w*|trad\w*|poke\w*) (?:up )?(?:above|over|through)\b", 1.5),
    (r"\b(?:break\w*|push\w*|trad\w*|poke\w*) (?:down )?(?:below|beneath|under)\b", -1.5),
    (r"\b(?:roll\w*|turn\w*|break\w*|broke) (?:over|down)\b", -1.5),
    (
        (
            r"\b(?:dips?|pullbacks?|retraces?|weakness|declines?) (?:are |is |get |gets |got |being )*(?:bought|absorbed|defended|met with "
            r"(?:\w+ )?(?:buy|demand|bids?)\w*)"
        ),
        2.0,
    ),
    (
        (
            r"\b(?:rall(?:y|ies)|bounces?|strength|highs?|pops?) (?:are |is |get |gets |got |being )*(?:sold|faded|rejected|capped|met "
            r"with (?:\w+ )?(?:sell|suppl|offer)\w*)"
        ),
        -2.0,
    ),
    (r"\b(?:flow\w*|pour\w*|rush\w*|pil\w*) in(?:to)?\b|\bloading up", 1.5),
    (r"\b(?:flow\w*|pour\w*|rush\w*|drain\w*|exit\w*|flee\w*|bleed\w*) out\b|\bfor the exits?", -1.5),
    (r"\b(?:f[ae]ll\w*|com\w*|c[ao]me) short\b", -1.5),
    (r"\b(?:ascending|rising|higher|rounded) (?:tops?|bottoms?|lows?|highs?)|\bbottom (?:formation|is in)", 2.0),
    (r"\b(?:descending|falling|lower) (?:tops?|bottoms?|lows?|highs?)|\btop (?:formation|is in)", -2.0),
    (r"\b(?:gain\w*|gather\w*|add\w*) (?:ground|steam|pace|exposure|risk)", 1.5),
    (r"\b(?:los\w*|giv\w*|cut\w*|shed\w*|reduc\w*) (?:up )?(?:ground|steam|pace|exposure|risk)", -1.5),
    (r"\b(?:sellers|bears|supply|offers?|ask) (?:\w+ ){0,3}(?:vanish|disappear|exhaust|retreat|absent|capitulat|taken out|lifted)\w*", 2.0),
    (r"\b(?:buyers|bulls|demand|bids?) (?:\w+ ){0,3}(?:vanish|disappear|exhaust|retreat|absent|evaporat|dr(?:y|ied)|hit)\w*", -2.0),
    (r"\bhit (?:every|each|the|any) bids?\b", -2.0),
    (r"\blift\w* (?:every|each|the|any) offers?\b", 2.0),
    (r"\b(?:little|less|no|waning|fading) (?:selling|supply)\b", 1.5),
    (r"\b(?:little|less|no|waning|fading) (?:buying|demand)\b", -1.5),
    (r"\b(?:pick\w*|turn\w*|bid|tick\w*) up\b", 1.0),
)
"""Phrases whose direction is not that of their words; these words do not count by themselves."""
_MOVEMENT: Final = 1.5
_VALENCE: Final = 0.45
"""Weight of VADER's valence, which goes from -4 to 4."""
_BESIDE: Final = 0.3
"""How much of it counts beside words of movement, which say more."""
_NEGATIONS: Final = "no not never without lack lacks lacking cannot hardly neither nor"
_REACH: Final = 3
"""How many words after a negation it reverses."""
MARGIN: Final = 0.9
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
    rest = text[:_LONGEST].lower().replace("n't", " not")
    moved, rated, found, turned = 0.0, 0.0, [], 0
    for phrase, weight in _phrases():
        for hit in phrase.finditer(rest):
            moved += weight
            found.append(hit[0])
        rest = phrase.sub(" ", rest)
    for word in _WORD.findall(rest):
        turned = _REACH if word in _words(_NEGATIONS) else max(0, turned - 1)
        weight, is_movement = weights.get(word) or weights.get(stem(word)) or (0.0, False)
        if weight:
            weight = -weight if turned else weight
            moved, rated = (moved + weight, rated) if is_movement else (moved, rated + weight)
            found.append(f"not {word}" if turned else word)
    total = moved + (rated * _BESIDE if moved else rated)
    return Direction(0 if abs(total) < MARGIN else 1 if total > 0.0 else -1, total, tuple(found))


@cache
def _phrases() -> tuple[tuple[re.Pattern[str], float], ...]:
    return tuple((re.compile(text), weight) for text, weight in PHRASES)


@cache
def _stemmer() -> Any:
    try:
        porter = importlib.import_module("nltk.stem.porter")  # an extra: only this question needs it
    except ImportError:
        raise ConfigError(_NEEDED) from None
    return lru_cache(maxsize=20_000)(porter.PorterStemmer().stem)


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
    for words, sign in ((UP, 1), (DOWN, -1)):
        for word in _words(words):
            for key in {word, stem(word)}:
                found[key] = sign * _MOVEMENT, True
    for word, (_, is_movement) in list(found.items()):
        if not is_movement and (moving := found.get(stem(word), (0.0, False)))[1]:
            found[word] = moving
    found |= {"up": (0.5, True), "down": (-0.5, True)}  # in many phrases they point nowhere
    for word in _words(_NEUTRAL):
        found.pop(word, None)
        found.pop(stem(word), None)
    return found


_NEEDED: Final = "reasoning needs the word lists: pip install 'ccwatch[words]'"
_NEUTRAL: Final = """
buy sell hold order trade trading market price position signal forecast model agent agents point points tail index share shares stock
close open value volume mean average reversion regime velocity momentum alignment past limit take make go get set run interest security
well while under over wait waiting enough before after away large small stable critical gaussian median board way risk alert stop stops
favor favors favour favours halt halted breaker veto vetoed confidence confident resistance support fail fails failed failing no yes like
please clear aggressive fresh volatility novelty free ease matter matters reach want hand strength has had ha exceed exceeded budget high
low progress agree agrees participants
"""
"""Words of the trade itself, which point nowhere whatever a general list says."""
