"""The rules: the measure of each, its limit and its durations. They know no stream and no clock.

The words are Prometheus': a rule is PENDING while its limit is passed for less than `for_s`, and a firing is kept for `keep_s` after
it ended. In addition there are hysteresis, a least number of observations, and a separate state for no data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2s
from typing import Any, Final, Literal

from ccwatch.domain.limits import (
    ALPHA_SENTINELS,
    CALLS_NO_DATA_S,
    CRITICAL_S,
    DRAWDOWN_HALTS,
    DRAWDOWN_HALTS_CLEARS,
    DRAWDOWN_INCEPTION,
    DRAWDOWN_INCEPTION_CLEARS,
    DRAWDOWN_WARNS,
    DRAWDOWN_WARNS_CLEARS,
    DRIFT_LEAST_N,
    DUPLICATES,
    FLOOD,
    FROZEN_PACKETS,
    LATE_INTERVALS,
    LATE_NS,
    LATENCY_FAILS,
    LATENCY_FAILS_CLEARS,
    LATENCY_FAILS_S,
    LATENCY_WARNS,
    LATENCY_WARNS_CLEARS,
    LATENCY_WARNS_S,
    MALFORMED,
    MUCH_SLOWER,
    MUCH_SLOWER_CLEARS,
    MUCH_SLOWER_S,
    NO_DATA_S,
    RECONNECTS,
    RECORDER_LAG_CLEARS_S,
    RECORDER_LAG_FOR_S,
    RECORDER_LAG_S,
    SECOND,
    SENTINEL_S,
    SKEWED_LEAST_N,
    SLOWER,
    SLOWER_CLEARS,
    SLOWER_LEAST_N,
    SLOWER_S,
    STALE_INTERVALS,
    STALE_NS,
)
from ccwatch.errors import ConfigError


class AlertState(StrEnum):
    """The state of a rule. NO_DATA is a separate state: silence never resolves a firing."""

    OK = "OK"
    PENDING = "PENDING"
    FIRING = "FIRING"
    NO_DATA = "NO_DATA"


class Severity(StrEnum):
    """How much a firing matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


