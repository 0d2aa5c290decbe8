"""The measures of stream quality, each with its level. It knows packets in order of arrival and events, not where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import signal, stats

from ccwatch.analysis.result import clock, count_of
from ccwatch.analysis.usable_rows import SECOND_NS, Bools, Floats, Ints, arrivals, runs, stamp, times_ns
from ccwatch.domain.limits import COMPLETE_ENOUGH, DRIFT_PACKETS, FROZEN_PACKETS, JITTER_GAIN, SKEW_NS
from ccwatch.domain.liveness import count_bursts, late_ns, stale_ns
from ccwatch.protocol import canonical_words
from ccwatch.protocol.messages import UNCLEAN, EventKind, Flag
from ccwatch.stream.dataframes import TEXT

OK, WARN, STALLED, STOPPED = "OK", "WARN", "STALLED", "STOPPED"
LEVELS: Final = (OK, WARN, STALLED, STOPPED)
_MOST_WORDS, _LONGEST_WORD = 5, 40
_POINTS: Final = 500
"""Points that the drift of the clock is estimated from: Theil and Sen's estimator compares each with each."""


class Measure(NamedTuple):
    """One measure of the stream. `value` is NaN where the stream does not show it; `reason` then says why."""

    measure: str
    value: float
    unit: str
    n: int
    level: str
    reason: str


@dataclass(frozen=True, eq=False)
class Rows:
    """The packets in order of arrival."""

    times: Ints
    seq: Ints | None
    flags: Ints
    clean: Bools
    connection: Ints
    arrivals: Ints
    """ns on the clock that intervals are measured by: the receiver's monotonic one, else the stamps."""
    begins: Bools
    """The first packets of bursts: packets less than 0.1 s apart count as one burst, and only bursts have a pace."""
    intervals_s: Floats
    """Seconds between one burst and the next."""
    offsets: Floats | None
    """Receive time less the server's, in s; None where the stamps do not keep pace with the clock, or were not kept."""

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Rows:
        """Return the rows of a packets frame whose index is in UTC."""
        times = times_ns(frame)
        flags = frame["flags"].to_numpy().astype(np.int64) if "flags" in frame.columns else np.zeros(len(frame), dtype=np.int64)
        connection = (
            frame["connection"].to_numpy().astype(np.int64) if "connection" in frame.columns else np.ones(len(frame), dtype=np.int64)
        )
        at, by_receiver = arrivals(frame)
        offsets = None
        if by_receiver and "received_at" in frame.columns:
            received = np.asarray(pd.DatetimeIndex(frame["received_at"]).as_unit("ns").asi8)
            offsets = np.where(flags & int(Flag.NO_TIME), np.nan, (received - times) / SECOND_NS)
        seq = frame["seq"].to_numpy().astype(np.int64) if "seq" in frame.columns else None
        begins, intervals = count_bursts(at, np.append(False, np.diff(connection) != 0) if len(at) else None)
        return cls(times, seq, flags, (flags & int(UNCLEAN)) == 0, connection, at, begins, intervals / SECOND_NS, offsets)

    @property
    def steps_s(self) -> Floats:
        """Return the seconds between one packet and the next."""
        return np.diff(self.arrivals) / SECOND_NS

    @property
    def usual_s(self) -> float:
        """Return the median interval between bursts, s; NaN where there is none."""
        return float(np.median(self.intervals_s)) if len(self.intervals_s) else math.nan

    def count(self, flag: Flag) -> int:
        """Return the number of packets that have any of these flags."""
        return int(((self.flags & int(flag)) != 0).sum())


