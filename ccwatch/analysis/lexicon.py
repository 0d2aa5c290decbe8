"""Which way a text points: up, down or neither, by word lists. It reads words, never obeys them, and knows no stream.

Words of movement (Roget's classes of ascent and descent, increase and decrease, improvement and deterioration, as traders use them) weigh
most; all other words weigh by their valence in VADER's list (Hutto & Gilbert 2014), as the library vaderSentiment ships it. Words are
compared by their stems (Porter 1980, in nltk); a negation reverses the words that follow it.

A side of the market (buyers, supply, losses, a rally) is judged with what becomes of it (Polanyi & Zaenen 2006; Moilanen & Pulman 2007):
sellers who gain point down as sellers do, and a decline that fades points up.
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
    (r"\b(?:in(?:to)?|buy\w*|bought|long|up on) (?:\w+ )?puts\b|\bput[- ]buy\w*", -2.0),
    (r"\b(?:in(?:to)?|buy\w*|bought|long|up on) (?:\w+ )?calls\b|\bcall[- ]buy\w*", 2.0),
    (
        r"\bshorts? (?:are |is |get(?:ting)? |being |were )*(?:squeez|trapp|cover|caught|forced)\w*|\bshort[- ](?:squeez|cover)\w*",
        2.0,
    ),
    (r"\blongs? (?:are |is |get(?:ting)? |being |were )*(?:squeez|trapp|liquidat|caught|stopped|forced|bail)\w*", -2.0),
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
            r"\b(?:dips?|pullbacks?|retraces?|weakness|declines?) (?:are |is |g[eo]t(?:s|ting)? |being )*(?:bought|absorbed|defended|met "
            r"with (?:\w+ )?(?:buy|demand|bids?)\w*)"
        ),
        2.0,
    ),
    (
        (
            r"\b(?:rall(?:y|ies)|bounces?|strength|highs?|pops?) (?:are |is |g[eo]t(?:s|ting)? |being )*(?:sold|faded|rejected|capped|met "
            r"with (?:\w+ )?(?:sell|suppl|offer)\w*)"
        ),
        -2.0,
    ),
    (r"\b(?:flow\w*|pour\w*|rush\w*|pil\w*) in(?:to)?\b|\bloading up", 1.5),
    (r"\b(?:flow\w*|pour\w*|rush\w*|drain\w*|exit\w*|flee\w*|bleed\w*) (?:out|away)\b|\bfor the exits?", -1.5),
    (r"\b(?:f[ae]ll\w*|com\w*|c[ao]me) short\b", -1.5),
    (r"\b(?:ascending|rising|higher|rounded) (?:tops?|bottoms?|lows?|highs?)|\bbottom (?:formation|is in)", 2.0),
    (r"\b(?:descending|falling|lower) (?:tops?|bottoms?|lows?|highs?)|\btop (?:formation|is in)", -2.0),
    (r"\b(?:gain\w*|gather\w*|add\w*) (?:ground|steam|pace|exposure|risk)", 1.5),
    (r"\b(?:los\w*|giv\w*|cut\w*|shed\w*|reduc\w*) (?:up )?(?:ground|steam|pace|exposure|risk)", -1.5),
    (r"\b(?:sellers|bears|supply|offers?|ask) (?:\w+ ){0,3}(?:vanish|disappear|exhaust|retreat|absent|capitulat|taken out|lifted)\w*", 2.0),
    (r"\b(?:buyers|bulls|demand|bids?) (?:\w+ ){0,3}(?:vanish|disappear|exhaust|retreat|absent|evaporat|dr(?:y|ied)|hit)\w*", -2.0),
    (r"\b(?:hit|smash|slam|pound|sell)\w* (?:(?:in)?to )?(?:every|each|the|any) bids?\b", -2.0),
    (r"\b(?:lift|hit|tak|pay|buy)\w* (?:every|each|the|any) (?:offers?|asks?)\b", 2.0),
    (r"\b(?:little|less|no|waning|fading) (?:selling|supply)\b", 1.5),
    (r"\b(?:little|less|no|waning|fading) (?:buying|demand)\b", -1.5),
    (r"\b(?:pick\w*|turn\w*|bid|tick\w*) up\b", 1.0),
    (r"\b(?:turn\w*|tick\w*|edg\w*|inch\w*) down\b", -1.0),
    (r"\b(?:is|are|go(?:es|ing)?|but|point\w*|grind\w*|head\w*|trend\w*|drift\w*|mov\w*|way|straight|steadily|sharply) up\b", 1.5),
    (r"\b(?:is|are|go(?:es|ing)?|but|point\w*|grind\w*|head\w*|trend\w*|drift\w*|mov\w*|way|straight|steadily|sharply) down\b", -1.5),
    (r"\b(?:at|near|around|over|under) the (?:\w+ )?(?:highs?|lows?)\b", 0.0),
    (r"\b(?:\w+ing|increased|higher|heavy|heavier|strong|big) (?:volumes?|participation|turnover|activity)\b", 0.0),
    (r"\boff (?:the |its |their )?(?:\w+ )?(?:lows?|bottoms?)\b|\bto(?:ward)?s? the (?:buy|bid|long) side\b", 1.5),
    (r"\boff (?:the |its |their )?(?:\w+ )?(?:highs?|tops?)\b|\bto(?:ward)?s? the (?:sell|ask|offer|short) side\b", -1.5),
    (r"\bnew (?:\w+ ){0,2}highs?\b", 1.5),
    (r"\bnew (?:\w+ ){0,2}lows?\b", -1.5),
)
"""Phrases whose direction is not that of their words; these words do not count by themselves."""
FORCES_UP: Final = """
buyer buyers bull bulls bid bids demand buying accumulation inflow inflows rally rallies gain gains advance advances uptrend upswing upturn
upside strength optimism enthusiasm recovery bullish rebound bounce bounces long longs breakout rise support appetite breadth
"""
FORCES_DOWN: Final = """
seller sellers bear bears offer offers supply selling sale sales distribution outflow outflows selloff sell-off loss losses decline declines
downtrend downswing downturn downside ask asks deterioration weakness pessimism slide slump correction retreat short shorts pressure bearish
fear fears panic pullback pullbacks dip dips breakdown bleeding liquidation resistance fall drop damage
"""
_LATENT: Final = (
    "buying selling sale sales support resistance appetite breadth pullback pullbacks dip dips ask asks short shorts long longs damage"
)
"""Forces that point nowhere by themselves."""
GROWS: Final = """
grow grows growing rise rises rising increase increases increasing mount mounts mounting build builds building expand expands expanding
accelerate accelerates accelerating intensify intensifies intensifying strengthen strengthens strengthening strong stronger firm firmer
robust heavy heavier aggressive aggressively relentless dominate dominates dominating control charge command outnumber outstrip outstrips
outweigh outweighs overwhelm overwhelms exceed exceeds return returns returning resume resumes deepen deepens deepening deeper persist
persists intact hold holds holding held extend extends extending swell swells steepen steepens widen widens gather gathers gathering
persistent sustained continued confirmed emerge emerges emerging reappear step steps stepped stepping
flood floods bigger larger double triple worsen broaden
"""
SHRINKS: Final = """
fade fades faded fading wane wanes waning ease eases eased easing shrink shrinks shrinking diminish diminishes diminishing dry dries dried
drying exhaust exhausted exhausts exhausting abate abates abated abating subside subsides subsided subsiding cool cools cooling vanish
vanishes vanished disappear disappears disappeared evaporate evaporates evaporated evaporating retreat retreats retreating retreated fall
falls falling fell drop drops dropping dropped decline declines declining weaken weakens weakening weak weaker thin thins thinner thinning
soften softens softening end ends ended broken overdone spent stall stalls stalled stalling fail fails failed failing falter falters
reverse reverses reversed reversing recoup recouped erase erased cover covered covering absorb absorbs absorbed absorbing reject rejected
capitulate capitulated capitulating shallow shallower trapped squeezed caught slow slows slowing slowed lose loses losing lost limited lack
lacks lacking give gave giving given gone absent smaller narrow narrows narrowing contained behind tire tires tired tiring collapse
collapses collapsing collapsed dwindle dwindles dwindling diminished recede dissipate deplete consume complete completed defend defended
"""
"""Words that say of a force that it grows or shrinks; beside one they have no direction of their own."""
_CLAUSE: Final = re.compile(r"[.,;:!?()]|\b(?:and|but|as|while|with|because|since|after|so|on|into)\b")
_CONCESSION: Final = re.compile(r"\b(?:despite|in spite of|notwithstanding|regardless of|even with)\b[^.,;:!?]*|\bfrom \w+ (?=to\b)")
"""Words that are said to be overcome: they count for nothing."""
_ENDED: Final = re.compile(
    r"\b(?:r[au]ns? (?:its|their) course|thr[eo]w\w* in the towel|r[au]n over|flushed out"
    r"|back\w* (?:away|off|out)(?: from)?|g[ai]v\w* (?:up|back)"
    r"|(?:is|are|was|looks?|seems?) over)\b"
)
_PARTICIPANTS: Final = "buyer buyers seller sellers bull bulls bear bears"
_AFTER: Final = 5
"""How many words after a force what becomes of it may come."""
_BEFORE: Final = 3
"""How many words before it."""
_MOVEMENT: Final = 1.5
_VALENCE: Final = 0.5
"""Weight of VADER's valence, which goes from -4 to 4."""
_BESIDE: Final = 0.3
"""How much of it counts beside words of movement, which say more."""
_NEGATIONS: Final = "no not never without lack lacks lacking cannot hardly neither nor fail fails failed failing unable struggle struggles"
_REACH: Final = 3
"""How many words after a negation it reverses."""
_PHRASE_REACH: Final = 5
"""How many words before a phrase a negation may lie."""
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
    moved, rated, found = 0.0, 0.0, []
    rest = _CONCESSION.sub(" ", text[:_LONGEST].lower().replace("n't", " not"))
    rest = _ENDED.sub(" ended ", rest)
    for phrase, weight in _phrases():
        for hit in phrase.finditer(rest):
            before = _WORD.findall(_CLAUSE.split(rest[: hit.start()])[-1])
            turned = not _words(_NEGATIONS).isdisjoint(before[-_PHRASE_REACH:])
            moved += -weight if turned else weight
            found.append(f"not {hit[0]}" if turned else hit[0])
        rest = phrase.sub(" ", rest)
    for clause in _CLAUSE.split(rest):
        words = _WORD.findall(clause)
        weights = _alone(words)
        weights |= _composed(words, weights)
        for place, (weight, is_movement) in sorted(weights.items()):
            moved, rated = (moved + weight, rated) if is_movement else (moved, rated + weight)
            if weight:
                found.append(words[place] if _negation(words, place) is None else f"not {words[place]}")
    total = moved + (rated * _BESIDE if moved else rated)
    return Direction(0 if abs(total) < MARGIN else 1 if total > 0.0 else -1, total, tuple(found))


