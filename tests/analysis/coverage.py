"""`python -m tests.analysis.coverage [SEEDS]`: how often intervals contain the truth, beside their level; a table, failures included.

Truths are those of the laws that numbers are drawn from; of the seeded engine, the mean over all seeds.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from ccwatch.analysis import hill, what_if as what_if_module
from ccwatch.analysis.bootstrap import interval_of_sum
from ccwatch.analysis.quantiles import quantile
from ccwatch.analysis.returns import wilson
from ccwatch.feed.synthetic import messages
from tests.analysis.conftest import Stream, receive

LEVEL = 0.95
Draw = Callable[[np.random.Generator, int], np.ndarray]


def ar1(rng: np.random.Generator, n: int) -> np.ndarray:
    noise = rng.normal(size=n + 50)
    found = np.zeros(n + 50)
    for i in range(1, n + 50):
        found[i] = 0.5 * found[i - 1] + noise[i]
    return 0.3 + found[50:]


SUMS: tuple[tuple[str, Draw, float], ...] = (
    ("normal", lambda rng, n: 0.3 + rng.normal(size=n), 0.3),
    ("Student's t, 3 degrees", lambda rng, n: 0.3 + rng.standard_t(3, size=n), 0.3),
    ("lognormal, skewed", lambda rng, n: rng.lognormal(size=n), float(np.exp(0.5))),
    ("autocorrelated, 0.5", ar1, 0.3),
)


def of_sums(seeds: int) -> Iterator[tuple[str, int, int]]:
    """What-if's interval of an expected sum of decisions."""
    for name, draw, mean in SUMS:
        for n in (20, 40, 100, 400):
            hits = 0
            for seed in range(seeds):
                low, high = interval_of_sum(draw(np.random.default_rng([seed, n]), n), level=LEVEL, replicates=400, seed=seed)
                hits += low <= n * mean <= high
            yield f"sum of {n} decisions, {name}", hits, seeds


def of_estimators(seeds: int) -> Iterator[tuple[str, int, int]]:
    """Wilson's interval, order statistics and Hill's."""
    for n, p in ((20, 0.5), (50, 0.1), (200, 0.02)):
        hits = sum(low <= p <= high for low, high in (wilson(int(np.random.default_rng([s, n]).binomial(n, p)), n) for s in range(seeds)))
        yield f"Wilson's, {p:g} of {n}", hits, seeds
    for n, p in ((50, 0.5), (200, 0.95), (1000, 0.99)):
        truth = stats.lognorm(1.0).ppf(p)
        found = [quantile(np.sort(np.random.default_rng([s, n]).lognormal(size=n)), p, level=LEVEL) for s in range(seeds)]
        heard = [one for one in found if np.isfinite(one.low) and np.isfinite(one.high)]
        yield f"quantile {p:g} of {n}", sum(one.low <= truth <= one.high for one in heard), len(heard)
    found = [hill(1.0 + np.random.default_rng([s, 5]).pareto(1.7, size=500), 50) for s in range(seeds)]
    yield "Hill's, alpha 1.7, 50 of 500", sum(one.low <= 1.7 <= one.high for one in found), seeds


def of_the_engine(seeds: int, packets: int = 1500) -> Iterator[tuple[str, int, int]]:
    """A size cap of the seeded engine; the truth is the mean of all seeds' differences."""
    found = []
    for seed in range(seeds):
        frame = Stream(receive(itertools.islice(messages(seed, "calm", 1.0), packets))).frame()
        answer = what_if_module.what_if(frame, size_cap=0.05, delay=0)
        found.append((answer.difference, answer.interval))
    truth = float(np.mean([difference for difference, _ in found]))
    heard = [interval for _, interval in found if interval is not None]
    yield f"size cap of the seeded engine ({len(heard)} of {seeds} give one)", sum(low <= truth <= high for low, high in heard), len(heard)


def main(seeds: int, engines: int) -> None:
    print("| interval | level | contains the truth | n |\n|---|---|---|---|")
    for name, hits, n in itertools.chain(of_sums(seeds), of_estimators(seeds), of_the_engine(engines)):
        print(f"| {name} | {LEVEL:.0%} | {hits / n if n else float('nan'):.1%} | {n} |", flush=True)


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    main(asked, max(10, asked // 10))
