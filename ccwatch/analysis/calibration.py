"""Calibration of stated probabilities: Brier score, its decomposition, reliability bins. It knows numbers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ccwatch.analysis.returns import wilson


@dataclass(frozen=True, eq=False)
class Calibration:
    """The agreement of stated probabilities with outcomes. All scores without unit; NaN without observations.

    brier = reliability - resolution + uncertainty + within_variance - within_covariance, exactly: Murphy's (1973) three terms, and the
    two of Stephenson, Coelho & Jolliffe (2008) for probabilities that differ within a bin.

    Attributes:
        n: observations.
        brier: mean square of probability less outcome; 0 is perfect.
        reliability: how far the bins' mean probabilities are from their shares; less is better.
        resolution: how far the bins' shares are from the share of all; more is better.
        uncertainty: share of all times one less it.
        within_variance: variance of the probabilities within bins.
        within_covariance: twice the covariance of probabilities and outcomes within bins.
        bins: low, high, n, mean_probability, share, share_low, share_high (Wilson).
    """

    n: int
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float
    bins: pd.DataFrame


def calibrate(probability: npt.ArrayLike, outcome: npt.ArrayLike, *, bins: int = 10) -> Calibration:
    """Judge probabilities against outcomes.

    Args:
        probability: from 0 to 1, nothing missing.
        outcome: whether the event occurred.
        bins: number of equal bins from 0 to 1.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    n = len(p)
    if not n:
        empty = pd.DataFrame(columns=["low", "high", "n", "mean_probability", "share", "share_low", "share_high"], dtype=np.float64)
        return Calibration(0, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, empty)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    mean_p = np.bincount(place, weights=p, minlength=bins)[used] / count[used]
    share = np.bincount(place, weights=y, minlength=bins)[used] / count[used]
    which = np.cumsum(used)[place] - 1
    weight, base = count[used] / n, float(y.mean())
    hits = np.rint(share * count[used]).astype(np.int64)
    bounds = np.array([wilson(int(h), int(c)) for h, c in zip(hits, count[used], strict=True)])
    edges = np.arange(bins + 1) / bins
    table = {"low": edges[:-1][used], "high": edges[1:][used], "n": count[used], "mean_probability": mean_p, "share": share}
    return Calibration(
        n=n,
        brier=float(np.mean(np.square(p - y))),
        reliability=float(np.sum(weight * np.square(mean_p - share))),
        resolution=float(np.sum(weight * np.square(share - base))),
        uncertainty=base * (1.0 - base),
        within_variance=float(np.mean(np.square(p - mean_p[which]))),
        within_covariance=float(2.0 * np.mean((y - share[which]) * (p - mean_p[which]))),
        bins=pd.DataFrame(table | {"share_low": bounds[:, 0], "share_high": bounds[:, 1]}),
    )
