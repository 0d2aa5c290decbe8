"""What holds of two sessions' answers: merged, they are the answer for both, in any order, and never one that counts across a gap.

Drawdowns and their audit, alpha, Kalman, change points and quality do not merge (`Result` says why); what splitting a session means for
drawdowns is here too.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.alerts import DEFAULT_RULES
from ccwatch.analysis import Report, Result, attribution, burn_rate, drawdowns, governance, latency, regimes, signals
from ccwatch.analysis.report import QUESTIONS
from ccwatch.errors import AnalysisError
from ccwatch.protocol.messages import Flag
from ccwatch.stream.table_reader import TableReader
from tests.analysis.test_bad_input import Source, calls, packets

KERNELS = {kernel.__name__: kernel for kernel in (regimes, attribution, governance, signals)}
MERGED = (*KERNELS, "latency", "burn_rate", "alerts", "timeline")
SESSION = 90


def market(seed, count=3 * SESSION):
    """A session of random regimes, sides and sizes in stretches of random length; some packets do not say their regime."""
    rng = np.random.default_rng(seed)

    def stretches(words, mean):
        lengths = rng.geometric(1.0 / mean, count)
        return np.repeat(rng.choice(np.array(words, dtype=object), count), lengths)[:count]

    regime = stretches(["Gaussian", "Lévy Stable", "Critical"], 8)
    regime[rng.uniform(size=count) < 0.05] = None
    size = np.where(rng.uniform(size=count) < 0.3, 0.0, np.round(rng.uniform(0.0, 0.25, count), 3))
    nav = np.round(100_000.0 + np.cumsum(rng.normal(0.0, 50.0, count)), 2)
    price = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count))), 2)
    side = stretches(["BUY", "SELL", "FLAT"], 5)
    return packets(count).assign(regime=regime, side=side, approved_size=size, nav=nav, price=price)


def same(one, two, *, apart=()):
    """Equal answers: every field but `apart`, words as words, rows of tables without an order of their own in any."""
    for field in fields(one):
        if field.name not in apart:
            equal(getattr(one, field.name), getattr(two, field.name), field.name)


def equal(one, two, name):
    if isinstance(one, pd.DataFrame):
        one, two = (table.astype({c: "str" for c in table if isinstance(table[c].dtype, pd.CategoricalDtype)}) for table in (one, two))
        if isinstance(one.index, pd.RangeIndex) and not any(isinstance(dtype, pd.DatetimeTZDtype) for dtype in one.dtypes):
            keys = [column for column in one.columns if not pd.api.types.is_numeric_dtype(one[column])]
            one, two = (table.sort_values([*keys, *table.columns], ignore_index=True) for table in (one, two))
        pd.testing.assert_frame_equal(one, two, rtol=1e-9, atol=1e-9, check_dtype=False, obj=name)
    elif is_dataclass(one):
        same(one, two)
    elif isinstance(one, float):
        assert one == pytest.approx(two, rel=1e-9, nan_ok=True), name
    else:
        assert one == two, name


def joined(frame, cut):
    """The whole session, received over two connections: from `cut` on, over the second one."""
    return frame.assign(connection=np.where(np.arange(len(frame)) < cut, 1, 2).astype(np.int32))


@pytest.mark.slow
@pytest.mark.parametrize("question", KERNELS)
@given(seed=st.integers(0, 10**6), cut=st.integers(20, 250))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_the_merged_answer_is_that_of_the_session_with_a_gap_in_it(question, seed, cut):
    frame, kernel = market(seed), KERNELS[question]
    merged = kernel(frame.iloc[:cut]).merge(kernel(frame.iloc[cut:]))
    whole = kernel(joined(frame, cut))
    apart = {"notes"}
    if question == "regimes":  # medians do not merge, and the last segment of a session ended with it
        apart |= {"alpha", "segments", "smoothed"}
        for table in ("segments", "smoothed"):
            equal(getattr(merged, table).drop(columns="ended_by"), getattr(whole, table).drop(columns="ended_by"), table)
        equal(merged.alpha.drop(columns="alpha_median"), whole.alpha.drop(columns="alpha_median"), "alpha")
        parts = [kernel(frame.iloc[:cut]).alpha, kernel(frame.iloc[cut:]).alpha]
        in_both = set.intersection(*[set(part.loc[part["n"] > 0, "regime"]) for part in parts])
        assert merged.alpha.loc[merged.alpha["regime"].isin(in_both), "alpha_median"].isna().all()
    if question == "governance":
        ranks, apart = ["median_size", "size_confidence", "reason"], {*apart, "by_regime"}
        equal(merged.by_regime.drop(columns=ranks), whole.by_regime.drop(columns=ranks), "by_regime")
        heard = merged.by_regime["median_size"].notna()
        assert merged.by_regime.loc[~heard, "reason"].ne("").all()
    same(merged, whole, apart=apart)


@pytest.mark.parametrize("size", [2, 5, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_nav_that_nobody_rounded_adds_up_over_sessions_too(seed, size):
    frame, one, two = market(seed), 60 + seed, 150
    steps = np.random.default_rng(seed).normal(0.0, 1.0, len(frame))
    nav = 10.0**size + np.cumsum(steps)
    nav[one:two] = np.round(nav[one:two], 2)  # and one session with other decimals than its neighbours
    frame = frame.assign(nav=nav)
    first, second, third = (attribution(frame.iloc[start:end]) for start, end in ((0, one), (one, two), (two, None)))
    for merged in (first.merge(second).merge(third), first.merge(second.merge(third))):
        assert merged.adds_up
        assert merged.change_usd == pytest.approx(nav[-1] - nav[0], abs=2.0 * 10.0 ** -min(part.decimals for part in (first, third)))
        by_split = merged.parts.groupby("split")["change_usd"].sum()
        np.testing.assert_allclose(by_split, merged.change_usd, atol=1e-9)


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), cut=st.integers(20, 250))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_services_lose_no_call_when_the_reading_at_the_cut_stands_in_both_parts(seed, cut):
    rng = np.random.default_rng(seed)
    frame = packets(3 * SESSION)
    count = np.cumsum(rng.integers(0, 3, len(frame))).astype(float)
    agents, models = calls("agent", frame, count), calls("model", frame, count // 2)
    agents = agents.assign(latency_ms=rng.lognormal(3.0, 1.0, len(frame)), success_rate=1.0 - np.floor(count / 7) / np.maximum(count, 1.0))
    for kernel in (latency, burn_rate):
        first, second = kernel(agents.iloc[: cut + 1], models.iloc[: cut + 1]), kernel(agents.iloc[cut:], models.iloc[cut:])
        merged, whole = first.merge(second).to_frame(), kernel(agents, models).to_frame()
        # a reading at the cut is one of each part, and so are the bounds that its rounding gives
        apart = [name for name in ("n", "misses_bound", "rate_low", "rate_high") if kernel is burn_rate]
        equal(merged.drop(columns=apart), whole.drop(columns=apart), kernel.__name__)
        if kernel is burn_rate:
            assert (merged["n"] == whole["n"] + 1).all()
            assert (merged["misses_bound"] >= whole["misses_bound"]).all()


@pytest.fixture(scope="module")
def sessions():
    """Three sessions one after the other, as reports."""
    whole = market(7)
    count = np.arange(len(whole)) * 1.5 // 1
    parts = [whole.iloc[start : start + SESSION] for start in range(0, len(whole), SESSION)]
    return [Report(Source(part, invocations=count[:SESSION])) for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize("question", MERGED)
def test_sessions_merge_in_any_order(sessions, question):
    a, b, c = (getattr(session, question)() for session in sessions)
    in_turn = a.merge(b).merge(c)
    same(in_turn, a.merge(b.merge(c)))
    same(in_turn, c.merge(b).merge(a), apart={"notes"})
    assert in_turn.basis.gaps == sum(part.basis.gaps for part in (a, b, c)) + 2
    assert in_turn.basis.packets == 3 * SESSION
    assert in_turn.headline().endswith(".")
    in_turn.figure()
    in_turn.to_markdown()
    in_turn.to_dict()


@pytest.mark.parametrize("question", MERGED)
def test_sessions_that_overlap_do_not_merge_since_a_packet_would_count_twice(sessions, question):
    found = getattr(sessions[0], question)()
    with pytest.raises(AnalysisError, match="overlap in time"):
        found.merge(found)


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("regimes", {"hold": 5}),
        ("governance", {"horizon_s": 30.0}),
        ("governance", {"largest_size": 0.1}),
        ("signals", {"calibrated_at_s": 15.0}),
        ("latency", {"level": 0.9}),
        ("burn_rate", {"objective": 0.999}),
        ("alerts", {"within_s": 60.0}),
        ("alerts", {"symbol": "SPY"}),
        ("alerts", {"objectives": {"Chronos": 5.0}}),
        ("alerts", {"rules": [replace(DEFAULT_RULES[0], limit=DEFAULT_RULES[0].limit / 2), *DEFAULT_RULES[1:]]}),
        ("timeline", {"least_depth": -0.1}),
        ("timeline", {"symbol": "SPY"}),
    ],
)
def test_answers_that_were_asked_differently_do_not_merge(sessions, question, options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))}=.*ask both"):
        getattr(sessions[0], question)().merge(getattr(sessions[1], question)(**options))


@pytest.mark.parametrize("question", KERNELS)
def test_answers_of_other_symbols_do_not_merge(question):
    frame, kernel = market(1), KERNELS[question]
    with pytest.raises(ValueError, match="symbol='SPY' and 'QQQ' do not merge"):
        kernel(frame.iloc[:100]).merge(kernel(frame.iloc[100:].assign(symbol="QQQ")))
    asked = kernel(frame.assign(symbol=np.where(np.arange(len(frame)) % 2, "QQQ", "SPY")).iloc[100:], symbol="SPY")
    assert kernel(frame.iloc[:100]).merge(asked).symbol == "SPY"  # however the one symbol was chosen


@pytest.mark.slow
def test_what_limits_a_merged_answer_is_told_of_both_sessions_or_of_the_one_that_it_limits():
    frame, cut = market(2), 100
    before, after = frame.iloc[:cut], frame.iloc[cut:]
    session = "of the session 2026-01-02 14:30:00 to 2026-01-02 14:31:39 UTC: "
    several = "of several sessions, one after the other: nothing is counted from one to the next"

    # counts are those of both
    merged = regimes(before).merge(regimes(after))
    assert merged.notes == ("2 segments may have begun before the stream or in a gap: a dwell time there is a lower bound", several)
    unit = np.where(np.arange(len(frame)) % 50 == 0, Flag.UNIT, 0).astype(np.uint32)
    merged = governance(before.assign(flags=unit[:cut])).merge(governance(after.assign(flags=unit[cut:])))
    followed = merged.vetoes["return_60s"].notna().sum()
    assert merged.notes == (
        "the stream carries no logs: vetoes have no reason",
        "an approved size above 1 is no fraction but an amount: 6 packets count as not vetoed, without a size to judge",
        f"{followed} of {len(merged.vetoes)} vetoes can be followed for 60 s",
        several,
    )

    # what only one lacked is not said of both
    assert signals(before.assign(confidence=np.nan)).merge(signals(after)).notes == (signals(after).notes[0], several)
    assert regimes(before.assign(alpha=np.nan)).merge(regimes(after)).notes[1:] == (several,)
    unsaid = attribution(before.assign(regime=None))
    merged = unsaid.merge(attribution(after))
    assert merged.notes == (f"{session}the stream carries no regime", several)
    assert unsaid.merge(attribution(after.assign(regime=None))).notes == ("the stream carries no regime", several)
    third = attribution(after.set_axis(after.index + pd.Timedelta("1D"), axis=0))
    assert merged.merge(third).notes == merged.notes
    both = "of the sessions 2026-01-02 14:30:00 to 2026-01-02 14:34:29 UTC: "
    assert unsaid.merge(attribution(after.assign(regime=None))).merge(third).notes == (f"{both}the stream carries no regime", several)


def test_those_answers_merge_and_the_others_have_no_such_method():
    kinds = {kind.question: hasattr(kind, "merge") for kind in Result.__subclasses__()}
    assert set(kinds) >= {*QUESTIONS, "explain", "compare"}
    assert {question for question, merges in kinds.items() if merges} == {*MERGED, "what_if", "reasoning"}


@pytest.mark.slow
def test_decisions_and_words_of_two_sessions_add_up(stream):
    before, after = Report(stream("drawdown-halt", count=400)), Report(Moved(stream("drawdown-halt", count=400, seed=1)))
    one, two = before.what_if(size_cap=0.05), after.what_if(size_cap=0.05)
    both = two.merge(one)
    assert both.difference == pytest.approx(one.difference + two.difference, abs=1e-9)
    assert (both.decisions, len(both.changed)) == (one.decisions + two.decisions, len(one.changed) + len(two.changed))
    assert both.basis.packets == one.basis.packets + two.basis.packets
    said, later = before.reasoning(), after.reasoning()
    assert said.merge(later).basis.packets == said.basis.packets + later.basis.packets


@pytest.mark.slow
def test_firings_of_both_sessions_are_counted_by_their_rules(stream):
    first, second = stream("drawdown-halt", count=400), stream("drawdown-halt", count=400, seed=1)
    one, later = Report(first).alerts(), Report(Moved(second)).alerts()
    assert len(one.firings) > 2 < len(later.firings)
    merged = one.merge(later)
    pd.testing.assert_frame_equal(merged.firings, pd.concat([one.firings, later.firings], ignore_index=True))
    for row in merged.rules.to_dict("records"):
        mine = merged.firings[(merged.firings["rule"] == row["rule"]) & (merged.firings["subject"] == row["subject"])]
        assert (row["n"], row["firing_s"]) == (len(mine), pytest.approx(mine["duration_s"].sum()))
        assert row["n_false"] == mine["false_alarm"].fillna(False).sum()
    assert merged.rules["n"].sum() == len(merged.firings)


class Moved(TableReader):
    """A source a day later."""

    origin, label = "synthetic", "a test"

    def __init__(self, source):
        self._source = source

    def frame(self, *columns, clean=True):
        return self._moved(self._source.frame(*columns, clean=clean))

    def _long(self, table, last):
        return self._moved(self._source._long(table, last))

    def _moved(self, found):
        return found.set_axis(found.index + pd.Timedelta("1D"), axis=0)


@pytest.mark.slow
@given(st.lists(st.integers(1, 40), min_size=3, max_size=30), st.lists(st.integers(1, 40), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_episodes_of_a_session_that_is_cut_at_a_peak_are_those_of_its_parts(before, after):
    # elsewhere an episode of the second part hangs from a peak of the first: that is why drawdowns do not merge
    values, cut = [*before, max(before), *after], len(before)
    index = pd.date_range("2026-01-02T14:30:00Z", periods=len(values), freq="s", unit="ns")
    frame = pd.DataFrame({"nav": np.array(values, dtype=float)}, index=index)
    parts = [drawdowns(part).episodes for part in (frame.iloc[: cut + 1], frame.iloc[cut:])]
    apart = ["left_censored"]  # the peak at the cut is the second part's first sample
    equal(pd.concat(parts, ignore_index=True).drop(columns=apart), drawdowns(frame).episodes.drop(columns=apart), "episodes")


@pytest.mark.slow
def test_words_of_frames_of_ones_own_merge_whatever_their_categories_are():
    def worded(frame, words, *, text):
        kinds = pd.CategoricalDtype(pd.Index(words, dtype="str" if text else "object"), ordered=True)
        return frame.assign(regime=np.resize(words, len(frame))).astype({"regime": kinds})

    frame = market(3)
    one = worded(frame.iloc[:100], ["Gaussian", "Critical"], text=True)
    for words, text in ((["Critical", "Gaussian", "Lévy Stable"], True), (["Lévy Stable", "Critical"], False)):
        two = worded(frame.iloc[100:], words, text=text)
        merged = signals(one).merge(signals(two))
        heard = [*signals(one).changes["regime"].astype("str"), *signals(two).changes["regime"].astype("str")]
        assert merged.changes["regime"].astype("str").tolist() == heard
        assert regimes(one).merge(regimes(two)).basis.n == len(frame)
