"""What a frame is: its dtypes, its order, and the choices of `frame()`."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from pandas.testing import assert_frame_equal

from ccwatch.errors import ConfigError
from ccwatch.protocol.columns import DIALECT_NAMES, PACKETS, TABLES
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, Event, EventKind, Flag, Instant, ScannerEntry, ServiceCall
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes

SECOND = 1_000_000_000
START = 1_767_364_200 * SECOND  # 2026-01-02T14:30:00Z


def packet(second, *, symbol="SPY", connection=1, seq=None, status="ACTIVE", extra=None, flags=0, **market):
    """A packet stamped so many seconds after the start, received 10 ms later."""
    stamp = pd.Timestamp(START + round(second * SECOND), tz="UTC").isoformat()
    data = {"timestamp": stamp, "status": status, "market": {"symbol": symbol, **market}, **(extra or {})}
    now = Instant(START + round(second * SECOND) + 10_000_000, round(second * SECOND))
    seq = round(second) + 1 if seq is None else seq
    raw = json.dumps({"type": "TELEMETRY", "data": data}).encode()
    found = codec.decode(raw, seq=seq, connection=connection, now=now)
    return found._replace(flags=found.flags | flags, new_logs=found.logs)


def with_own_rows(found):
    """A packet with a row at a time of its own in each table that has such."""
    rows = {
        "trades": ((START, "t1", "SPY", "BUY", 2.0, 450.0, "o1", "FILLED"),),
        "bars": ((START - SECOND, 1.0, 2.0, 0.5, 1.5),),
    }
    return found._replace(new_rows=rows, scanner=(ScannerEntry("QQQ", 380.0, 0.5, 0.01, 0.4),))


def built(packets, names=None):
    return dataframes.build("packets", dataframes.packet_columns(packets), names)


ALL = [column.name for column in PACKETS[1:]]


# ── building ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("packets", [[], [packet(0, price=450.0)], [packet(n, price=1.0 + n) for n in range(5)]])
def test_a_packets_frame_has_the_dtypes_of_the_column_table_also_when_it_is_empty(packets):
    frame = built(packets, ALL)
    assert list(frame.columns) == ALL
    assert frame.index.name == "time"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    wanted = {"time": "datetime64[ns, UTC]", "text": "str"}
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        column.name: wanted.get(column.dtype, column.dtype) for column in PACKETS[1:]
    }


@pytest.mark.parametrize("table", [name for name in TABLES if name != "packets"])
def test_a_long_frame_has_the_dtypes_of_the_column_table_also_when_it_is_empty(table):
    full = packet(
        0,
        extra={
            "agents": {"A": {"latency_ms": 1.0}},
            "models": {"M": {"latency_ms": 1.0}},
            "logs": ["plain", {"level": "INFO", "message": "x", "timestamp": "2026-01-02T14:30:00Z"}],
            "forecast": {"median": [1.0]},
        },
    )
    full = with_own_rows(full)
    event = Event(START, 1, EventKind.GAP, "seconds=5", 1, START, 0)
    wanted = {"time": "datetime64[ns, UTC]", "text": "str"}
    for items in ([], [full, event]):
        frame = dataframes.build(table, dataframes.long_columns(table, items))
        assert len(frame) == 0 if not items else len(frame) > 0
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
            column.name: wanted.get(column.dtype, column.dtype) for column in TABLES[table][1:]
        }


def test_text_is_left_out_unless_it_is_named():
    assert dataframes.default_columns("packets") == [column.name for column in PACKETS[1:] if column.dtype != "text"]
    assert "message" in dataframes.default_columns("logs")
    assert "detail" in dataframes.default_columns("events")


def test_values_stand_in_their_columns_and_what_was_not_carried_is_missing():
    frame = built([packet(0, price=450.5, regime="Critical"), packet(1, symbol=None)], ["price", "regime", "symbol", "nav", "extra"])
    assert frame["price"].tolist()[0] == 450.5
    assert np.isnan(frame["price"].iloc[1])
    assert frame["regime"].iloc[0] == "Critical"
    assert frame[["regime", "symbol", "nav", "extra"]].iloc[1].isna().all()
    assert frame.index[1] - frame.index[0] == pd.Timedelta("1s")


def test_what_has_no_column_is_json_in_extra():
    frame = built([packet(0, extra={"scanner": [1, {"a": "é"}]})], ["extra"])
    assert frame["extra"].iloc[0] == '{"scanner":[1,{"a":"é"}]}'


def test_nanoseconds_survive():
    late = packet(0)._replace(time_ns=START + 123_456_789)
    assert built([late]).index[0].value == START + 123_456_789


@given(st.permutations(["Critical", "Gaussian", "Lévy Stable", "Gaussian"]))
@settings(max_examples=20, deadline=None)
def test_a_closed_vocabulary_has_all_its_words_in_its_own_order_whatever_occurs_first(regimes):
    frame = built([packet(n, regime=regime) for n, regime in enumerate(regimes)])
    assert list(frame["regime"].cat.categories) == ["Gaussian", "Lévy Stable", "Critical", "Unknown"]
    assert list(frame["regime"]) == regimes


@pytest.mark.slow
@given(st.lists(st.sampled_from(["SPY", "QQQ", "AAPL", None]), max_size=8))
@settings(max_examples=40, deadline=None)
def test_an_open_vocabulary_is_sorted_and_holds_only_what_occurs(symbols):
    frame = built([packet(n, symbol=symbol) for n, symbol in enumerate(symbols)])
    assert list(frame["symbol"].cat.categories) == sorted({symbol for symbol in symbols if symbol is not None})
    assert [None if pd.isna(symbol) else symbol for symbol in frame["symbol"]] == symbols


def test_a_word_beyond_a_closed_vocabulary_follows_it():
    column = next(column for column in PACKETS if column.name == "dialect")
    words = dataframes.categorical(column, ["tape", "bridge", None, "abacus"])
    assert list(words.categories) == [*DIALECT_NAMES, "abacus", "tape"]
    assert words.codes.tolist() == [len(DIALECT_NAMES) + 1, DIALECT_NAMES.index("bridge"), -1, len(DIALECT_NAMES)]


def test_categories_made_from_codes_and_from_words_are_the_same():
    column = next(column for column in PACKETS if column.name == "symbol")
    from_words = dataframes.categorical(column, ["SPY", None, "AAPL"])
    from_codes = dataframes.categorical(column, pd.Categorical(["SPY", None, "AAPL"], categories=["X", "SPY", "AAPL"]))
    assert_frame_equal(pd.DataFrame({"x": from_words}), pd.DataFrame({"x": from_codes}))


# ── long tables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_entry_of_a_packets_lists_is_a_row_with_its_time_and_seq():
    full = packet(
        3,
        extra={
            "agents": {"A": {"latency_ms": 1.5, "success_rate": 0.5, "invocations": 2}, "B": {}},
            "models": {"M": {"cache_hit_rate": 0.25}},
            "logs": ["plain"],
            "forecast": {"p10": [1.0], "median": [2.0, 3.0]},
        },
    )
    time = START + 3 * SECOND
    assert dataframes.long_rows("agents", full) == [(time, 4, "A", 1.5, 0.5, 2.0), (time, 4, "B", NAN, NAN, NAN)]
    assert dataframes.long_rows("models", full) == [(time, 4, "M", NAN, NAN, 0.25)]
    assert dataframes.long_rows("logs", full) == [(time, 4, None, "plain", None)]
    assert dataframes.long_rows("forecasts", full) == [(time, 4, 1, 1.0, 2.0, NAN), (time, 4, 2, NAN, 3.0, NAN)]
    assert dataframes.long_rows("events", full) == []


def test_rows_at_times_of_their_own_have_these_times_and_the_seq_of_the_packet_that_first_carried_them():
    full = with_own_rows(packet(3))
    assert dataframes.long_rows("trades", full) == [(START, 4, "t1", "SPY", "BUY", 2.0, 450.0, "o1", "FILLED")]
    assert dataframes.long_rows("bars", full) == [(START - SECOND, 4, 1.0, 2.0, 0.5, 1.5)]
    assert dataframes.long_rows("scanner", full) == [(START + 3 * SECOND, 4, "QQQ", 380.0, 0.5, 0.01, 0.4)]
    batch = dataframes.long_batch("bars", [packet(2), full])
    assert [list(values) for values in batch] == [[START - SECOND], [4], [1.0], [2.0], [0.5], [1.5], [full.received_at_ns]]


def test_a_service_whose_calls_are_sent_one_by_one_has_a_row_for_each_new_call_and_none_for_the_packet():
    full = packet(3, extra={"agents": {"A": {"latency_ms": 5.0}, "B": {"latency_ms": 7.0}}})
    full = full._replace(
        calls=(ServiceCall("agents", "A", START, 5.0, 1.0), ServiceCall("agents", "A", START + 1, 6.0, 0.0)),
        new_rows={"agents": ((START, "A", 5.0, 1.0, 1.0), (START + 1, "A", 6.0, 0.5, 2.0))},
    )
    wanted = [(START + 3 * SECOND, 4, "B", 7.0, NAN, NAN), (START, 4, "A", 5.0, 1.0, 1.0), (START + 1, 4, "A", 6.0, 0.5, 2.0)]
    assert dataframes.long_rows("agents", full) == wanted
    assert [*zip(*dataframes.long_batch("agents", [full]), strict=True)] == [(*row, full.received_at_ns) for row in wanted]


@pytest.mark.parametrize("flag", [Flag.REPEAT, Flag.REPLAYED])
def test_a_packet_seen_before_adds_no_gauges_to_the_long_tables_and_only_what_the_session_found_new(flag):
    full = packet(0, extra={"agents": {"A": {}}, "models": {"M": {}}, "logs": ["x"], "forecast": {"median": [1.0]}}, flags=int(flag))
    full = with_own_rows(full)
    added = {table: len(rows) for table in TABLES if table != "packets" and (rows := dataframes.long_rows(table, full))}
    assert added == {"logs": 1, "trades": 1, "bars": 1}
    full = full._replace(new_logs=(), new_rows={})
    assert [dataframes.long_rows(table, full) for table in TABLES if table != "packets"] == [[]] * 8
    assert [dataframes.long_batch(table, [full]) for table in dataframes.LONG] == [[]] * len(dataframes.LONG)


def test_an_event_is_a_row_of_the_events_table_only():
    event = Event(START, 7, EventKind.GAP, "seconds=5", 1, START, 0, b"raw")
    assert dataframes.long_rows("events", event) == [(START, 7, "gap", "seconds=5")]
    assert all(dataframes.long_rows(table, event) == [] for table in dataframes.LISTS)


# ── clean, symbol, fill ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0, *Flag])), max_size=12))
@settings(max_examples=60, deadline=None)
def test_clean_leaves_out_repeats_replays_and_placeholders_and_sorts_by_time_keeping_the_order_of_equals(rows):
    packets = [packet(second, seq=i + 1, price=1.0, flags=int(flag)) for i, (second, flag) in enumerate(rows)]
    frame = built(packets)
    clean = dataframes.tidy(frame, clean=True)
    unclean = Flag.REPEAT | Flag.REPLAYED | Flag.PLACEHOLDER
    expected = sorted((second, i + 1) for i, (second, flag) in enumerate(rows) if not Flag(flag) & unclean)
    assert clean["seq"].tolist() == [seq for _, seq in expected]
    assert clean.index.is_monotonic_increasing
    assert_frame_equal(dataframes.tidy(frame, clean=False), frame)


def test_a_clean_frame_can_be_cut_by_time_and_rolled():
    packets = [packet(n, price=float(n + 1)) for n in (0, 2, 1, 3)]
    clean = dataframes.tidy(built(packets))
    assert clean.loc["2026-01-02T14:30:01":"2026-01-02T14:30:02", "price"].tolist() == [2.0, 3.0]
    assert clean["price"].rolling("2s").mean().tolist() == [1.0, 1.5, 2.5, 3.5]


def test_a_symbol_chooses_its_rows_and_an_unheard_one_none():
    frame = built([packet(0, symbol="SPY"), packet(1, symbol="QQQ"), packet(2, symbol=None)])
    assert dataframes.tidy(frame, symbol="QQQ")["seq"].tolist() == [2]
    assert len(dataframes.tidy(frame, symbol="IBM")) == 0


def filled(packets, column="price", **options):
    return [None if pd.isna(value) else value for value in dataframes.tidy(built(packets), fill=True, **options)[column]]


def test_fill_carries_a_value_forward_for_thirty_seconds_of_the_streams_time_and_no_longer():
    assert filled([packet(0, price=5.0), packet(29), packet(30), packet(30.001)]) == [5.0, 5.0, 5.0, None]


def test_fill_counts_from_where_the_value_was_carried_and_not_from_where_it_was_filled():
    assert filled([packet(0, price=5.0), packet(20), packet(40)]) == [5.0, 5.0, None]
    assert filled([packet(0, price=5.0), packet(20, price=6.0), packet(40)]) == [5.0, 6.0, 6.0]


def test_fill_carries_nothing_from_one_symbol_to_another_and_finds_its_own_again():
    packets = [packet(0, price=5.0), packet(1, symbol="QQQ"), packet(2, symbol="QQQ", price=7.0), packet(3), packet(4, symbol="QQQ")]
    assert filled(packets) == [5.0, None, 7.0, 5.0, 7.0]


def test_fill_carries_nothing_from_one_connection_to_the_next():
    assert filled([packet(0, price=5.0), packet(1, connection=2), packet(2, connection=2, price=6.0)]) == [5.0, None, 6.0]


def test_fill_gives_a_part_without_a_symbol_the_values_of_the_symbol_before_it():
    assert filled([packet(0, price=5.0), packet(1, symbol=None)]) == [5.0, 5.0]


def test_fill_carries_words_too_but_never_the_facts_of_the_packet_itself():
    packets = [packet(0, price=5.0, regime="Critical"), packet(1, status=None)]
    frame = dataframes.tidy(built(packets), fill=True)
    assert frame["regime"].tolist() == ["Critical", "Critical"]
    assert frame["status"].tolist() == ["ACTIVE", "ACTIVE"]
    assert str(frame["regime"].dtype) == "category"
    facts = ["seq", "connection", "received_at", "received_mono_ns", "kind", "dialect", "flags"]
    assert_frame_equal(frame[facts], built(packets)[facts])


def test_fill_of_nothing_and_of_an_uncleaned_frame_works_and_changes_no_dtype():
    for packets in ([], [packet(2, price=1.0), packet(0), packet(1)]):
        frame = built(packets)
        for clean in (True, False):
            assert (dataframes.tidy(frame, clean=clean, fill=True).dtypes == frame.dtypes).all()


def test_fill_leaves_the_frame_that_it_was_given_as_it_was():
    frame = built([packet(0, price=5.0), packet(1)])
    before = frame.copy(deep=True)
    dataframes.tidy(frame, clean=False, fill=True)
    assert_frame_equal(frame, before)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["SPY", "QQQ"]), st.integers(1, 2), st.none() | st.floats(1, 100)), max_size=15)
)
@settings(max_examples=60, deadline=None)
def test_fill_is_what_a_plain_loop_over_the_rows_says(rows):
    rows = sorted(rows, key=lambda row: row[0])
    market = [{} if price is None else {"price": price} for *_, price in rows]
    packets = [
        packet(second, symbol=symbol, connection=connection, seq=i + 1, **carried)
        for i, ((second, symbol, connection, _), carried) in enumerate(zip(rows, market, strict=True))
    ]
    latest, expected = {}, []
    for second, symbol, connection, price in rows:
        if price is not None:
            latest[symbol, connection] = (second, price)
        then, value = latest.get((symbol, connection), (-1000, None))
        expected.append(value if second - then <= 30 else None)
    assert filled(packets) == expected


def test_a_frame_of_a_hundred_thousand_rows_is_filled_in_a_moment():
    frame = built([packet(n % 50, price=1.0) for n in range(100)])
    large = pd.concat([frame] * 1000)
    begin = pd.Timestamp.now()
    dataframes.tidy(large, fill=True)
    assert pd.Timestamp.now() - begin < pd.Timedelta("2s")  # as objects it took longer


# ── choosing columns and rows ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_column_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"no column 'prise' in packets; did you mean 'price'\? there are time, seq, .*price"):
        dataframes.resolve("packets", ["price", "prise"])


def test_columns_come_in_the_order_asked_for_and_the_index_need_not_be_named():
    assert dataframes.resolve("packets", ["nav", "time", "price"]) == ["nav", "price"]
    assert dataframes.resolve("packets", "price") == ["price"]
    assert list(built([packet(0)], ["nav", "price"]).columns) == ["nav", "price"]


@pytest.mark.parametrize(
    ("choices", "beside"),
    [
        ({"clean": False, "fill": False, "symbol": None}, []),
        ({"clean": True, "fill": False, "symbol": None}, ["flags"]),
        ({"clean": False, "fill": False, "symbol": "SPY"}, ["symbol"]),
        ({"clean": True, "fill": True, "symbol": None}, ["flags", "symbol", "connection"]),
    ],
)
def test_the_columns_that_a_choice_needs_suffice_for_it(choices, beside):
    names = dataframes.needed(["price"], **choices)
    assert names == ["price", *beside]
    packets = [packet(0, price=5.0), packet(1), packet(2, symbol="QQQ", price=6.0)]
    assert_frame_equal(dataframes.tidy(built(packets, names), **choices)[["price"]], dataframes.tidy(built(packets), **choices)[["price"]])


RECEIVED = np.array([START + n * SECOND for n in range(10)], dtype=np.int64)


COUNTS = [(None, 0), (0, 10), (3, 7), (10, 0), (11, 0), (np.int64(3), 7)]
STRETCHES = [
    *(("3s", 6), ("1h", 0), ("500ms", 9), ("0 days 00:00:02", 7), ("100000 days", 0)),
    *((timedelta(seconds=2), 7), (pd.Timedelta("2s"), 7), (np.timedelta64(2, "s"), 7)),
]


@pytest.mark.parametrize(("last", "begin"), COUNTS + STRETCHES)
def test_the_last_rows_or_the_last_stretch_of_received_time_are_found(last, begin):
    assert dataframes.cut_last(RECEIVED, last) == begin


@pytest.mark.parametrize("last", ["5", "soon", "", "NaT", "nan", "-5min", "0s", 5.0, True, -1, np.int64(-1), [], {}, timedelta(0), b"5min"])
@pytest.mark.parametrize("received", [RECEIVED, RECEIVED[:0]])
def test_what_is_neither_a_count_nor_a_length_of_time_is_refused_also_on_an_empty_frame(last, received):
    with pytest.raises(ConfigError, match="expected"):
        dataframes.cut_last(received, last)


def test_the_last_of_nothing_is_nothing():
    assert dataframes.cut_last(RECEIVED[:0], "5min") == dataframes.cut_last(RECEIVED[:0], 5) == 0


@pytest.mark.parametrize(("text", "ns"), [("8h", 8 * 3600 * SECOND), ("5min", 300 * SECOND), ("1ns", 1), ("P1D", 86_400 * SECOND)])
def test_a_length_of_time_is_read_in_nanoseconds(text, ns):
    assert dataframes.span_ns(text) == ns


def test_packets_that_a_session_read_make_a_frame_that_can_be_written_over_without_harm():
    session = StreamReader()
    session.opened(Instant(START, 0))
    raw = packet(0, price=450.0).raw
    (read, *_) = session.receive(raw, Instant(START, 0))
    frame = built([read])
    frame.loc[:, "price"] = 0.0
    assert read.price == 450.0
    assert built([read])["price"].iloc[0] == 450.0


@pytest.mark.slow
@pytest.mark.parametrize(("installed", "chosen", "then"), [(False, "matplotlib", "plotly"), (True, "matplotlib", "matplotlib")])
def test_a_frame_is_plotted_with_what_is_installed(installed: bool, chosen: str, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: (installed or None) if name == "matplotlib" else real(name))
    with pd.option_context("plotting.backend", chosen):
        dataframes.draw_with_what_is_installed()
        assert pd.get_option("plotting.backend") == then
        if then == "plotly":
            figure = pd.Series([1.0, 2.0], index=pd.date_range("2026-01-02", periods=2, tz="UTC"), name="price").plot()
            assert type(figure).__name__ == "Figure"
            assert list(figure.data[0].y) == [1.0, 2.0]
