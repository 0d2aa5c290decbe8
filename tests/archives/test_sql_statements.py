"""What an archive answers in SQL, and what it refuses: nothing may write, in whatever clothes it comes."""

from __future__ import annotations

import pytest

import ccwatch as cw
from ccwatch.errors import ConfigError
from tests.archives.seeded import items_of, write


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("sql")
    for n, name in enumerate(("a", "b")):
        write(root / name, items_of(n, 300, scenario="regime-flip"), url=f"ws://{name}")
    return cw.archive(root)


QUESTIONS = {
    "PIVOT packets ON regime USING count(*) GROUP BY session": 2,
    "PIVOT packets ON side IN ('BUY', 'SELL') USING avg(price) GROUP BY session;  -- the mean": 2,
    "SELECT * FROM (PIVOT packets ON regime USING count(*) GROUP BY session)": 2,
    "WITH wide AS (PIVOT agents ON agent USING max(latency_ms) GROUP BY session) SELECT * FROM wide": 2,
    "SELECT * FROM packets PIVOT (count(*) FOR side IN ('BUY', 'SELL') GROUP BY session)": 2,
    "UNPIVOT (SELECT session, max(price) AS high, min(price) AS low FROM packets GROUP BY 1) ON high, low": 4,
    "SUMMARIZE SELECT price, regime FROM packets": 2,
    "DESCRIBE SELECT session, price FROM packets": 2,
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n": 3,
    "FROM packets SELECT count(*)": 1,
    "VALUES (1), (2)": 2,
    "EXPLAIN ANALYZE SELECT count(*) FROM packets": 1,
    "explain (format json) PIVOT packets ON side USING count(*)": 1,
    "/* é */ SELECT 'copy' AS copy, ';' AS sign;": 1,
}
WRITES = [
    "COPY (SELECT 1) TO '{}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{}'",
    "/* x */ explain analyze copy (PIVOT packets ON side USING count(*)) TO '{}'",
    "COPY (PIVOT packets ON side USING count(*)) TO '{}'",
    "WITH x AS (COPY (SELECT 1) TO '{}') SELECT * FROM x",
    "SELECT (WITH x AS MATERIALIZED (COPY (SELECT 1) TO '{}') SELECT 1)",
    "SUMMARIZE WITH x AS (COPY (SELECT 1) TO '{}') SELECT * FROM x",
    "WITH x AS (/* y */ COPY (SELECT 1) TO '{}') PIVOT packets ON side USING count(*)",
    "PIVOT (WITH x AS (COPY (SELECT 1 AS a) TO '{}') SELECT * FROM x) ON a USING count(*)",
    "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{}'') SELECT * FROM x')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY (SELECT 1) TO ''{}'') SELECT * FROM x'))",
    "PIVOT packets ON side USING count(*); COPY (SELECT 1) TO '{}'",
    "EXPORT DATABASE '{}'",
    "IMPORT DATABASE '{}'",
    "ATTACH '{}' AS other",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "CREATE TABLE t AS (PIVOT packets ON side USING count(*))",
    "PRAGMA profiling_output = '{}'",
    "PRAGMA enable_verification",
    "CALL enable_logging(storage = 'file', storage_path = '{}')",
    "INSTALL httpfs",
    "CHECKPOINT",
]


@pytest.mark.parametrize("query", QUESTIONS)
@pytest.mark.slow
def test_questions_of_every_form_are_answered(archive, query):
    assert len(archive.sql(query).fetchall()) == QUESTIONS[query]


def test_a_pivot_has_the_counts_of_a_group_by(archive):
    wide = archive.sql("PIVOT packets ON regime USING count(*) GROUP BY session").df().set_index("session")
    for session, regime, n in archive.sql("SELECT session, regime, count(*) FROM packets GROUP BY ALL").fetchall():
        assert wide.loc[session, regime] == n


@pytest.mark.parametrize("query", WRITES)
def test_what_would_write_is_refused_even_below_the_archive(archive, query):
    before = sorted(archive.place.rglob("*"))
    with pytest.raises(ConfigError, match="sql: "):
        archive.sql(query.format(archive.place / "written")).fetchall()
    assert sorted(archive.place.rglob("*")) == before


def test_an_answer_does_not_write_either(archive):
    answer = archive.sql("SELECT 1")
    for name in ("write_csv", "to_parquet", "create", "insert_into"):
        assert not hasattr(answer, name)
    assert archive.sql("SHOW TABLES").df()["name"].str.startswith("_").sum() == 0
