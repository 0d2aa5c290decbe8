"""The one column table: the vocabulary's types have its columns in its order, and each is where the contract says."""

from __future__ import annotations

import re
from typing import get_type_hints

import pytest

from ccwatch.protocol import columns
from ccwatch.protocol.messages import AgentMetric, Bar, Event, ForecastPoint, LogLine, ModelMetric, Packet, ScannerEntry, Trade

PYTHON_TYPES = {
    "time": int,
    "uint64": int,
    "int64": int,
    "int32": int,
    "uint32": int,
    "float64": float,
    "category": str,
    "text": str,
}


def test_every_field_of_a_packet_up_to_extra_is_a_column_of_the_packets_table_in_its_order():
    fields = Packet._fields[: Packet._fields.index("extra") + 1]
    assert fields == tuple(column.field for column in columns.PACKETS)


def test_what_a_packet_has_beyond_its_columns_are_its_lists_and_its_bytes():
    assert Packet._fields[len(columns.PACKETS) :] == (
        *("agents", "models", "logs", "forecasts", "calls", "trades", "scanner", "bars"),
        *("new_logs", "new_rows", "raw"),
    )


@pytest.mark.parametrize(
    ("table", "entry"),
    [("agents", AgentMetric), ("models", ModelMetric), ("forecasts", ForecastPoint), ("scanner", ScannerEntry)],
)
def test_an_entry_of_a_packets_list_is_a_row_of_its_table_after_time_and_seq(table, entry):
    assert entry._fields == tuple(column.field for column in columns.TABLES[table][2:])


@pytest.mark.parametrize(("table", "entry"), [("trades", Trade), ("bars", Bar)])
def test_an_entry_with_a_time_of_its_own_is_a_row_of_its_table_without_seq(table, entry):
    assert entry._fields == tuple(column.field for column in columns.TABLES[table] if column.name != "seq")


def test_a_log_line_is_a_row_of_the_logs_table_and_the_text_of_its_time():
    assert LogLine._fields == (*[column.field for column in columns.LOGS[2:]], "log_time_raw")


def test_an_event_begins_with_the_columns_of_the_events_table():
    assert Event._fields[:4] == tuple(column.field for column in columns.EVENTS)


def test_the_rows_of_all_tables_are_those_of_the_design():
    assert {name: " ".join(column.name for column in table) for name, table in columns.TABLES.items()} == {
        "packets": (
            "time seq connection received_at received_mono_ns kind dialect flags status symbol regime side price alpha velocity "
            "acceleration nav cash daily_pnl max_drawdown confidence approved_size sentiment_score score sentiment_label strategy "
            "execution_status reasoning status_raw regime_raw side_raw approved_size_raw order_id timestamp_raw extra"
        ),
        "agents": "time seq agent latency_ms success_rate invocations",
        "models": "time seq model latency_ms invocations cache_hit_rate",
        "logs": "time seq level message log_time",
        "forecasts": "time seq step p10 median p90",
        "trades": "time seq id symbol side quantity price order_id status",
        "scanner": "time seq symbol price hurst volatility signal_potential",
        "bars": "time seq open high low close",
        "events": "time seq kind detail",
    }


def test_the_type_of_a_field_is_that_of_its_column():
    hints = get_type_hints(Packet)
    for column in columns.PACKETS:
        if column.name != "extra":
            assert PYTHON_TYPES[column.dtype] in (hints[column.field], *getattr(hints[column.field], "__args__", ())), column.name


def test_the_wire_paths_are_those_of_the_contract():
    paths = {column.name: column.wire for column in columns.PACKETS if column.wire}
    assert paths == {
        "time": "timestamp",
        "timestamp_raw": "timestamp",
        "status": "status",
        "status_raw": "status",
        "symbol": "market.symbol",
        "price": "market.price",
        "alpha": "market.alpha",
        "regime": "market.regime",
        "regime_raw": "market.regime",
        "velocity": "market.velocity",
        "acceleration": "market.acceleration",
        "nav": "portfolio.nav",
        "cash": "portfolio.cash",
        "daily_pnl": "portfolio.daily_pnl",
        "max_drawdown": "portfolio.max_drawdown",
        "side": "signal.side",
        "side_raw": "signal.side",
        "confidence": "signal.confidence",
        "reasoning": "signal.reasoning",
        "approved_size": "governance.approved_size",
        "approved_size_raw": "governance.approved_size",
        "sentiment_label": "sentiment.label",
        "sentiment_score": "sentiment.score",
        "strategy": "signal.strategy",
        "score": "signal.score",
        "execution_status": "execution_status",
        "order_id": "order_id",
    }


def test_every_column_says_what_it_means_and_every_number_of_the_wire_its_unit_or_that_it_has_none():
    units = {"", "ns", "ms", "USD", "UTC", "fraction", "$/period", "$/period²", "periods"}
    for table in columns.TABLES.values():
        for column in table:
            assert column.meaning
            assert column.unit in units
            assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)


def test_a_column_stands_in_a_table_once():
    for table in columns.TABLES.values():
        names = [column.name for column in table]
        assert len(names) == len(set(names))


def test_only_categories_have_words_and_only_numbers_have_a_range():
    for table in columns.TABLES.values():
        for column in table:
            assert not column.words or column.dtype == "category"
            assert (column.low is None and column.high is None) or column.dtype == "float64"
