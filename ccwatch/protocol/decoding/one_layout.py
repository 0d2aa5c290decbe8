"""Messages of one layout, by a decoder made for it: the values of thousands at once, without a packet for each.

Nearly all messages of a stream have the same keys in the same order, with values of the same types. A decoder that expects
just these parses and checks them at a sixth of the cost of reading each into Python's objects. A message that it accepts,
and writes back as the bytes that came, has this layout, and `tolerant` would give it the same fields, as a test checks on
every shape. Every other message is refused, for other readers. The module knows no table and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from ccwatch.errors import DecodeError, ProtocolError
from ccwatch.protocol import canonical_words
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.dialects import NO_SYMBOL, recognised_as
from ccwatch.protocol.decoding.layout import PLAIN, WHOLE
from ccwatch.protocol.decoding.log_lines import usual_line
from ccwatch.protocol.decoding.word_length import WORDS
from ccwatch.protocol.messages import LogLine

_EXACT: Final = 2.0**53 - 1
"""Beyond this integers are no longer exact as floats; and beyond 10^16 the two encoders spell exponents differently."""
_NUMBERS: Final = {code: Annotated[kind, msgspec.Meta(ge=-int(_EXACT), le=int(_EXACT))] for code, kind in ((WHOLE, int), (PLAIN, float))}
"""The type of a number by its code in a layout."""
_WORD: Final = Annotated[str, msgspec.Meta(max_length=canonical_words.LONGEST_WORD)]
"""A word that need not be cut."""
_METRICS: Final = {table: [c.name for c in TABLES[table] if c.dtype == "float64"] for table in ("agents", "models")}
_MEANINGS: Final[dict[str, tuple[str, Callable[[str], tuple[str | None, bool]]]]] = {
    "status": ("status_raw", canonical_words.status),
    "regime": ("regime_raw", canonical_words.regime),
    "side": ("side_raw", canonical_words.side),
}
_FLOATS: Final = frozenset(column.name for column in PACKETS if column.dtype == "float64")
_LINE: Final = ("level", "message", "timestamp")
_REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode: Final = msgspec.json.Encoder().encode


class NoDecoder(ProtocolError):
    """A message has a field without a column, so that no decoder can be made for its layout."""


class Metrics(NamedTuple):
    """The agents or the models of many messages."""

    names: list[str]
    """Of one message, if all have the same in the same order; else of all messages, one after the other."""
    counts: list[int] | None
    """How many each message has; None if all have the same."""
    gauges: Iterable[float]
    """Message by message, metric by metric, in the order of the table's columns."""


class Columns(NamedTuple):
    """Messages as columns, each a list with one value per message, in their order."""

    packets: dict[str, list[Any]]
    """Of the packets table, by column, without what the message alone does not give (time, flags, number, receipt); columns that the
    messages do not carry may be left out."""
    metrics: dict[str, Metrics]
    """Of "agents" and "models"."""
    logs: list[tuple[LogLine, ...]]
    refused: list[int]
    """The places of the messages that the decoder does not take, and that are not in the columns."""


