"""Every threshold of the project, each once, from the contract, the deployed engines, the literature or our own choice.

Durations are in ns where a name ends in `_NS`, in seconds where it ends in `_S`. The module must not depend on any stream.
"""

from __future__ import annotations

from typing import Final

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

# ── silence and pace ───────────────────────────────────────────────────────────────────────────────────────────────────

LATE_NS, LATE_INTERVALS = 3 * SECOND, 3
"""A stream is LATE, and a silence a gap, after more than both 3 s and 3 times its usual interval."""
STALE_NS, STALE_INTERVALS = 10 * SECOND, 10
"""A stream is STALE after both 10 s and 10 times its usual interval; the engine's own page calls it critical after 10 s as well."""
USUAL_INTERVALS: Final = 20
"""The usual interval is the median of this many intervals."""
BURST_NS: Final = SECOND // 10
"""Packets less far apart belong to one burst, which counts as one for the pace."""
SLEEP_NS: Final = 5 * SECOND
"""How far the wall clock may run ahead of the monotonic one between two packets before that counts as a sleep of the machine."""
FROZEN_PACKETS: Final = 15
"""From this many packets of the same content with new stamps, a stream is frozen."""
COMPLETE_ENOUGH: Final = 0.99
"""A stream with a smaller share of the packets that its usual interval would give is incomplete."""

# ── clocks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

SKEW_NS: Final = 2 * SECOND
"""A stamp this far from its connection's median offset is skewed; a median this far from this machine's clock is worth a warning."""
JITTER_GAIN: Final = 1.0 / 16.0
"""The gain of the interarrival jitter's smoothing (RFC 3550, section 6.4.1)."""
DRIFT_PACKETS: Final = 20
"""The fewest packets that a clock's drift is computed from."""

# ── drawdown ───────────────────────────────────────────────────────────────────────────────────────────────────────────

DRAWDOWN_WARNS, DRAWDOWN_HALTS = -0.015, -0.02
"""The drawdowns at which deployed breakers warn and halt (fractions of the peak)."""
DRAWDOWN_WARNS_CLEARS, DRAWDOWN_HALTS_CLEARS = -0.013, -0.018
"""Above these an alert on them ends; between the two thresholds it stays as it is."""
DRAWDOWN_INCEPTION, DRAWDOWN_INCEPTION_CLEARS = -0.05, -0.045
"""The drawdown from the highest peak since watching began, on any day, at which an alert fires, and above which it ends."""
DRAWDOWN_LEAST: Final = -0.002
"""Smaller drawdowns are not shown as events of a timeline."""
DRAWDOWN_TOLERANCE: Final = 1e-4
"""How far apart two drawdowns may be to count as the same: engines round to four decimals."""
CENT: Final = 100
"""Cents in a unit of money: amounts are compared by them."""
LARGEST_AMOUNT: Final = 2**53 / CENT
"""The largest amount that a float64 holds to the cent, USD; a larger number is not taken for an amount."""
LARGEST_COUNT: Final = 2**53
"""The largest count that a float64 holds exactly."""
LARGEST_NUMBER: Final = 1e150
"""The largest number accepted as a measurement: a million of its squares still add up in float64."""

# ── alpha and regimes ──────────────────────────────────────────────────────────────────────────────────────────────────

ALPHA_CUTS: Final = (1.5, 2.0)
"""Cut-offs of the regimes: below 2 a stable law has no variance (Lévy Stable), below 1.5 the regime is Critical."""
ALPHA_ZONES: Final = (2.0, 3.0)
"""The ends of alpha's zones on the deployed engine's own page: below 2 no variance, below 3 no third moment, from 3 on light tails."""
ALPHA_SENTINELS: Final = (0.0, 0.5, 2.0, 2.5, 3.0, 10.0)
"""Values of alpha that deployed engines send when they have none: defaults, and the clips 0.5 and 10."""
SENTINEL_S: Final = 60.0
"""Seconds that alpha has to rest on one of them before that is reported."""
CRITICAL_S: Final = 5.0
"""Seconds that the regime has to be Critical before that is reported."""

# ── governance ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LARGEST_SIZE: Final = 0.20
"""The contract's largest approved size, a fraction of nav."""

# ── services ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SLOW_FACTOR: Final = 3.0
"""A call is slow above this many times its service's median."""
SLOW_CALLS: Final = 3
"""Slow calls in a row that make a slow stretch."""
SLOWER, SLOWER_CLEARS, SLOWER_S = 3.0, 2.0, 60.0
MUCH_SLOWER, MUCH_SLOWER_CLEARS, MUCH_SLOWER_S = 6.0, 4.0, 300.0
"""A service's recent median call over its usual: where an alert fires, where it ends, and for how long it must have stayed there, s."""
SLOWER_LEAST_N: Final = 5
"""Slower calls in a row that such an alert needs."""
CALLS_NO_DATA_S: Final = 900.0
"""Seconds without a call after which a rule on a service has no data: many services are called once in minutes."""
LATENCY_P: Final = 0.95
LATENCY_WINDOW_S: Final = 120.0
"""The latency that rules look at is the 95 % quantile of the calls of this many seconds."""
LATENCY_LEAST_N: Final = 20
"""The fewest calls that this quantile needs: one in twenty is beyond it."""
LATENCY_WARNS, LATENCY_WARNS_CLEARS, LATENCY_WARNS_S = 1.5, 1.35, 120.0
LATENCY_FAILS, LATENCY_FAILS_CLEARS, LATENCY_FAILS_S = 2.0, 1.8, 300.0
"""That quantile over its objective: where an alert fires, where it ends, and for how long it must have stayed there, s."""
SUCCESS_OBJECTIVE: Final = 0.99
"""Share of calls that should succeed."""
BURN_WINDOWS: Final = ((14.4, 3600.0, 300.0), (6.0, 21600.0, 1800.0), (1.0, 259200.0, 21600.0))
"""Burn rate, long and short window in s: the multi-window alerts of the Site Reliability Workbook, chapter 5, table 5-8."""
BURN_LEAST_N: Final = 10
"""The fewest calls that a burn rate needs: among fewer, a single failure would be more than a tenth."""

# ── alerts on the stream ───────────────────────────────────────────────────────────────────────────────────────────────

NO_DATA_S: Final = 60.0
"""Seconds without an observation after which a rule has no data."""
DRIFT_LEAST_N: Final = 3
"""Packets in a row without a field that earlier packets of their kind carried."""
RECONNECTS, MALFORMED = 3, 3
"""Reconnects, and messages that could not be read, within five minutes, that are worth a warning."""
DUPLICATES: Final = 5
"""Packets that came twice at once, within a minute."""
FLOOD: Final = 10
"""This many times the usual rate is a flood."""
SKEWED_LEAST_N: Final = 3
"""Packets in a row with a skewed stamp."""
RECORDER_LAG_S, RECORDER_LAG_CLEARS_S, RECORDER_LAG_FOR_S = 5.0, 2.0, 10.0
"""The delay of a packet on its way to the disk at which an alert fires, at which it ends, and how long it must have lasted, s."""
WARNED_WITHIN_S: Final = 900.0
"""An alert counts as a warning of a drawdown whose trough comes within this many seconds."""
