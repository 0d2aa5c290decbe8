"""What must not matter to any answer: a shift in time, the order of arrival, and how ties are told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccwatch.analysis import attribution, drawdowns, governance, regimes, signals
from tests.analysis.test_bad_input import packets

KERNELS = {kernel.__name__: kernel for kernel in (drawdowns, regimes, attribution, signals, governance)}
SECONDS = st.integers(1, 10**7)
OWN = ["symbol", "status", "regime", "side", "price", "nav", "alpha", "confidence", "approved_size"]


def session(ties):
    """A session of one's own, in which each time stands so many times in a row."""
    frame = packets(240)[OWN]
    return frame.set_axis(frame.index[np.arange(240) // ties * ties], axis=0)


@pytest.mark.parametrize("question", KERNELS)
@given(shift=SECONDS)
@settings(max_examples=4, deadline=None)
def test_a_shift_in_time_shifts_times_and_nothing_else(question, shift):
    frame, by = session(1), pd.Timedelta(seconds=shift)
    plain = KERNELS[question](frame).to_frame()
    moved = KERNELS[question](frame.set_axis(frame.index + by, axis=0)).to_frame()
    for name in plain.columns:
        expected = plain[name] + by if isinstance(plain[name].dtype, pd.DatetimeTZDtype) else plain[name]
        pd.testing.assert_series_equal(moved[name], expected)


@pytest.mark.parametrize("question", KERNELS)
@given(data=st.data(), ties=st.sampled_from([1, 3]))
@settings(max_examples=4, deadline=None)
def test_packets_of_one_time_keep_the_order_they_came_in_and_no_other_order_matters(question, data, ties):
    frame = session(ties)
    groups = np.split(np.arange(240), np.arange(ties, 240, ties))
    late = data.draw(st.permutations(range(len(groups))))
    arrived = frame.iloc[np.concatenate([groups[place] for place in late])]
    pd.testing.assert_frame_equal(KERNELS[question](arrived).to_frame(), KERNELS[question](frame).to_frame())
