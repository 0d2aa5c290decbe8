"""The tolerant decoder: reads a parsed message of any dialect into the fields of a Packet, with all its oddities.

It places every field that has a column. A field that has none, or whose column cannot hold it as it came (a number sent as text,
a zero that means "not known yet"), stays in `extra` under its own path, so that writing is exact and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from ccwatch.errors import DecodeError
from ccwatch.protocol import canonical_words, columns
from ccwatch.protocol.decoding import forecasts, market_lists
from ccwatch.protocol.decoding.dialects import ENVELOPE, NO_SYMBOL, Dialect, recognised_as
from ccwatch.protocol.decoding.packet_fields import (
    APPROVED,
    APPROVED_RAW,
    BLANK,
    COERCED,
    DIALECT,
    EXTRA,
    FLAGS,
    INDEX,
    KIND,
    NAIVE_TIME,
    NO_TIME,
    NUMBERS,
    PLACEHOLDER,
    PRICE,
    RANGE,
    REGIME,
    REGIME_RAW,
    SIDE,
    SIDE_RAW,
    STATUS,
    STATUS_RAW,
    SYMBOL,
    SYNTHETIC_FORECAST,
    TIME,
    TIMESTAMP,
    UNIT,
    UNKNOWN_WORD,
    WRONG_TYPE,
    keep,
    number,
)
from ccwatch.protocol.decoding.word_length import cut
from ccwatch.protocol.messages import NAN, Status

_KEPT_WHOLE: Final = (market_lists.read_trades, market_lists.read_scanner)
"""Readers of lists that `extra` keeps whole as well."""
_NAMES: Final = frozenset({SYMBOL, INDEX["order_id"], INDEX["strategy"], INDEX["execution_status"]})
"""Fields of text that a server may send as a number: a symbol of digits, an order's number."""
_UNKNOWN_AS_ZERO: Final = frozenset(
    c.name for c in columns.PACKETS if c.wire.startswith(("market.", "portfolio.")) and c.dtype == "float64"
)


def read(message: dict[str, Any], received_ns: int, server_tz: str) -> list[Any]:
    """Return the fields of a Packet from a parsed message; `received_ns` is its time if the server gave none.

    Raises:
        DecodeError: the message has none of the known shapes.
    """
    recognised = recognised_as(message)
    if recognised is None:
        named = ", ".join(repr(key[:24]) for key in islice(message, 8))
        raise DecodeError(f"no known shape: {len(message)} keys {named}".rstrip())
    dialect, kind = recognised
    values = BLANK.copy()
    values[KIND], values[DIALECT] = kind, dialect.name
    residue: dict[str, Any] = {}
    flags = 0
    body = message
    if dialect.body:
        body = message[dialect.body]
        if len(message) > 1 + dialect.has_type:
            placed = {"type", dialect.body} if dialect.has_type else {dialect.body}
            residue[ENVELOPE] = {key: value for key, value in message.items() if key not in placed}
    if dialect.has_type and message.get("type") != kind:
        keep(residue, ENVELOPE if dialect.body else "", "type", message["type"])
    prepared = dialect.prepared
    for key, value in body.items():
        target = prepared.get(key)
        if value is None and target is not None and target not in _KEPT_WHOLE:
            continue
        if target is None:
            if dialect.body:
                _keep_foreign(residue, dialect, key, value)
            elif key != "type" or not dialect.has_type:
                residue[key] = value
        elif type(target) is tuple:
            if type(value) is str and not target[1]:
                values[target[0]] = value
            else:
                flags |= _place({key: value}, prepared, values, residue, "")
        elif type(target) is dict:
            if type(value) is dict:
                flags |= _place(value, target, values, residue, key)
            else:
                residue[key] = value
                flags |= WRONG_TYPE
        else:
            flags |= target(key, value, values, residue, server_tz)
    _read_bars(body, values, server_tz)
    if forecasts.is_true(body.get("is_synthetic")):
        flags |= SYNTHETIC_FORECAST
    values[TIME] = received_ns
    flags |= _judge_time(body, values, residue, dialect, server_tz)
    flags |= _judge_words(values)
    flags |= _judge_numbers(values, residue, dialect)
    flags |= cut(values, body, residue, dialect.place_of, dialect.logs)
    values[FLAGS] = flags
    if residue:
        values[EXTRA] = MappingProxyType(residue)
    return values