def cadence(rows: Rows, broken: Bools) -> list[Measure]:
    """Measure how often packets came, and how many are missing; intervals are those between bursts."""
    steps, n, intervals = rows.steps_s, len(rows.times), rows.intervals_s
    if len(intervals) < 1:
        few = f"needs 2 bursts of packets on one connection, there {'is 1 packet' if n == 1 else f'are {n:,} packets'}"
        return [Measure(name, math.nan, unit, n, WARN, few) for name, unit in (("interval_median", "s"), ("completeness", "fraction"))]
    usual = rows.usual_s
    found = [Measure("interval_median", usual, "s", len(intervals), OK, "")]
    p95 = float(np.quantile(intervals, 0.95, method="linear"))
    late = p95 > late_ns(round(usual * SECOND_NS)) / SECOND_NS
    found.append(
        Measure("interval_p95", p95, "s", len(intervals), WARN if late else OK, f"5% of the intervals exceed {p95:,.1f} s" if late else "")
    )
    span = float(rows.arrivals[-1] - rows.arrivals[0]) / SECOND_NS
    level, why = (OK, "") if span > 0 else (WARN, f"all {n:,} packets came at one time: the stream's pace is not known")
    begun = rows.arrivals[rows.begins]
    bursts, spread = len(begun), float(begun[-1] - begun[0]) / SECOND_NS
    found.append(Measure("rate", (bursts - 1) / spread if spread > 0 else math.nan, "1/s", bursts, level, why))
    found.append(Measure("packets_per_s", (n - 1) / span if span > 0 else math.nan, "1/s", n, OK, why))
    gap_s = float(steps[broken[1:]].sum())
    gaps = int(broken.sum())
    said = f"{count_of(gaps, 'gap')}, {gap_s:,.1f} s of {span:,.1f} s" if gaps else ""
    found.append(Measure("gaps", gaps, "", len(steps), WARN if gaps else OK, said))
    found.append(Measure("gap_time", gap_s, "s", len(steps), OK, ""))
    expected = spread / usual + 1 if usual > 0 else math.nan
    complete = min(1.0, bursts / expected) if expected > 0 else math.nan
    short = complete < COMPLETE_ENOUGH
    missing = f"{complete:.1%} of the packets that its usual interval of {usual:,.2f} s would give" if short else ""
    if math.isnan(complete):
        missing = "the usual interval is not above zero, so nothing says how many packets there should be"
    found.append(Measure("completeness", complete, "fraction", n, WARN if short else OK, missing))
    return found


def ending(rows: Rows, events: pd.DataFrame | None, now: pd.Timestamp | None) -> list[Measure]:
    """Measure how the window ends: with a packet, with silence, or without a connection."""
    last = rows.times.max() if len(rows.times) else None
    if last is None:
        return [Measure("silence_at_end", math.nan, "s", 0, STOPPED, "no packet came in the window")]
    usual = rows.usual_s
    limit = stale_ns(0 if math.isnan(usual) else round(usual * SECOND_NS)) / SECOND_NS
    end, gone = int(last), False
    if events is not None:
        kinds = events["kind"].astype(TEXT).to_numpy()
        # only these are on the stream's own clock: an event before a connection's first packet has no such time
        end = max([end, *times_ns(events)[(kinds == EventKind.DISCONNECT) | (kinds == EventKind.STALE)].tolist()])
        turns = np.flatnonzero((kinds == EventKind.CONNECT) | (kinds == EventKind.DISCONNECT))
        gone = bool(len(turns)) and kinds[turns[-1]] == EventKind.DISCONNECT
    if now is not None:
        end = int(now.as_unit("ns").value)
    silent = max(0, end - int(last)) / SECOND_NS
    since = clock(stamp(last), dated=stamp(int(rows.times.min())).date() != stamp(last).date())
    if gone and silent >= limit:
        level, reason = STOPPED, f"disconnected, and nothing for the last {silent:,.1f} s, since {since}"
    elif silent >= limit:
        level, reason = STALLED, f"connected, but nothing for the last {silent:,.1f} s, since {since}"
    else:
        level, reason = OK, ""
    return [Measure("silence_at_end", silent, "s", len(rows.times), level, reason)]


