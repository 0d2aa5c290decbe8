"""The rules: what is judged, beyond which limit, for how long. They know no stream and no clock.

The words are Prometheus': a rule is PENDING while its limit is passed for less than `for_s`, and a firing is kept for `keep_s` after
it ended. Beside these stand hysteresis, a least number of observations, and a state of its own for no data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ccwatch.domain.limits import (
    ALPHA_SENTINELS,
    CRITICAL_S,
    DRAWDOWN_HALTS,
    DRAWDOWN_HALTS_CLEARS,
    DRAWDOWN_WARNS,
    DRAWDOWN_WARNS_CLEARS,
    DRIFT_LEAST_N,
    FROZEN_PACKETS,
    LATE_INTERVALS,
    LATE_NS,
    LATENCY_FAILS,
    LATENCY_FAILS_CLEARS,
    LATENCY_FAILS_S,
    LATENCY_WARNS,
    LATENCY_WARNS_CLEARS,
    LATENCY_WARNS_S,
    NO_DATA_S,
    RECORDER_LAG_CLEARS_S,
    RECORDER_LAG_FOR_S,
    RECORDER_LAG_S,
    SECOND,
    SENTINEL_S,
    STALE_INTERVALS,
    STALE_NS,
)
from ccwatch.errors import ConfigError


class AlertState(StrEnum):
    """Where a rule stands. NO_DATA is a state of its own: silence never resolves a firing."""

    OK = "OK"
    PENDING = "PENDING"
    FIRING = "FIRING"
    NO_DATA = "NO_DATA"


class Severity(StrEnum):
    """How much a firing matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on one measure of the stream.

    Attributes:
        name: of the rule, in lower case with dashes.
        measure: what is observed; see `ccwatch.alerts.measures`.
        limit: it is passed at this value, and beyond.
        meaning: one line for people.
        unit: of the measure.
        severity: how much a firing matters.
        clears: a firing ends on this side of it, the limit not passed; between the two the state stands (hysteresis). None is the limit.
        below: whether "beyond" means at or below the limit, as for drawdowns.
        for_s: how long the limit must be passed without a break before the rule fires, s.
        least_n: how many observations in a row must pass it.
        keep_s: how long a firing goes on after the measure has cleared, s.
        no_data_s: without an observation for so long the rule has no data, s.
        latched: a firing ends only when someone acknowledges it.
        about_stream: it judges how the stream is received, not the market: it cannot be a false alarm of a drawdown.
    """

    name: str
    measure: str
    limit: float
    meaning: str
    unit: str = ""
    severity: Severity = Severity.WARNING
    clears: float | None = None
    below: bool = False
    for_s: float = 0.0
    least_n: int = 1
    keep_s: float = 0.0
    no_data_s: float = NO_DATA_S
    latched: bool = False
    about_stream: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be judged.

        Raises:
            ConfigError: names the rule and what it should have been.
        """
        if math.isnan(self.limit) or self.for_s < 0.0 or self.keep_s < 0.0 or self.no_data_s <= 0.0 or self.least_n < 1:
            raise ConfigError(f"rule {self.name!r}: expected a limit, for_s and keep_s from 0, no_data_s above 0 and least_n from 1")
        if self.clears is not None and (self.clears < self.limit if self.below else self.clears > self.limit):
            side = "above" if self.below else "below"
            raise ConfigError(f"rule {self.name!r}: clears={self.clears:g} should lie {side} its limit {self.limit:g}")


_PEAK, _START = "drawdown from the running peak", "drawdown from the starting capital"
_WARNS, _HALTS = (f"\N{MINUS SIGN}{-100.0 * limit:g} %" for limit in (DRAWDOWN_WARNS, DRAWDOWN_HALTS))


DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "late",
        "late",
        1.0,
        f"no packet for {LATE_NS / SECOND:g} s and {LATE_INTERVALS} usual intervals",
        severity=Severity.INFO,
        no_data_s=math.inf,
        about_stream=True,
    ),
    Rule(
        "stale",
        "stale",
        1.0,
        f"no packet for {STALE_NS / SECOND:g} s and {STALE_INTERVALS} usual intervals",
        no_data_s=math.inf,
        about_stream=True,
    ),
    Rule(
        "frozen",
        "frozen",
        float(FROZEN_PACKETS),
        f"{FROZEN_PACKETS} packets with the same content under new timestamps",
        "packets",
        about_stream=True,
    ),
    Rule("halt", "halt", 1.0, "the engine's status is HALT", severity=Severity.CRITICAL, latched=True),
    *(
        Rule(f"drawdown-{name}-{text}", f"drawdown_{name}", limit, f"{words} at {said}", "fraction", severity, clears=clears, below=True)
        for name, words in (("peak", _PEAK), ("start", _START))
        for text, limit, said, severity, clears in (
            ("1.5", DRAWDOWN_WARNS, _WARNS, Severity.WARNING, DRAWDOWN_WARNS_CLEARS),
            ("2", DRAWDOWN_HALTS, _HALTS, Severity.CRITICAL, DRAWDOWN_HALTS_CLEARS),
        )
    ),
    *(
        Rule(
            f"latency-{limit:g}x",
            "latency",
            limit,
            f"p95 at {limit:g} times its objective, for {for_s / 60:g} min",
            "objectives",
            severity,
            clears=clears,
            for_s=for_s,
        )
        for limit, clears, for_s, severity in (
            (LATENCY_WARNS, LATENCY_WARNS_CLEARS, LATENCY_WARNS_S, Severity.WARNING),
            (LATENCY_FAILS, LATENCY_FAILS_CLEARS, LATENCY_FAILS_S, Severity.CRITICAL),
        )
    ),
    Rule("critical", "critical", 1.0, f"the regime is Critical, for {CRITICAL_S:g} s", for_s=CRITICAL_S),
    Rule("size-in-critical", "size_in_critical", math.nextafter(0.0, 1.0), "a size above 0 in Critical", "fraction", Severity.CRITICAL),
    Rule("alpha-sentinel", "alpha_sentinel", 1.0, f"alpha stands at a sentinel value, for {SENTINEL_S:g} s", for_s=SENTINEL_S),
    Rule(
        "schema-drift",
        "schema_drift",
        1.0,
        f"{DRIFT_LEAST_N} packets in a row do not carry what packets of their kind did, or carry it otherwise",
        least_n=DRIFT_LEAST_N,
    ),
    Rule(
        "recorder-lag",
        "recorder_lag",
        RECORDER_LAG_S,
        f"what came is not on the disk after {RECORDER_LAG_S:g} s, for {RECORDER_LAG_FOR_S:g} s",
        "s",
        clears=RECORDER_LAG_CLEARS_S,
        for_s=RECORDER_LAG_FOR_S,
        about_stream=True,
    ),
)
"""The rules that every view and report begins with."""

SENTINELS: Final = ALPHA_SENTINELS
DRIFTS: Final = "WRONG_TYPE", "UNKNOWN_WORD", "UNIT"
"""Flags of a packet that by themselves say that the schema has drifted."""


def read_objectives(text: str) -> dict[str, float]:
    """Objectives as the setting writes them, `"Chronos=150, FinBERT=25"`: p95 in ms by the beginning of a service's name.

    Raises:
        ConfigError: a part that is no name=milliseconds.
    """
    found = {}
    for part in text.split(","):
        name, sign, number = part.partition("=")
        if not part.strip():
            continue
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not sign or not _key(name) or not 0.0 < value < math.inf:
            raise ConfigError(f"objectives: {part.strip()!r}: expected a name and milliseconds above 0, for example 'Chronos=150'")
        found[name.strip()] = value
    return found


def objective_of(service: str, objectives: Mapping[str, float]) -> float:
    """The objective (p95, ms) whose name the service's begins with, without case, blanks and signs; the longest counts.

    Returns:
        NaN where nothing matches: what has no objective is not judged.
    """
    key = _key(service)
    matching = [(len(_key(name)), value) for name, value in objectives.items() if key.startswith(_key(name))]
    return max(matching)[1] if matching else math.nan


def _key(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
