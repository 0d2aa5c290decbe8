from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from ccwatch.analysis import kaplan_meier
from ccwatch.analysis.survival import quantile


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=40).filter(lambda pairs: any(ended for _, ended in pairs))
)
@settings(max_examples=60, deadline=None)
def test_the_curve_is_that_of_statsmodels(pairs):
    durations, ended = np.array([d for d, _ in pairs], dtype=float), np.array([e for _, e in pairs])
    found, theirs = kaplan_meier(durations, ended), SurvfuncRight(durations, ended.astype(int))
    np.testing.assert_array_equal(found["duration"], theirs.surv_times)
    np.testing.assert_allclose(found["survival"], theirs.surv_prob, atol=1e-12)
    still = found["survival"].to_numpy() > 1e-12
    np.testing.assert_allclose(found["std_error"][still], np.asarray(theirs.surv_prob_se)[still], atol=1e-9)
    np.testing.assert_array_equal(found["at_risk"], theirs.n_risk)
    if found["survival"].iloc[-1] <= 0.5 - 1e-9 and not np.isclose(found["survival"], 0.5).any():
        assert quantile(found, 0.5) == theirs.quantile(0.5)


def test_without_an_end_there_is_no_curve_and_no_median():
    found = kaplan_meier([3.0, 4.0], [False, False])
    assert len(found) == 0
    assert np.isnan(quantile(found, 0.5))


def test_without_censoring_the_median_is_the_samples_own():
    assert quantile(kaplan_meier([1.0, 2.0, 7.0], [True] * 3), 0.5) == 2.0
    assert kaplan_meier([1.0, 2.0, 7.0], [True] * 3)["survival"].tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