def clocks(rows: Rows, is_synthetic: bool = False) -> list[Measure]:
    """Measure offset, drift and jitter of the server's stamps against this machine's clock; a synthetic stream's are seeded, far off."""
    names = (("clock_offset", "s"), ("clock_drift", "ppm"), ("jitter", "s"))
    if rows.offsets is None:
        why = "the stamps do not keep pace with the receiver's clock, or receive times were not kept"
        return [Measure(name, math.nan, unit, 0, OK, why) for name, unit in names]
    known = np.isfinite(rows.offsets) & rows.clean
    offsets, arrivals = rows.offsets[known], rows.arrivals[known] / SECOND_NS
    if len(offsets) < 2:
        return [Measure(name, math.nan, unit, len(offsets), OK, "needs 2 packets with the server's time") for name, unit in names]
    middle = float(np.median(offsets))
    skewed = rows.count(Flag.CLOCK_SKEW)
    reasons = (
        [f"the server's clock is {-middle:+,.1f} s off this machine's"] if abs(middle) > SKEW_NS / SECOND_NS and not is_synthetic else []
    )
    reasons += [f"{count_of(skewed, 'packet departs', 'packets depart')} from the usual clock offset"] if skewed else []
    found = [Measure("clock_offset", middle, "s", len(offsets), WARN if reasons else OK, "; ".join(reasons))]
    rows_used = np.unique(np.linspace(0, len(offsets) - 1, min(_POINTS, len(offsets))).astype(np.int64))
    x, y = arrivals[rows_used] - arrivals[0], offsets[rows_used]
    drift = float(stats.theilslopes(y, x).slope) * 1e6 if len(x) >= DRIFT_PACKETS and x[-1] > x[0] else math.nan
    found.append(
        Measure("clock_drift", drift, "ppm", len(x), OK, f"needs {DRIFT_PACKETS} packets over some time" if math.isnan(drift) else "")
    )
    same = np.diff(rows.connection[known]) == 0
    changes = np.abs(np.diff(offsets))[same]
    jitter = float(signal.lfilter([JITTER_GAIN], [1.0, JITTER_GAIN - 1.0], changes)[-1]) if len(changes) else math.nan
    found.append(Measure("jitter", jitter, "s", len(changes), OK, "" if len(changes) else "needs 2 packets of one connection"))
    return found


def copies(rows: Rows) -> list[Measure]:
    """Measure how many packets say nothing new: repeats, replays and placeholders."""
    n = len(rows.flags)
    found = []
    for name, flag, meaning in (
        ("duplicates", Flag.REPEAT, ("packet repeats the one before", "packets repeat the one before")),
        ("replays", Flag.REPLAYED, ("packet is a state from before its connection", "packets are states from before their connection")),
    ):
        count = rows.count(flag)
        found.append(Measure(name, count, "packets", n, WARN if count else OK, count_of(count, *meaning) if count else ""))
    return [*found, Measure("placeholders", rows.count(Flag.PLACEHOLDER), "packets", n, OK, "")]  # as every stream begins


def order(rows: Rows) -> list[Measure]:
    """Measure reordering by RFC 4737: a packet whose stamp lies before that of an earlier one, and by how much (its late time offset)."""
    times = rows.times[rows.clean]
    highest = np.maximum.accumulate(times) if len(times) else times
    late = times < highest
    count = int(late.sum())
    by = float((highest - times).max()) / SECOND_NS if len(times) else math.nan
    reason = f"{count_of(count, 'packet')} came out of order, by up to {by:,.1f} s" if count else ""
    ratio = count / len(times) if len(times) else math.nan
    none = "" if len(times) else "no packet"
    return [
        Measure("reordered", ratio, "fraction", len(times), WARN if count else OK, reason or none),
        Measure("reordered_by", by, "s", len(times), OK, none),
    ]


