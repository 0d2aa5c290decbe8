"""Divergence from a plan as a function of a frame: a panel of a dashboard and a measure of rules. It knows no source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ccwatch.alerts import Severity, WrittenRule
from ccwatch.analysis.usable_rows import Floats, numbers, times_ns
from ccwatch.errors import ConfigError, MissingColumns


def divergence_of(actual: Floats, expected: Floats, start_usd: float) -> Floats:
    """Return how far profit and loss (USD) depart from the plan's, as a fraction of the nav at which both began."""
    return (actual - expected) / start_usd


class Divergence:
    """Actual less expected profit and loss over the nav at which both began; a fraction. Frozen."""

    __name__ = "divergence"

    def __init__(self, plan: pd.Series, started_at: pd.Timestamp, start_usd: float) -> None:
        """Hold the plan.

        Args:
            plan: index time; profit and loss, USD.
            started_at: the time at which both began: packets before it have no divergence.
            start_usd: nav at that time.
        """
        known = plan.dropna()
        self._times, self._profit = times_ns(known.to_frame("plan")), known.to_numpy(dtype=np.float64)
        self._from, self._start = int(started_at.as_unit("ns").value), float(start_usd)

    def __call__(self, frame: pd.DataFrame) -> pd.Series:
        """Return the divergence at each row of a packets frame; NaN without a nav, and before or after the plan.

        Raises:
            MissingColumns: the frame has no nav.
        """
        if "nav" not in frame.columns:
            raise MissingColumns("divergence", ("nav",))
        times, nav = times_ns(frame), numbers(frame["nav"])
        if not len(self._times):
            return pd.Series(np.nan, index=frame.index, name="divergence")
        place = np.searchsorted(self._times, times, side="right") - 1
        within = (place >= 0) & (times >= self._from) & (times <= self._times[-1])
        expected = np.where(within, self._profit[np.maximum(place, 0)], np.nan)
        return pd.Series(divergence_of(nav - self._start, expected, self._start), index=frame.index, name="divergence")

    def rule(self, limit: float, *, name: str = "divergence", for_: str = "0s", severity: Severity | str = Severity.WARNING) -> WrittenRule:
        """Return a rule that fires while the newest packet is on the far side of a limit.

        Args:
            limit: a fraction: below 0, it fires at or below it; above 0, at or above it.
            name: of the rule.
            for_: how long it must hold without a break.
            severity: of the rule.

        Raises:
            ConfigError: a limit of 0, or none.
        """
        if not np.isfinite(limit) or limit == 0.0:
            raise ConfigError(f"limit={limit!r}: expected a fraction below or above 0, for example -0.005")

        def holds(frame: pd.DataFrame) -> Any:
            known = self(frame.iloc[-1:]).to_numpy()
            if not np.isfinite(known).all():
                return None
            return bool(known[0] <= limit if limit < 0.0 else known[0] >= limit)

        side = "at or below" if limit < 0.0 else "at or above"
        meaning = f"divergence from the plan {side} {limit:.3g} of the first nav"
        return WrittenRule(name, holds, for_=for_, severity=Severity(severity), meaning=meaning)
