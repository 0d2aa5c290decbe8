"""Sections 2, 3 and 6.2 of the contract: its tables and examples, against what a Feed reads and what a Cottage sends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import pandas as pd
import pytest
from websockets.sync.client import connect

import ccwatch as cw
from ccwatch.protocol.columns import AGENTS, LOGS, MODELS, PACKETS, TIME
from tests.contract.contract import TEXT, bounds, fences, rows, section, words
from tests.feed.servers import frame as framed

SECTIONS = {"3.1": "", "3.2": "market", "3.3": "portfolio", "3.4": "signal", "3.5": "governance"}
"""The contract's tables, and the object of `data` that each describes."""
FIELDS = [(part, row) for number, part in SECTIONS.items() for row in rows(number)]
DTYPES = {"float": {"float64"}, "string": {"category", "text"}, "enum": {"category"}, "ISO8601 string": {"time"}}
EXAMPLE = fences("2.1", "json")[0]
KIB = 1024


def path_of(part: str, row: Mapping[str, str]) -> str:
    return f"{part}.{row['Field']}".lstrip(".")


def column_of(part: str, row: Mapping[str, str]):
    """The column of a table's row; for words that of the canonical one."""
    return next(column for column in PACKETS if column.wire == path_of(part, row) and not column.name.endswith("_raw"))


def value_at(data: Mapping[str, Any], path: str) -> Any:
    for key in path.split("."):
        data = data[key]
    return data


def changed(path: str, value: Any, second: int = 0) -> dict[str, Any]:
    """The contract's example with one value changed, so many seconds later."""
    message = orjson.loads(EXAMPLE)
    stamp = datetime.fromisoformat(message["data"]["timestamp"]) + timedelta(seconds=second)
    message["data"]["timestamp"] = stamp.isoformat().replace("+00:00", "Z")
    *sections, key = path.split(".")
    target = message["data"]
    for name in sections:
        target = target[name]
    target[key] = value
    return message


@pytest.fixture
def read(raw_server):
    """Has a Feed read messages from a socket; returns the feed, stopped."""

    def send(*messages: str | dict[str, Any]) -> cw.Feed:
        raws = [message.encode() if isinstance(message, str) else orjson.dumps(message) for message in messages]

        def script(peer):
            peer.shake()
            for raw in raws:
                peer.send(framed(raw))
            peer.until_gone()

        with cw.connect(raw_server(script).url) as feed:
            return feed.wait(len(raws))

    return send


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    """The `data` of 600 messages that a Cottage sent, calm, and of 400 in which it halts."""
    found = []
    for scenario, count in (("calm", 600), ("drawdown-halt", 400)):
        cottage = cw.serve(seed=7, scenario=scenario, packets=count, pace="max")
        with cottage, connect(cottage.engine_url, compression=None) as client:
            messages = [orjson.loads(client.recv(timeout=5)) for _ in range(count)]
        assert {message["type"] for message in messages} == {"TELEMETRY"}
        found += [message["data"] for message in messages]
    return found


# ── what the client reads ──


def test_the_contracts_message_as_printed_is_read_onto_every_documented_column(read):
    feed = read(EXAMPLE)
    data = orjson.loads(EXAMPLE)["data"]
    columns = {path_of(part, row): column_of(part, row).name for part, row in FIELDS}
    frame = feed.frame([name for name in columns.values() if name != "time"] + ["flags"])
    assert len(frame) == 1
    assert feed.latest.kind == orjson.loads(EXAMPLE)["type"]
    assert frame.index[0] == pd.Timestamp(data["timestamp"])
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    for path, name in columns.items():
        if name != "time":
            assert frame[name].iloc[0] == value_at(data, path), path
    assert frame["flags"].iloc[0] == 0
    assert feed.latest.extra == {}, "nothing is left without a place"


def test_the_lists_of_the_contracts_message_are_read_onto_their_tables(read):
    feed = read(EXAMPLE)
    data = orjson.loads(EXAMPLE)["data"]
    for table, key in ((feed.agents(), "agents"), (feed.models(), "models")):
        (name, gauges), *others = data[key].items()
        assert not others
        row = table.iloc[0]
        assert row[key.removesuffix("s")] == name
        for gauge, value in gauges.items():
            assert row[gauge] == value
    (line,) = data["logs"]
    row = feed.logs().iloc[0]
    assert (row["level"], row["message"], row["log_time"]) == (line["level"], line["message"], pd.Timestamp(line["timestamp"]))


@pytest.mark.parametrize(("part", "row"), FIELDS, ids=[path_of(*field) for field in FIELDS])
def test_every_row_of_the_contracts_tables_is_a_column_of_its_type_and_unit(part, row):
    column = column_of(part, row)
    assert column.dtype in DTYPES[row["Type"]]
    if "Units" in row:
        assert column.unit == row["Units"].replace("-", "")
    if (low_high := bounds(row["Description"])) is not None:
        assert (column.low, column.high) == low_high


