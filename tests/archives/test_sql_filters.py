"""The sessions that a query can touch: no more files are opened than those, and no row of the answer is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.archives import Archive, sql
from tests.archives.seeded import items_of, write

RELEASED = Path(__file__).parents[1] / "recording" / "released" / "v1"
DAY, NIGHT = 86_400 * 10**9, (9 * 3600 + 28 * 60) * 10**9
EVERY = {"a", "b", "late", "open", "killed"}
CONDITIONS = {
    "session = 'a'": {"a"},
    "'a' = session": {"a"},
    "session IN ('a', 'b', 'x') AND origin = 'synthetic'": {"a", "b"},
    "session LIKE 'l%' OR upper(session) = 'B'": {"late", "b"},
    "session NOT LIKE '%e%' AND NOT session = 'b'": {"a"},
    "origin = 'live'": set(),
    "origin <> 'unknown'": EVERY,
    "date = '2026-01-05'": {"a", "late", "open"},
    "date = DATE '2026-01-06'": {"b", "late", "open", "killed"},
    "date IN ('2026-01-04', '2026-01-07')": {"open"},
    "date_trunc('month', date) = '2026-01-01' AND year(date) = 2026": EVERY,
    "date > '2026-01-05' AND session < 'c'": {"b"},
    "NOT (date = '2026-01-05')": {"b", "late", "open", "killed"},
    "time >= '2026-01-06'": {"b", "late", "open", "killed"},
    "TIMESTAMPTZ '2026-01-05 20:00+00' > time": {"a", "open"},
    "time BETWEEN '2026-01-05T23:59:59Z' AND '2026-01-06T01:00:00Z'": {"late", "open"},
    "time = '2026-01-05T14:30:01Z'": {"a", "open"},
    "packets.session = 'a' AND price > 0": {"a"},
    "price > 0": EVERY,
    "session = 'a' OR price > 0": EVERY,
    "session || status = 'aACTIVE'": EVERY,
    "date = '2026-01-05' OR time > '2026-01-06'": EVERY,
    "date IS NULL": {"open"},
    "random() < 2 AND session = 'b'": {"b"},
    "session = 'a' OR random() < 2": EVERY,
    "session IN (SELECT 'a')": EVERY,
}
QUERIES = {
    "SELECT count(*) FROM packets p WHERE p.session = 'a'": {"a"},
    "WITH p AS (SELECT * FROM packets WHERE session = 'a') SELECT count(*) FROM p": {"a"},
    "SELECT * FROM (SELECT count(*) FROM packets WHERE session = 'a' UNION ALL SELECT count(*) FROM packets WHERE date < '2026-01-06')": {
        "a",
        "late",
        "open",
    },
    "SELECT (SELECT count(*) FROM packets), count(*) FROM packets WHERE session = 'a'": EVERY,
    "SELECT count(*) FROM packets p JOIN sessions s USING (session) WHERE session = 'a'": {"a"},
    "SELECT count(*) FROM packets p, packets q WHERE p.session = 'a' AND q.session = 'b' AND p.seq = q.seq": {"a", "b"},
    "SELECT count(*) FROM packets p LEFT JOIN packets q ON p.seq = q.seq AND q.session = 'b' WHERE q.session IS NULL": EVERY,
    "SELECT count(*) FROM sessions s SEMI JOIN packets p USING (session) WHERE session = 'a'": EVERY,
    "SELECT sum((SELECT count(*) FROM packets WHERE session = s.session)) FROM sessions s": EVERY,
    "SELECT count(*) FROM packets AS p(origin, session) WHERE session = 'synthetic'": EVERY,
    "SELECT count(*) FROM packets WHERE session = 'a' UNION ALL SELECT count(*) FROM query_table('packets')": EVERY,
    "SELECT session AS origin, count(*) FROM packets WHERE origin = 'synthetic' GROUP BY ALL ORDER BY ALL": EVERY,
    "FROM packets SELECT count(*) WHERE session = 'a'": {"a"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Sessions of two days, one over midnight, a killed one, and one that is still written."""
    root = tmp_path_factory.mktemp("filters")
    items = items_of(1, 30)

    def shifted(by):
        return [item._replace(time_ns=item.time_ns + by) for item in items]

    write(root / "a", items, url="ws://a")
    write(root / "b", shifted(DAY), url="ws://b")
    write(root / "late", [*shifted(NIGHT), *shifted(NIGHT + 10**11)], url="ws://late")
    write(root / "killed", shifted(DAY), url="ws://killed", state="killed")
    recorder = write(root / "open", items, url="ws://open", state="running")
    yield Archive(root)
    recorder.stop(finish=False)


