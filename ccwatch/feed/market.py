"""A seeded market: noise, regimes, a price, its tail index and its Kalman filter. It knows no bytes, no clock and no portfolio.

Everything here is computed with + − × ÷ and √ alone, which IEEE 754 fixes to the last bit, from `Random.random()`, which Python
fixes for all versions: the same seed is the same market on every machine. (`sum()` of floats, `**` and `math.log` are not fixed.)
"""

from __future__ import annotations

import math
import random
from typing import Final, NamedTuple

from ccwatch.protocol.messages import Regime

HOME_CENTS: Final = 45_000
"""The price that the market is drawn to, in cents."""
ALPHA_BANDS: Final = {Regime.GAUSSIAN: (2.05, 2.8, 3.6), Regime.LEVY: (1.52, 1.75, 1.98), Regime.CRITICAL: (1.05, 1.25, 1.48)}
"""Lowest, usual and highest tail index of each regime: Critical < 1.5 ≤ Lévy Stable < 2 ≤ Gaussian."""
DWELL: Final = {Regime.GAUSSIAN: (80, 160), Regime.LEVY: (15, 45), Regime.CRITICAL: (8, 16)}
"""Fewest and most packets that each regime lasts."""


class Tick(NamedTuple):
    """The market at one packet: price in cents, tail index, regime, Kalman velocity ($/period) and acceleration ($/period²)."""

    cents: int
    alpha: float
    regime: Regime
    velocity: float
    acceleration: float


class Noise:
    """Seeded random numbers that are the same to the last bit everywhere."""

    def __init__(self, seed: int) -> None:
        self.uniform = random.Random(seed).random  # noqa: S311 - seeded on purpose: nothing secret hangs on it
        """A float in [0, 1)."""

    def normal(self) -> float:
        """Return an approximately standard normal number: twelve uniforms less their mean (Irwin-Hall), within ±6."""
        u = self.uniform
        return u() + u() + u() + u() + u() + u() + u() + u() + u() + u() + u() + u() - 6.0

    def heavy(self) -> float:
        """Return a number of Student's t with two degrees of freedom, by its quantile function; the tail index is 2. Within ±22."""
        u = min(max(self.uniform(), 0.001), 0.999)
        return (2.0 * u - 1.0) / math.sqrt(2.0 * u * (1.0 - u))

    def scatter(self, spread: float) -> float:
        """Return an about lognormal number, median 1: (1 + x/16)^16 for exp(x), by squaring four times. `spread` is below 2."""
        factor = 1.0 + spread * self.normal() / 16.0
        for _ in range(4):
            factor *= factor
        return factor

    def between(self, low: int, high: int) -> int:
        """Return an integer, low ≤ i ≤ high."""
        return low + int(self.uniform() * (high - low + 1))


class Kalman:
    """A Kalman filter of a price under constant acceleration, period 1.

    The model is the Wiener-process acceleration of Bar-Shalom, Li and Kirubarajan (2001), section 6.3.3: process noise of
    variance `q` enters acceleration, velocity and price as (1, 1, ½); the price is measured with variance `r`.
    """

    def __init__(self, price: float, *, q: float = 2e-5, r: float = 0.05) -> None:
        self.price, self.velocity, self.acceleration = price, 0.0, 0.0
        self._q, self._r = q, r
        self._covariance = (r, 0.0, 0.0, 0.01, 0.0, 0.001)  # upper triangle, by rows

    def update(self, measured: float) -> None:
        """Advance by one period, after the price was measured."""
        p00, p01, p02, p11, p12, p22 = self._covariance
        q = self._q
        x = self.price + self.velocity + 0.5 * self.acceleration
        v, a = self.velocity + self.acceleration, self.acceleration
        # F P Fᵀ + Q, with F = (1 1 ½; 0 1 1; 0 0 1)
        top0, top1, top2 = p00 + p01 + 0.5 * p02, p01 + p11 + 0.5 * p12, p02 + p12 + 0.5 * p22
        n00 = top0 + top1 + 0.5 * top2 + 0.25 * q
        n01 = top1 + top2 + 0.5 * q
        n02 = top2 + 0.5 * q
        n11 = p11 + p12 + p12 + p22 + q
        n12 = p12 + p22 + q
        n22 = p22 + q
        scale = n00 + self._r
        k0, k1, k2 = n00 / scale, n01 / scale, n02 / scale
        surprise = measured - x
        self.price, self.velocity, self.acceleration = x + k0 * surprise, v + k1 * surprise, a + k2 * surprise
        kept = 1.0 - k0
        self._covariance = (kept * n00, kept * n01, kept * n02, n11 - k1 * n01, n12 - k1 * n02, n22 - k2 * n02)


class Market:
    """One symbol's market, advanced one packet at a time.

    Its regimes follow a semi-Markov chain: Gaussian, then Lévy Stable, then perhaps Critical and Lévy Stable again as an
    aftershock. The first turbulence always becomes Critical, and no two in a row are spared it.
    """

    def __init__(self, noise: Noise, cents: int | None = None) -> None:
        """Start a market at its first price: `cents`, or one drawn by itself."""
        self._noise = noise
        own_cents = HOME_CENTS + noise.between(-500, 500)
        self.cents = own_cents if cents is None else cents
        self.regime = Regime.GAUSSIAN
        self._left = noise.between(*DWELL[self.regime])
        self._rising = False  # Lévy Stable on the way up, not as an aftershock
        self._spared = True
        self._alpha = 2.8
        self._drift = 0.0  # a slow trend, in cents per packet
        self._kalman = Kalman(self.cents / 100)

    def step(self, *, regime: Regime | None = None, cents: int | None = None) -> Tick:
        """Return the next tick; `regime` and `cents` are planted ones, else the market's own."""
        own_regime = self._next_regime()
        self.regime = own_regime if regime is None else regime
        if regime is not None:
            self._left = min(self._left, 1)  # its own chain goes on from the planted regime
        own_cents = self._next_cents()
        self.cents = own_cents if cents is None else cents
        low, usual, high = ALPHA_BANDS[self.regime]
        alpha = self._alpha + 0.25 * (usual - self._alpha) + 0.03 * self._noise.normal()
        self._alpha = min(max(alpha, low), high)
        self._kalman.update(self.cents / 100)
        return Tick(self.cents, self._alpha, self.regime, self._kalman.velocity, self._kalman.acceleration)

    def _next_regime(self) -> Regime:
        self._left -= 1
        if self._left > 0:
            return self.regime
        after = self._after()
        self._left = self._noise.between(*DWELL[after])
        return after

    def _after(self) -> Regime:
        """Return the regime that follows this one."""
        if self.regime is Regime.GAUSSIAN:
            self._rising = True
            return Regime.LEVY
        if self.regime is Regime.CRITICAL:
            self._rising = False
            return Regime.LEVY
        if self._rising and (self._spared or self._noise.uniform() < 0.5):
            self._spared = False
            return Regime.CRITICAL
        self._spared = self._spared or self._rising
        return Regime.GAUSSIAN

    def _next_cents(self) -> int:
        noise = self._noise
        self._drift = 0.97 * self._drift + 0.5 * noise.normal()
        if self.regime is Regime.GAUSSIAN:
            move = 9.0 * noise.normal()
        elif self.regime is Regime.LEVY:
            move = 10.0 * noise.heavy()
        else:
            move = 22.0 * noise.heavy() + 30.0 * noise.normal()
        return max(100, self.cents + round(0.001 * (HOME_CENTS - self.cents) + self._drift + move))
