"""How frames are built: dtypes, order and the options of `frame()`, the same for the live buffer and for recordings.

So frames of the same packets are equal wherever they come from. It knows neither sockets nor files.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.domain.durations import for_pandas
from ccwatch.errors import ConfigError, no_such
from ccwatch.protocol.columns import PACKETS, TABLES, Column
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import SEEN_BEFORE, UNCLEAN, Event, EventKind, Packet

TEXT: Final = pd.StringDtype(na_value=np.nan)
"""The dtype of text. By its name, "str", it would be an array of objects under `future.infer_string = False`, and a missing text "None"."""
FILL_LIMIT: Final = pd.Timedelta(seconds=30)
"""How far `fill=True` carries a value forward."""
FEW_WORDS: Final = 64
"""Most words of a vocabulary that is kept for the next frame."""
NOT_A_TIME: Final = np.iinfo(np.int64).min
Last = int | str | timedelta | pd.Timedelta | None

LISTS: Final = {"agents": "agents", "models": "models", "logs": "new_logs", "forecasts": "forecasts", "scanner": "scanner"}
"""The field of a packet that holds a long table's rows at the packet's own time."""
LONG: Final = (*LISTS, "trades", "bars")
"""The tables that packets add rows to, beside the packets table."""

Batch = list[Sequence[Any]]
"""Rows as columns, in their table's order, and a last column with the time at which each row was received, in ns."""

_SEEN_BEFORE: Final = int(SEEN_BEFORE)
_EXTRA: Final = Packet._fields.index("extra")
_EVENT_RECEIVED: Final = Event._fields.index("received_at_ns")
_OWN_TIMED: Final = frozenset({"agents", "models", "trades", "bars"})
"""The tables with rows at times of their own."""
_ENTRIES: Final = {table: attrgetter(field) for table, field in LISTS.items()}
_BY_TABLE: Final = {table: {column.name: column for column in columns} for table, columns in TABLES.items()}
_DEFAULTS: Final = {
    table: [c.name for c in columns[1:] if not (table == "packets" and c.dtype == "text")] for table, columns in TABLES.items()
}
_FILLED: Final = tuple(c.name for c in PACKETS if c.wire and c.dtype in ("float64", "category") and c.name != "symbol")


def default_columns(table: str) -> list[str]:
    """Return the names of a frame's default columns, without the index: all columns except the packets' text columns."""
    return list(_DEFAULTS[table])


def resolve(table: str, names: Sequence[str] | None) -> list[str]:
    """Return the names of the columns to read, without the index; None gives the default ones.

    Raises:
        ConfigError: an unknown name.
    """
    if names is None:
        return default_columns(table)
    if isinstance(names, str):
        names = [names]
    wanted = [name for name in names if name != "time"]
    unknown = [name for name in wanted if name not in _BY_TABLE[table]]
    if unknown:
        raise ConfigError(no_such("column", unknown[0], _BY_TABLE[table], f" in {table}"))
    return wanted


