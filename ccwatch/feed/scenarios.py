"""The registry of scenarios: which incidents are planted in a seeded stream, and when. It knows no market, no bytes and no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from ccwatch.errors import ConfigError, no_such
from ccwatch.protocol.messages import Regime

PlantKind = Literal[
    "regime", "slow-agent", "drawdown", "halt", "gap", "frozen", "clock-skew", "malformed", "duplicate", "reconnect", "flood", "lossy"
]


@dataclass(frozen=True, slots=True)
class Incident:
    """One planted incident, in seconds of the stream's own time since its first packet; `end_s` is exclusive, inf for never."""

    kind: str
    start_s: float
    end_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class Plant:
    """One planted incident by packet number: it acts on packets `first` ≤ n < `end` (None: for good).

    Its kind says what it changes: `regime`, `slow-agent`, `drawdown` and `halt` change the world, the others the emission,
    `reconnect` the connections.
    """

    kind: PlantKind
    first: int
    end: int | None
    detail: str
    what: str = ""
    """The regime, the agent, or the way of mangling."""
    at_least_s: float = 0.0
    """The least duration in s at any rate: a pause of half a second would not count as a gap."""

    def at(self, rate: float) -> Plant:
        """Return this incident as it is in a stream of `rate` packets per second."""
        if self.end is None or not self.at_least_s:
            return self
        end = max(self.end, self.first + math.ceil(self.at_least_s * rate))
        return replace(self, end=end)

    @property
    def last(self) -> float:
        """Return the number of the last packet that it acts on, inf if it never ends."""
        return math.inf if self.end is None else self.end - 1

    def acts_on(self, n: int) -> bool:
        """Return whether it acts on packet n."""
        return self.first <= n <= self.last


DRAWDOWN_BEFORE_HALT: Final = -0.019
"""The drawdown just before the halt of a planted slide (fraction)."""
DRAWDOWN_AT_HALT: Final = -0.022
"""The drawdown at the halt, past the limit."""
HALT_LIMIT: Final = -0.02
SLOW_FACTOR: Final = 8.0
"""How many times its usual latency a slow agent takes."""
SKEW_S: Final = 90.0
"""How far a skewed clock is ahead, in seconds."""

LOSSY_EVERY: Final = 10
"""Of how many messages one is damaged on a lossy way."""
FLOOD: Final = 50
"""How many packets a flood has in the place of one."""

MOST_S: Final = 1e9
"""The latest start, in s, that a scenario may name for a plant."""

_G, _L, _C = Regime.GAUSSIAN, Regime.LEVY, Regime.CRITICAL

SCENARIOS: Final[Mapping[str, tuple[Plant, ...]]] = MappingProxyType(
    {
        "calm": (),
        "regime-flip": (
            Plant("regime", 0, 120, "Gaussian", _G),
            Plant("regime", 120, 200, "Lévy Stable", _L),
            Plant("regime", 200, 240, "Critical: every size is vetoed", _C),
            Plant("regime", 240, 280, "Lévy Stable", _L),
            Plant("regime", 280, None, "Gaussian for good", _G),
        ),
        "slow-agent": (Plant("slow-agent", 120, 240, f"RiskAgent takes {SLOW_FACTOR:g} times its usual latency", "RiskAgent"),),
        "drawdown-halt": (
            Plant("regime", 120, 180, "Lévy Stable", _L),
            Plant("drawdown", 120, 181, f"the price slides until the drawdown is {DRAWDOWN_AT_HALT:.1%}"),
            Plant("halt", 180, None, f"status HALT: the drawdown is past {HALT_LIMIT:.0%}"),
            Plant("regime", 180, 210, "Critical", _C),
        ),
        "gap": (Plant("gap", 90, 120, "packets that are never sent", at_least_s=15.0),),
        "frozen": (Plant("frozen", 90, 120, "the same state under new timestamps", at_least_s=15.0),),
        "clock-skew": (Plant("clock-skew", 90, 100, f"timestamps {SKEW_S:g} s ahead"),),
        "malformed": tuple(
            Plant("malformed", 30 * i, 30 * i + 1, detail, what)
            for i, (what, detail) in enumerate(
                (
                    ("truncated", "the first half of a packet"),
                    ("array", "a packet within an array"),
                    ("text", "no JSON at all"),
                    ("foreign", "a JSON object of no known shape"),
                ),
                start=1,
            )
        ),
        "duplicate": (Plant("duplicate", 60, 70, "each packet is sent twice"),),
        "reconnect-storm": tuple(Plant("reconnect", n, n + 1, "every connection is cut") for n in range(90, 120, 5)),
        "lossy": (Plant("lossy", 30, None, f"one message in {LOSSY_EVERY} is flipped, dropped, swapped with the next, or comes twice"),),
        "flood": (Plant("flood", 60, 70, f"{FLOOD} packets in the place of each", at_least_s=1.0),),
    }
)


def plants(scenario: str, rate: float) -> tuple[Plant, ...]:
    """Return the plants of a scenario in a stream of `rate` packets per second.

    Scenarios are combined with "+", and moved with "@": "slow-agent+gap@300" has the gap begin 300 s into the stream. Where two plants
    of one kind would act at once, that of the later scenario does.

    Raises:
        ConfigError: no such scenario; the message lists them.
    """
    found: list[Plant] = []
    for part in scenario.split("+"):
        for plant in _part(part.strip(), rate):
            found = [rest for other in found for rest in _without(other, plant)] + [plant]
    if sum(plant.kind == "drawdown" for plant in found) > 1:
        raise ConfigError(f"scenario: {scenario!r} plants two drawdowns; after the first one's halt there is no position to lose on")
    return tuple(found)


def _part(part: str, rate: float) -> list[Plant]:
    """Return the plants of one scenario, moved to its time where it names one."""
    name, at, start = part.partition("@")
    if name not in SCENARIOS:
        raise ConfigError(f"{no_such('scenario', name, SCENARIOS)}, or several as in 'slow-agent+gap@300'")
    found = [plant.at(rate) for plant in SCENARIOS[name]]
    if not at or not found:
        return found
    try:
        start_s = float(start)
    except ValueError:
        start_s = math.nan
    if not 0 <= start_s < MOST_S:
        raise ConfigError(f"scenario: expected seconds after the @, as in {name}@300, got {part!r}")
    shift = round(start_s * rate) - min(plant.first for plant in found)
    return [replace(plant, first=plant.first + shift, end=None if plant.end is None else plant.end + shift) for plant in found]


def _without(plant: Plant, later: Plant) -> list[Plant]:
    """Return the parts of a plant that remain where a later one of its kind takes over."""
    if plant.kind != later.kind or plant.last < later.first or later.last < plant.first:
        return [plant]
    left = [replace(plant, end=later.first)] if plant.first < later.first else []
    right = [replace(plant, first=later.end)] if later.end is not None and plant.last >= later.end else []
    return left + right


def planted(scenario: str, rate: float = 1.0) -> tuple[Incident, ...]:
    """Return the incidents that a scenario plants in a stream of `rate` packets per second, in order of their start.

    Raises:
        ConfigError: no such scenario; the message lists them.
    """
    return tuple(
        Incident(plant.kind, plant.first / rate, (plant.last + 1) / rate, plant.detail)
        for plant in sorted(plants(scenario, rate), key=lambda plant: plant.first)
    )