def test_every_word_that_the_contract_lists_is_read_as_itself(read):
    listed = [(part, row, word) for part, row in FIELDS if row["Type"] == "enum" for word in words(row["Description"])]
    assert len(listed) == 9, "three each of status, regime and side"
    feed = read(*(changed(path_of(part, row), word, n) for n, (part, row, word) in enumerate(listed)))
    frame = feed.frame(["status", "regime", "side", "flags"], clean=False)
    for n, (part, row, word) in enumerate(listed):
        assert frame[column_of(part, row).name].iloc[n] == word
        assert not frame["flags"].iloc[n] & cw.Flag.UNKNOWN_WORD


def test_the_contracts_ranges_are_inclusive_and_what_lies_outside_is_kept_and_flagged(read):
    ranged = [(part, row, bounds(row["Description"])) for part, row in FIELDS if bounds(row["Description"])]
    assert [path_of(part, row) for part, row, _ in ranged] == ["signal.confidence", "governance.approved_size"]
    tried = [
        (path_of(part, row), column_of(part, row).name, value, outside)
        for part, row, (low, high) in ranged
        for value, outside in ((low, False), (high, False), (low - 0.01, True), (high + 0.01, True))
    ]
    feed = read(*(changed(path, value, n) for n, (path, _, value, _) in enumerate(tried)))
    frame = feed.frame(["confidence", "approved_size", "flags"], clean=False)
    for n, (_, name, value, outside) in enumerate(tried):
        assert frame[name].iloc[n] == value
        assert bool(frame["flags"].iloc[n] & cw.Flag.RANGE) == outside, (name, value)


def test_a_drawdown_is_a_fraction_as_the_contract_explains_it(read):
    description = next(row["Description"] for row in rows("3.3") if row["Field"] == "max_drawdown")
    fraction, percent = re.search(r"(-\d\.\d+) = (-\d+)%", description).groups()
    feed = read(changed("portfolio.max_drawdown", float(fraction)))
    frame = feed.frame(["max_drawdown", "flags"])
    assert frame["max_drawdown"].iloc[0] * 100 == float(percent)
    assert frame["flags"].iloc[0] == 0


def test_log_lines_of_every_level_that_the_contract_lists_are_read(read):
    (printed,) = fences("3.6", "json")
    levels = re.findall(r'"([A-Z]+)"', next(line for line in printed.splitlines() if '"level"' in line))
    assert re.findall(r'"(\w+)":', printed) == [column.wire for column in LOGS if column.wire and column is not TIME]
    stamps = [f"2025-12-21T11:59:5{n}Z" for n in range(len(levels))]
    lines = [{"level": level, "message": f"a {level} line", "timestamp": stamp} for level, stamp in zip(levels, stamps, strict=True)]
    logs = read(changed("logs", lines)).logs()
    assert logs["level"].tolist() == levels == ["INFO", "WARNING", "ERROR"]
    assert logs["message"].tolist() == [line["message"] for line in lines]
    assert logs["log_time"].tolist() == [pd.Timestamp(stamp) for stamp in stamps]


@pytest.mark.parametrize(("number", "table"), [("3.7", AGENTS), ("3.8", MODELS)], ids=["agents", "models"])
def test_the_gauges_that_the_contract_lists_are_read_and_may_be_missing(read, number, table):
    (printed,) = fences(number, "json")
    gauges = dict(re.findall(r'"(\w+)": (float|int)', printed))
    key = {"3.7": "agents", "3.8": "models"}[number]
    assert set(gauges) == {column.name for column in table if column.wire not in {"", key, TIME.wire}}
    whole = {name: 7 if kind == "int" else 0.5 for name, kind in gauges.items()}
    bare = {"latency_ms": 1.5}
    feed = read(changed(key, {"Whole": whole, "Bare": bare}))
    found = getattr(feed, key)().set_index(key.removesuffix("s"))
    assert found.loc["Whole", list(whole)].to_dict() == whole
    assert found.loc["Bare", "latency_ms"] == 1.5
    assert found.loc["Bare", [name for name in gauges if name != "latency_ms"]].isna().all()
    assert feed.latest.flags == 0
    low_high = bounds(printed)
    if low_high is not None:  # of success_rate
        column = next(column for column in table if column.name == "success_rate")
        assert (column.low, column.high) == low_high


# ── what the Cottage sends ──