Hours = Literal["session", "always"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on one measure of the stream.

    Attributes:
        name: of the rule, in lower case with dashes.
        measure: the observed measure, a name of `ccwatch.alerts.vocabulary`.
        limit: it is passed at this value, and beyond.
        meaning: one line for people.
        unit: of the measure.
        severity: how much a firing matters.
        clears: a firing ends on this side of it, the limit not passed; between the two the state stays (hysteresis). None is the limit.
        below: whether "beyond" means at or below the limit, as for drawdowns.
        for_s: how long the limit must be passed without a break before the rule fires, s.
        least_n: how many observations in a row must pass it.
        keep_s: how long a firing goes on after the measure has cleared, s.
        no_data_s: without an observation for so long the rule has no data, s.
        latched: a firing ends only once it is acknowledged.
        about_stream: it judges how the stream is received, not the market: it cannot be a false alarm of a drawdown.
        hours: "session" judges only while the market trades, where trading hours are known; "always" round the clock.
        runbook: where to read what to do: an address or a path.
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
    hours: Hours = "always"
    runbook: str = ""

    def __post_init__(self) -> None:
        """Raise ConfigError for a rule that cannot be judged.

        Raises:
            ConfigError: names the rule and what it should have been.
        """
        if math.isnan(self.limit) or self.for_s < 0.0 or self.keep_s < 0.0 or self.no_data_s <= 0.0 or self.least_n < 1:
            raise ConfigError(f"rule {self.name!r}: expected a limit, for_s and keep_s from 0, no_data_s above 0 and least_n from 1")
        if self.clears is not None and (self.clears < self.limit if self.below else self.clears > self.limit):
            side = "above" if self.below else "below"
            raise ConfigError(f"rule {self.name!r}: clears={self.clears:g} should lie {side} its limit {self.limit:g}")

    @property
    def text(self) -> str:
        """Return the condition in words: "drawdown_peak <= -0.02"."""
        return f"{self.measure} {'<=' if self.below else '>='} {self.limit:g}"

    @property
    def digest(self) -> str:
        """Return 16 hex digits made from every field but meaning, runbook and unit, so that an edit changes them."""
        return digest_of(*(getattr(self, name) for name in self.__slots__ if name not in {"meaning", "runbook", "unit"}))


_PEAK, _START = "drawdown from the day's peak", "drawdown from the day's starting capital"
_ANY: Final = math.nextafter(0.0, 1.0)
"""The least value above 0."""
_SLOW: Final = "the median call of a minute takes {:g} times the service's usual, for {:g} min"


def _percent(limit: float) -> str:
    return f"\N{MINUS SIGN}{-100.0 * limit:g} %"


def _drawdown(name: str, measure: str, what: str, limit: float, clears: float, severity: Severity) -> Rule:
    return Rule(name, measure, limit, f"{what} at {_percent(limit)}", "fraction", severity, clears=clears, below=True)


def _slow(name: str, times: float, clears: float, for_s: float, severity: Severity) -> Rule:
    meaning = _SLOW.format(times, for_s / 60.0)
    return Rule(
        *(name, "latency_usual", times, meaning, "times usual", severity),
        clears=clears,
        for_s=for_s,
        least_n=SLOWER_LEAST_N,
        no_data_s=CALLS_NO_DATA_S,
        hours="session",
    )


def _silence(name: str, measure: str, meaning: str, severity: Severity) -> Rule:
    return Rule(name, measure, 1.0, meaning, severity=severity, no_data_s=math.inf, about_stream=True, hours="session")


def _over_objective(name: str, times: float, clears: float, for_s: float, severity: Severity) -> Rule:
    meaning = f"p95 at {times:g} times its objective, for {for_s / 60.0:g} min"
    return Rule(name, "latency", times, meaning, "objectives", severity, clears=clears, for_s=for_s)


def _traffic(
    name: str, measure: str, limit: int, meaning: str, unit: str = "", severity: Severity = Severity.WARNING, least_n: int = 1
) -> Rule:
    return Rule(name, measure, float(limit), meaning, unit, severity, least_n=least_n, about_stream=True, hours="session")


_WARNING, _CRITICAL = Severity.WARNING, Severity.CRITICAL
_NOT_STARTED: Final = "the engine has not started: no packet since the open"

DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    _silence("late", "late", f"no packet for {LATE_NS / SECOND:g} s and {LATE_INTERVALS} usual intervals", Severity.INFO),
    _silence("stale", "stale", f"no packet for {STALE_NS / SECOND:g} s and {STALE_INTERVALS} usual intervals", _WARNING),
    _silence("not-started", "not_started", _NOT_STARTED, _CRITICAL),
    Rule(
        *("frozen", "frozen", float(FROZEN_PACKETS), f"{FROZEN_PACKETS} packets with the same content under new timestamps", "packets"),
        about_stream=True,
        hours="session",
    ),
    Rule("halt", "halt", 1.0, "the engine's status is HALT", severity=_CRITICAL, latched=True),
    _drawdown("drawdown-peak-1.5", "drawdown_peak", _PEAK, DRAWDOWN_WARNS, DRAWDOWN_WARNS_CLEARS, _WARNING),
    _drawdown("drawdown-peak-2", "drawdown_peak", _PEAK, DRAWDOWN_HALTS, DRAWDOWN_HALTS_CLEARS, _CRITICAL),
    _drawdown("drawdown-start-1.5", "drawdown_start", _START, DRAWDOWN_WARNS, DRAWDOWN_WARNS_CLEARS, _WARNING),
    _drawdown("drawdown-start-2", "drawdown_start", _START, DRAWDOWN_HALTS, DRAWDOWN_HALTS_CLEARS, _CRITICAL),
    _drawdown(
        *("drawdown-inception", "drawdown_inception", "drawdown from the highest peak since watching began"),
        *(DRAWDOWN_INCEPTION, DRAWDOWN_INCEPTION_CLEARS, _CRITICAL),
    ),
    _slow("latency-3x", SLOWER, SLOWER_CLEARS, SLOWER_S, _WARNING),
    _slow("latency-6x", MUCH_SLOWER, MUCH_SLOWER_CLEARS, MUCH_SLOWER_S, _CRITICAL),
    _over_objective("latency-1.5x", LATENCY_WARNS, LATENCY_WARNS_CLEARS, LATENCY_WARNS_S, _WARNING),
    _over_objective("latency-2x", LATENCY_FAILS, LATENCY_FAILS_CLEARS, LATENCY_FAILS_S, _CRITICAL),
    Rule("critical", "critical", 1.0, f"the regime is Critical, for {CRITICAL_S:g} s", severity=Severity.INFO, for_s=CRITICAL_S),
    Rule("size-in-critical", "size_in_critical", _ANY, "a size above 0 in Critical", "fraction", _CRITICAL),
    Rule(
        *("alpha-sentinel", "alpha_sentinel", 1.0, f"alpha is at a sentinel value, for {SENTINEL_S:g} s"),
        for_s=SENTINEL_S,
        hours="session",
    ),
    Rule(
        "schema-drift",
        "schema_drift",
        1.0,
        f"{DRIFT_LEAST_N} packets in a row do not carry what packets of their kind did, or carry it otherwise",
        least_n=DRIFT_LEAST_N,
    ),
    _traffic("reconnects", "reconnects", RECONNECTS, f"{RECONNECTS} reconnects in 5 min", "in 5 min"),
    _traffic("malformed", "malformed", MALFORMED, f"{MALFORMED} messages in 5 min could not be read", "in 5 min"),
    _traffic("flood", "rate_usual", FLOOD, f"packets at {FLOOD} times the usual rate", "times usual"),
    _traffic("duplicates", "duplicates", DUPLICATES, f"{DUPLICATES} packets in a minute came twice", "in 1 min", Severity.INFO),
    _traffic("clock-skew", "clock_skew", 1, "the server's clock departs from its usual offset by more than 2 s", least_n=SKEWED_LEAST_N),
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
"""The rules that every view, report and guard begins with. No service has an objective until one is set."""

CONTRACT_OBJECTIVES: Final = "Chronos=150, FinBERT=25, reasoning LLM=3000, memory search=200, scanner=2000"
"""The contract's figures for p95 in ms: drawn as lines, never judged by themselves."""
SENTINELS: Final = ALPHA_SENTINELS
DRIFTS: Final = "WRONG_TYPE", "UNKNOWN_WORD", "UNIT"
"""Flags of a packet that by themselves say that the schema has drifted."""


def read_objectives(text: str) -> dict[str, float]:
    """Read objectives such as `"Chronos=150, FinBERT=25"`: p95 in ms by the beginning of a service's name.

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


def drawn_objectives(text: str) -> dict[str, float]:
    """Return the objectives that are drawn: those that are set, else the contract's figures."""
    return read_objectives(text or CONTRACT_OBJECTIVES)


def objective_of(service: str, objectives: Mapping[str, float]) -> float:
    """Return the objective (p95, ms) whose name the service's begins with, without case, blanks and signs; the longest counts.

    Returns:
        NaN where nothing matches: what has no objective is not judged.
    """
    key = _key(service)
    matching = [(len(_key(name)), value) for name, value in objectives.items() if key.startswith(_key(name))]
    return max(matching)[1] if matching else math.nan


def digest_of(*parts: Any) -> str:
    """Return a short digest of plain values: 16 hex digits, the same on every machine."""
    return blake2s("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def _key(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
