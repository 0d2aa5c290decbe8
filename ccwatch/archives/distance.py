"""Z-normalised Euclidean distance of one stretch to every stretch of a long series, exact: MASS (Mueen et al. 2017), block by block.

The sliding dot products come from real FFTs of blocks that overlap; means and deviations from running sums within the block. The
distances that are returned are computed again from the values themselves, so the FFT's rounding is not in them. It knows arrays only.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
ROW: Final = 1 << 13
"""Count of values in one FFT, unless the stretch is longer than an eighth of it."""
ROWS: Final = 8
"""FFTs of a block, which scipy computes side by side."""
SLACK: Final = 1e-4
"""Greatest error of a screened squared distance, as a fraction of the stretch's length."""
CONSTANT: Final = 1e-12
"""A standard deviation below this fraction of the values' size counts as zero: such a stretch has no shape."""
SINGLE: Final = 1e-3
"""Least variance of a block's stretches, of the block's own, of which an FFT in single precision is precise enough."""
QUIET: Final = 3e-4
"""Variance, times the stretch's length, below which running sums are too coarse: they err by some 1e-9 over that length."""
STILL: Final = 1e-26
"""Variance of what does not vary: the rounding of the values themselves."""
MOST_AT_ONCE: Final = 1 << 20
"""Values of such stretches that are copied at once."""
MOST_RUNS: Final = 64
"""Missing values of a block beyond which the stretches between them are not levelled one by one."""
FIRST_SORTED: Final = 4096


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
    shapes = [shape for query in queries if (shape := z_normalised(np.asarray(query, dtype=np.float64))) is not None]
    if len(shapes) < len(queries) or len(series[0]) < m:
        return []
    zone = int(np.ceil(m / 4)) if apart is None else apart
    return _picked(squared(shapes, series, m), shapes, series, top, zone, is_allowed or (lambda _: True))


def squared(shapes: Sequence[Floats], series: Sequence[Floats], m: int) -> Singles:
    """Return each stretch's mean squared distance over the channels, to within `SLACK` · m; infinite where undefined."""
    total = len(series[0]) - m + 1
    found = np.empty(total, dtype=np.float32)
    size = int(fft.next_fast_len(max(ROW, 8 * m), real=True))
    step = ROWS * (size - m + 1)
    screens = [_Screen(shape, size) for shape in shapes]

    def work(start: int) -> None:
        end = min(start + step, total)
        sums = screens[0].correlations(np.asarray(series[0][start : end + m - 1]))
        for screen, values in zip(screens[1:], series[1:], strict=True):
            sums += screen.correlations(np.asarray(values[start : end + m - 1]))
        # shape and stretch have mean 0 and deviation 1, so their squared distance is 2 m (1 - correlation)
        np.maximum(2.0 * m - (2.0 * m / len(series)) * sums, 0.0, out=found[start:end], casting="same_kind")

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="ccwatch-similar") as pool:
        list(pool.map(work, range(0, total, step)))
    return found