class OneLayout:
    """Reads the messages of one layout."""

    packet = staticmethod(codec.decode)
    """Reads one message, of any layout: many at once are what a layout's decoder is faster for."""

    def __init__(self, layout: str) -> None:
        """Make a decoder for the messages of a layout.

        It takes those about which nothing is odd: no `extra`, no forecasts, no value that its column does not hold as it came. A zero
        that means "not known yet" is such a value too, and only its packet's flags show it: its caller leaves those out.

        Args:
            layout: see `layout`.

        Raises:
            NoDecoder: a value has no column, or the layout is not of style "compact".
        """
        self.layout = layout
        try:
            style, message = codec.loads(layout.encode())
        except (DecodeError, TypeError, ValueError):
            raise NoDecoder(layout[:80]) from None
        recognised = style == "compact" and type(message) is dict and recognised_as(specimen(message))
        if not recognised:
            raise NoDecoder(layout[:80])
        dialect, kind = recognised
        self.dialect = dialect.name
        self._places: dict[str, tuple[str, str]] = {}
        """Column to where its value is: the path of attributes to its section, and its own attribute."""
        self._metrics: dict[str, tuple[str, list[str], Any]] = {}
        """Table to the path of its metrics, their names, and a getter of their gauges in the table's order."""
        self._logs_path = self._kind_path = ""
        fields = []
        for attribute, key, value in _attributes(message):
            if key == dialect.body:
                fields.append((attribute, self._body(value, f"{attribute}.", dialect)))
            elif key == "type" and dialect.has_type:
                fields.append((attribute, Literal["WELCOME", "TELEMETRY"]))
                self._kind_path = attribute
            elif not dialect.body:
                fields.append((attribute, self._field(key, value, attribute, "", dialect)))
            else:
                raise NoDecoder(key)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_struct(message, fields))
        self._kind = kind
        self._symbol = attrgetter("".join(self._places["symbol"])) if "symbol" in self._places else None
        self._logs = attrgetter(self._logs_path) if self._logs_path else None
        self._known_logs = lru_cache(maxsize=64)(self._read_logs)  # the same ten lines come in many packets

    def read(self, raw: bytes, server_tz: str) -> tuple[Any, tuple[LogLine, ...]] | None:
        """Return a message in a form for the methods below, and its log lines; None if it has another layout."""
        try:
            found = self._decoder.decode(raw)
        except _REFUSALS:
            return None
        if _encode(found) != raw or (self._symbol is not None and self._symbol(found) in NO_SYMBOL):
            return None
        logs = () if self._logs is None else self._known_logs(bytes(self._logs(found)), server_tz)
        return None if logs is None else (found, logs)

    def columns(self, raws: Sequence[bytes], server_tz: str = "UTC") -> Columns:
        """Return messages as columns; those of another layout are named, not read."""
        read = [self.read(raw, server_tz) for raw in raws]
        found = [one for one in read if one is not None]
        columns = self.columns_of([message for message, _ in found], [logs for _, logs in found])
        return columns._replace(refused=[place for place, one in enumerate(read) if one is None])

    def columns_of(self, found: Sequence[Any], logs: Sequence[tuple[LogLine, ...]] = ()) -> Columns:
        """Return messages as columns, which `read` has read one by one."""
        metrics = {table: self._metrics_of(table, found) for table in _METRICS}
        return Columns(self._packets_of(found), metrics, [*logs], [])

    def _packets_of(self, found: Sequence[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        sections: dict[str, list[Any]] = {}
        for column, (path, attribute) in self._places.items():
            if path not in sections:
                sections[path] = [*map(attrgetter(path[:-1]), found)] if path else list(found)
            values[column] = [*map(attrgetter(attribute), sections[path])]
        for column, (source, meaning) in _MEANINGS.items():
            if source in values:
                known = {word: meaning(word[: canonical_words.LONGEST_WORD])[0] for word in set(values[source])}
                values[column] = [*map(known.__getitem__, values[source])]
        values["kind"] = [*map(attrgetter(self._kind_path), found)] if self._kind_path else [str(self._kind)] * len(found)
        return values

    def _metrics_of(self, table: str, found: Iterable[Any]) -> Metrics:
        if table not in self._metrics:
            return Metrics([], None, ())
        path, names, gauges = self._metrics[table]
        metrics = chain.from_iterable(map(msgspec.structs.astuple, map(attrgetter(path), found)))
        return Metrics(names, None, chain.from_iterable(map(gauges, metrics)))

    # ── the decoder's types ──

    def _body(self, body: dict[str, Any], path: str, dialect: Any) -> Any:
        return _struct(body, [(a, self._field(key, value, f"{path}{a}", path, dialect)) for a, key, value in _attributes(body)])

    def _field(self, key: str, value: Any, path: str, parent: str, dialect: Any) -> Any:
        """Return the type of a field of the body, and a note of where it is."""
        if value is None:
            return None
        if key in _METRICS:
            return self._metric(key, value, path)
        if key == dialect.logs and type(value) is list:
            self._logs_path = path
            self._lines = msgspec.json.Decoder(_lines_type(key, value))
            return msgspec.Raw
        places = dialect.places.get(key) if type(value) is dict else dialect.places.get("")
        if places is None or key == "":
            raise NoDecoder(key)
        if type(value) is not dict:
            return self._value(places, key, value, parent, path.rpartition(".")[2])
        return _struct(value, [(a, self._value(places, name, entry, f"{path}.", a)) for a, name, entry in _attributes(value)])

    def _value(self, places: Any, key: str, value: Any, path: str, attribute: str) -> Any:
        """Return the type of a value that has a column."""
        if value is None:
            return None
        column = places.get(key)
        if column is None or type(value) is not int or (value == WHOLE and column not in _FLOATS):
            raise NoDecoder(key)
        self._places[column] = (path, attribute)
        return _NUMBERS[value] if column in _FLOATS else _WORD if column in WORDS else str

    def _metric(self, table: str, value: Any, path: str) -> Any:
        wanted = _METRICS[table]
        fields = []
        order: list[str] = []
        for attribute, name, readings in _attributes(value) if type(value) is dict else ():
            if type(readings) is not dict or {*readings} != {*wanted} or not {*map(type, readings.values())} <= {int}:
                raise NoDecoder(name)
            at = {key: below for below, key, _ in _attributes(readings)}
            if order and order != [at[gauge] for gauge in wanted]:
                raise NoDecoder(name)
            order = [at[gauge] for gauge in wanted]
            fields.append((attribute, _struct(readings, [(a, _NUMBERS[code]) for a, _, code in _attributes(readings)])))
        if not fields:
            raise NoDecoder(table)
        is_in_order = order == [f"f{n}" for n in range(len(wanted))]
        self._metrics[table] = (path, list(value), msgspec.structs.astuple if is_in_order else attrgetter(*order))
        return _struct(value, fields)

    def _read_logs(self, sent: bytes, server_tz: str) -> tuple[LogLine, ...] | None:
        """Return the lines of a list of this layout; None for any other."""
        try:
            entries = self._lines.decode(sent)
            if _encode(entries) != sent:
                return None
            if not entries or type(entries[0]) is str:
                return tuple([LogLine(None, entry, None, None) for entry in entries])
            return tuple([usual_line(entry.level, entry.message, entry.timestamp, server_tz) for entry in entries])
        except (*_REFUSALS, TypeError):  # the second: of a giant
            return None


def _lines_type(key: str, value: list[Any]) -> Any:
    """Return the type of a list of log lines, by its shape: all of three texts, or all plain texts, or none.

    Raises:
        NoDecoder: another list.
    """
    if value == []:
        return Annotated[list[str], msgspec.Meta(max_length=0)]
    if value == [PLAIN]:
        return Annotated[list[str], msgspec.Meta(min_length=1)]
    if len(value) > 1 or type(value[0]) is not dict or {*value[0]} != {*_LINE} or {*value[0].values()} != {PLAIN}:
        raise NoDecoder(key)
    line = msgspec.defstruct("Line", [(name, _WORD if name == "level" else str) for name in value[0]], forbid_unknown_fields=True, gc=False)
    return Annotated[GenericAlias(list, (line,)), msgspec.Meta(min_length=1)]


def specimen(shape: Any) -> Any:
    """Return a message of a shape, with some value in place of each code."""
    if type(shape) is dict:
        return {key: "TELEMETRY" if key == "type" else specimen(below) for key, below in shape.items()}
    if type(shape) is list:
        return [specimen(below) for below in shape]
    return None if shape is None else "Active"  # a status that is known, since one word may be all that a state has


def _attributes(value: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return attribute, key and value of each entry: keys are a server's words, and may not be valid names."""
    return [(f"f{n}", key, entry) for n, (key, entry) in enumerate(value.items())]


def _struct(value: dict[str, Any], fields: list[tuple[str, Any]]) -> Any:
    """Return the type of an object with just these keys, in this order."""
    keys = {attribute: key for attribute, key, _ in _attributes(value)}
    return msgspec.defstruct("Section", fields, rename=keys, forbid_unknown_fields=True, gc=False)
