"""A batch of a stream as columns, for the observer: from packets as they arrive, or from frames; the same arrays either way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from ccwatch.alerts.observations import Bools, Floats, Ints
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.messages import Event, EventKind, Item, Packet
from ccwatch.protocol.ranges import within
from ccwatch.stream import dataframes
from ccwatch.stream.batch import Batch

_NUMBERS: Final = {c.name for c in PACKETS if c.dtype == "float64"}
_FIELDS: Final = {c.name: c.field for c in PACKETS}
_WHOLE: Final = {c.name for c in PACKETS if c.dtype in {"uint64", "int64", "int32", "uint32"}}


class Columns:
    """Columns of the packets of a batch, in order of arrival. `len()` is the number of packets."""

    def __init__(self, time: Ints, values: dict[str, Any]) -> None:
        """Hold `values`, arrays by column: floats with NaN, whole numbers, or words as objects, empty where missing."""
        self.time = time
        self._values = values

    def __len__(self) -> int:
        return len(self.time)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @classmethod
    def of_batch(cls, batch: Batch, names: Sequence[str]) -> Self:
        """Return the columns of a batch's packets."""
        values: dict[str, Any] = {}
        for name in names:
            column = batch.column(_FIELDS[name])
            if name in _NUMBERS:
                values[name] = np.array(column, dtype=np.float64)
            elif name in _WHOLE:
                values[name] = np.array(column, dtype=np.int64)
            else:
                values[name] = np.array(["" if word is None else str(word) for word in column], dtype=object)
        return cls(np.array(batch.column("time_ns"), dtype=np.int64), values)

    @classmethod
    def of_frame(cls, frame: pd.DataFrame, names: Sequence[str]) -> Self:
        """Return those of the columns that a frame has."""
        values: dict[str, Any] = {}
        for name in names:
            if name not in frame.columns:
                continue
            if name in _WHOLE:
                values[name] = frame[name].to_numpy().astype(np.int64)
            else:
                values[name] = numbers(frame, name) if name in _NUMBERS else words(frame[name])
        return cls(ns(frame.index), values)

    def where(self, kept: Bools) -> Columns:
        """Return the packets where `kept`."""
        return self if kept.all() else Columns(self.time[kept], {name: values[kept] for name, values in self._values.items()})

    def numbers(self, name: str) -> Floats:
        """Return a column of numbers: NaN where it is missing, or outside its own range."""
        return within(name, self.sent(name))

    def sent(self, name: str) -> Floats:
        """Return a column as it was sent, values out of its range too: a rule on sizes must see one that is too large."""
        values = self._values.get(name)
        return np.full(len(self), np.nan) if values is None else np.where(np.isfinite(values), values, np.nan)

    def whole(self, name: str) -> Ints | None:
        """Return a column of whole numbers; None where there is none."""
        return self._values.get(name)

    def words(self, name: str) -> Any:
        """Return a column of words as an object array, empty text where it is missing."""
        values = self._values.get(name)
        return np.full(len(self), "", dtype=object) if values is None else values


class Calls:
    """Rows of agents or models of a batch, service by service."""

    def __init__(self, service: Any, seq: Ints | None, time: Ints, gauges: dict[str, Floats]) -> None:
        """Hold one entry per row: `service` the names as objects, `gauges` latency_ms, invocations and success_rate."""
        self.service, self.seq, self.time, self.gauges = service, seq, time, gauges

    @classmethod
    def of_batch(cls, table: str, batch: Batch) -> Calls | None:
        """Return the rows that a batch's packets add to a table; None without any."""
        rows = batch.table(table)
        if not rows:
            return None
        found = dict(zip([column.name for column in TABLES[table]], rows, strict=False))
        values: dict[str, Floats] = {name: within(name, np.array(found[name], dtype=np.float64)) for name in _MEASURED if name in found}
        seq, time = np.array(found["seq"], dtype=np.int64), np.array(found["time"], dtype=np.int64)
        return cls(np.array(found[table[:-1]], dtype=object), seq, time, values)

    @classmethod
    def of_frame(cls, table: str, frame: pd.DataFrame | None) -> Calls | None:
        """Return the rows of a frame; None where it has none, or lacks the names or the latencies."""
        column = table[:-1]
        if frame is None or not len(frame) or not {column, "latency_ms"} <= set(frame.columns):
            return None
        values = {name: within(name, numbers(frame, name)) for name in _MEASURED if name in frame.columns}
        seq = frame["seq"].to_numpy().astype(np.int64) if "seq" in frame.columns else None
        return cls(words(frame[column]), seq, ns(frame.index), values)


_MEASURED: Final = ("latency_ms", "invocations", "success_rate")


def ns(index: pd.Index) -> Ints:
    """Return an index of times as ns since 1970."""
    return np.asarray(pd.DatetimeIndex(index).as_unit("ns").asi8)


def numbers(frame: pd.DataFrame, name: str) -> Floats:
    """Return a column as float64, NaN where it is missing or not finite."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    values: Floats = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def words(column: pd.Series) -> Any:
    """Return a column of words as an object array, empty text where it is missing."""
    values = column.array if isinstance(column.array, pd.Categorical) else pd.Categorical(column.astype(dataframes.TEXT))
    known = np.array([*(str(word) for word in values.categories), ""], dtype=object)
    return known[np.asarray(values.codes)]


def unread_items(items: Sequence[Item]) -> Ints:
    """Count the messages that could not be read before each packet, and after the last one."""
    counts = [0]
    for item in items:
        if isinstance(item, Packet):
            counts.append(0)
        elif isinstance(item, Event) and item.kind == EventKind.MALFORMED:
            counts[-1] += 1
    return np.array(counts, dtype=np.int64)


def unread_events(batch: Columns, events: pd.DataFrame | None) -> Ints | None:
    """Count the same from an events table: an event comes after the packet whose seq it has; None where that is not known."""
    seq = batch.whole("seq")
    if events is None or not len(events) or seq is None:
        return None
    unread = events.loc[(events["kind"] == EventKind.MALFORMED).to_numpy(), "seq"].to_numpy().astype(np.int64)
    return np.bincount(np.searchsorted(seq, unread, side="right"), minlength=len(seq) + 1)


def by_seq(table: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return a table in order of seq, rows of one packet in theirs."""
    if table is None or table["seq"].is_monotonic_increasing:
        return table
    return table.iloc[np.argsort(table["seq"].to_numpy(), kind="stable")]


def within_seq(table: pd.DataFrame | None, low: int, high: int) -> pd.DataFrame | None:
    """Return the rows of packets low to high, of a table in order of seq."""
    if table is None:
        return None
    seq = table["seq"].to_numpy().astype(np.int64)
    return table.iloc[np.searchsorted(seq, low) : np.searchsorted(seq, high, side="right")]
