"""Suggestions: limits that calm sessions would not have passed. It writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import COLUMNS, Calls, Columns, Observer, Rule
from ccwatch.domain.hours import TradingHours
from ccwatch.guard.backtest import backtest
from ccwatch.recording import Recording

NEVER: Final = Rule("never", "halt", 2.0, "a rule that never fires")


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Proposed limits.

    Attributes:
        rules: a DataFrame with columns: name, when (the condition), worst (value seen), sessions (how many were calm).
        calm: names of the sessions that the limits come from.
        others: names of those that were left out, since they hold an incident.
    """

    rules: pd.DataFrame
    calm: tuple[str, ...]
    others: tuple[str, ...]


def suggest(recordings: Sequence[Recording], hours: TradingHours | None = None, *, margin: float = 1.5) -> Suggestion:
    """Suggest limits from calm sessions: the worst value seen of each measure, times a margin.

    A session that holds an incident (a drawdown, a halt, a mark; see `backtest`) is not calm: no limit is taken from it.
    """
    calm: list[Recording] = []
    others: list[Recording] = []
    for recording in recordings:
        if len(recording.frame(["seq"], clean=False)):
            found = backtest([NEVER], [recording], hours=hours).incidents
            (others if found else calm).append(recording)
    worst: dict[tuple[str, str], float] = {}
    for recording in calm:
        frame = recording.frame(list(COLUMNS), clean=False)
        times, mono = pd.DatetimeIndex(frame.index).as_unit("ns").asi8, frame["received_mono_ns"].to_numpy().astype(np.int64)
        is_virtual = len(times) > 1 and 2 * int(mono[-1] - mono[0]) < int(times.max() - times.min())
        observer = Observer({}, hours=hours, virtual_clock=is_virtual)
        tables = [Calls.of_frame("agents", recording.agents()), Calls.of_frame("models", recording.models())]
        for (measure, subject), seen in observer.observe(Columns.of_frame(frame, COLUMNS), tables).items():
            if measure in _SUGGESTED:
                pick: Callable[[Any], Any] = np.min if measure.startswith("drawdown") else np.max
                value = float(pick(np.abs(seen.value) if measure == "exposure" else seen.value))
                key = measure, subject if measure == "latency" else ""
                worst[key] = float(pick([worst.get(key, value), value]))
    rows = []
    for (measure, subject), value in sorted(worst.items()):
        limit = value * margin
        if not limit or not np.isfinite(limit):
            continue
        below = measure.startswith("drawdown")
        shown = f"{100.0 * limit:.3g}%" if measure.startswith("drawdown") or measure == "exposure" else f"{limit:.4g}"
        of = f'{measure}:"{subject}"' if subject else f"abs({measure})" if measure == "exposure" else measure
        name = "-".join(filter(None, (measure.replace("_", "-"), subject)))
        rows.append({"name": name, "when": f"{of} {'<=' if below else '>='} {shown}", "worst": value, "sessions": len(calm)})
    table = pd.DataFrame(rows, columns=["name", "when", "worst", "sessions"])
    return Suggestion(table, tuple(r.session.session for r in calm), tuple(r.session.session for r in others))


_SUGGESTED: Final = frozenset({"drawdown_peak", "exposure", "latency_usual", "latency", "error_rate"})
