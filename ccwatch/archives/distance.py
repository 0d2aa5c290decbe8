"""Z-normalised Euclidean distance of one stretch to every stretch of a long series, exact: MASS (Mueen et al. 2017), block by block.

The sliding dot products come from real FFTs of blocks that overlap; means and deviations from running sums within the block. The
distances that are returned are computed again from the values themselves, so the FFT's rounding is not in them. It knows arrays only.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float64]
BLOCK: Final = 1 << 16
"""Count of values in a block, unless the stretch is longer than an eighth of it."""
CONSTANT: Final = 1e-12
"""A standard deviation below this fraction of the values' size counts as zero: such a stretch has no shape."""
QUIET: Final = 1e-6
STILL: Final = 1e-13
"""Of the block's own variance: what varies less does not vary, as it would be less than a cent of a nav that moves by thousands."""


class Match(NamedTuple):
    """A stretch that resembles the given one: the place of its first value, its distance, and that of each channel."""

    place: int
    distance: float
    by_channel: tuple[float, ...]


def z_normalised(values: Floats) -> Floats | None:
    """Return the values less their mean, over their standard deviation (of n); None if they do not vary or one is missing."""
    if not np.isfinite(values).all():
        return None
    mean = values.mean()
    deviation = float(np.sqrt(np.mean(np.square(values - mean))))
    if deviation <= CONSTANT * max(1.0, float(np.abs(values).max())):
        return None
    found: Floats = (values - mean) / deviation
    return found


def nearest(
    queries: Sequence[Floats],
    series: Sequence[Floats],
    top: int,
    *,
    is_allowed: Callable[[int], bool] | None = None,
    apart: int | None = None,
) -> list[Match]:
    """Return the nearest stretches, the nearest first; none begins within `apart` of a nearer one.

    Args:
        queries: the given stretch, an array per channel: all of one length m ≥ 3, without missing values, each varying.
        series: the series, an array per channel, all of one length; stretches with a missing value or without variation never match.
        top: most stretches to return.
        is_allowed: whether the stretch that begins at a place may be a match.
        apart: least count of values between the beginnings of two matches; None is a quarter of m, as stumpy's exclusion zone.

    Returns:
        The matches; over several channels, a distance is the root of the mean of the channels' squared distances.
    """
    m = len(queries[0])
    shapes = [z_normalised(np.asarray(query, dtype=np.float64)) for query in queries]
    if any(shape is None for shape in shapes) or len(series[0]) < m:
        return []
    zone = int(np.ceil(m / 4)) if apart is None else apart
    squares = squared(shapes, series, m)  # type: ignore[arg-type] # None was refused above
    return _picked(squares, [shape for shape in shapes if shape is not None], series, top, zone, is_allowed or (lambda _: True))


def squared(shapes: Sequence[Floats], series: Sequence[Floats], m: int) -> npt.NDArray[np.float32]:
    """Return each stretch's mean squared distance over the channels, to about 1e-6 of itself or of m; infinite where undefined."""
    total = len(series[0]) - m + 1
    found = np.empty(total, dtype=np.float32)
    size = fft.next_fast_len(max(BLOCK, 8 * m), real=True)
    step = size - m + 1
    spectra = [fft.rfft(shape[::-1], size) for shape in shapes]

    def work(start: int) -> None:
        end = min(start + step, total)
        sums = np.zeros(end - start)
        for spectrum, values in zip(spectra, series, strict=True):
            sums += _block(np.asarray(values[start : end + m - 1]), spectrum, size, m)
        found[start:end] = sums / len(series)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="ccwatch-similar") as pool:
        list(pool.map(work, range(0, total, step)))
    return found


def _block(values: Floats, spectrum: npt.NDArray[np.complex128], size: int, m: int) -> Floats:
    """Return the squared distances of the stretches that begin in one block."""
    missing = ~np.isfinite(values)
    holes = bool(missing.any())
    known = np.where(missing, np.nan, values) if holes else values
    centre = float(np.nanmean(known)) if holes and not missing.all() else (0.0 if missing.all() else float(values.mean()))
    level = values - centre
    if holes:
        level[missing] = 0.0
    scale = float(np.sqrt(np.mean(np.square(level)))) or 1.0
    level /= scale  # near one, so that running sums lose little
    dots = fft.irfft(fft.rfft(level, size) * spectrum, size)[m - 1 : len(level)]
    variance = _variance(level, m)
    if (variance < QUIET).any():  # the running sums' own rounding would show in what varies so little
        variance = _variance(level.astype(np.longdouble), m).astype(np.float64)
    varies = variance > STILL
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    # the query has mean 0 and deviation 1, so the correlation is the dot product over m and the stretch's deviation
    found: Floats = np.maximum(2.0 * m * (1.0 - dots / (m * deviation)), 0.0)
    found[~varies] = np.inf
    if holes:
        counted = np.cumsum(np.append(0, missing))
        found[counted[m:] - counted[:-m] > 0] = np.inf
    return found


def _variance(level: npt.NDArray[Any], m: int) -> npt.NDArray[Any]:
    """Return the variance (of n) of every stretch of m values."""
    sums = np.cumsum(np.append(level.dtype.type(0), level))
    squares = np.cumsum(np.append(level.dtype.type(0), level * level))
    mean = (sums[m:] - sums[:-m]) / m
    found: npt.NDArray[Any] = (squares[m:] - squares[:-m]) / m - mean * mean
    return found


def _picked(
    squares: npt.NDArray[np.float32],
    shapes: Sequence[Floats],
    series: Sequence[Floats],
    top: int,
    zone: int,
    is_allowed: Callable[[int], bool],
) -> list[Match]:
    """Pick the nearest greedily by exact distance; any stretch estimated nearer than the next exact one is checked first."""
    m, bins = len(shapes[0]), max(1, zone)
    edges = np.arange(0, len(squares), bins)
    heap = [(float(low), 0, place) for place, low in enumerate(np.minimum.reduceat(squares, edges)) if np.isfinite(low)]
    heapq.heapify(heap)  # estimates of bins (0) and exact distances of places (1)
    found: list[Match] = []
    taken: list[int] = []
    exact: dict[int, Match] = {}
    slack = 1e-4 * m
    while heap and len(found) < top:
        estimate, kind, place = heapq.heappop(heap)
        if kind == 1:
            if all(abs(place - other) > zone for other in taken):
                found.append(exact[place])
                taken.append(place)
            continue
        # every place of the bin that may be nearer than the estimate of the next one, exactly
        low, high = int(edges[place]), min(int(edges[place]) + bins, len(squares))
        local = squares[low:high]
        near = low + np.flatnonzero(local <= estimate + slack)
        for candidate in near.tolist():
            squares[candidate] = np.inf
            if is_allowed(candidate) and all(abs(candidate - other) > zone for other in taken):
                match = _exact(shapes, series, candidate, m)
                if match is not None:
                    exact[candidate] = match
                    heapq.heappush(heap, (match.distance**2, 1, candidate))
        rest = float(squares[low:high].min())
        if np.isfinite(rest):
            heapq.heappush(heap, (max(0.0, rest - slack), 0, place))
    return found


def _exact(shapes: Sequence[Floats], series: Sequence[Floats], place: int, m: int) -> Match | None:
    distances = []
    for shape, values in zip(shapes, series, strict=True):
        other = z_normalised(np.asarray(values[place : place + m], dtype=np.float64))
        if other is None:
            return None
        distances.append(float(np.sqrt(np.sum(np.square(shape - other)))))
    return Match(place, float(np.sqrt(np.mean(np.square(distances)))), tuple(distances))
