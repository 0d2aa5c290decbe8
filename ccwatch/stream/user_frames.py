"""Prices and frames that a user hands in, all read the same way: CSV files, frames and series of any usual shape. It knows no stream.

pandas does the reading. A number that could be read in two ways is refused; every choice, reordering or omission is reported.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.errors import ConfigError, MixedSymbols
from ccwatch.stream.dataframes import TEXT

PRICE_NAMES: Final = ("price", "close", "adj close", "adj_close", "last")
_NAMES: Final = {
    **dict.fromkeys(PRICE_NAMES, "price"),
    **dict.fromkeys(("nav", "equity", "portfolio value", "account value"), "nav"),
    **dict.fromkeys(("return", "returns", "ret"), "returns"),
    **dict.fromkeys(("side", "signal"), "side"),
    **dict.fromkeys(("symbol", "ticker"), "symbol"),
    **dict.fromkeys(("approved_size", "size"), "approved_size"),
    **dict.fromkeys(("cash",), "cash"),
    **dict.fromkeys(("daily_pnl", "pnl"), "daily_pnl"),
}
"""ccwatch's name of a column, by its name in lower case; if a frame has two names of one column, the first in this order counts."""
_UNNAMED: Final = re.compile(r"Unnamed: \d+")
"""pandas' name of a column without one."""
_TIMES: Final = ("time", "date", "datetime", "timestamp", "ts")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
FILES: Final = frozenset({".csv", ".tsv", ".txt"})
"""Endings of the names of files that are read as CSV."""
_DAY_FIRST: Final = re.compile(r"\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})\b")
"""A date that begins with a day or a month."""
_OFFSET: Final = re.compile(r".*\d(?:Z|[+-]\d\d:?\d\d)\s*")
_EPOCHS: Final = ((1e8, 1e11, "s"), (1e11, 1e14, "ms"), (1e14, 1e17, "us"), (1e17, 1e20, "ns"))
"""From which number to which a time is counted in which unit since 1970: from the year 1973 to 5138."""
_GERMAN: Final = re.compile(r"[-+]?\d{1,3}(\.\d{3})*,\d+|[-+]?\d+,\d+")
_ENGLISH: Final = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?|[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_EITHER: Final = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_DOTTED: Final = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
_NUMBERS: Final = ("price", "nav", "returns", "approved_size", "cash", "daily_pnl")


@dataclass(frozen=True)
class Given:
    """The data handed in, under the names of the column table, and a report of what was done to it.

    Attributes:
        frame: the data in order of time, known columns under ccwatch's names, others as they came. DatetimeIndex in UTC if it has times.
        said: one sentence for each choice, reordering or omission.
    """

    frame: pd.DataFrame
    said: tuple[str, ...]


def read_given(source: Any, *, symbol: str | None = None, what: str = "source") -> Given:
    """Read a CSV file, a frame, a series or numbers.

    Args:
        source: the path of a CSV file, a DataFrame, a Series, or numbers (prices).
        symbol: the symbol to take if there are several.
        what: the source's name in errors.

    Raises:
        ConfigError: a file cannot be read, a number could be read in two ways, or a value is not a number.
        MixedSymbols: there are several symbols, and none was chosen.
    """
    said: list[str] = []
    frame = _frame(source, what, said)
    if isinstance(frame.index, pd.MultiIndex):
        frame = frame.reset_index([name for name in frame.index.names if name is not None])
    frame = _one_symbol(_flat(frame, symbol, said), symbol)
    frame = _named(frame, said)
    is_european = f"read as CSV with {';'!r} between the columns" in said
    for name in _NUMBERS:
        if name in frame.columns:
            frame[name] = _read_numbers(frame[name], what, said, is_european=is_european)
    return Given(_in_order(_timed(frame, what, said), said), tuple(said))


def is_file(source: Any) -> bool:
    """Return whether a source is the path of a file that is read as CSV."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() in FILES


def needs_reading(frame: pd.DataFrame) -> bool:
    """Return whether a frame has columns in levels, under other names, or numbers as text."""
    if isinstance(frame.columns, pd.MultiIndex):
        return True
    known = {str(name) for name in frame.columns}
    others = any(_NAMES.get(str(name).strip().lower(), name) not in known for name in frame.columns if str(name).strip().lower() in _NAMES)
    return others or any(name in known and not pd.api.types.is_numeric_dtype(frame[name].dtype) for name in _NUMBERS)


def _frame(source: Any, what: str, said: list[str]) -> pd.DataFrame:
    if isinstance(source, str | Path):
        return _file(Path(source), what, said)
    if isinstance(source, pd.DataFrame):
        return source.copy(deep=False)
    if isinstance(source, pd.Series):
        name = str(source.name).lower() if source.name is not None else "price"
        return source.to_frame(name if name in _NAMES else "price")
    try:
        return pd.DataFrame({"price": list(source)})
    except TypeError:
        raise ConfigError(
            f"{what}: expected a DataFrame, a Series, the path of a CSV file or numbers, got {type(source).__name__}"
        ) from None


def _file(path: Path, what: str, said: list[str]) -> pd.DataFrame:
    """Return a CSV file's rows as text; lines that begin with # before the header are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        above = next((row for row, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), 0)
        head = lines[above] if lines else ""
        sign = max((";", "\t", "|", ","), key=head.count)  # a list of names: the separator is the sign that it has most of
        found = pd.read_csv(path, sep=sign, dtype=TEXT, encoding="utf-8-sig", skipinitialspace=True, skiprows=above)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: {str(path)!r} cannot be read as CSV: {error}") from None
    said.append(f"read as CSV with {'tab' if sign == chr(9) else sign!r} between the columns")
    named = [str(name) for name in found.columns]
    if named and _UNNAMED.match(named[0]):
        return _with_index(found, said)
    if any(_ENGLISH.fullmatch(name) or _GERMAN.fullmatch(name) for name in named):
        raise ConfigError(f"{what}: {str(path)!r} has no line of names: its first line is {head!r}; expected for example 'time,price'")
    return found


def _with_index(frame: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    """Return the rows of a file whose first column has no name, as pandas writes an index: its times, or numbers of rows."""
    first = frame.columns[0]
    if frame[first].tolist() == [str(row) for row in range(len(frame))]:
        said.append("the first column, which has no name, numbers the rows: it is left out")
        return frame.drop(columns=first)
    said.append("the first column, which has no name, is taken for time")
    return frame.rename(columns={first: _TIMES[0]})


def _flat(frame: pd.DataFrame, symbol: str | None, said: list[str]) -> pd.DataFrame:
    """Return the frame with one level of columns; of two levels (field and symbol), the columns of the symbol."""
    if not isinstance(frame.columns, pd.MultiIndex):
        return frame
    levels = [frame.columns.get_level_values(level) for level in range(frame.columns.nlevels)]
    fields = [sum(str(word).strip().lower() in _NAMES for word in level.unique()) for level in levels]
    of_field = int(np.argmax(fields))
    others = [level for place, level in enumerate(levels) if place != of_field]
    found = tuple(dict.fromkeys(str(word) for word in others[0] if str(word).strip())) if others else ()
    if len(found) > 1 and symbol is None:
        raise MixedSymbols(found)
    chosen = symbol or (found[0] if found else None)
    kept = frame.loc[:, [chosen is None or str(word) in {chosen, ""} for word in others[0]]] if others else frame
    said.append(f"of columns in levels, those of {chosen} were taken")
    return kept.set_axis([str(word) for word in kept.columns.get_level_values(of_field)], axis=1)


def _one_symbol(frame: pd.DataFrame, symbol: str | None) -> pd.DataFrame:
    """Return the rows of one symbol, if a column names symbols."""
    name = next((name for name in frame.columns if str(name).strip().lower() in {"symbol", "ticker"}), None)
    if name is None:
        return frame
    words = frame[name].astype(TEXT).str.strip()
    found = tuple(str(word) for word in words.dropna().unique())
    if symbol is not None and symbol not in found:
        raise ConfigError(f"symbol={symbol!r}: there is only {', '.join(found)}")
    if symbol is None and len(found) > 1:
        raise MixedSymbols(found)
    return frame if symbol is None else frame[(words == symbol).to_numpy()]


def _named(frame: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    by_name: dict[str, Any] = {}
    for name in frame.columns:
        by_name.setdefault(str(name).strip().lower(), name)
    renamed: dict[Any, str] = {}
    for word, ours in _NAMES.items():
        if word in by_name and ours not in renamed.values():
            renamed[by_name[word]] = ours
    if "price" not in renamed.values() and "nav" not in renamed.values() and "returns" not in renamed.values():
        others = [name for name in frame.columns if name not in renamed and str(name).strip().lower() not in _TIMES]
        numeric = [name for name in others if _is_numeric(frame[name])]
        if len(numeric) == 1:
            renamed[numeric[0]] = "price"
    said += [f"column {name!r} is taken for {ours}" for name, ours in renamed.items() if str(name) != ours]
    return frame.rename(columns=renamed)


def _is_numeric(column: pd.Series) -> bool:
    """Return whether a column holds numbers, or text that is nothing but numbers."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return False
    words = [str(word).strip() for word in column.dropna().tolist()] if not pd.api.types.is_numeric_dtype(column.dtype) else None
    return words is None or (bool(words) and all(_ENGLISH.fullmatch(word) or _GERMAN.fullmatch(word) for word in words))


def _read_numbers(column: pd.Series, what: str, said: list[str], *, is_european: bool) -> pd.Series:
    """Return the column as float64, also from text with decimal points or commas; refuse text that could be read in two ways.

    Args:
        column: the column.
        what: the source's name in errors.
        said: gets what was done.
        is_european: the columns of its file are parted by semicolons, so that a point may part thousands.
    """
    if pd.api.types.is_bool_dtype(column.dtype):
        raise ConfigError(f"{what}: expected numbers in column {column.name!r}, got true and false")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype("float64")
    if missing := int(column.isna().sum()):
        said.append(f"{missing} of {len(column)} values of column {column.name!r} are missing")
    text = column.astype(TEXT).str.strip().str.replace("\N{NO-BREAK SPACE}", "").str.replace("'", "")
    known = column.notna().to_numpy() & (text != "").to_numpy(dtype=bool, na_value=False)
    words = text[known].tolist()
    english, german = (all(shape.fullmatch(word) for word in words) for shape in (_ENGLISH, _GERMAN))
    if english and german and any("," in word for word in words):
        example = next(word for word in words if _EITHER.fullmatch(word))
        raise ConfigError(
            f"{what}: {example!r} in column {column.name!r} could be {float(example.replace(',', '.')):g} or "
            f"{float(example.replace(',', '')):g}; hand in numbers, for example pd.read_csv(…, decimal=',') or thousands=','"
        )
    if is_european and words and all(_DOTTED.fullmatch(word) for word in words):
        raise ConfigError(
            f"{what}: {words[0]!r} in column {column.name!r} could be {words[0]} or {words[0].replace('.', '')}; hand in numbers, for "
            "example pd.read_csv(…, sep=';', thousands='.') or decimal='.'"
        )
    if not english and not german:
        # whole numbers beside decimal commas are read with the commas
        german = all(_GERMAN.fullmatch(word) or _DOTTED.fullmatch(word) or re.fullmatch(r"[-+]?\d+", word) for word in words)
        if not german:
            row, wrong = next((row, word) for row, word in enumerate(text.tolist()) if known[row] and not _ENGLISH.fullmatch(word))
            raise ConfigError(f"{what}: expected numbers in column {column.name!r}, got {wrong!r} in row {row}")
    if german and not english:
        said.append(f"decimal commas in column {column.name!r}")
        text = text.str.replace(".", "").str.replace(",", ".")
    else:
        text = text.str.replace(",", "")
    return pd.to_numeric(text.where(pd.Series(known, column.index)), errors="coerce").astype("float64")


def _timed(frame: pd.DataFrame, what: str, said: list[str]) -> pd.DataFrame:
    """Return the frame indexed by its times, in UTC, if it has any."""
    index: Any = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        named = [name for name in frame.columns if str(name).strip().lower() in _TIMES]
        named.sort(key=lambda name: _is_clock(pd.Series(frame[name])))  # a time of day is no time
        name = named[0] if named else None
        if name is None:
            return frame
        index = _read_times(frame[name], what, said)
        frame = frame.drop(columns=name)
        clock = next((name for name in frame.columns if str(name).strip().lower() in {"time", "hour"}), None)
        if clock is not None and (index == index.normalize()).all():
            words = frame[clock].astype(TEXT).str.strip()
            if words.str.fullmatch(_CLOCK.pattern).fillna(value=False).all():
                index = index + pd.to_timedelta([f"{word}:00" if word.count(":") == 1 else str(word) for word in words])
                said.append(f"dates of column {name!r} with the times of column {clock!r}")
                frame = frame.drop(columns=clock)
    if index.tz is None:
        said.append("times without a zone are taken for UTC")
        index = index.tz_localize("UTC")
    return frame.set_axis(index.tz_convert("UTC").as_unit("ns").rename("time"), axis=0)


def _is_clock(column: pd.Series) -> bool:
    return not pd.api.types.is_datetime64_any_dtype(column.dtype) and bool(
        column.astype(TEXT).str.strip().str.fullmatch(_CLOCK.pattern).fillna(value=False).all()
    )


def _read_times(column: pd.Series, what: str, said: list[str]) -> pd.DatetimeIndex:
    """Return a column of times; refuse dates whose day and month could be either."""
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        numbers = pd.to_numeric(column, errors="coerce")
        found = [unit for low, high, unit in _EPOCHS if len(numbers) and bool(numbers.between(low, high).all())]
        if found:
            said.append(f"column {column.name!r} is taken for {found[0]} since 1970")
            return pd.DatetimeIndex(numbers.to_numpy(dtype="int64").astype(f"datetime64[{found[0]}]")).tz_localize("UTC")
    options: dict[str, Any] = {}
    parts = [part for word in column.astype(TEXT).dropna() if (part := _DAY_FIRST.match(str(word)))]
    if parts:
        first, second = (max(int(part[place]) for part in parts) for place in (1, 3))
        has_dots = all(part[2] == "." for part in parts)
        if first <= 12 and second <= 12 and not has_dots:
            raise ConfigError(
                f"{what}: {parts[0][0].strip()!r} in column {column.name!r} could be day and month or month and day; hand in times, for "
                "example pd.to_datetime(…, dayfirst=True)"
            )
        options["dayfirst"] = has_dots or first > 12
        said.append(f"dates of column {column.name!r} are read as {'day and month' if options['dayfirst'] else 'month and day'}")
    options["utc"] = column.astype(TEXT).str.fullmatch(_OFFSET.pattern).fillna(value=False).all()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns where it would guess each value by itself
            return pd.DatetimeIndex(pd.to_datetime(column, errors="raise", **options))
    except (ValueError, TypeError, UserWarning) as error:
        raise ConfigError(f"{what}: column {column.name!r} holds no times of one form: {error}") from None


def _in_order(frame: pd.DataFrame, said: list[str]) -> pd.DataFrame:
    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and (repeated := int(index.duplicated().sum())):
        said.append(f"{repeated} of {len(index)} rows have the time of another")
    if not isinstance(index, pd.DatetimeIndex) or index.is_monotonic_increasing:
        return frame
    if index.is_monotonic_decreasing:
        said.append("the newest came first: the rows were turned round")
        return frame.iloc[::-1]
    said.append("the rows were put in order of time")
    return frame.sort_index(kind="stable")
