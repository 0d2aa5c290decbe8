"""Messages of one layout, by a decoder made for it: the values of thousands at once, without a packet for each.

Nearly all messages of a stream have the same keys in the same order, with values of the same types. A decoder that expects
just these parses and checks them at a sixth of the cost of reading each into Python's objects. A message that it accepts,
and writes back as the bytes that came, has this layout, and `dialects` would give it the same fields, as a test checks on
every shape. Every other message is refused, for other readers. The module knows no table and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

import msgspec

from ccwatch.errors import ProtocolError
from ccwatch.protocol import words
from ccwatch.protocol.columns import PACKETS, TABLES
from ccwatch.protocol.decoding import codec, log_lines
from ccwatch.protocol.decoding.cut import WORDS
from ccwatch.protocol.decoding.dialects import DIALECTS, NO_SYMBOL
from ccwatch.protocol.messages import LogLine, Packet

_EXACT: Final = 2.0**53 - 1
"""Beyond this integers are no longer exact as floats; and beyond 10^16 the two encoders spell exponents differently."""
_NUMBERS: Final = {kind: Annotated[kind, msgspec.Meta(ge=-int(_EXACT), le=int(_EXACT))] for kind in (int, float)}
_WORD: Final = Annotated[str, msgspec.Meta(max_length=words.LONGEST_WORD)]
"""A word that need not be cut."""
_METRICS: Final = {table: [c.name for c in TABLES[table] if c.dtype == "float64"] for table in ("agents", "models")}
_MEANINGS: Final[dict[str, tuple[str, Callable[[str], tuple[str | None, bool]]]]] = {
    "status": ("status_raw", words.status),
    "regime": ("regime_raw", words.regime),
    "side": ("side_raw", words.side),
}
_FLOATS: Final = frozenset(column.name for column in PACKETS if column.dtype == "float64")
_LINE: Final = ("level", "message", "timestamp")
_REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode: Final = msgspec.json.Encoder().encode


class Unusual(ProtocolError):
    """A message has a field without a column, so that no decoder can be made for its layout."""


class UsualMessages:
    """Reads the messages of one layout. Used by one thread."""

    def __init__(self, packet: Packet, layout: str) -> None:
        """Make a decoder for messages such as the one this packet was read from.

        Args:
            packet: with its raw message, and nothing odd about it: no `extra`, no forecasts, no flag that says that a column
                does not hold its value as it came.
            layout: the message's, of style "compact".

        Raises:
            Unusual: a value has no column.
        """
        self.layout = layout
        self.dialect = str(packet.dialect)
        dialect = next(d for d in DIALECTS if d.name == packet.dialect)
        self._places: dict[str, tuple[str, str]] = {}
        """Column to where its value is: the path of attributes to its section, and its own attribute."""
        self._metrics: dict[str, tuple[str, list[str], Any]] = {}
        """Table to the path of its metrics, their names, and a getter of their gauges in the table's order."""
        self._logs_path = self._kind_path = ""
        message = codec.loads(packet.raw)
        fields = []
        for attribute, key, value in _attributes(message):
            if key == dialect.body:
                fields.append((attribute, self._body(value, f"{attribute}.", dialect)))
            elif key == "type" and dialect.typed:
                fields.append((attribute, Literal["WELCOME", "TELEMETRY"]))
                self._kind_path = attribute
            elif not dialect.body:
                fields.append((attribute, self._field(key, value, attribute, "", dialect)))
            else:
                raise Unusual(key)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_struct(message, fields))
        self._kind = packet.kind
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

    def packets(self, found: Sequence[Any]) -> dict[str, Any]:
        """Return the messages' values for the packets table, one list by column; columns that they do not carry are left out."""
        values: dict[str, Any] = {}
        sections: dict[str, list[Any]] = {}
        for column, (path, attribute) in self._places.items():
            if path not in sections:
                sections[path] = [*map(attrgetter(path[:-1]), found)] if path else list(found)
            values[column] = [*map(attrgetter(attribute), sections[path])]
        for column, (source, meaning) in _MEANINGS.items():
            if source in values:
                known = {word: meaning(word[: words.LONGEST_WORD])[0] for word in set(values[source])}
                values[column] = [*map(known.__getitem__, values[source])]
        values["kind"] = [*map(attrgetter(self._kind_path), found)] if self._kind_path else [str(self._kind)] * len(found)
        return values

    def metrics(self, table: str, found: Iterable[Any]) -> tuple[list[str], Iterable[float]]:
        """Return the metrics of "agents" or "models" in each of the messages.

        Returns:
            Their names, the same in each message, and their gauges: message by message, metric by metric, in the order of the
            table's columns.
        """
        if table not in self._metrics:
            return [], ()
        path, names, gauges = self._metrics[table]
        metrics = chain.from_iterable(map(msgspec.structs.astuple, map(attrgetter(path), found)))
        return names, chain.from_iterable(map(gauges, metrics))

    # ── the decoder's types ──

    def _body(self, body: dict[str, Any], path: str, dialect: Any) -> Any:
        return _struct(body, [(a, self._field(key, value, f"{path}{a}", path, dialect)) for a, key, value in _attributes(body)])

    def _field(self, key: str, value: Any, path: str, parent: str, dialect: Any) -> Any:
        """Return the type of a field of the body, and a note of where it is."""
        if value is None:
            return None
        if key in _METRICS:
            return self._metric(key, value, path)
        if key == dialect.logs:
            self._logs_path = path
            self._lines = msgspec.json.Decoder(_lines_type(key, value))
            return msgspec.Raw
        places = dialect.places.get(key) if type(value) is dict else dialect.places.get("")
        if places is None or key == "":
            raise Unusual(key)
        if type(value) is not dict:
            return self._value(places, key, value, parent, path.rpartition(".")[2])
        return _struct(value, [(a, self._value(places, name, entry, f"{path}.", a)) for a, name, entry in _attributes(value)])

    def _value(self, places: Any, key: str, value: Any, path: str, attribute: str) -> Any:
        """Return the type of a value that has a column."""
        if value is None:
            return None
        column = places.get(key)
        if column is None or type(value) not in ((int, float) if column in _FLOATS else (str,)):
            raise Unusual(key)
        self._places[column] = (path, attribute)
        return _NUMBERS.get(type(value)) or (_WORD if column in WORDS else str)

    def _metric(self, table: str, value: Any, path: str) -> Any:
        wanted = _METRICS[table]
        fields = []
        order: list[str] = []
        for attribute, name, readings in _attributes(value) if type(value) is dict else ():
            if type(readings) is not dict or {*readings} != {*wanted} or not {*map(type, readings.values())} <= {int, float}:
                raise Unusual(name)
            at = {key: below for below, key, _ in _attributes(readings)}
            if order and order != [at[gauge] for gauge in wanted]:
                raise Unusual(name)
            order = [at[gauge] for gauge in wanted]
            fields.append((attribute, _struct(readings, [(a, _NUMBERS[type(v)]) for a, _, v in _attributes(readings)])))
        if not fields:
            raise Unusual(table)
        self._metrics[table] = (path, list(value), attrgetter(*order))
        return _struct(value, fields)

    def _read_logs(self, sent: bytes, server_tz: str) -> tuple[LogLine, ...] | None:
        """Return the lines of a list of this layout; None for any other."""
        try:
            entries = self._lines.decode(sent)
            if _encode(entries) != sent:
                return None
            return tuple([_line(entry, server_tz) for entry in entries])
        except (*_REFUSALS, TypeError):  # the second: of a giant
            return None


