"""Parts of a session and sessions one after the other hold the rows of every table that a question reads."""

from __future__ import annotations

import pandas as pd
import pytest

from ccwatch.analysis import Report
from ccwatch.archives.locations import open_place
from ccwatch.archives.views import LONG, Joined, Part, Range, long_table
from tests.archives.seeded import items_of, write


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two sessions with trades."""
    root = tmp_path_factory.mktemp("views")
    for n in range(2):
        write(root / f"s{n}", items_of(n, 300, scenario="regime-flip"), url="ws://x")
    return [open_place(str(root / f"s{n}")) for n in range(2)]


def test_parts_share_out_every_row_of_a_session(two):
    regimes = two[0].frame(["regime"], clean=False)["regime"].dropna().unique()
    parts = [Part(two[0], "regime", str(regime), broken=True) for regime in regimes]
    assert len(parts) > 1
    for table in ("agents", "models", "logs", "trades"):
        assert sum(len(long_table(part, table)) for part in parts) == len(long_table(two[0], table)) > 0
    assert all(part.events().equals(two[0].events()) for part in parts)


def test_one_after_the_other_they_have_all_rows_and_the_same_story(two):
    whole = Joined(two)
    for table in LONG:
        assert len(long_table(whole, table)) == sum(len(long_table(one, table)) for one in two) > 0
    alone = Joined(two[:1])
    pd.testing.assert_frame_equal(Report(alone).timeline().to_frame(), Report(two[0]).timeline().to_frame())
    everything = Range(two[0], pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC"))
    pd.testing.assert_frame_equal(Report(everything).timeline().to_frame(), Report(two[0]).timeline().to_frame())
