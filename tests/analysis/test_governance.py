from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ccwatch.analysis import governance
from ccwatch.analysis.governance import IN_CRITICAL, OUTSIDE, WHILE_HALTED
from ccwatch.errors import MissingColumns, MixedSymbols, NotEnoughData
from ccwatch.feed.scenarios import planted
from ccwatch.protocol.messages import Flag

G, C = "Gaussian", "Critical"


def asked(source):
    return governance(source.frame(clean=False), source.events(), source.logs())


def test_the_planted_critical_regime_is_vetoed_throughout_and_nothing_else(stream, at):
    source = stream("regime-flip", count=400)
    critical = next(incident for incident in planted("regime-flip", 1.0) if incident.detail.startswith("Critical"))
    found = asked(source)
    assert found.vetoes["start_time"].min() == at(critical.start_s)
    assert found.vetoes["end_time"].max() == at(critical.end_s - 1)
    assert found.vetoes["n"].sum() == critical.end_s - critical.start_s
    table = found.to_frame().set_index("regime")
    assert table.loc[C, "veto_rate"] == 1.0
    assert table.drop(index=C)["n_vetoed"].eq(0).all()
    assert len(found.breaks) == 0
    assert found.vetoes["reason"].iloc[0].startswith("Governance: Physics Veto")


def test_a_flip_comes_before_the_veto_it_leads_to_or_with_it(stream, at):
    found = asked(stream("regime-flip", count=400))
    assert found.vetoes["start_time"].iloc[0] == at(200)
    assert found.vetoes["regime"].iloc[0] == C


def test_sizes_follow_confidence_in_the_seeded_engine(stream):
    table = asked(stream("regime-flip", count=400)).to_frame().set_index("regime")
    assert table.loc[G, "size_confidence"] == pytest.approx(1.0, abs=1e-9)
    assert np.isnan(table.loc[C, "size_confidence"])
    assert table.loc[C, "reason"]


def test_a_vetoed_signal_is_followed_in_its_own_direction(rows):
    frame = rows(
        side=["FLAT", "SELL", "SELL", "FLAT", "BUY", "FLAT", "FLAT"],
        approved_size=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        price=[10.0, 10.0, 10.0, 9.0, 8.0, 8.0, 10.0],
        regime=[G] * 7,
    )
    found = governance(frame, horizon_s=1.0)
    assert found.vetoes["side"].tolist() == ["SELL", "BUY"]
    assert found.vetoes["n"].tolist() == [2, 1]
    np.testing.assert_allclose(found.vetoes["return_1s"], [0.1, 0.25])


def test_flat_with_size_zero_is_no_veto(rows):
    found = governance(rows(side=["FLAT", "FLAT"], approved_size=[0.0, 0.0]))
    assert len(found.vetoes) == 0
    assert found.basis.n == 0
    found.figure()
    found.headline()


def test_broken_rules_are_found_as_stretches(rows):
    frame = rows(
        side=["BUY"] * 7,
        approved_size=[0.1, 0.25, 0.3, 0.1, 0.1, 0.1, -0.1],
        regime=[G, G, G, C, G, G, G],
        status=["ACTIVE"] * 4 + ["HALT"] * 2 + ["ACTIVE"],
    )
    found = governance(frame).breaks
    assert found["rule"].tolist() == [OUTSIDE, IN_CRITICAL, WHILE_HALTED, OUTSIDE]
    assert found["n"].tolist() == [2, 1, 2, 1]
    assert found["worst"].tolist() == [0.3, 0.1, 0.1, -0.1]
    assert found["start_time"].tolist() == frame.index[[1, 3, 4, 6]].tolist()


def test_a_size_in_dollars_is_no_veto_without_a_size_to_judge_and_that_is_said(rows):
    """A server that sends dollars sends 0 for a veto, too: without the others every signal would seem to be vetoed."""
    unit = int(Flag.UNIT)
    frame = rows(side=["BUY", "BUY", "SELL"], approved_size=[np.nan, 0.1, 0.0], flags=np.array([unit, 0, 0], dtype=np.uint32))
    found = governance(frame)
    assert found.basis.n == 3
    assert found.to_frame()[["n", "n_vetoed"]].to_numpy().tolist() == [[3, 1]]
    assert any("no fraction" in note for note in found.notes)


def test_dollars_alone_are_an_answer_and_break_the_rules_that_need_no_size(rows):
    frame = rows(
        side=["BUY"] * 3, approved_size=[np.nan] * 3, status=["ACTIVE", "HALT", "HALT"], flags=np.full(3, int(Flag.UNIT), dtype=np.uint32)
    )
    found = governance(frame)
    assert found.breaks[["rule", "n"]].to_numpy().tolist() == [[WHILE_HALTED, 2]]
    assert found.breaks["worst"].isna().all()
    assert len(found.vetoes) == 0


def test_a_reason_is_near_and_speaks_of_governance(rows):
    frame = rows(side=["FLAT", "BUY", "BUY"], approved_size=[0.0, 0.0, 0.0])
    logs = pd.DataFrame(
        {"message": ["Portfolio: nav 1", "Risk limit reached", "Market is open", None]},
        index=frame.index[[0, 1, 1, 1]],
    )
    assert governance(frame, logs=logs).vetoes["reason"].tolist() == ["Risk limit reached"]
    old = logs.set_axis(logs.index - pd.Timedelta(minutes=1))
    assert governance(frame, logs=old).vetoes["reason"].isna().all()
    assert governance(frame).vetoes["reason"].isna().all()


def test_a_veto_ends_at_a_gap(rows):
    found = governance(rows(side=["BUY"] * 5, approved_size=[0.0] * 5, times=[0, 1, 2, 90, 91]))
    assert found.vetoes["n"].tolist() == [3, 2]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"side": [], "approved_size": []}, NotEnoughData),
        ({"side": ["BUY", "BUY"]}, MissingColumns),
        ({"approved_size": [0.0, 0.0]}, MissingColumns),
        ({"side": ["BUY", None], "approved_size": [np.nan, 0.1]}, NotEnoughData),
        ({"side": ["BUY"] * 2, "approved_size": [0.1] * 2, "symbol": ["SPY", "QQQ"]}, MixedSymbols),
    ],
)
def test_what_cannot_be_answered_says_why(rows, columns, error):
    with pytest.raises(error):
        governance(rows(**columns))
