from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from ccwatch.analysis import Report, Result
from ccwatch.analysis.explain import cliffs_delta
from ccwatch.errors import ConfigError, NotEnoughData


@pytest.mark.slow
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_cliffs_delta_is_its_definition_and_mann_whitneys_u(a, b):
    x, y = np.array(a, dtype=float), np.array(b, dtype=float)
    pairs = np.sign(x[:, None] - y[None, :])
    assert cliffs_delta(x, y) == pytest.approx(pairs.mean(), abs=1e-12)
    u = stats.mannwhitneyu(x, y).statistic
    assert cliffs_delta(x, y) == pytest.approx(2 * u / (len(x) * len(y)) - 1, abs=1e-12)


@pytest.mark.slow
def test_a_planted_slow_agent_is_what_differs_most(stream):
    found = Report(stream("slow-agent", count=400)).explain("14:32:30", window="1min", baseline="2min")
    top = found.differences.iloc[0]
    assert (top["measure"], top["subject"]) == ("latency", "RiskAgent")
    assert top["differs"]
    assert top["cliffs_delta"] > 0.95
    assert top["median"] > 5 * top["baseline_median"]
    assert "RiskAgent" in found.headline()


def test_nothing_differs_in_a_stream_that_does_not_change(rows):
    rng = np.random.default_rng(4)
    report = Report(rows(price=100.0 + rng.normal(size=1200).round(2), nav=np.full(1200, 5.0), regime=["Gaussian"] * 1200))
    found = report.explain("14:48", window="2min")
    assert not found.differences["differs"].any()
    assert "no measure differs" in found.headline()


@pytest.mark.slow
def test_the_change_of_nav_is_split_and_the_parts_add_up(stream, at):
    source = stream("drawdown-halt", count=400)
    found = Report(source).explain("14:33")
    nav = source.frame()["nav"]
    assert found.change_usd == pytest.approx(nav[at(240)] - nav[at(120)], abs=1e-9)
    assert round(found.nav["change_usd"].sum(), 2) == round(found.change_usd, 2)


@pytest.mark.slow
def test_evidence_is_in_order_and_says_which_has_none(stream):
    found = Report(stream("drawdown-halt", count=400)).explain("14:33")
    offsets = found.to_frame()["offset_s"].tolist()
    assert offsets == sorted(offsets)
    assert (min(offsets), max(offsets)) >= (-60.0, 0.0)
    assert any("have no order" in note for note in found.notes)


@pytest.mark.slow
def test_an_explanation_never_says_because(stream):
    for scenario, time in (("drawdown-halt", "14:33"), ("slow-agent", "14:32:30"), ("gap", "14:32")):
        found = Report(stream(scenario, count=400)).explain(time)
        for text in (found.headline(), found.to_markdown(), found._repr_html_(), json.dumps(found.to_dict(), allow_nan=False)):
            assert "because" not in text.lower()
            assert "caused" not in text.lower()
        assert isinstance(found, Result)
        assert len(found.figure().data) == 1


@pytest.mark.slow
def test_a_comparison_with_too_little_data_is_missing_with_its_reason(stream):
    found = Report(stream("calm", count=100)).explain("14:30:20", window="10s", baseline="10s")
    assert found.differences["cliffs_delta"].isna().all()
    assert found.differences["reason"].str.contains("n too small").all()


@pytest.mark.slow
def test_a_moment_without_packets_cannot_be_explained(stream):
    with pytest.raises(NotEnoughData):
        Report(stream("gap", count=400)).explain("14:31:45", window="4s")
    with pytest.raises(ConfigError):
        Report(stream("gap", count=400)).explain("14:31:45", window="never")
