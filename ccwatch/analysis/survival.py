"""Kaplan and Meier's product-limit estimator. It knows durations and whether each one was seen to its end, nothing else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd


def kaplan_meier(durations: npt.ArrayLike, ended: npt.ArrayLike) -> pd.DataFrame:
    """Estimate the survival curve of durations of which some were cut short (Kaplan & Meier 1958; standard error by Greenwood 1926).

    Args:
        durations: how long each one was seen, in any unit, ≥ 0.
        ended: whether it was seen to end; False is censored: it lasted longer than its duration.

    Returns:
        One row per distinct duration at which one ended, ascending: duration, at_risk, ended (counts), survival (fraction that lasts
        longer), std_error (fraction; NaN once survival is 0).
    """
    times = np.asarray(durations, dtype=np.float64)
    seen = np.asarray(ended, dtype=bool)
    moments, died = np.unique(times[seen], return_counts=True)
    at_risk = len(times) - np.searchsorted(np.sort(times), moments, side="left")
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(1.0 - died / at_risk)
        variance = np.cumsum(died / (at_risk * (at_risk - died)).astype(np.float64))
        error = survival * np.sqrt(variance)
    return pd.DataFrame({"duration": moments, "at_risk": at_risk, "ended": died, "survival": survival, "std_error": error})


def quantile(curve: pd.DataFrame, p: float) -> float:
    """Return the smallest duration by which at least the fraction p has ended; NaN where the curve does not come down that far."""
    reached = curve["duration"].to_numpy()[curve["survival"].to_numpy() <= 1.0 - p + 1e-12]
    return float(reached[0]) if len(reached) else np.nan