def answered(archive, query):
    """The sessions that a query touches, its rows, and the rows without leaving any session out."""
    views = sql.Views(archive.sessions)
    rows = views.ask(query).fetchall()
    found = views.touched.get("packets", frozenset(EVERY))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sql, "touched", lambda *_: {})
        return set(found), rows, views.ask(query).fetchall()


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(("condition", "sessions"), CONDITIONS.items())
def test_a_condition_leaves_out_the_sessions_that_cannot_meet_it(archive, condition, sessions):
    query = f"SELECT session, count(*) FROM packets WHERE {condition} GROUP BY 1 ORDER BY 1"  # noqa: S608 - ours
    found, mine, whole = answered(archive, query)
    assert found == sessions
    assert mine == whole
    assert {name for name, _ in mine} <= sessions


@pytest.mark.slow
@pytest.mark.parametrize(("query", "sessions"), QUERIES.items())
def test_a_table_is_left_out_only_where_every_reading_of_it_allows_that(archive, query, sessions):
    found, mine, whole = answered(archive, query)
    assert found == sessions
    assert mine == whole


def test_other_tables_have_their_own_times_and_are_chosen_by_name_alone(archive):
    views = sql.Views(archive.sessions)
    for condition, names in (("session = 'a'", {"agents": frozenset({"a"})}), ("date = '2026-01-05'", {}), ("time > '2026-01-05'", {})):
        query = f"SELECT 1 FROM agents WHERE {condition}"  # noqa: S608 - ours
        views.ask(query)
        assert views.touched == names


@pytest.mark.slow
def test_a_file_of_a_session_that_is_not_touched_is_not_opened(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, items_of(1, 20), url=f"ws://{name}")
    archive = cw.archive(tmp_path)
    (segment,) = (tmp_path / "b" / "packets").iterdir()
    segment.write_bytes(b"no Parquet")
    views = sql.Views(archive.sessions)
    assert views.ask("SELECT count(*) FROM packets WHERE session = 'a'").fetchone() == (20,)
    assert views.left_out == {}
    assert views.ask("SELECT count(*) FROM packets").fetchone() == (20,)
    assert set(views.left_out) == {"b"}


@pytest.mark.parametrize("place", ["0-before", "z-after"])
def test_an_earlier_format_is_read_beside_the_present_one(tmp_path, place):
    shutil.copytree(RELEASED, tmp_path / place)
    strategy = b'"status":"ACTIVE","strategy":"momentum"'
    write(tmp_path / "now", items_of(1, 20, edit=lambda raw: raw.replace(b'"status":"ACTIVE"', strategy)), url="ws://now")
    archive = cw.archive(tmp_path)
    found = {
        row[0]: row[1:] for row in archive.sql("SELECT session, count(*), count(score), count(price) FROM packets GROUP BY 1").fetchall()
    }
    for name, counts in found.items():
        frame = cw.open_recording(tmp_path / name).frame(["score", "price"])
        assert counts == (len(frame), frame["score"].count(), frame["price"].count())
    assert set(found) == {place, "now"}


def test_a_mistake_in_a_query_opens_no_file(tmp_path, monkeypatch):
    write(tmp_path / "a", items_of(1, 20), url="ws://a")
    archive = cw.archive(tmp_path)
    monkeypatch.setattr(sql, "footer_crc", lambda _: pytest.fail("a file was looked at"))
    with pytest.raises(cw.ConfigError, match="nothing"):
        archive.sql("SELECT nothing FROM packets")
