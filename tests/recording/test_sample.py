"""The sample recordings that ship with ccwatch: made by their script, read as they are."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from ccwatch.protocol.messages import Packet
from ccwatch.recording import Recorder, Recording, recover
from tests.recording import make_sample


@pytest.fixture
def sample(root):
    return Recording(root / "recordings" / make_sample.NAME)


@pytest.mark.slow
def test_the_sample_is_what_its_script_makes_of_its_seed(sample):
    assert list(sample.items()) == make_sample.items()
    assert sample.verify(deep=True).ok
    assert (sample.status, sample.origin, sample.info().tags) == ("finished", "synthetic", ("sample",))
    assert sample.info().bytes < 2_000_000


def test_a_recording_of_each_released_format_still_opens_with_every_packet_and_every_byte(root):
    released = sorted((root / "tests" / "recording" / "released").iterdir())
    assert [path.name for path in released] == ["v1"]
    for path in released:
        recording = Recording(path)
        assert recording.verify(deep=True).ok
        expected = make_sample.items("malformed", 3, 130, as_first_released=True)
        assert list(recording.items()) == expected
        assert len(recording.frame(clean=False)) == sum(isinstance(item, Packet) for item in expected)


def test_a_recording_without_the_copies_and_the_columns_of_later_versions_opens_and_can_be_recovered(root, tmp_path):
    folder = tmp_path / "v1"
    shutil.copytree(root / "tests" / "recording" / "released" / "v1", folder)
    shutil.rmtree(folder / "_copies")
    assert list(Recording(folder).items()) == make_sample.items("malformed", 3, 130, as_first_released=True)
    assert recover(folder).entries == 0
    assert Recording(folder).verify(deep=True).ok


@pytest.mark.slow
def test_other_engines_read_what_is_written_now_with_no_help(tmp_path):
    items = make_sample.items("calm", 1, 200)
    with Recorder(tmp_path / "s", url="", origin="synthetic") as one:
        one.receive(items)
    recording = Recording(one.path)
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    for table, names in (
        ("packets", ["seq", "timestamp_raw", "velocity", "price", "reasoning"]),
        ("agents", ["seq", "agent", "latency_ms", "success_rate", "invocations"]),
        ("models", ["seq", "model", "latency_ms", "invocations", "cache_hit_rate"]),
        ("logs", ["seq", "level", "message"]),
    ):
        frame = recording.frame(names, clean=False) if table == "packets" else getattr(recording, table)()[names]
        expected = sorted(frame.astype({names[1]: str}).itertuples(index=False, name=None))
        of_pandas = pd.read_parquet(one.path / table, columns=names).astype({names[1]: str})
        assert sorted(of_pandas.itertuples(index=False, name=None)) == expected
        of_polars = polars.read_parquet(one.path / table / "*.parquet", columns=names).with_columns(
            polars.col(names[1]).cast(polars.String)
        )
        assert sorted(of_polars.rows()) == expected
        of_duckdb = duckdb.sql(f"select {', '.join(names)} from '{one.path / table}/*.parquet'").fetchall()  # noqa: S608 - a path of ours
        assert sorted(of_duckdb) == expected


def test_other_engines_read_the_tables_with_no_help(sample):
    prices = sample.frame(["price"], clean=False)["price"]
    of_pandas = pd.read_parquet(sample.path / "packets")
    assert of_pandas["price"].tolist() == prices.tolist()
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    of_polars = polars.read_parquet(sample.path / "packets" / "*.parquet")
    assert of_polars["price"].to_list() == prices.tolist()
    assert of_polars["regime"].cast(polars.String).to_list() == of_pandas["regime"].tolist()
    query = f"select regime, count(*), max(time_us) - min(time_us) from '{sample.path}/packets/*.parquet' group by 1 order by 1"  # noqa: S608 - a path of ours
    found = {regime: (count, span) for regime, count, span in duckdb.sql(query).fetchall()}
    grouped = of_pandas.groupby("regime", observed=True)["time_us"]
    assert found == {regime: (len(times), times.max() - times.min()) for regime, times in grouped}
