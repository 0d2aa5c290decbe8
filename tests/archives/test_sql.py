from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.archives import Archive
from ccwatch.archives.locations import open_place
from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import TABLES
from tests.archives.seeded import items_of, write


@pytest.fixture(scope="module")
def archive(made):
    return Archive(made.root)


@pytest.mark.slow
def test_every_view_has_the_clean_rows_of_every_session_running_and_killed_ones_too(archive, made):
    running = [recorder.path.name for recorder in made.running]
    assert running
    assert made.killed
    archive = archive.filter(where=[made.names[4], *made.killed, *running])
    for table in TABLES:
        counted = dict(archive.sql(f"SELECT session, count(*) FROM {table} GROUP BY session").fetchall())  # noqa: S608 - names of ours
        for session in archive.asked():
            opened = open_place(session.place)
            rows = opened.frame(["price"]) if table == "packets" else getattr(opened, table)()
            assert counted.get(session.name, 0) == len(rows), (table, session.name)


@pytest.mark.slow
def test_values_are_those_of_the_frame_with_nan_as_null_and_flags_as_names(archive):
    session = archive.asked()[0]
    frame = open_place(session.place).frame()
    found = archive.sql(f"SELECT * FROM packets WHERE session = '{session.name}' ORDER BY time, seq").df()  # noqa: S608 - names of ours
    for name in ("price", "nav", "alpha", "approved_size", "sentiment_score"):
        np.testing.assert_array_equal(found[name].to_numpy(dtype=float), frame[name].to_numpy())
    assert (found["time"].to_numpy() == frame.index.to_numpy()).all()
    assert found["origin"].unique().tolist() == ["synthetic"]
    assert archive.sql("SELECT count(score) FROM packets").fetchone() == (0,)
    names = [[flag.name for flag in cw.Flag if int(bits) & int(flag)] for bits in frame["flags"]]
    assert [list(words) for words in found["flags"]] == names


def test_a_nan_is_null_whatever_the_statistics_of_the_file_say(tmp_path):
    def without_price(raw):  # of each third packet
        message = json.loads(raw)
        if int(message["data"]["timestamp"][17:19]) % 3 == 0:
            del message["data"]["market"]["price"]
        return json.dumps(message).encode()

    items = items_of(1, 60, edit=without_price)
    write(tmp_path / "a", items, url="ws://x")
    frame = cw.open_recording(tmp_path / "a").frame(["price"])["price"]
    known, mean, highest = cw.archive(tmp_path).sql("SELECT count(price), avg(price), max(price) FROM packets").fetchone()
    assert (known, highest) == (frame.count(), frame.max())
    assert mean == pytest.approx(frame.mean())
    assert 0 < known < len(frame)


@pytest.mark.slow
def test_filters_reach_the_files(archive):
    name = archive.asked()[0].name
    plan = archive.sql(f"EXPLAIN SELECT price FROM packets WHERE session = '{name}'").fetchall()[0][1]  # noqa: S608 - names of ours
    assert "Scanning Files: 1/" in plan
    plan = archive.sql("EXPLAIN SELECT count(*) FROM packets WHERE time > '2026-01-06' AND regime = 'Critical'").fetchall()[0][1]
    assert "Filters" in plan


@pytest.mark.slow
def test_the_views_can_be_listed(archive):
    assert {name for (name,) in archive.filter(where=[]).sql("SHOW TABLES").fetchall()} >= {*TABLES, "sessions"}


def test_an_answer_comes_as_each_library_has_it(archive):
    answer = archive.sql("SELECT session, time, price FROM packets ORDER BY session, time LIMIT 3")
    frame = answer.df()
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"
    assert answer.arrow().num_rows == answer.pl().height == 3
    assert [answer.fetchone()[0] for _ in range(3)] == frame["session"].tolist()
    assert answer.fetchone() is None
    pd.testing.assert_frame_equal(answer.filter("price > 0").df()[["price"]], frame[["price"]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "COPY packets TO 'out.csv'",
        "SELECT 1; DROP VIEW packets",
        "ATTACH 'x.db'",
        "SET memory_limit = '100GB'",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELEC 1",
        "SELECT nothing FROM packets",
        "",
        5,
        None,
    ],
)
def test_what_is_no_question_is_refused(archive, query):
    with pytest.raises(ConfigError):
        archive.sql(query)


@pytest.mark.slow
def test_nothing_that_a_recording_holds_becomes_sql(tmp_path):
    odd = "x'; DROP TABLE packets; --"
    for name in (odd, "a[b]*?", "plain"):
        write(tmp_path / name, items_of(1, 20), url="ws://x'; SELECT 1", tags=[odd])
    archive = cw.archive(tmp_path)
    assert dict(archive.sql("SELECT session, count(*) FROM packets GROUP BY 1").fetchall()) == {odd: 20, "a[b]*?": 20, "plain": 20}
    assert archive.sql("SELECT tags FROM sessions LIMIT 1").fetchone()[0] == [odd]


@pytest.mark.slow
def test_a_file_that_is_damaged_after_it_was_listed_leaves_out_its_session_alone(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, items_of(1, 30), url="ws://x")
    archive = cw.archive(tmp_path)
    (segment,) = (tmp_path / "b" / "packets").iterdir()
    whole = segment.read_bytes()
    for damaged in (whole[:-20], whole[:-300] + bytes(byte ^ 1 for byte in whole[-300:-100]) + whole[-100:]):
        segment.write_bytes(damaged)
        answer = archive.sql("SELECT session, count(*) FROM packets GROUP BY 1")
        assert answer.fetchall() == [("a", 30)]
        assert list(answer.left_out) == list(answer.df().attrs["left_out"]) == ["b"]
        for shown in (repr(answer), answer._repr_html_()):
            assert "left out 1 session: b: " in shown
    assert archive.sql("SELECT count(*) FROM agents").left_out == {}


def test_sessions_that_cannot_be_read_are_named_where_rows_of_theirs_are_asked_for(archive, made):
    assert set(archive.sql("SELECT count(*) FROM packets").left_out) == set(made.damaged)
    assert archive.sql(f"SELECT count(*) FROM packets WHERE session = '{made.killed[0]}'").left_out == {}  # noqa: S608 - a name of ours
    assert archive.sql("SELECT count(*) FROM sessions").left_out == {}


def test_memory_is_bounded_as_it_is_said(archive):
    assert "MiB" in archive.sql("SELECT current_setting('memory_limit')", memory="100MB").fetchone()[0]
    with pytest.raises(ConfigError, match="memory="):
        archive.sql("SELECT 1", memory="lots")