def frozen(rows: Rows) -> list[Measure]:
    """Measure frozen content, of a stream that is alive but stale: the same content under new stamps, or the same packet repeated."""
    still = (rows.flags & int(Flag.FROZEN | Flag.REPEAT)) != 0
    first, end = runs(still, np.zeros(len(still), dtype=bool))
    lengths = (end - first)[still[first]] if len(first) else np.zeros(0, dtype=np.int64)
    longest = int(lengths.max()) if len(lengths) else 0
    at_end = int(end[-1] - first[-1]) if len(first) and still[first[-1]] else 0
    level, reason = OK, ""
    if at_end >= FROZEN_PACKETS:
        level, reason = STALLED, f"the last {at_end:,} packets carry the same content"
    elif longest >= FROZEN_PACKETS:
        level, reason = WARN, f"the content stood still for up to {longest:,} packets"
    count = rows.count(Flag.FROZEN)
    return [
        Measure("frozen", count, "packets", len(still), OK, ""),
        Measure("frozen_longest", longest, "packets", len(still), level, reason),
    ]


def connections(rows: Rows, events: pd.DataFrame | None) -> list[Measure]:
    """Measure reconnects, how long they took, and messages that could not be read."""
    again = np.flatnonzero(np.diff(rows.connection) != 0)
    down = float(rows.steps_s[again].sum())
    count = len(again)
    said = f"{count_of(count, 'reconnect')}, {down:,.1f} s from the last packet before to the first one after" if count else ""
    found = [
        Measure("reconnects", count, "", len(rows.connection), WARN if count else OK, said),
        Measure("downtime", down, "s", count, OK, ""),
    ]
    for name, kind in (("malformed", EventKind.MALFORMED), ("oversize", EventKind.OVERSIZE), ("dropped", EventKind.DROP)):
        if events is None:
            found.append(Measure(name, math.nan, "events", 0, OK, "the events of the stream are not at hand"))
            continue
        count = int((events["kind"] == kind).sum())
        found.append(Measure(name, count, "events", len(events), WARN if count else OK, count_of(count, f"{name} event") if count else ""))
    return found


def unknown_words(frame: pd.DataFrame, rows: Rows) -> list[tuple[str, str, int]]:
    """Return the server's words that were not understood: column, word as it came, number of packets; the most frequent first."""
    odd = (rows.flags & int(Flag.UNKNOWN_WORD)) != 0
    found: list[tuple[str, str, int]] = []
    for name, reads in (("status", canonical_words.status), ("regime", canonical_words.regime), ("side", canonical_words.side)):
        raw = f"{name}_raw"
        if not odd.any() or raw not in frame.columns:
            continue
        counts = frame.loc[odd, raw].dropna().value_counts()
        found += [(name, str(word)[:_LONGEST_WORD], int(n)) for word, n in counts.items() if not reads(str(word))[1]]
    return sorted(found, key=lambda entry: -entry[2])


def contents(frame: pd.DataFrame, rows: Rows, message_bytes_mean: float | None) -> list[Measure]:
    """Measure departures from the contract, and message sizes."""
    odd = Flag.WRONG_TYPE | Flag.COERCED | Flag.RANGE | Flag.UNIT | Flag.UNKNOWN_WORD | Flag.NO_TIME
    count = rows.count(odd)
    found = [
        Measure(
            "odd_values",
            count,
            "packets",
            len(rows.flags),
            WARN if count else OK,
            f"{count_of(count, 'packet departs', 'packets depart')} from the contract" if count else "",
        )
    ]
    odd_words = unknown_words(frame, rows)
    named = ", ".join(f"{name} {word!r} ({count_of(n, 'packet')})" for name, word, n in odd_words[:_MOST_WORDS])
    more = f" and {len(odd_words) - _MOST_WORDS} more" if len(odd_words) > _MOST_WORDS else ""
    said = f"not understood: {named}{more}" if odd_words else ""
    found.append(Measure("unknown_words", len(odd_words), "words", len(rows.flags), WARN if odd_words else OK, said))
    if "extra" in frame.columns:
        unknown = int(frame["extra"].notna().sum())
        found.append(Measure("unknown_fields", unknown, "packets", len(frame), OK, ""))
    else:
        found.append(Measure("unknown_fields", math.nan, "packets", 0, OK, "the column extra was not read"))
    size = math.nan if message_bytes_mean is None else message_bytes_mean
    found.append(Measure("message_size", size, "bytes", len(frame), OK, "frames do not carry sizes" if math.isnan(size) else ""))
    return found
