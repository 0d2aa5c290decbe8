from __future__ import annotations

import os

import deltalake
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ccwatch as cw
from ccwatch.archives import Archive
from ccwatch.archives.locations import open_place
from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import TABLES
from tests.archives.seeded import items_of, write


def read(url):
    return deltalake.DeltaTable(url).to_pyarrow_table()


@pytest.mark.slow
def test_a_table_per_kind_with_times_in_us_nulls_and_signed_integers(made, tmp_path):
    running = [recorder.path.name for recorder in made.running]
    archive = Archive(made.root).filter(where=[*made.damaged, made.names[4], *made.killed, *running])
    done = archive.publish(tmp_path / "tables")
    assert set(done.sessions) == {session.name for session in archive.asked()}
    assert made.damaged[0] in done.left_out
    for table in TABLES:
        found = read(str(tmp_path / "tables" / table))
        assert found.num_rows == done.rows[table] == archive.sql(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of ours
        for field in found.schema:
            assert not pa.types.is_unsigned_integer(field.type)
            assert not pa.types.is_timestamp(field.type) or field.type == pa.timestamp("us", "UTC")
    packets = read(str(tmp_path / "tables" / "packets")).to_pandas()
    session = archive.asked()[0]
    mine, frame = packets[packets["session"] == session.name].sort_values(["time", "seq"]), open_place(session.place).frame()
    np.testing.assert_array_equal(mine["price"].to_numpy(), frame["price"].to_numpy())
    assert (mine["time"].to_numpy() == frame.index.as_unit("us").to_numpy()).all()
    assert packets["score"].isna().all()


@pytest.mark.slow
def test_publishing_again_writes_only_what_is_new_one_commit_per_session(tmp_path):
    write(tmp_path / "r" / "a", items_of(1, 40), url="ws://a")
    archive = cw.archive(tmp_path / "r")
    archive.publish(tmp_path / "t")
    assert archive.publish(tmp_path / "t").unchanged == 1
    write(tmp_path / "r" / "b'; --", items_of(2, 40), url="ws://b")
    assert archive.refresh().publish(tmp_path / "t").sessions == ("b'; --",)
    table = deltalake.DeltaTable(str(tmp_path / "t" / "packets"))
    assert table.version() == 2  # made, a, b
    assert table.transaction_version("ccwatch:a") is not None
    assert pl.from_arrow(read(str(tmp_path / "t" / "packets")))["session"].n_unique() == 2


@pytest.mark.slow
def test_a_session_that_grew_takes_its_own_place(tmp_path):
    items = items_of(4, 120)
    write(tmp_path / "r" / "a", items[:60], url="ws://a", state="killed")
    cw.archive(tmp_path / "r").publish(tmp_path / "t")
    import shutil  # noqa: PLC0415

    shutil.rmtree(tmp_path / "r" / "a")
    write(tmp_path / "r" / "a", items, url="ws://a")
    cw.archive(tmp_path / "r").publish(tmp_path / "t")
    assert read(str(tmp_path / "t" / "packets")).num_rows == len(cw.open_recording(tmp_path / "r" / "a").frame())


@pytest.mark.slow
def test_a_publication_to_a_store_is_the_same(bucket, tmp_path):
    write(tmp_path / "r" / "a", items_of(1, 40), url="ws://a")
    done = cw.archive(tmp_path / "r").publish(f"{bucket}/tables")
    options = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true"}
    assert deltalake.DeltaTable(f"{bucket}/tables/packets", storage_options=options).to_pyarrow_table().num_rows == done.rows["packets"]


@pytest.mark.slow
def test_another_format_is_refused(made, tmp_path):
    with pytest.raises(ConfigError, match="expected one of delta"):
        Archive(made.root).publish(tmp_path, format="iceberg")


@pytest.mark.slow
def test_answers_recordings_and_feeds_are_arrow_and_polars(made):
    archive = Archive(made.root)
    opened = open_place(archive.asked()[0].place)
    with cw.synthetic(seed=1, packets=30, pace="max") as feed:
        feed.join(10)
        for source, frame in ((opened, opened.frame()), (feed, feed.frame()), (archive.ask("attribution"), None)):
            table = pa.table(source)
            pd.testing.assert_frame_equal(table.to_pandas(), source.to_arrow().to_pandas())
            assert source.to_polars().height == table.num_rows
            if frame is not None:
                assert table.column_names == ["time", *frame.columns]
                pd.testing.assert_series_equal(table["price"].to_pandas(), frame["price"].reset_index(drop=True), check_names=False)
