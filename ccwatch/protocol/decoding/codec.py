"""Decoding of bytes to Packets and encoding back. Only this module imports orjson; it keeps no state and reads no clock."""

from __future__ import annotations

import json
import math
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
import orjson

from ccwatch.errors import DecodeError
from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.decoding import contract, many_messages, non_packets, packet_fields, rewriting, tolerant
from ccwatch.protocol.messages import NAN, NOTHING, Instant, NewRows, NonPacket, NonPacketSort, Packet

PING: Final = b'{"type":"PING"}'
"""The contract's keepalive, which no server answers."""
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
NEVER: Final = Instant(0, 0)
MOST_LEVELS: Final = 250
"""The deepest nesting of a packet's `extra`: orjson reads 1024 levels but writes only 254, and Python cannot compare 1000."""

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_KINDS: Final[dict[str, Any]] = {"time": _Int64, "float64": float, "text": str | None, "category": str | None, "int32": _Int64}
_ROWS: Final[dict[str, Any]] = {
    table: list[tuple.__class_getitem__(tuple(_KINDS[column.dtype] for column in TABLES[table] if column.name != "seq"))]  # type: ignore[misc] # made of the column table
    for table in ("agents", "models", "trades", "bars")
}
"""The types of rows with their own times, by table: one type per column."""
_PACKED: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(
    msgspec.defstruct(
        "Packed", [(table, rows | msgspec.UnsetType, msgspec.UNSET) for table, rows in _ROWS.items()], forbid_unknown_fields=True
    )
)
_WRITABLE: Final = ("logs", "trades")
"""The tables whose rows may come without a packet."""
_ABSENT: Final = {kind: found | None for kind, found in _KINDS.items()}
_COLUMNS: Final = {table: [column for column in TABLES[table] if column.name != "seq"] for table in _WRITABLE}
_NUMBERED: Final = {table: {at for at, column in enumerate(_COLUMNS[table]) if column.dtype == "float64"} for table in _WRITABLE}
_WRITTEN: Final[Any] = msgspec.defstruct(
    "Written",
    [
        (
            table,
            list[tuple.__class_getitem__((_Int64, *[_ABSENT[column.dtype] for column in _COLUMNS[table][1:]]))],  # type: ignore[misc] # made of the column table
            msgspec.field(default_factory=list),
        )
        for table in _WRITABLE
    ],
    forbid_unknown_fields=True,
)
_WRITTEN_ROWS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_WRITTEN)


def decode(raw: bytes | memoryview, *, seq: int = 0, connection: int = 0, now: Instant = NEVER, server_tz: str = "UTC") -> Packet:
    """Return one message as a Packet, without what depends on earlier packets (repeats, replays, new logs: see `stream_reader`).

    Args:
        raw: the message, UTF-8 JSON.
        seq: the packet's number in its feed.
        connection: the number of the connection.
        now: when it was received.
        server_tz: IANA zone of timestamps that carry no offset.

    Raises:
        DecodeError: not JSON, not an object, or of no known shape. No bytes raise anything else.
    """
    return Packet._make(draft(raw, seq=seq, connection=connection, now=now, server_tz=server_tz))


def draft(raw: bytes | memoryview, *, seq: int, connection: int, now: Instant, server_tz: str) -> list[Any]:
    """Return the fields of a Packet, in order and not yet frozen, for a reader that has flags to add.

    Raises:
        DecodeError: the message is not a packet, or holds several.
    """
    parts = read(raw, seq=seq, connection=connection, now=now, server_tz=server_tz)
    if len(parts) != 1:
        raise DecodeError(f"expected one message, got {len(parts)}")
    part = parts[0]
    if isinstance(part, NonPacket):
        what = part.text or (f"of type {part.type!r}" if part.type else "")
        raise DecodeError(f"no known shape: {part.sort} {what}".rstrip())
    return part


def read(raw: bytes | memoryview, *, seq: int, connection: int, now: Instant, server_tz: str) -> list[list[Any] | NonPacket]:
    """Return the parts of a message, at least one: the fields of each packet (see `draft`), or a NonPacket for a part that is not a packet.

    A text of several lines of JSON and an array are several messages. Packets are numbered from `seq` on.

    Raises:
        DecodeError: not JSON, not an object, or of no known shape.
    """
    values = contract.read(raw, seq=seq, connection=connection, now=now, server_tz=server_tz)
    if values is not None:
        return [values]
    whole = bytes(raw)
    if whole.startswith(BYTE_ORDER_MARK):
        whole = whole.removeprefix(BYTE_ORDER_MARK)
    bare = non_packets.of_text(whole)
    if bare is not None:
        return [bare]
    try:
        message, flags = _parsed(whole)
    except DecodeError:
        parts = many_messages.lines(whole)
        if len(parts) < 2:
            raise
    else:
        if type(message) is not list:
            return [_part(message, flags, bytes(raw), seq, connection, now, server_tz)]
        parts = many_messages.entries(whole)
    found: list[list[Any] | NonPacket] = []
    refused: DecodeError | None = None
    for part in parts:
        try:
            message, flags = _parsed(part)
            found.append(_part(message, flags, part, seq, connection, now, server_tz))
        except DecodeError as error:
            found.append(NonPacket(NonPacketSort.MALFORMED, None, error.reason, part))
            refused = refused or error
        else:
            seq += not isinstance(found[-1], NonPacket)
    if refused is not None and all(isinstance(part, NonPacket) and part.sort is NonPacketSort.MALFORMED for part in found):
        raise refused
    return found


