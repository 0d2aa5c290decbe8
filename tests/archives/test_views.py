"""Parts of a session and sessions one after the other hold the rows of every table that a question reads."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from ccwatch.analysis import REGISTRY, Report, Result
from ccwatch.archives.locations import open_place
from ccwatch.archives.views import LONG, Joined, Narrow, Part, Range, long_table
from tests.archives.seeded import FIRST, items_of, write


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two sessions with trades, on two days."""
    root = tmp_path_factory.mktemp("views")
    for n in range(2):
        write(root / f"s{n}", items_of(n, 300, scenario="regime-flip", day=FIRST + timedelta(days=n)), url="ws://x")
    return [open_place(str(root / f"s{n}")) for n in range(2)]


@pytest.mark.slow
def test_parts_share_out_every_row_of_a_session(two):
    regimes = two[0].frame(["regime"], clean=False)["regime"].dropna().unique()
    parts = [Part(two[0], "regime", str(regime), broken=True) for regime in regimes]
    assert len(parts) > 1
    for table in ("agents", "models", "logs", "trades"):
        assert sum(len(long_table(part, table)) for part in parts) == len(long_table(two[0], table)) > 0
    assert all(part.events().equals(two[0].events()) for part in parts)


@pytest.mark.slow
def test_one_after_the_other_they_have_all_rows_and_the_same_story(two):
    whole = Joined(two)
    for table in LONG:
        assert len(long_table(whole, table)) == sum(len(long_table(one, table)) for one in two) > 0
    alone = Joined(two[:1])
    pd.testing.assert_frame_equal(Report(alone).timeline().to_frame(), Report(two[0]).timeline().to_frame())
    everything = Range(two[0], pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC"))
    pd.testing.assert_frame_equal(Report(everything).timeline().to_frame(), Report(two[0]).timeline().to_frame())


@pytest.mark.slow
def test_a_machine_that_started_again_between_two_sessions_changes_no_clock(two):
    assert two[1].frame(["received_mono_ns"])["received_mono_ns"].iloc[0] == 0, "its monotonic clock began again"
    both, one = (Report(source).quality().measures.set_index("measure") for source in (Joined(two), two[0]))
    measured = one.index[one["value"].notna() & one.index.str.contains("offset|lag|delay|clock|skew")]
    assert len(measured)
    assert both.loc[measured, "value"].notna().all()


@pytest.mark.slow
def test_a_regime_at_the_end_of_a_session_that_another_follows_is_ended_by_a_gap(two):
    merged = Result.merge_all([Report(one).regimes() for one in two])
    whole = Report(Joined(two)).regimes()
    for name in ("segments", "smoothed"):
        ends = getattr(merged, name)["ended_by"]
        assert ends.tolist() == getattr(whole, name)["ended_by"].tolist()
        assert ends.tolist().count("end of stream") == 1


class Reversed(Narrow):
    """A session of which the columns that are not named are another session's: their values in reverse order."""

    def frame(self, columns=None, last=None, *, clean=False):
        whole = self._source.frame(columns, last, clean=clean)
        others = [name for name in whole.columns if name not in self._columns]
        return whole.assign(**{name: whole[name].array[::-1] for name in others})


@pytest.mark.parametrize("question", [name for name, each in REGISTRY.items() if each.columns is not None])
@pytest.mark.slow
def test_a_question_reads_no_column_that_it_does_not_name(two, question):
    columns = REGISTRY[question].columns
    answer = getattr(Report(two[0]), question)().to_dict()
    assert getattr(Report(Reversed(two[0], columns)), question)().to_dict() == answer
    assert getattr(Report(Narrow(two[0], columns)), question)().to_dict() == answer
    assert set(columns) < set(two[0].frame(clean=False).columns)
