from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import attribution
from ccwatch.analysis.attribution import GAP, NOT_CARRIED
from ccwatch.errors import MissingColumns, MixedSymbols, NotEnoughData

STATES = st.tuples(
    st.integers(1, 10**12), st.sampled_from(["Gaussian", "Lévy Stable", "Critical", None]), st.sampled_from(["BUY", "SELL", "FLAT", None])
)


def frame_of(states, times=None):
    index = pd.Timestamp("2026-01-02T14:30:00Z").as_unit("ns") + pd.to_timedelta(
        np.arange(len(states)) if times is None else np.asarray(times, dtype=float), unit="s"
    )
    nav, regime, side = zip(*states, strict=True)
    return pd.DataFrame({"nav": np.array(nav) / 100.0, "regime": regime, "side": side}, index=pd.DatetimeIndex(index))


def cents(table):
    return sum(round(Fraction(value) * 100) for value in table["change_usd"])


@pytest.mark.slow
@given(st.lists(STATES, min_size=2, max_size=40).filter(lambda states: any(regime or side for _, regime, side in states)))
@settings(max_examples=60, deadline=None)
def test_the_parts_of_each_split_add_up_to_the_cent(states):
    found = attribution(frame_of(states))
    for _, parts in found.to_frame().groupby("split"):
        assert cents(parts) == states[-1][0] - states[0][0]
        assert parts["n"].sum() == len(states) - 1
    assert found.adds_up
    assert found.change_usd == pytest.approx((states[-1][0] - states[0][0]) / 100, abs=1e-9)


@pytest.mark.slow
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_amounts_that_are_no_cents_add_up_too(nav):
    frame = pd.DataFrame({"nav": nav, "side": "BUY"}, index=pd.date_range("2026-01-02", periods=len(nav), freq="s", tz="UTC"))
    found = attribution(frame)
    assert found.adds_up
    assert found.change_usd == pytest.approx(nav[-1] - nav[0], abs=2.0 * 10.0**-found.decimals)


@pytest.mark.slow
@given(st.lists(STATES.filter(lambda state: state[1] is not None), min_size=4, max_size=30), st.data())
@settings(max_examples=20, deadline=None)
def test_two_parts_of_a_session_that_share_a_packet_add_up_to_the_whole(states, data):
    cut = data.draw(st.integers(1, len(states) - 2))
    frame = frame_of(states)

    def parts(frame):
        return attribution(frame).to_frame().groupby(["split", "regime", "side"])[["change_usd", "n", "time_s"]].sum()

    merged = parts(frame.iloc[: cut + 1]).add(parts(frame.iloc[cut:]), fill_value=0)
    whole = parts(frame)
    assert set(merged.index) == set(whole.index)
    np.testing.assert_allclose(merged.loc[whole.index].to_numpy(), whole.to_numpy(), atol=1e-6)


def test_a_change_is_booked_to_the_state_of_the_packet_before_it():
    found = attribution(frame_of([(10000, "Gaussian", "BUY"), (10500, "Critical", "SELL"), (10100, "Critical", "SELL")])).to_frame()
    by_regime = found[found["split"] == "regime"].set_index("regime")["change_usd"].to_dict()
    assert by_regime == {"Gaussian": 5.0, "Critical": -4.0}
    both = found[found["split"] == "both"]
    assert set(zip(both["regime"], both["side"], both["change_usd"], strict=True)) == {("Gaussian", "BUY", 5.0), ("Critical", "SELL", -4.0)}


def test_what_changed_in_a_gap_has_a_bucket_of_its_own():
    states = [(10000, "Gaussian", "BUY")] * 3 + [(9000, "Gaussian", "BUY")] * 2
    found = attribution(frame_of(states, [0, 1, 2, 90, 91])).to_frame()
    regime = found[found["split"] == "regime"].set_index("regime")
    assert regime.loc[GAP, "change_usd"] == -10.0
    assert regime.loc[GAP, "time_s"] == 88.0
    assert regime.loc["Gaussian", "change_usd"] == 0.0


def test_a_packet_that_does_not_say_its_state_has_a_bucket_too():
    found = attribution(frame_of([(100, None, "BUY"), (200, "Gaussian", None), (300, "Gaussian", "BUY")])).to_frame()
    assert NOT_CARRIED in found[found["split"] == "regime"]["regime"].tolist()
    assert NOT_CARRIED in found[found["split"] == "side"]["side"].tolist()


def test_the_planted_loss_is_booked_to_the_regime_that_it_fell_in(stream):
    source = stream("drawdown-halt", count=260)
    found = attribution(source.frame(clean=False), source.events())
    frame = source.frame()
    assert found.decimals == 2
    assert cents(found.to_frame().query("split == 'both'")) == round(frame["nav"].iloc[-1] * 100) - round(frame["nav"].iloc[0] * 100)
    regime = found.to_frame().query("split == 'regime'").set_index("regime")
    assert regime["change_usd"].idxmin() == "Lévy Stable"
    buy = found.to_frame().query("split == 'both' and regime == 'Lévy Stable' and side == 'BUY'")
    assert buy["change_usd"].iloc[0] < -2000.0
    # halted, with no position: nothing changes
    assert found.to_frame().query("split == 'side' and side == 'FLAT'")["change_usd"].iloc[0] == pytest.approx(
        frame["nav"].diff().shift(-1)[frame["side"] == "FLAT"].sum(), abs=1e-6
    )


def test_a_stream_without_a_side_is_split_by_regime_and_says_so(rows):
    found = attribution(rows(nav=[1.0, 2.0], regime=["Gaussian", "Gaussian"]))
    assert any("no side" in note for note in found.notes)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"nav": [], "regime": []}, NotEnoughData),
        ({"nav": [1.0], "regime": ["Gaussian"]}, NotEnoughData),
        ({"regime": ["Gaussian", "Gaussian"]}, MissingColumns),
        ({"nav": [1.0, 2.0]}, MissingColumns),
        ({"nav": [np.nan, np.nan], "regime": ["Gaussian", "Gaussian"]}, MissingColumns),
        ({"nav": [1.0, np.nan], "regime": ["Gaussian", "Gaussian"]}, NotEnoughData),
        ({"nav": [1.0, 2.0], "regime": ["Gaussian"] * 2, "symbol": ["SPY", "QQQ"]}, MixedSymbols),
    ],
)
def test_what_cannot_be_answered_says_why(rows, columns, error):
    with pytest.raises(error):
        attribution(rows(**columns))