class _Screen:
    """Correlations of one shape with every stretch of a block, precise enough to choose the few that are computed exactly."""

    def __init__(self, shape: Floats, size: int) -> None:
        self._shape = shape
        self._m = len(shape)
        self._size = size
        self._spectrum = fft.rfft(shape[::-1], size)
        self._single = self._spectrum.astype(np.complex64)

    def correlations(self, values: Floats) -> Floats:
        """Return the correlation with each stretch of a block; minus infinity where a value is missing or nothing varies."""
        m = self._m
        level, missing = _levelled(values)
        variance = _variance(level, m)
        lowest = float(variance.min())
        dots = self._dots(level.astype(np.float32), self._single) if lowest > SINGLE else self._dots(level, self._spectrum)
        still = None
        if lowest < QUIET / m:  # the running sums' own rounding would show in what varies so little
            self._make_exact(level, variance, dots)
            still = variance <= STILL
            variance[still] = 1.0
        np.sqrt(variance, out=variance)
        variance *= m
        found: Floats = np.divide(dots, variance, out=variance)
        if still is not None:
            found[still] = -np.inf
        for place in missing.tolist() if len(missing) <= MOST_RUNS else ():
            found[max(0, place - m + 1) : place + 1] = -np.inf
        if len(missing) > MOST_RUNS:
            counted = np.zeros(len(values) + 1, dtype=np.int64)
            counted[missing + 1] = 1
            np.cumsum(counted, out=counted)
            found[counted[m:] > counted[:-m]] = -np.inf
        return found

    def _make_exact(self, level: Floats, variance: Floats, dots: Floats) -> None:
        """Compute one by one the stretches that vary so little that running sums, and soon the FFT, are too coarse for them."""
        m = self._m
        changes = np.cumsum(np.append(0, level[1:] != level[:-1]))
        is_constant = changes[m - 1 :] == changes[: len(variance)]
        variance[is_constant] = 0.0
        faint = np.flatnonzero((variance < QUIET / m) & ~is_constant)
        stretches = np.lib.stride_tricks.sliding_window_view(level, m)
        for some in np.array_split(faint, 1 + len(faint) * m // MOST_AT_ONCE):
            variance[some] = stretches[some].var(axis=1)
            dots[some] = np.einsum("ij,j", stretches[some] - stretches[some].mean(axis=1, keepdims=True), self._shape)

    def _dots(self, level: npt.NDArray[Any], spectrum: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the dot product with each stretch, from FFTs of rows that overlap by a stretch."""
        step = self._size - self._m + 1
        count = len(level) - self._m + 1
        rows = -(-count // step)
        padded = np.zeros((rows - 1) * step + self._size, dtype=level.dtype)
        padded[: len(level)] = level
        spectra = fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, self._size)[::step])
        spectra *= spectrum
        found: npt.NDArray[Any] = fft.irfft(spectra, self._size)[:, self._m - 1 :].reshape(-1)[:count]
        return found


def _levelled(values: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return a block's values with mean 0 and deviation 1 between every two missing ones, so that running sums lose little.

    No stretch reaches over a missing value, and level and scale of a stretch do not matter. Missing values are 0; their places are
    returned too. Where there are many, the block is levelled as a whole.
    """
    missing = np.flatnonzero(np.isnan(values) if np.isfinite(values.sum()) else ~np.isfinite(values))
    level = np.array(values, dtype=np.float64)
    edges = [-1, *missing.tolist(), len(values)]
    if len(missing) > MOST_RUNS:
        known = np.delete(level, missing)
        level -= known.mean() if len(known) else 0.0
        level[missing] = 0.0
        edges = [-1, len(values)]
    else:
        level[missing] = 0.0
    for before, after in pairwise(edges):
        run = level[before + 1 : after]
        if len(run):
            size = CONSTANT * max(1.0, float(np.abs(run).max()))
            run -= run.mean()
            deviation = float(np.sqrt(np.mean(np.square(run))))  # not np.dot: BLAS would start threads of its own
            run *= 1.0 / deviation if deviation > size else 0.0
    return level, missing


def _variance(level: Floats, m: int) -> Floats:
    """Return the variance (of n) of every stretch of m values."""
    running = np.zeros((len(level) + 1, 2))
    running[1:, 0] = level
    np.square(level, out=running[1:, 1])
    pairs = running.view(np.complex128)  # both sums at once, as one complex number's
    np.cumsum(pairs, axis=0, out=pairs)
    sums = running[m:] - running[:-m]
    sums *= 1.0 / m
    found: Floats = sums[:, 1] - np.square(sums[:, 0])
    return found


def _picked(
    squares: Singles,
    shapes: Sequence[Floats],
    series: Sequence[Floats],
    top: int,
    zone: int,
    is_allowed: Callable[[int], bool],
) -> list[Match]:
    """Pick the nearest greedily by exact distance; a stretch that may be nearer than the nearest exact one is computed first."""
    m, bins = len(shapes[0]), max(1, zone)
    slack = SLACK * m
    waiting = _ascending(np.minimum.reduceat(squares, np.arange(0, len(squares), bins)))
    coming = next(waiting, None)
    heap: list[tuple[float, int, int]] = []  # least possible distances of bins (0) and exact ones of places (1)
    found: list[Match] = []
    taken: list[int] = []
    exact: dict[int, Match] = {}
    while len(found) < top:
        while coming is not None and (not heap or coming[0] - slack <= heap[0][0]):
            heapq.heappush(heap, (coming[0] - slack, 0, coming[1]))
            coming = next(waiting, None)
        if not heap:
            break
        least, kind, place = heapq.heappop(heap)
        if kind == 1:
            if all(abs(place - other) > zone for other in taken):
                found.append(exact[place])
                taken.append(place)
            continue
        low = place * bins
        local = squares[low : low + bins]
        for candidate in (low + np.flatnonzero(local <= least + 2.0 * slack)).tolist():
            squares[candidate] = np.inf
            if is_allowed(candidate) and all(abs(candidate - other) > zone for other in taken):
                match = _exact(shapes, series, candidate, m)
                if match is not None:
                    exact[candidate] = match
                    heapq.heappush(heap, (match.distance**2, 1, candidate))
        rest = float(local.min())
        if np.isfinite(rest):
            heapq.heappush(heap, (rest - slack, 0, place))
    return found


def _ascending(values: Singles) -> Iterator[tuple[float, int]]:
    """Yield the finite values and their places, the lowest first; only those that are asked for are sorted."""
    done = 0
    while done < len(values):
        upto = min(len(values), max(FIRST_SORTED, 8 * done))
        order = np.argpartition(values, upto - 1)[:upto] if upto < len(values) else np.arange(upto)
        for place in order[np.argsort(values[order], kind="stable")][done:].tolist():
            if not np.isfinite(values[place]):
                return
            yield float(values[place]), place
        done = upto


def _exact(shapes: Sequence[Floats], series: Sequence[Floats], place: int, m: int) -> Match | None:
    distances = []
    for shape, values in zip(shapes, series, strict=True):
        other = z_normalised(np.asarray(values[place : place + m], dtype=np.float64))
        if other is None:
            return None
        distances.append(float(np.sqrt(np.sum(np.square(shape - other)))))
    return Match(place, float(np.sqrt(np.mean(np.square(distances)))), tuple(distances))
