from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import regimes
from ccwatch.errors import MissingColumns, MixedSymbols, NotEnoughData
from ccwatch.feed.scenarios import planted

G, L, C = "Gaussian", "Lévy Stable", "Critical"
WORDS = st.lists(st.sampled_from([G, L, C]), min_size=2, max_size=50)


def counts(found):
    table = found.transitions
    return {(a, b): n for a, b, n in zip(table["from"], table["to"], table["n"], strict=True) if n}


def test_the_planted_regimes_are_recovered_exactly(stream, at):
    source = stream("regime-flip", count=400)
    found = regimes(source.frame(clean=False), source.events()).to_frame()
    truth = planted("regime-flip", 1.0)
    assert found["regime"].tolist() == [G, L, C, L, G]
    assert found["start_time"].tolist() == [at(incident.start_s) for incident in truth]
    assert found["end_time"].tolist() == [*(at(incident.end_s) for incident in truth[:-1]), at(399)]
    assert found["ended_by"].tolist() == ["transition"] * 4 + ["end of stream"]
    assert found["duration_s"].tolist() == [120.0, 80.0, 40.0, 40.0, 119.0]
    assert found["n"].sum() == 400


def test_segments_are_cut_at_gaps_and_nothing_is_counted_across(stream, at):
    source = stream("gap", count=300)
    found = regimes(source.frame(clean=False), source.events())
    cut = found.to_frame()
    cut = cut[cut["ended_by"] == "gap"]
    assert cut["end_time"].tolist() == [at(89)]
    assert cut["is_censored"].all()
    assert found.transitions["n"].sum() == 300 - 1 - 1
    assert found.basis.gaps == 1
    assert found.basis.gap_s == 31.0


def test_a_gap_is_found_without_events(rows):
    found = regimes(rows(regime=[G] * 6, times=[0, 1, 2, 3, 60, 61]))
    assert found.to_frame()["n"].tolist() == [4, 2]
    assert found.to_frame()["left_censored"].tolist() == [True, True]


def test_a_sleep_of_the_machine_is_a_gap(rows):
    frame = rows(regime=[G] * 5)
    mono = np.array([0, 1, 2, 3, 4], dtype=np.int64) * 10**9
    wall = frame.index + pd.to_timedelta([0, 0, 0, 3600, 3600], unit="s")
    found = regimes(frame.assign(received_mono_ns=mono, received_at=wall))
    assert found.to_frame()["n"].tolist() == [3, 2]


@pytest.mark.slow
@given(WORDS)
@settings(max_examples=60, deadline=None)
def test_transitions_are_the_neighbouring_pairs(words):
    index = pd.date_range("2026-01-02T14:30:00Z", periods=len(words), freq="s", unit="ns")
    found = regimes(pd.DataFrame({"regime": words}, index=index))
    pairs = list(itertools.pairwise(words))
    assert counts(found) == {pair: pairs.count(pair) for pair in pairs}
    table = found.transitions
    sums = table.groupby("from", observed=True)["probability"].sum(min_count=1).dropna()
    np.testing.assert_allclose(sums, 1.0, atol=1e-12)
    assert len(found.to_frame()) == 1 + sum(a != b for a, b in pairs)


@pytest.mark.slow
@given(WORDS, WORDS)
@settings(max_examples=20, deadline=None)
def test_the_counts_of_two_sessions_add_up_to_those_of_the_whole(one, two):
    def frame(words, start):
        return pd.DataFrame({"regime": words}, index=pd.date_range(start, periods=len(words), freq="s", unit="ns"))

    first, second = frame(one, "2026-01-02T14:30:00Z"), frame(two, "2026-01-02T16:00:00Z")
    whole, parts = counts(regimes(pd.concat([first, second]))), [counts(regimes(part)) for part in (first, second)]
    assert whole == {pair: parts[0].get(pair, 0) + parts[1].get(pair, 0) for pair in whole}


