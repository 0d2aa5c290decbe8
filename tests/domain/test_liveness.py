"""The pace of streams: bursts, intervals, limits, gaps; one packet after the other and whole arrays say the same."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ccwatch.domain import liveness
from ccwatch.domain.limits import LATE_NS, SECOND as SECOND_NS, STALE_NS
from ccwatch.domain.liveness import Pace, count_bursts

MS = 1_000_000


def times(*seconds):
    return np.round(np.array(seconds) * SECOND_NS).astype(np.int64)


def cycles(packets, *, every, apart, n=60):
    """n bursts of some packets, seconds `apart` within one."""
    return times(*(cycle * every + place * apart for cycle in range(n) for place in range(packets)))


@pytest.mark.parametrize(("packets", "every", "apart"), [(5, 5.0, 0.004), (2, 5.0, 0.02), (20, 5.0, 0.001), (9, 2.5, 0.09), (2, 0.5, 0.05)])
def test_a_burst_counts_once_however_many_packets_it_has(packets, every, apart):
    at = cycles(packets, every=every, apart=apart)
    begins, intervals = count_bursts(at)
    assert begins.sum() == 60
    assert set(begins.reshape(60, packets).sum(axis=1)) == {1}
    assert np.allclose(intervals / SECOND_NS, every)
    assert not Pace().note_all(at).silent.any(), "five packets every five seconds are no gaps"


@pytest.mark.parametrize("rate", [10, 11, 20, 50, 200, 1000])
def test_a_fast_stream_is_no_burst(rate):
    rng = np.random.default_rng(rate)
    at = np.sort(times(*(np.arange(20 * rate) / rate + rng.uniform(0, min(0.004, 0.2 / rate), 20 * rate))))
    begins, intervals = count_bursts(at)
    assert begins.sum() >= len(at) - rate, "the first second may count as one"
    assert np.median(intervals) / SECOND_NS == pytest.approx(1 / rate, rel=0.1)


def test_a_short_stretch_of_a_fast_stream_is_told_by_its_packets():
    begins, intervals = count_bursts(times(*np.arange(20) * 0.005))
    assert begins.all()
    assert np.allclose(intervals, 5 * MS)


@pytest.mark.parametrize("apart", [0.0, 0.0999, 0.1, 0.11, 0.2])
def test_packets_less_than_a_tenth_of_a_second_apart_are_one_burst(apart):
    begins, _ = count_bursts(times(0, 5, 5 + apart, 10))
    assert begins.tolist() == [True, True, apart >= 0.1, True]


@pytest.mark.parametrize(("usual", "late", "stale"), [(0, 3, 10), (0.2, 3, 10), (1, 3, 10), (2.5, 7.5, 25), (5, 15, 50)])
def test_late_and_stale_follow_the_usual_interval(usual, late, stale):
    pace = Pace()
    for at in times(*np.arange(30) * usual) if usual else times(0):
        pace.note(int(at))
    assert (pace.late_ns, pace.stale_ns) == (late * SECOND_NS, stale * SECOND_NS)
    assert liveness.late_ns(np.array([pace.usual_ns])).tolist() == [pace.late_ns]
    assert liveness.stale_ns(np.array([pace.usual_ns])).tolist() == [pace.stale_ns]
    assert pace.snapshot_ns() == pace.usual_ns


def test_a_silence_is_a_gap_beyond_three_intervals_or_once_stale_while_the_pace_is_unknown():
    assert Pace().note_all(times(0, 9.9)).silent.tolist() == [False, False]
    assert Pace().note_all(times(0, 10.1)).silent.tolist() == [False, True]
    assert Pace().note_all(times(0, 3.1), is_first=np.array([True, True])).silent.tolist() == [False, True], "on a new connection"
    assert Pace().note_all(times(0, 1, 2, 3, 6.1)).silent.tolist() == [False] * 4 + [True]
    assert Pace().note_all(times(0, 1, 2, 3, 6.0)).silent.tolist() == [False] * 5


def test_the_first_packet_of_a_connection_and_a_replay_tell_no_interval():
    pace = Pace()
    for second in range(5):
        pace.note(second * SECOND_NS)
    pace.note(60 * SECOND_NS, is_first=True)
    for place in range(1, 30):
        pace.note(60 * SECOND_NS + place * 200 * MS, is_original=False)
    assert pace.usual_ns == SECOND_NS


def test_a_sleep_is_what_the_wall_clock_runs_ahead():
    assert liveness.slept_ns(3600 * SECOND_NS, SECOND_NS) == 3599 * SECOND_NS
    assert liveness.slept_ns(6 * SECOND_NS, SECOND_NS) == 0
    assert liveness.slept_ns(np.array([3600 * SECOND_NS, 0]), np.array([SECOND_NS, SECOND_NS])).tolist() == [3599 * SECOND_NS, 0]


STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 300), st.sampled_from([99, 100, 101, 119, 120, 121, 1000, 2999, 3001, 5000, 9999, 10_001, 60_000])),
        st.sampled_from([False] * 9 + [True]),
        st.sampled_from([True] * 9 + [False]),
    ),
    max_size=120,
)


@pytest.mark.slow
@given(steps=STEPS, cuts=st.lists(st.integers(0, 120), max_size=4))
def test_whole_arrays_and_single_packets_agree_however_they_are_split(steps, cuts):
    at = np.cumsum([step for step, _, _ in steps], dtype=np.int64) * MS
    is_first = np.array([new for _, new, _ in steps], dtype=bool)
    is_original = np.array([tell for _, _, tell in steps], dtype=bool)
    one, before = Pace(), None
    begins, silent = [], []
    for moment, new, tell in zip(at.tolist(), is_first.tolist(), is_original.tolist(), strict=True):
        silent.append(before is not None and one.is_gap(moment - before, is_first=new))
        begins.append(one.note(moment, is_first=new, is_original=tell))
        before = moment
    whole, parts = Pace(), Pace()
    paces = whole.note_all(at, is_first=is_first, is_original=is_original)
    assert paces.begins.tolist() == begins
    assert paces.silent.tolist() == silent
    places = sorted({min(cut, len(at)) for cut in cuts} | {0, len(at)})
    pieces = [parts.note_all(at[a:b], is_first=is_first[a:b], is_original=is_original[a:b]) for a, b in itertools.pairwise(places)]
    for name in ("step_ns", "begins", "interval_ns", "usual_ns", "silent"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces]) if pieces else getattr(paces, name)
        assert joined.tolist() == getattr(paces, name).tolist(), name
    assert one.usual_ns == whole.usual_ns == parts.usual_ns
    for pace in (one, whole, parts):
        assert pace.note(int(at[-1]) + 250 * MS if len(at) else 0) is True
    assert one.usual_ns == whole.usual_ns == parts.usual_ns


@pytest.mark.slow
def test_a_million_packets_take_well_under_a_second():
    at = np.arange(1_000_000, dtype=np.int64) * 5 * SECOND_NS
    started = time.process_time()
    paces = Pace().note_all(at)
    assert time.process_time() - started < 3
    assert not paces.silent.any()
    assert LATE_NS < STALE_NS
