"""Rules as people write them: a condition in words, or a function of a frame. It knows no stream and no file."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from ccwatch.alerts import vocabulary
from ccwatch.alerts.conditions import Condition, clearing, compile_condition
from ccwatch.alerts.grammar import names_in, nearest_word
from ccwatch.alerts.rules import Hours, Severity, digest_of
from ccwatch.domain.durations import seconds_of
from ccwatch.domain.limits import CALLS_NO_DATA_S, NO_DATA_S
from ccwatch.errors import ConfigError


@dataclass(frozen=True)
class Rule:
    """One rule: when it fires, for whom, and how much that matters.

    Attributes:
        name: of the rule.
        when: a condition such as "drawdown_peak <= -2%" or "alpha < 1.7 and exposure > 10%", or a function that takes the frame of the
            last 15 minutes up to a packet, and returns whether it holds at the frame's last row.
        for_: how long it must hold without a break: "30s", "5min".
        clears: the end of a firing: a condition, or a bare value for the only measure of `when`; None ends it once `when` no longer holds.
        severity: "info", "warning" or "critical".
        hours: "session" judges only while the market trades, where trading hours are known; "always" round the clock.
        runbook: where to read what to do: an address or a path.
        meaning: one line for people; None is the condition itself.

    Raises:
        ConfigError: something that cannot be judged; an unknown name with the nearest one.
    """

    name: str
    when: str | Callable[[Any], Any]
    _: KW_ONLY
    for_: str = "0s"
    clears: str | None = None
    severity: Severity = Severity.WARNING
    hours: Hours = "session"
    runbook: str | None = None
    meaning: str | None = None
    least_n: ClassVar[int] = 1
    keep_s: ClassVar[float] = 0.0
    latched: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ConfigError for a rule that cannot be judged."""
        name: Any = self.name
        if not isinstance(name, str) or not name.strip() or not self.name.isprintable() or len(self.name) > 80:
            raise ConfigError(f"a rule's name is a word of up to 80 signs, got {self.name!r:.100}")
        self._chosen("severity", [str(word) for word in Severity])
        self._chosen("hours", ["session", "always"])
        object.__setattr__(self, "severity", Severity(self.severity))
        try:
            seconds_of(self.for_)
        except (ValueError, TypeError, AttributeError):
            raise self._wrong(f"for_={self.for_!r} is no duration; expected for example '30s' or '5min'") from None
        for word in ("runbook", "meaning", "clears"):
            if not isinstance(getattr(self, word), str | None):
                raise self._wrong(f"{word}={getattr(self, word)!r}: expected text")
        if not isinstance(self.when, str):
            if not callable(self.when):
                raise self._wrong(f"when={self.when!r}: expected a condition such as 'drawdown_peak <= -2%', or a function of a frame")
            if self.clears is not None:
                raise self._wrong("clears goes with a condition in words; a function says itself when it is over")
            return
        try:
            compile_condition(self.when)
            _ = self.clearing
        except ConfigError as error:
            raise self._wrong(str(error)) from None

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"rule {self.name!r}: {what}")

    def _chosen(self, attribute: str, words: list[str]) -> None:
        value = getattr(self, attribute)
        if not isinstance(value, str) or value not in words:
            raise self._wrong(f"{attribute}={value!r}: {nearest_word(str(value), words)}")

    # ── as the evaluator reads it ──

    @property
    def condition(self) -> Condition | None:
        """Return the compiled condition; None for a function."""
        return compile_condition(self.when) if isinstance(self.when, str) else None

    @cached_property
    def clearing(self) -> Condition | None:
        """Return the condition that ends a firing; None where it ends once the rule's own condition no longer holds."""
        condition = self.condition
        return None if condition is None or self.clears is None else clearing(condition, self.clears)

    @property
    def text(self) -> str:
        """Return the condition as text; for a function its name."""
        return self.when if isinstance(self.when, str) else f"{getattr(self.when, '__name__', 'a function')}(frame)"

    @property
    def digest(self) -> str:
        """Return 16 hex digits made from name, condition, `for_`, `clears`, severity and hours, so that an edit changes them."""
        what = self.when if isinstance(self.when, str) else _source_of(self.when)
        return digest_of(self.name, what, self.for_, self.clears, self.severity, self.hours)

    @property
    def unit(self) -> str:
        """Return the unit of the measure whose value an alert shows."""
        return "" if self.condition is None else self.condition.unit

    @property
    def below(self) -> bool:
        """Return whether low values of that measure are the bad ones."""
        return self.condition is not None and self.condition.below

    @property
    def for_s(self) -> float:
        """Return `for_` in seconds."""
        return seconds_of(self.for_)

    @property
    def no_data_s(self) -> float:
        """Return the seconds without an observation after which the rule has no data; infinity where it judges silence itself."""
        condition = self.condition
        if condition is None:
            return NO_DATA_S
        if condition.awaits:
            return math.inf
        return CALLS_NO_DATA_S if condition.slots else NO_DATA_S

    @property
    def about_stream(self) -> bool:
        """Return whether it judges how the stream is received, not the market."""
        names = [] if self.condition is None else [name for name in names_in(self.condition.tree) if name.name in vocabulary.MEASURES]
        return bool(names) and all(name.name in _STREAM for name in names)


_STREAM: Final = frozenset(
    {"late", "stale", "not_started", "frozen", "recorder_lag", "reconnects", "malformed", "duplicates", "rate_usual", "clock_skew"}
)


def _source_of(function: Callable[[Any], Any]) -> str:
    """Return a function's source text, or its code object's contents where the source is not available."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(function) if code is None else f"{code.co_code!r}{code.co_consts!r}{code.co_names!r}"