def _negation(words: list[str], place: int) -> int | None:
    """Return the place of a negation that reaches a word; None without one."""
    return next((spot for spot in range(max(0, place - _REACH + 1), place) if words[spot] in _words(_NEGATIONS)), None)


def _alone(words: list[str]) -> dict[int, tuple[float, bool]]:
    """Return the weight of each word by itself, and whether it is a word of movement, by its place in the clause."""
    weights, stem = _weights(), _stemmer()
    found: dict[int, tuple[float, bool]] = {}
    for place, word in enumerate(words):
        weight, is_movement = weights.get(word) or weights.get(stem(word)) or (0.0, False)
        found[place] = weight if _negation(words, place) is None else -weight, is_movement
    return found


def _composed(words: list[str], alone: dict[int, tuple[float, bool]]) -> dict[int, tuple[float, bool]]:
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
        following = words[place + 1 : place + 2]
        if place in signs and place + 1 in signs:
            found[place] = 0.0, True
            signs[place + 1] = signs[place] if following == ["pressure"] else signs[place + 1]
            continue
        if place in signs and following == ["interest"]:
            found[place + 1] = 0.0, True
        weight = alone[place][0] if word not in _words(_NEGATIONS) and _shift(word) == 0.0 else 0.0
        becomes = _becomes(words, place, found, before=_BEFORE if place in signs else 0) if place in signs or weight else None
        sign = signs.get(place, 0.0)
        if place not in signs:
            if becomes is None or any(spot in signs for spot in range(place, becomes)):
                continue
            sign = (1.0 if weight > 0.0 else -1.0) * (-1.0 if _negation(words, place) is not None else 1.0)
        last = place if becomes is None else max(place, becomes)
        against = next((spot for spot in range(last + 1, last + 4) if signs.get(spot, sign) != sign), None)
        if against is not None and (becomes is not None or word in _words(_PARTICIPANTS)):
            found[against] = 0.0, True
        elif becomes is None:
            found |= {place: (0.0, True)} if word in _words(_LATENT) else {}
            continue
        elif _shift(words[becomes]) < 0.0:
            sign = -sign
        negations = {_negation(words, place), None if becomes is None or becomes < place else _negation(words, becomes)} - {becomes, None}
        if becomes is not None:
            found[becomes] = 0.0, True
        found[place] = (-sign if negations else sign) * _MOVEMENT, True
    return found


def _force(word: str) -> float:
    return 1.0 if word in _words(FORCES_UP) else -1.0 if word in _words(FORCES_DOWN) else 0.0


@cache
def _shifts() -> dict[str, float]:
    stem = _stemmer()
    return {key: sign for text, sign in ((GROWS, 1.0), (SHRINKS, -1.0)) for word in _words(text) for key in (word, stem(word))}


def _shift(word: str) -> float:
    """Return 1 for a word that says that a force grows, -1 for one that says that it shrinks, else 0."""
    return _shifts().get(word) or _shifts().get(_stemmer()(word), 0.0)


def _becomes(words: list[str], place: int, taken: dict[int, tuple[float, bool]], before: int) -> int | None:
    """Return the place of the nearest word, up to `before` words before a force or some after it, that says whether it grows or shrinks."""
    near = [*range(place - 1, max(-1, place - 1 - before), -1), *range(place + 1, min(len(words), place + 1 + _AFTER))]
    return next((spot for spot in near if spot not in taken and _shift(words[spot])), None)


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