def _lines_type(key: str, value: Any) -> Any:
    """Return the type of a list of log lines that are all of three texts, or all plain texts, or of an empty list.

    Raises:
        Unusual: another list, or not a list.
    """
    if value == []:
        return Annotated[list[str], msgspec.Meta(max_length=0)]
    kinds = {type(entry) for entry in value} if type(value) is list else set()
    if kinds == {str}:
        return Annotated[list[str], msgspec.Meta(min_length=1)]
    if kinds != {dict} or len({tuple(entry) for entry in value}) > 1 or {*value[0]} != {*_LINE}:
        raise Unusual(key)
    if any(type(text) is not str for entry in value for text in entry.values()):
        raise Unusual(key)
    line = msgspec.defstruct("Line", [(name, _WORD if name == "level" else str) for name in value[0]], forbid_unknown_fields=True, gc=False)
    return Annotated[GenericAlias(list, (line,)), msgspec.Meta(min_length=1)]


def _line(entry: Any, server_tz: str) -> LogLine:
    if type(entry) is str:
        return LogLine(None, entry, None, None)
    return log_lines.usual_line(entry.level, entry.message, entry.timestamp, server_tz)


def _attributes(value: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return attribute, key and value of each entry: keys are a server's words, and may not be valid names."""
    return [(f"f{n}", key, entry) for n, (key, entry) in enumerate(value.items())]


def _struct(value: dict[str, Any], fields: list[tuple[str, Any]]) -> Any:
    """Return the type of an object with just these keys, in this order."""
    keys = {attribute: key for attribute, key, _ in _attributes(value)}
    return msgspec.defstruct("Section", fields, rename=keys, forbid_unknown_fields=True, gc=False)
