"""The tables of a recording: which columns each has on the disk, their Arrow types, and how each is best kept in Parquet.

The public columns are those of `protocol.columns`, with an integer `x_us` beside each timestamp `x` (several engines cannot
subtract timestamps). A few more, at the end of each table, let `rebuild` make the packets again:

    entry      every table: the recording's own number of the packet or event that the row came from, from 1
    logs_kept  packets: how many lines at the end of the list before begin this list, -1 where `frames` holds the lists
    raw_from   packets: where the raw message is: "frames", "fields" (encoding the packet in its layout gives it) or "none"
    layout     packets: the shape of its message, which the packet's fields do not give (see `protocol.layout`)

Frames on the screen and files on the disk are made from the same Arrow tables, so they cannot differ.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from ccwatch.protocol.columns import TABLES, Column

LAST_ENTRY: Final = 2**63 - 1
"""The highest entry number; no recording has an entry with it."""
FRAMES: Final = "frames"
ALL_TABLES: Final = (*TABLES, FRAMES)
ALWAYS: Final = tuple(table for table in ALL_TABLES if table not in {"trades", "scanner", "bars"})
"""Tables that every group has a file of, as in the first released format; another table has one only where it has rows."""
ENTRY: Final = Column("entry", "uint64", "", "", "the recording's own number of the packet or event, from 1")
RECEIVED: Final = tuple(c for c in TABLES["packets"] if c.name in {"received_at", "received_mono_ns", "connection"})
_INTERNAL: Final[dict[str, tuple[Column, ...]]] = {
    "packets": (
        Column("logs_kept", "int32", "", "", "lines at the end of the list before that begin this list; -1: see frames"),
        Column("raw_from", "category", "", "", "where the raw message is", words=("frames", "fields", "none")),
        Column("layout", "category", "", "", "facts of the message that no field holds"),
        ENTRY,
    ),
    "agents": (ENTRY,),
    "models": (ENTRY,),
    "logs": (Column("log_time_raw", "text", "", "", "the line's own time, as it came"), ENTRY),
    "forecasts": (ENTRY,),
    "trades": (ENTRY,),
    "scanner": (ENTRY,),
    "bars": (ENTRY,),
    "events": (*RECEIVED, ENTRY),
    FRAMES: (),
}
STORED: Final[dict[str, tuple[Column, ...]]] = {table: (*columns, *_INTERNAL[table]) for table, columns in TABLES.items()}
"""The columns of each table on the disk, without the `x_us` ones and without `frames`."""

ARROW: Final[dict[str, Any]] = {
    "time": pa.timestamp("ns", "UTC"),
    "uint64": pa.uint64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "uint32": pa.uint32(),
    "float64": pa.float64(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "text": pa.string(),
}
_FRAMES_SCHEMA: Final = pa.schema(
    [
        pa.field("seq", pa.uint64(), nullable=False),
        pa.field("why", ARROW["category"]),
        pa.field("raw", pa.binary(), nullable=False),
        pa.field("entry", pa.uint64(), nullable=False),
    ]
)
_NULLABLE: Final = frozenset({"category", "text"})


def _schema(table: str) -> Any:
    fields = []
    for column in STORED[table]:
        may_miss = column.dtype in _NULLABLE or column.name == "log_time"
        fields.append(pa.field(column.name, ARROW[column.dtype], nullable=may_miss))
        if column.dtype == "time":
            fields.append(pa.field(f"{column.name}_us", pa.int64(), nullable=may_miss))
    return pa.schema(fields)


SCHEMAS: Final[dict[str, Any]] = {**{table: _schema(table) for table in TABLES}, FRAMES: _FRAMES_SCHEMA}
"""One schema per table, for every file of every session of this format."""


def public_schema(table: str) -> Any:
    """Return the schema of a table with its public columns alone."""
    return pa.schema([SCHEMAS[table].field(column.name) for column in TABLES[table]])


# Measured, see tests/benchmarks: full-mantissa doubles and counters shrink most when their bytes are split; latencies and prices of
# few digits as a dictionary, like words; rates and money by zstd alone; stamps by what they share with the one before.
_DICTIONARY: Final = frozenset({"latency_ms", "price"})
_SPLIT: Final = frozenset({"invocations"})
_TEXTS: Final = {"timestamp_raw": "DELTA_BYTE_ARRAY", "log_time_raw": "DELTA_BYTE_ARRAY", "message": "PLAIN"}
_DIGITS: Final = 9
"""Decimals beyond which a double counts as having a full mantissa."""


def encodings(table: str, sample: Any) -> tuple[list[str], dict[str, str]]:
    """Return the columns to keep as dictionaries and the encoding of each other one, chosen by a file's first rows."""
    dictionaries, found = [], {}
    for field in SCHEMAS[table]:
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            found[field.name] = "DELTA_BINARY_PACKED"
        elif field.name in _TEXTS:
            found[field.name] = _TEXTS[field.name]
        elif pa.types.is_floating(field.type) and (field.name in _SPLIT or _is_full(sample[field.name].to_numpy())):
            found[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_binary(field.type) or (pa.types.is_floating(field.type) and field.name not in _DICTIONARY):
            found[field.name] = "PLAIN"
        else:
            dictionaries.append(field.name)
    return dictionaries, found


def _is_full(values: Any) -> bool:
    """Return whether most of the numbers that are not missing have more digits than a person would write."""
    known = values[~np.isnan(values)]
    with np.errstate(over="ignore"):  # a number too large to be rounded was not written with those digits
        return bool(len(known)) and bool((np.round(known, _DIGITS) != known).mean() > 0.5)