def same_shape(example: Any, value: Any, path: str = "data") -> Iterator[str]:
    """The places in which a value lacks what an example has, or has another type there."""
    if isinstance(example, dict):
        if not isinstance(value, dict):
            yield path
            return
        for key, inner in example.items():
            yield from same_shape(inner, value[key], f"{path}.{key}") if key in value else [f"{path}.{key}"]
    elif isinstance(example, list):
        if not isinstance(value, list) or not value:
            yield path
        else:
            for item in value:
                yield from same_shape(example[0], item, f"{path}[]")
    elif type(value) is not type(example):
        yield path


@pytest.mark.slow
def test_every_message_of_the_cottage_has_the_shape_of_the_contracts_example(sent):
    example = orjson.loads(EXAMPLE)["data"]
    assert list(same_shape(example, {**example, "logs": [], "signal": {"side": 1}})) == [
        "data.signal.side",
        "data.signal.confidence",
        "data.signal.reasoning",
        "data.logs",
    ]
    for data in sent:
        assert list(same_shape(example, data)) == []


@pytest.mark.parametrize(("part", "row"), FIELDS, ids=[path_of(*field) for field in FIELDS])
def test_what_the_cottage_sends_keeps_to_every_row_of_the_contracts_tables(sent, part, row):
    values = [value_at(data, path_of(part, row)) for data in sent]
    if row["Type"] == "ISO8601 string":
        assert all(datetime.fromisoformat(value).utcoffset() == timedelta(0) for value in values)
    elif row["Type"] == "float":
        assert all(type(value) is float for value in values)
    elif row["Type"] == "enum":
        expected = set(words(row["Description"])) - {"INITIALIZING"}  # a seeded engine has its state from the first packet on
        assert set(values) == expected
    else:
        assert row["Type"] == "string"
        assert all(type(value) is str and value for value in values)
    if (low_high := bounds(row["Description"])) is not None:
        assert min(values) >= low_high[0]
        assert max(values) <= low_high[1]
    if row["Field"] == "max_drawdown":
        assert -1 <= min(values) < max(values) <= 0
    if row["Field"] == "symbol":
        assert set(values) == set(words(row["Description"]))


def test_what_the_cottage_sends_keeps_to_the_contracts_lists(sent):
    levels = set(re.findall(r'"([A-Z]+)"', fences("3.6", "json")[0]))
    assert {line["level"] for data in sent for line in data["logs"]} <= levels
    for line in (line for data in sent for line in data["logs"]):
        assert set(line) == {"level", "message", "timestamp"}
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
    types = {"float": float, "int": int}
    for number, key in (("3.7", "agents"), ("3.8", "models")):
        gauges = dict(re.findall(r'"(\w+)": (float|int)', fences(number, "json")[0]))
        for entry in (entry for data in sent for entry in data[key].values()):
            assert {name: type(value) for name, value in entry.items()} == {name: types[kind] for name, kind in gauges.items()}
    low, high = bounds(fences("3.7", "json")[0])
    assert all(low <= agent["success_rate"] <= high for data in sent for agent in data["agents"].values())


# ── sizes and rates ──


def test_every_message_of_the_cottage_has_the_contracts_size(sent):
    low, high = map(int, re.search(r"\*\*Message Size\*\*: ~(\d+)-(\d+) KB", TEXT).groups())
    sizes = [len(orjson.dumps({"type": "TELEMETRY", "data": data})) for data in sent]
    assert low * KIB <= min(sizes)
    assert max(sizes) <= high * KIB


@pytest.mark.slow
def test_left_to_itself_the_cottage_sends_once_a_second_and_keeps_within_the_contracts_bandwidth():
    hertz = float(re.search(r"\*\*Frequency\*\*: (\d+) Hz", TEXT)[1])
    most = float(re.search(r"\*\*Bandwidth\*\*: ~(\d+) KB/s", TEXT)[1]) * KIB
    with cw.serve() as cottage, cw.connect(cottage.url) as feed:
        feed.wait(5, timeout=15)
        health = feed.health()
        frame = feed.frame(["kind", "received_mono_ns"], clean=False)
    telemetry = frame.loc[frame["kind"] == "TELEMETRY", "received_mono_ns"]
    interval = telemetry.diff().median() / 1e9
    assert interval == pytest.approx(1 / hertz, rel=0.1)
    assert health.message_bytes_mean / interval <= most


def test_the_contracts_ping_as_printed_gets_no_answer_and_the_connection_stays():
    ping, *_ = fences("2.2", "json")
    assert orjson.loads(ping) == {"type": "PING"}
    assert "(None, connection maintained)" in section("2.2")
    with cw.serve(rate=0.01) as cottage, connect(cottage.engine_url, compression=None) as client:
        client.recv(timeout=5)  # the first state; the next is a minute away
        client.send(ping)
        assert client.ping().wait(5), "everything that was sent before it has been read"
        with pytest.raises(TimeoutError):
            client.recv(timeout=0)
