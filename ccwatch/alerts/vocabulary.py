"""The vocabulary of rules: measures, and the columns of the packets table. The grammar, the observer and the guide all read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ccwatch.alerts.grammar import Name, nearest_word
from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import PACKETS, Column


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure that is computed from a stream.

    Attributes:
        name: as written in rules.
        unit: of its values.
        meaning: one line for people.
        per_service: there is one for each agent and model.
        is_silence: it is about silence, which is not judged outside of trading hours.
    """

    name: str
    unit: str
    meaning: str
    per_service: bool = False
    is_silence: bool = False


_TABLE: Final = (
    Measure("late", "", "1 while no packet came for 3 s and 3 usual intervals", is_silence=True),
    Measure("stale", "", "1 while no packet came for 10 s and 10 usual intervals", is_silence=True),
    Measure("not_started", "", "1 from the open and its grace period on while no packet came since the open"),
    Measure("frozen", "packets", "packets since the content last changed"),
    Measure("halt", "", "1 while the engine's status is HALT, the worst of a burst"),
    Measure("drawdown_peak", "fraction", "nav from the trading day's peak, ≤ 0"),
    Measure("drawdown_start", "fraction", "nav from the trading day's starting capital, ≤ 0"),
    Measure("drawdown_inception", "fraction", "nav from its highest peak since watching began, ≤ 0"),
    Measure("day_pnl", "USD", "nav less the trading day's starting capital"),
    Measure("divergence", "fraction", "return less that of the plan ([expected]), since both began"),
    Measure("exposure", "fraction", "implied exposure: share of nav that is not cash; below 0 is short"),
    Measure("latency", "ms", "the latency of each call", per_service=True),
    Measure("latency_usual", "times usual", "median of the last minute's calls over the service's own usual", per_service=True),
    Measure("latency_objective", "objectives", "95 % quantile of the last two minutes' calls over its objective", per_service=True),
    Measure("error_rate", "fraction", "share of the last five minutes' calls that failed", per_service=True),
    Measure("burn_rate", "times budget", "errors over what an objective of 99 % allows: the less of 5 min and 1 h", per_service=True),
    Measure("critical", "", "1 while the regime is Critical"),
    Measure("size_in_critical", "fraction", "the approved size while the regime is Critical"),
    Measure("alpha_sentinel", "", "1 while alpha is a value that engines send when they have none"),
    Measure("schema_drift", "", "1 where a packet does not carry what packets of its kind did"),
    Measure("reconnects", "in 5 min", "connections that followed on another in the last five minutes"),
    Measure("malformed", "in 5 min", "messages of the last five minutes that could not be read"),
    Measure("duplicates", "in 1 min", "packets of the last minute that came twice at once"),
    Measure("rate_usual", "times usual", "packets of the last ten seconds over the rate of the five minutes before"),
    Measure("clock_skew", "", "1 while the server's clock departs from its usual offset"),
    Measure("recorder_lag", "s", "how long what came has not been on the disk; live only"),
)
MEASURES: Final[dict[str, Measure]] = {measure.name: measure for measure in _TABLE}
_RECEIPT: Final = ("time", "seq", "connection", "received_at", "received_mono_ns", "flags", "kind", "dialect")
"""Columns that say how a packet was received, not what it contains."""
NUMBERS: Final[dict[str, Column]] = {c.name: c for c in PACKETS if c.dtype == "float64" and c.name not in _RECEIPT}
WORDS: Final[dict[str, Column]] = {c.name: c for c in PACKETS if c.dtype == "category" and c.name not in _RECEIPT}


def unit_of(name: str) -> str:
    """Return the unit of a measure or column; empty for one that has none."""
    return MEASURES[name].unit if name in MEASURES else NUMBERS[name].unit if name in NUMBERS else ""


def known(name: Name) -> Name:
    """Return the name, checked to be one that rules can use.

    Raises:
        ConfigError: an unknown name (the error suggests the nearest), or a service behind a measure that has no services.
    """
    words = (*MEASURES, *NUMBERS, *WORDS)
    if name.name not in words:
        raise ConfigError(f"unknown measure or column {name.name!r}: {nearest_word(name.name, words)}")
    if name.service is not None and not (name.name in MEASURES and MEASURES[name.name].per_service):
        services = ", ".join(m.name for m in _TABLE if m.per_service)
        raise ConfigError(f"{name}: {name.name} is of no service; those of agents and models are {services}")
    return name


def word_of(column: str, text: str) -> str:
    """Return a word of a column as the stream's packets have it.

    Raises:
        ConfigError: not a word of a closed vocabulary; the error suggests the nearest.
    """
    words = WORDS[column].words
    found = next((str(word) for word in words if str(word).casefold() == text.casefold()), None)
    if words and found is None:
        raise ConfigError(f"{column} is never {text!r}: {nearest_word(text, [str(word) for word in words])}")
    return text if found is None else found