def build(table: str, values: Mapping[str, Any], names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a frame from columns by field name.

    Args:
        table: name of the table.
        values: values by `Column.field`: int64 ns for times, lists of str or None (or a Categorical) for categories and text, numpy
            arrays or lists for numbers. `time_ns` is always needed.
        names: the columns to include, in order; None is the default ones.
    """
    known = _BY_TABLE[table]
    index = pd.DatetimeIndex(_times(values["time_ns"]), name="time")
    return pd.DataFrame({name: series(known[name], values[known[name].field]) for name in resolve(table, names)}, index=index)


def series(column: Column, values: Any) -> Any:
    """Return one column's values as the array that a frame holds."""
    if column.dtype == "time":
        return _times(values)
    if column.dtype == "category":
        return categorical(column, values)
    if column.dtype == "text":
        return pd.array(list(values), dtype=TEXT)
    return np.asarray(values, dtype=column.dtype)


def categorical(column: Column, values: Any) -> pd.Categorical:
    """Return a Categorical: the column's known words come first, in their order, then the other words that occur, sorted."""
    if isinstance(values, pd.Categorical):
        codes, categories = values.codes, list(values.categories)
    else:
        codes, uniques = pd.factorize(np.asarray(values, dtype=object))
        categories = list(uniques)
    counts = np.bincount(np.asarray(codes, dtype=np.int64) + 1, minlength=len(categories) + 1)[1:]
    used = np.flatnonzero(counts)
    occurring = [categories[code] for code in used]
    wanted = [*column.words, *sorted(word for word in occurring if word not in column.words)]
    if wanted == categories:
        return of_codes(codes, categories)
    at = {word: i for i, word in enumerate(wanted)}  # a flooded vocabulary has 30,000 words: no search per word
    place = np.full(len(categories) + 1, -1, dtype=np.int64)  # the last one means "missing"
    for code in used:
        place[code] = at[categories[code]]
    return of_codes(place[codes], wanted)


def of_codes(codes: Any, words: Sequence[str]) -> pd.Categorical:
    """Return a Categorical of codes into words, all different; -1 is missing."""
    dtype = _few_words(tuple(words)) if len(words) <= FEW_WORDS else _categories(words)
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _categories(words: Sequence[str]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(pd.Index(list(words), dtype=TEXT))


_few_words: Final = lru_cache(maxsize=256)(_categories)
"""pandas takes longer to check the words than to hold a session's codes, and the sessions of an archive have the same words."""


def tidy(frame: pd.DataFrame, *, clean: bool = True, fill: bool = False, symbol: str | None = None) -> pd.DataFrame:
    """Apply the options of `frame()` to a packets frame that has the columns they need (flags, symbol, connection)."""
    if clean:
        frame = frame[(frame["flags"].to_numpy() & np.uint32(UNCLEAN)) == 0]
        if not frame.index.is_monotonic_increasing:
            frame = frame.sort_index(kind="stable")
    if symbol is not None:
        frame = frame[(frame["symbol"] == symbol).to_numpy()]
    return _filled(frame) if fill else frame


def needed(names: Sequence[str], *, clean: bool, fill: bool, symbol: str | None) -> list[str]:
    """Return the given names and those of the further columns that `tidy` needs."""
    extra = []
    if clean:
        extra.append("flags")
    if symbol is not None or fill:
        extra.append("symbol")
    if fill:
        extra.append("connection")
    return [*names, *(name for name in extra if name not in names)]


def never_falling(received_ns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return receive times of rows in arrival order such that none lies after that of a later row.

    The wall clock is stepped back at times. A row from before the step is as old as the first one after it, at least.
    """
    if not (received_ns[1:] < received_ns[:-1]).any():
        return received_ns
    lowest: np.ndarray[Any, Any] = np.minimum.accumulate(received_ns[::-1])[::-1]
    return lowest


def cut_last(received_ns: np.ndarray[Any, Any], last: Last) -> int:
    """Return the position at which the last rows, or the last stretch of received time, begin in rows in arrival order.

    A stretch of time is cut by times that never fall; see `never_falling`.

    Raises:
        ConfigError: `last` is neither a count nor a length of time.
    """
    if last is None:
        return 0
    if isinstance(last, (int, np.integer)) and not isinstance(last, (bool, np.timedelta64)):
        if last < 0:
            raise ConfigError(f"last={last}: expected a number of rows ≥ 0, or a length of time such as '5min'")
        return max(0, len(received_ns) - int(last))
    span = span_ns(last)
    return int(np.searchsorted(received_ns, int(received_ns[-1]) - span, side="left")) if len(received_ns) else 0


def ends(frame: pd.DataFrame) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the earliest and the latest time of a packets frame; None where it is empty."""
    return None if frame.empty else (frame.index.min(), frame.index.max())


def within(frame: pd.DataFrame, span: tuple[int, int], last: Last = None) -> pd.DataFrame:
    """Return the rows of a packets frame within the first and last ns given, and the last ones of these; it needs `received_at`."""
    times = frame.index.as_unit("ns").asi8  # type: ignore[attr-defined] # a DatetimeIndex
    found: pd.DataFrame = frame[(times >= span[0]) & (times <= span[1])]
    received = found["received_at"].dt.as_unit("ns").astype("int64").to_numpy()
    remaining: pd.DataFrame = found.iloc[cut_last(never_falling(received), last) :]
    return remaining


def span_ns(last: str | timedelta | pd.Timedelta | Any) -> int:
    """Return a length of time ("5min", timedelta) in ns.

    Raises:
        ConfigError: not a length of time, or not a positive one.
    """
    unusable = ConfigError(f"{last!r} is not a length of time; expected for example '5min', '8h' or a timedelta")
    if not isinstance(last, (str, timedelta, np.timedelta64)) or (isinstance(last, str) and _is_plain_number(last)):
        raise unusable  # pandas would take a number for nanoseconds
    try:
        span = pd.Timedelta(for_pandas(last)).as_unit("ns").value
    except (ValueError, TypeError):
        raise unusable from None
    if span <= 0:
        raise ConfigError(f"{last!r}: expected a length of time above zero")
    return span


# ── Packets as columns ─────────────────────────────────────────────────────────────────────────────────────────────────


def packet_columns(packets: Sequence[Packet], names: Iterable[str] | None = None) -> dict[str, list[Any]]:
    """Return packets as columns of the packets table, by field name."""
    fields = [c.field for c in PACKETS] if names is None else [_BY_TABLE["packets"][name].field for name in names]
    found: dict[str, list[Any]] = {name: [getattr(packet, name) for packet in packets] for name in fields}
    if "extra" in found:
        found["extra"] = [extra_text(extra) for extra in found["extra"]]
    return found


def long_rows(table: str, item: Packet | Event) -> list[tuple[Any, ...]]:
    """Return the rows that an item adds to a long table, in the table's order of columns.

    A packet seen before (REPEAT, REPLAYED) adds no gauges: the table has them already. Of its lines, calls, trades and bars, the
    session has found the new ones. A service whose calls are sent one by one has a row for each call, at the call's time, and none
    for the packet.
    """
    if isinstance(item, Event):
        if table == "events":
            return [item[:4]]
        carried = codec.read_rows(item.raw).get(table, ()) if item.kind == EventKind.ROWS else ()
        return [(row[0], item.seq, *row[1:]) for row in carried]
    time_ns, seq = item.time_ns, item.seq
    if table == "logs":
        return [(time_ns, seq, line.level, line.message, line.log_time_ns) for line in item.new_logs]
    entries: tuple[Any, ...] = getattr(item, LISTS[table]) if table in LISTS and not item.flags & _SEEN_BEFORE else ()
    if item.calls:
        called = {(call.table, call.name) for call in item.calls}
        entries = tuple([entry for entry in entries if (table, entry[0]) not in called])
    own = [(row[0], seq, *row[1:]) for row in item.new_rows.get(table, ())]
    return [*[(time_ns, seq, *entry) for entry in entries], *own]


def long_columns(table: str, items: Iterable[Packet | Event]) -> dict[str, list[Any]]:
    """Return items as columns of a long table, by field name."""
    rows = [row for item in items for row in long_rows(table, item)]
    return {column.field: [row[i] for row in rows] for i, column in enumerate(TABLES[table])}


def with_text_of_extra(columns: Batch) -> Batch:
    """Return columns of the packets table with `extra` as text."""
    found = [*columns]
    found[_EXTRA] = [extra_text(extra) if extra else None for extra in columns[_EXTRA]]
    return found


def long_batch(table: str, packets: Sequence[Packet]) -> Batch:
    """Return the rows of `long_rows` for many packets, as columns in the table's order, and when they were received; empty without rows."""
    if table in _OWN_TIMED:
        own = [packet for packet in packets if table in packet.new_rows or packet.calls]
        if table not in LISTS:
            packets = own
        if own or table not in LISTS:
            rows = [(*row, packet.received_at_ns) for packet in packets for row in long_rows(table, packet)]
            return [*zip(*rows, strict=True)]
    if table != "logs":
        packets = [packet for packet in packets if not packet.flags & _SEEN_BEFORE]
    lists = [*map(_ENTRIES[table], packets)]
    counts = [*map(len, lists)]
    if not any(counts):
        return []
    heads = [(packet.time_ns, packet.seq, packet.received_at_ns) for packet in packets]
    times, seqs, received = ([*chain.from_iterable(map(repeat, values, counts))] for values in zip(*heads, strict=True))
    columns: Batch = [*zip(*chain.from_iterable(lists), strict=True)]
    return [times, seqs, *columns[: len(TABLES[table]) - 2], received]


def event_batch(events: Sequence[Event]) -> Batch:
    """Return one or more events as columns in their table's order, and when they were received."""
    columns: Batch = [*zip(*events, strict=True)]
    return [*columns[: len(TABLES["events"])], columns[_EVENT_RECEIVED]]


def rows_batch(table: str, events: Sequence[Event]) -> Batch:
    """Return the rows that events carry for a table, as columns in its order, and when they were received; empty without any."""
    rows = [(*row, event.received_at_ns) for event in events if event.kind == EventKind.ROWS for row in long_rows(table, event)]
    return [*zip(*rows, strict=True)]


def extra_text(extra: Mapping[str, Any]) -> str | None:
    """Return the values that have no column as JSON text; None if there are none."""
    return codec.text(dict(extra)) if extra else None


def _times(values: Any) -> pd.DatetimeIndex:
    if not isinstance(values, np.ndarray):
        values = np.array([NOT_A_TIME if value is None else value for value in values], dtype=np.int64)
    return pd.DatetimeIndex(values.view("M8[ns]"), copy=False).tz_localize("UTC")


def _is_plain_number(last: str) -> bool:
    try:
        float(last)
    except (ValueError, TypeError):
        return False
    return True


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Carry values forward per symbol, within a connection, for at most 30 s of the stream's time."""
    frame = frame.copy()
    times = frame.index.to_numpy(dtype="M8[ns]")  # with its zone it would be an array of objects
    symbols = frame["symbol"].ffill().cat.codes.to_numpy().astype(np.int64)
    groups = (frame["connection"].to_numpy().astype(np.int64) << 32) + symbols
    order = np.argsort(groups, kind="stable")
    places = np.arange(len(frame))
    starts = np.searchsorted(groups[order], groups[order])  # where each row's group begins
    for name in (name for name in _FILLED if name in frame.columns):
        carried = frame[name].notna().to_numpy()[order]
        latest = np.maximum.accumulate(np.where(carried, places, -1)) if len(places) else places
        usable = latest >= starts
        source = order[np.where(usable, latest, 0)] if len(places) else order
        usable &= times[order] - times[source] <= FILL_LIMIT.to_timedelta64()
        taken = np.empty(len(frame), dtype=np.int64)
        taken[order] = np.where(usable, source, -1)
        frame[name] = frame[name].array.take(taken, allow_fill=True)
    return frame


def draw_with_what_is_installed() -> None:
    """Make `frame.plot()` draw with plotly where matplotlib, which pandas would ask for, is not installed and no backend was chosen."""
    if pd.get_option("plotting.backend") == "matplotlib" and importlib.util.find_spec("matplotlib") is None:
        pd.set_option("plotting.backend", "plotly")


draw_with_what_is_installed()