def test_hysteresis_dates_a_change_at_its_first_packet_and_ignores_flicker(rows):
    words = [G, G, L, G, G, L, L, L, C, L, L, C, C, C]
    found = regimes(rows(regime=words), hold=3)
    assert found.smoothed["regime"].tolist() == [G, L, C]
    assert found.smoothed["n"].tolist() == [5, 6, 3]
    assert regimes(rows(regime=words), hold=1).smoothed.equals(found.to_frame())


def test_hysteresis_does_not_reach_across_a_gap(rows):
    found = regimes(rows(regime=[G, G, G, L, L], times=[0, 1, 2, 60, 61]), hold=3)
    assert found.smoothed["regime"].tolist() == [G, L]


def test_dwell_times_treat_the_last_segment_as_censored(rows):
    found = regimes(rows(regime=[G, G, L, L, L, L, G, G, G, G]))
    gaussian = found.dwell.set_index("regime").loc[G]
    assert gaussian["n"] == 2
    assert gaussian["n_censored"] == 1
    assert gaussian["mean_s"] == 2.0
    # of two at risk at 2 s one ended: S = 1/2, so the median is 2 s
    assert gaussian["median_s"] == 2.0
    assert gaussian["longest_s"] == 3.0
    assert found.dwell["share"].sum() == pytest.approx(1.0)


def test_a_median_that_the_data_cannot_support_is_missing_with_its_reason(rows):
    dwell = regimes(rows(regime=[G, G, G])).dwell
    assert np.isnan(dwell["median_s"].iloc[0])
    assert dwell["reason"].iloc[0]


def test_a_label_against_the_cut_offs_is_found(rows):
    found = regimes(rows(regime=[G, G, G, L, C, C], alpha=[2.4, 1.7, 1.8, 1.5, 1.5, np.nan]))
    assert found.contradictions["n"].tolist() == [2]
    row = found.contradictions.iloc[0]
    assert (row["regime"], row["expected"]) == (G, L)
    assert (row["alpha_min"], row["alpha_max"]) == (1.7, 1.8)
    judged = found.alpha.set_index("regime")
    assert judged.loc[G, "contradicts"] == pytest.approx(2 / 3)
    assert judged.loc[C, "n"] == 1  # a value on a cut-off contradicts neither side
    assert judged.loc[C, "n_contradicts"] == 0


def test_the_seeded_engine_never_contradicts_its_cut_offs(stream):
    source = stream("regime-flip", count=400)
    found = regimes(source.frame(clean=False), source.events())
    assert found.alpha["n"].sum() == 400
    assert len(found.contradictions) == 0


def test_without_alpha_the_label_is_not_judged_and_that_is_said(rows):
    found = regimes(rows(regime=[G, L, L]))
    assert found.alpha["n"].tolist() == [0, 0]
    assert found.alpha["contradicts"].isna().all()
    assert any("no alpha" in note for note in found.notes)


def test_packets_without_a_regime_are_left_out(rows):
    found = regimes(rows(regime=[G, None, G, None, L]))
    assert found.to_frame()["n"].tolist() == [2, 1]
    assert found.basis.coverage == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"regime": []}, NotEnoughData),
        ({"regime": [G]}, NotEnoughData),
        ({"regime": [None, None]}, MissingColumns),
        ({"price": [1.0, 2.0]}, MissingColumns),
        ({"regime": [G, L], "symbol": ["SPY", "QQQ"]}, MixedSymbols),
        ({"regime": [G, L], "flags": np.array([4, 4], dtype=np.uint32)}, NotEnoughData),
    ],
)
def test_what_cannot_be_answered_says_why(rows, columns, error):
    with pytest.raises(error):
        regimes(rows(**columns))


def test_time_going_backwards_is_put_in_order(rows):
    found = regimes(rows(regime=[G, L, G, L], times=[0, 2, 1, 3]))
    assert found.to_frame()["n"].tolist() == [2, 2]


def test_packets_of_one_time_take_no_time(rows):
    found = regimes(rows(regime=[G, G, L], times=[0, 0, 0]))
    assert found.to_frame()["duration_s"].tolist() == [0.0, 0.0]
    assert found.dwell["share"].isna().all()
    found.figure()
    found.headline()
