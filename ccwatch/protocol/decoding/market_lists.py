"""Trades, the scanner's tickers and bars of a message. `extra` keeps them whole as well, since they have more fields than columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ccwatch.protocol import canonical_words
from ccwatch.protocol.decoding.packet_fields import BARS, NUMBERS, SCANNER, TRADES, number
from ccwatch.protocol.messages import NAN, Bar, ScannerEntry, Trade

MOST_ENTRIES: Final = 10_000
"""How many entries of one list are read at most."""
STAMPS: Final = ("time", "timestamp", "t", "ts", "date", "filled_at")
_IDS, _ORDERS = ("id", "trade_id", "execution_id"), ("order_id", "orderId", "order")
_QUANTITIES, _PRICES = ("quantity", "qty", "size", "shares", "filled_qty"), ("price", "fill_price", "filled_avg_price")
_SIDES, _STATES = ("side", "action"), ("status", "state")
_BAR: Final = (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"))


# As the other readers of lists: key and value, the packet's fields, the residue for `extra`, the server's zone; they return flags.


def read_trades(key: str, value: Any, values: list[Any], residue: dict[str, Any], server_tz: str) -> int:
    """Read trades from a list of objects, or from one such object; return flags."""
    residue[key] = value
    entries = [value] if type(value) is dict else value if type(value) is list else []
    values[TRADES] += tuple(
        [
            Trade(
                _time(entry, STAMPS, server_tz),
                _text(entry, _IDS),
                _text(entry, ("symbol", "ticker")),
                _side(entry),
                _number(entry, _QUANTITIES),
                _number(entry, _PRICES),
                _text(entry, _ORDERS),
                _last_name(_text(entry, _STATES)),
            )
            for entry in entries[:MOST_ENTRIES]
            if type(entry) is dict and entry
        ]
    )
    return 0


def read_scanner(key: str, value: Any, values: list[Any], residue: dict[str, Any], _server_tz: str) -> int:
    """Read the scanner from a list of objects or plain tickers, or from an object of objects by ticker; return flags."""
    residue[key] = value
    if type(value) is dict:
        value = [{"symbol": symbol, **entry} for symbol, entry in value.items() if type(entry) is dict]
    found = []
    for entry in value[:MOST_ENTRIES] if type(value) is list else ():
        if type(entry) is str and entry:
            found.append(ScannerEntry(entry, NAN, NAN, NAN, NAN))
        elif type(entry) is dict and _text(entry, ("symbol", "ticker")) is not None:
            gauges = [_number(entry, (name,)) for name in ScannerEntry._fields[1:]]
            found.append(ScannerEntry(_text(entry, ("symbol", "ticker")), *gauges))
    values[SCANNER] += tuple(found)
    return 0


def read_bars(value: Any, values: list[Any], server_tz: str) -> None:
    """Read bars from a list of prices, of objects, or of lists [open, high, low, close] with or without a time in front."""
    if type(value) is list and value:
        values[BARS] += tuple(_bars(value[-MOST_ENTRIES:], server_tz))


def _bars(entries: list[Any], server_tz: str) -> Iterable[Bar]:
    for entry in entries:
        if type(entry) in NUMBERS:
            yield Bar(None, NAN, NAN, NAN, float(entry))
        elif type(entry) is dict:
            bar = Bar(_time(entry, STAMPS, server_tz), *[_number(entry, names) for names in _BAR])
            if any(price is not NAN for price in bar[1:]):
                yield bar
        elif type(entry) is list and len(entry) >= 4 and all(type(n) in NUMBERS or n is None or type(n) is str for n in entry):
            time_ns = stamp_ns(entry[0], server_tz) if len(entry) > 4 else None
            prices = entry[1:5] if time_ns is not None else entry[:4]
            found = [number(n)[0] for n in prices]
            if any(n is not None for n in found):
                yield Bar(time_ns, *[NAN if n is None else n for n in found])


# ── values of an entry, by any of their names ──────────────────────────────────────────────────────────────────────────


def stamp_ns(value: Any, server_tz: str) -> int | None:
    """Return an entry's stamp in ns since 1970; None if it is not a time."""
    text = canonical_words.epoch_text(value) if type(value) in NUMBERS else value
    return canonical_words.time_ns(text, server_tz)[0] if type(text) is str else None


def _time(entry: dict[str, Any], names: Iterable[str], server_tz: str) -> int | None:
    return next((found for name in names if name in entry and (found := stamp_ns(entry[name], server_tz)) is not None), None)


def _text(entry: dict[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        value = entry.get(name)
        if type(value) is str and value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return plain_text(value)
    return None


def plain_text(value: float) -> str:
    """Return a number where a text was expected, without the ".0" of a whole one."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def _number(entry: dict[str, Any], names: Iterable[str]) -> float:
    for name in names:
        if entry.get(name) is not None:
            found, _ = number(entry[name])
            return NAN if found is None else found
    return NAN


def _side(entry: dict[str, Any]) -> str | None:
    word = _text(entry, _SIDES)
    return None if word is None else canonical_words.side(word[: canonical_words.LONGEST_WORD])[0]


def _last_name(word: str | None) -> str | None:
    """Return a printed enum's name; any other word as it is."""
    return None if word is None else canonical_words.enum_name(word[: canonical_words.LONGEST_WORD])
