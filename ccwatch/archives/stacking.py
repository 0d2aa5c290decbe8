"""Combining answers of several desks that do not merge: drawdowns are listed side by side, the others are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ccwatch.analysis import Drawdowns
from ccwatch.archives.kernels import refused


def stack(answers: list[Any]) -> Any:
    """Return the answers of several desks as one.

    Raises:
        AnalysisError: the answers are no drawdowns.
    """
    if not all(isinstance(answer, Drawdowns) for answer in answers):
        raise refused(answers[0].question, len(answers))
    return _drawdowns(answers)


def _drawdowns(answers: list[Drawdowns]) -> Drawdowns:
    """Return every desk's episodes, each below its own peak, by time."""
    first = answers[0]
    basis = first.basis
    for answer in answers[1:]:
        basis = basis.merge(answer.basis, apart=True)
    episodes = pd.concat([answer.episodes for answer in answers]).sort_values("start_time", kind="stable", ignore_index=True)
    curve = pd.concat([answer.curve.assign(after_gap=_broken(answer.curve)) for answer in answers])
    weights = np.array([answer.basis.n for answer in answers], dtype=np.float64)
    squares = np.array([answer.ulcer_index**2 for answer in answers])
    columns = {answer.column for answer in answers}
    note = f"of {len(answers)} streams, each below its own peak; the last one's current drawdown is not that of all"
    return replace(
        first,
        column=first.column if len(columns) == 1 else "value",
        episodes=episodes,
        max_drawdown=float(np.fmin.reduce([answer.max_drawdown for answer in answers])),
        current=float("nan"),
        ulcer_index=float(np.sqrt(np.nansum(weights * squares) / np.nansum(weights))) if weights.sum() else float("nan"),
        under_water_s=float(sum(answer.under_water_s for answer in answers)),
        curve=curve,
        days=first.days.iloc[:0],  # of one account alone
        basis=basis,
        notes=(*dict.fromkeys(note for answer in answers for note in answer.notes), note),
    )


def _broken(curve: pd.DataFrame) -> Any:
    found = curve["after_gap"].to_numpy(dtype=bool).copy()
    found[:1] = True
    return found