# ── placing ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(section: dict[str, Any], known: Mapping[str, Any], values: list[Any], residue: dict[str, Any], path: str) -> int:
    """Put the fields of a section into their columns; return flags."""
    flags = 0
    for key, value in section.items():
        slot = known.get(key)
        if slot is None:
            keep(residue, path, key, value)
            continue
        index, is_number, low, high = slot
        if not is_number:
            if type(value) is str:
                values[index] = value
            elif index == TIMESTAMP and type(value) in NUMBERS and (stamp := canonical_words.epoch_text(value)) is not None:
                values[index] = stamp
                if str(value) != stamp:
                    keep(residue, path, key, value)
            elif index in _NAMES and type(value) in NUMBERS:
                values[index] = market_lists.plain_text(value)
                keep(residue, path, key, value)
                flags |= COERCED
            elif value is not None:
                keep(residue, path, key, value)
                flags |= WRONG_TYPE
            continue
        if type(value) is not float:
            if value is None:
                continue
            found, flag = number(value)
            if flag:
                keep(residue, path, key, value)
                flags |= flag
            if found is None:
                continue
            value = found  # noqa: PLW2901 - the same field, now as a number
        values[index] = value
        if not low <= value <= high:
            flags |= UNIT if index == APPROVED and value > 1.0 else RANGE
    return flags


def _read_bars(body: dict[str, Any], values: list[Any], server_tz: str) -> None:
    """Read the bars of a message from any of their known places; `extra` keeps them as well."""
    market = body.get("market")
    for section, key in ((market, "history"), (market, "bars"), (body, "history"), (body, "bars")):
        if type(section) is dict and type(section.get(key)) is list:
            market_lists.read_bars(section[key], values, server_tz)


def _keep_foreign(residue: dict[str, Any], dialect: Dialect, key: str, value: Any) -> None:
    if key == ENVELOPE:
        residue.setdefault(ENVELOPE, {})[dialect.body] = {key: value}
    else:
        residue[key] = value


# ── judging ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge_time(body: dict[str, Any], values: list[Any], residue: dict[str, Any], dialect: Dialect, server_tz: str) -> int:
    stamp = values[TIMESTAMP]
    ns, is_naive = (None, False) if stamp is None else canonical_words.time_ns(stamp, server_tz)
    if ns is None:
        return NO_TIME
    values[TIME] = ns
    if stamp[4:5] != "-" and canonical_words.is_epoch(stamp):
        section, key = dialect.place_of("timestamp_raw")
        sent = (body[section] if section else body)[key]
        if type(sent) is str:  # `write` makes a number of it
            keep(residue, section, key, sent)
        return COERCED
    return NAIVE_TIME if is_naive else 0


def _judge_words(values: list[Any]) -> int:
    flags = 0
    for raw, canonical, meaning in (
        (STATUS_RAW, STATUS, canonical_words.status),
        (REGIME_RAW, REGIME, canonical_words.regime),
        (SIDE_RAW, SIDE, canonical_words.side),
    ):
        word = values[raw]
        if word is not None:
            values[canonical], known = meaning(word[: canonical_words.LONGEST_WORD])
            if not known:
                flags |= UNKNOWN_WORD
    return flags


def _judge_numbers(values: list[Any], residue: dict[str, Any], dialect: Dialect) -> int:
    flags = 0
    size = values[APPROVED]
    if size > 1.0:
        values[APPROVED], values[APPROVED_RAW] = NAN, repr(size)
    if values[STATUS] == Status.INITIALIZING or values[PRICE] == 0.0:
        flags |= PLACEHOLDER
        for section, keys in dialect.places.items():
            for key, name in keys.items():
                if name in _UNKNOWN_AS_ZERO and values[INDEX[name]] == 0.0:
                    section_rest = residue.setdefault(section, {}) if section else residue
                    section_rest.setdefault(key, 0.0)  # a zero that came as text is there already
                    values[INDEX[name]] = NAN
    if values[SYMBOL] in NO_SYMBOL:
        keep(residue, *dialect.place_of("symbol"), values[SYMBOL])
        values[SYMBOL] = None
    return flags
