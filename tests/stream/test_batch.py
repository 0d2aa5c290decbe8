"""A batch: the items of one receive as rows and as columns, the same in both forms and made once."""

from __future__ import annotations

from itertools import islice

import pytest

from ccwatch.feed.synthetic import messages
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import UNCLEAN, ConnectionState, Event, Instant, Packet, StateChange
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch


@pytest.fixture(scope="module")
def items():
    """A seeded stream's packets, with repeats, and events."""
    session = StreamReader(virtual_clock=True)
    found = list(session.opened(Instant(0, 0)))
    for n, raw in enumerate(islice(messages(seed=3, scenario="malformed"), 150)):
        for _ in range(1 + (n % 7 == 0)):
            found += session.receive(raw, Instant(n * 10**9, n * 10**9))
    return [*found, StateChange(ConnectionState.STALE, Instant(0, 0)), *session.closed(Instant(10**12, 10**12), "end")]


def rows(columns):
    return [*zip(*columns, strict=True)]


def test_a_batch_is_the_sequence_of_its_items(items):
    batch = Batch.of(items)
    assert ([*batch], len(batch), batch[3], batch[-1], [*batch[2:5]]) == (items, len(items), items[3], items[-1], items[2:5])
    assert batch.packets == [item for item in items if isinstance(item, Packet)]
    assert batch.events == [item for item in items if isinstance(item, Event)]
    assert Batch.of(batch) is batch
    assert Batch.joined([batch]) is batch


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_a_table_are_the_rows_of_its_items_and_are_made_once(items, table):
    batch = Batch(items)
    if table == "packets":
        columns = dataframes.packet_columns(batch.packets)
        wanted = rows([*columns.values(), [packet.received_at_ns for packet in batch.packets]])
    else:
        kept = [item for item in items if not isinstance(item, StateChange)]
        wanted = [(*row, item.received_at_ns) for item in kept for row in dataframes.long_rows(table, item)]
    assert repr(rows(batch.table(table))) == repr(wanted)
    assert batch.table(table) is batch.table(table)
    assert len(wanted) > 0 or table in {"forecasts", "scanner", "bars"}  # which a seeded stream does not send


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_joined_batches_have_the_columns_of_all_their_items(items, size):
    parts = [Batch(items[at : at + size]) for at in range(0, len(items), size)]
    for part in parts:
        part.table("packets")
    joined, whole = Batch.joined(parts), Batch(items)
    assert [*joined] == items
    for table in TABLES:
        assert repr(joined.table(table)) == repr(whole.table(table))


def test_clean_rows_and_the_others_are_all_rows(items):
    batch = Batch(items)
    clean, unclean = batch.split()
    flags = [column.name for column in TABLES["packets"]].index("flags")
    assert len(clean[0]) + len(unclean[0]) == len(batch.packets)
    assert not any(value & UNCLEAN for value in clean[flags])
    assert all(value & UNCLEAN for value in unclean[flags])
    only = batch.only_packets(clean=True)
    assert repr(only.table("packets")) == repr([[*column] for column in clean]) or rows(only.table("packets")) == rows(clean)
    assert only.split() == (only.table("packets"), [])
    assert only.only_packets() is only
    assert [packet.seq for packet in batch.only_packets(after=140)] == [*range(141, batch.packets[-1].seq + 1)]


def test_a_batch_without_packets_has_no_rows():
    batch = Batch([StateChange(ConnectionState.OPEN, Instant(0, 0))])
    assert [batch.table(table) for table in TABLES] == [[]] * len(TABLES)
    assert (batch.split(), batch.column("seq"), batch.packets) == (([], []), (), [])