def _part(message: Any, flags: int, raw: bytes, seq: int, connection: int, now: Instant, server_tz: str) -> list[Any] | NonPacket:
    if type(message) is not dict:
        raise DecodeError(f"expected a JSON object, got {type(message).__name__}")
    try:
        values = tolerant.read(message, now.wall_ns, server_tz)
    except DecodeError:
        found = non_packets.of_message(message, raw)
        if found is None:
            raise
        return found
    if values[packet_fields.EXTRA] and raw.count(b"{") + raw.count(b"[") > MOST_LEVELS:
        _refuse_depth(message)
    values[packet_fields.FLAGS] |= flags
    values[packet_fields.SEQ] = seq
    values[packet_fields.CONNECTION] = connection
    values[packet_fields.RECEIVED_AT] = now.wall_ns
    values[packet_fields.RECEIVED_MONO] = now.mono_ns
    values[packet_fields.RAW] = raw
    return values


def loads(raw: bytes | memoryview) -> Any:
    """Return JSON as Python values; NaN and Infinity tokens, which are not JSON, and numbers that overflow become their text.

    Raises:
        DecodeError: not JSON, or nested deeper than can be read.
    """
    return _parsed(raw)[0]


def _parsed(raw: bytes | memoryview) -> tuple[Any, int]:
    """Return JSON as Python values, and COERCED if half a surrogate pair had to become U+FFFD."""
    try:
        return orjson.loads(raw), 0
    except orjson.JSONDecodeError as error:
        whole = bytes(raw)
        if whole.startswith(BYTE_ORDER_MARK):
            return _parsed(whole.removeprefix(BYTE_ORDER_MARK))
        if b"NaN" in whole or b"Infinity" in whole or "infinity" in str(error) or "surrogate" in str(error):
            return _parsed_leniently(whole)
        raise DecodeError(f"not JSON: {str(error)[:120]}") from None


def dumps(value: Any) -> bytes:
    """Return a value as compact JSON."""
    return orjson.dumps(value)


def dumps_plain(value: Any) -> bytes:
    """Return a value as compact JSON; raise TypeError for what JSON has no form of, such as bytes, times and keys that are not text."""
    return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME)


def text(value: Any) -> str:
    """Return a value as compact JSON text."""
    return orjson.dumps(value, default=dict).decode()


def pack_rows(rows: NewRows) -> bytes:
    """Return rows by table as bytes that `unpack_rows` reads."""
    return msgspec.msgpack.encode({**rows})


def unpack_rows(packed: bytes) -> NewRows:
    """Return rows by table from bytes whose checksum was compared.

    Raises:
        DecodeError: the bytes are not such rows.
    """
    try:
        found = _PACKED.decode(packed)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"no rows: {error}") from None
    tables = {table: rows for table in _ROWS if (rows := getattr(found, table)) is not msgspec.UNSET}
    return MappingProxyType({table: tuple([tuple(map(_one_nan, row)) for row in rows]) for table, rows in tables.items()})


def write_rows(rows: NewRows) -> bytes:
    """Return rows by table as JSON that `read_rows` reads."""
    return msgspec.json.encode({**rows})


def read_rows(written: bytes) -> NewRows:
    """Return rows by table, in the order of their columns without `seq`; none from bytes that are no such rows."""
    try:
        found = _WRITTEN_ROWS.decode(written)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NOTHING
    tables = {table: getattr(found, table) for table in _WRITABLE}
    return {
        table: tuple([tuple(NAN if value is None and at in _NUMBERED[table] else value for at, value in enumerate(row)) for row in rows])
        for table, rows in tables.items()
        if rows
    }


def _one_nan(value: Any) -> Any:
    return NAN if value != value else value  # noqa: PLR0124 - NaN is what does not equal itself; packets share one of them


def encode(packet: Packet) -> bytes:
    """Return the packet as a message of its own dialect, rebuilt from its fields alone: `decode(encode(p))` has the fields of `p`."""
    return orjson.dumps(rewriting.write(packet))


def _refuse_depth(message: dict[str, Any]) -> None:
    """Raise DecodeError for a message that nests too deep to be stored, two levels of `extra` included."""
    try:
        orjson.dumps([[message]])
    except TypeError as error:
        raise DecodeError(f"cannot be stored: {error}") from None


def _parsed_leniently(raw: bytes) -> tuple[Any, int]:
    try:
        text = raw.decode("utf-8", "surrogatepass")
        value = json.loads(text, parse_constant=str, parse_int=_integer, parse_float=_float)
        whole = _without_half_pairs(value)
        orjson.dumps(whole)  # refuses what nests too deep, which nothing downstream could store
    except (ValueError, RecursionError, TypeError) as error:
        raise DecodeError(f"not JSON: {str(error)[:120]}") from None
    return whole, packet_fields.COERCED if whole != value else 0


def _without_half_pairs(value: Any) -> Any:
    """Return a value with U+FFFD in place of each half of a surrogate pair, which no UTF-8 can hold."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_without_half_pairs(key): _without_half_pairs(entry) for key, entry in value.items()}
    return [_without_half_pairs(entry) for entry in value] if isinstance(value, list) else value


def _integer(token: str) -> int | float | str:
    """Return an integer token as orjson reads it: beyond 64 bits it is a float."""
    if len(token) <= 20:
        value = int(token)
        if -(2**63) <= value < 2**64:
            return value
    return _float(token)


def _float(token: str) -> float | str:
    """Return a number token as a float; one that overflows stays text, as the tokens NaN and Infinity do."""
    value = float(token)
    return value if math.isfinite(value) else token
