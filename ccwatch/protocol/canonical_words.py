"""The meaning of a server's words and timestamps: canonical regimes, sides and status, and time as nanoseconds in UTC."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from ccwatch.protocol.messages import EPOCH, Regime, Side, Status

_Meaning = TypeVar("_Meaning")

_EPOCH_NUMBER: Final = re.compile(r"([0-9]{9,19})(?:\.([0-9]+))?")
_EPOCH_UNITS: Final = {9: 9, 10: 9, 11: 9, 12: 6, 13: 6, 15: 3, 16: 3, 18: 0, 19: 0}
"""Digits of a number since 1970 to how many zeros make it ns; 14 digits are a date without separators, in no form that is read."""
_ZONE: Final = re.compile(r"\s*([+-]\d\d:?\d\d)?\s*(?:UTC|GMT)$")
_LEAP_SECOND: Final = re.compile(r"[T ]\d\d:?\d\d:?(60)(?=$|[^\d])")
_END_OF_DAY: Final = re.compile(r"[\d-]{8,10}[T ](24)(?=(?::?00(?::?00(?:[.,]0+)?)?)?(?:$|[Z+-]))")
LONGEST_STAMP: Final = 64
LONGEST_WORD: Final = 256
"""How many characters of a word are looked at: meanings are cached, and a cache of giants would fill the memory."""
FARTHEST_NS: Final = 9_200_000_000 * 1_000_000_000
"""Stamps reach from 1678 to 2261: the range of int64 nanoseconds, with room to add an interval."""
_PRINTED_ENUM: Final = re.compile(r"<?\s*(?:[^\W\d]\w*\.)+([^\W\d].*)", re.DOTALL)
"""A name behind the names of its class and modules; a dot behind a blank, as in "levy stable (alpha 1.7)", is none of these."""
_SECOND_READING: Final = " second reading"
_FRACTION: Final = re.compile(r"[.,](\d{7,9})\d*")


@lru_cache(maxsize=1024)
def regime(word: str) -> tuple[str, bool]:
    """Return the canonical regime of any case, accents, suffix, double encoding or printed enum, and whether the word is a known one."""
    return _first_known(word, _regime)


@lru_cache(maxsize=1024)
def status(word: str) -> tuple[str, bool]:
    """Return the canonical status of any case or printed enum, and whether the word is a known one; every HALT… is HALT."""
    return _first_known(word, _status)


@lru_cache(maxsize=1024)
def side(word: str) -> tuple[str | None, bool]:
    """Return the canonical side (HOLD is FLAT; None if the server does not know it), and whether the word is a known one."""
    return _first_known(word, _side)


def _regime(plain: str) -> tuple[str, bool]:
    for stem, canonical in (("gaussian", Regime.GAUSSIAN), ("levy", Regime.LEVY), ("critical", Regime.CRITICAL)):
        if plain.startswith(stem):
            return canonical, True
    return Regime.UNKNOWN, plain in {"unknown", "wait", ""}


def _status(plain: str) -> tuple[str, bool]:
    if plain.startswith("halt"):
        return Status.HALT, True
    if plain.upper() in _STATUS:
        return _STATUS[plain.upper()], True
    return Status.UNKNOWN, plain in {"unknown", ""}


def _side(plain: str) -> tuple[str | None, bool]:
    if plain.upper() in _SIDES:
        return _SIDES[plain.upper()], True
    return None, plain in {"unknown", ""}


def _first_known(word: str, meaning: Callable[[str], tuple[_Meaning, bool]]) -> tuple[_Meaning, bool]:
    """Return the meaning of a word's first reading that is known; else of its first reading."""
    found = [meaning(reading) for reading in _readings(_plain(word))]
    return next((one for one in found if one[1]), found[0])


def _readings(plain: str) -> list[str]:
    """Return the readings of a word: itself, or for a printed enum (`Side.BUY`, `<Side.BUY: 1>`) its name, then its value."""
    printed = _PRINTED_ENUM.fullmatch(plain)
    if printed is None:
        return [plain]
    name, _, value = printed[1].removesuffix(">").partition(":")
    return [name.strip(), value.strip().strip("'\""), plain] if value else [name.strip(), plain]


_STATUS: Final = {
    **{word.value: word for word in Status},
    "SYSTEM_HALT": Status.HALT,  # the bus's events and key, which some servers hand on as the status
    "SYSTEM:HALT": Status.HALT,
    "EMERGENCY_HALT": Status.HALT,
    "SYSTEM_RESUME": Status.ACTIVE,
}
_SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL, "FLAT": Side.FLAT, "HOLD": Side.FLAT}


def enum_name(word: str) -> str:
    """Return the member's name of a printed enum, in its own case; any other word unchanged."""
    printed = _PRINTED_ENUM.fullmatch(word)
    return word if printed is None else printed[1].removesuffix(">").partition(":")[0].strip()


def _plain(word: str) -> str:
    """Return the word in lower case without accents, with UTF-8 that was read as Latin-1 (once or more) repaired."""
    for codec in ("latin-1", "cp1252", "latin-1", "cp1252"):
        if word.isascii():
            break
        try:
            word = word.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
    parts = unicodedata.normalize("NFKD", word)
    return "".join(c for c in parts if not unicodedata.combining(c)).strip().lower()


def time_ns(stamp: str, server_tz: str) -> tuple[int | None, bool]:
    """Return a stamp in ns since 1970 UTC, and whether it carried no offset; None if it is not a time.

    It reads ISO 8601 in either case, with " UTC" or "GMT" for an offset, with the leap second :60 (the second that follows) and
    24:00 (the next day); and seconds, milli-, micro- or nanoseconds since 1970, distinguished by their size. A stamp without offset is
    read in `server_tz`; in the repeated hour at the end of summer time this is the first reading, see `second_pass`.
    """
    if not 9 <= len(stamp) <= LONGEST_STAMP:
        return None, False
    if stamp[4] != "-":
        epoch = _epoch(stamp)
        if epoch is not None:
            return _within(epoch), False
        if stamp[8:9] not in {"T", "t"}:  # fromisoformat reads eight digits as a day
            return None, False
    return _iso(stamp, *_zone(server_tz))


def second_pass(server_tz: str) -> str:
    """Return a zone for `time_ns` in which stamps of the repeated hour have their second reading."""
    return server_tz + _SECOND_READING


@lru_cache(maxsize=64)
def _zone(server_tz: str) -> tuple[str, int]:
    name = server_tz.removesuffix(_SECOND_READING)
    return name, int(name != server_tz)


@lru_cache(maxsize=256)
def second_reading(stamp: str, server_tz: str) -> int | None:
    """Return the later of the two times that a stamp without offset may mean in the repeated hour; None where it has one meaning."""
    if server_tz == "UTC" or not 9 <= len(stamp) <= LONGEST_STAMP:
        return None
    (first, is_naive), (second, _) = _iso(stamp, server_tz, 0), _iso(stamp, server_tz, 1)
    return second if is_naive and first is not None and second is not None and second > first else None


def _iso(stamp: str, server_tz: str, fold: int) -> tuple[int | None, bool]:
    text, later = stamp, None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        text, later = _usual_iso(stamp)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None, False
    is_naive = moment.tzinfo is None
    try:
        if is_naive:
            moment = moment.replace(tzinfo=ZoneInfo(server_tz), fold=fold)
        passed = moment - EPOCH if later is None else moment - EPOCH + later
    except OverflowError:
        return None, False
    ns = (passed.days * 86_400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
    finer = _FRACTION.search(text) if len(text) > 26 else None  # datetime reads microseconds and drops what is finer
    if finer is not None:
        ns += int(finer[1][6:].ljust(3, "0"))
    return _within(ns), is_naive


def _usual_iso(stamp: str) -> tuple[str, timedelta]:
    """Return a stamp as `datetime.fromisoformat` reads it, and the timedelta to add to the result."""
    text, later = stamp.strip().upper(), timedelta(0)
    zone = _ZONE.search(text)
    if zone is not None:
        text = text[: zone.start()] + (zone[1] or "Z")
    leap = _LEAP_SECOND.search(text)
    if leap is not None:
        text, later = f"{text[: leap.start(1)]}59{text[leap.end(1) :]}", timedelta(seconds=1)
    midnight = _END_OF_DAY.match(text)
    if midnight is not None:
        text, later = f"{text[: midnight.start(1)]}00{text[midnight.end(1) :]}", timedelta(days=1)
    return text, later


def _within(ns: int) -> int | None:
    return ns if abs(ns) < FARTHEST_NS else None


def is_epoch(stamp: str) -> bool:
    """Return whether a stamp is a plain number of seconds, milli-, micro- or nanoseconds since 1970."""
    return _epoch(stamp) is not None


def epoch_text(value: float) -> str | None:
    """Return a JSON number of seconds or parts of them since 1970 as the text that `time_ns` reads; None if it is not such a number."""
    stamp = str(int(value)) if type(value) is float and abs(value) >= 1e15 and value.is_integer() else str(value)
    return stamp if is_epoch(stamp) else None


def _epoch(stamp: str) -> int | None:
    """Return a number since 1970 in ns, by its size: 9 to 11 digits are seconds, 12 or 13 ms, 15 or 16 µs, 18 or 19 ns."""
    found = _EPOCH_NUMBER.fullmatch(stamp)
    if found is None:
        return None
    whole, fraction = found[1], found[2] or ""
    unit = _EPOCH_UNITS.get(len(whole))
    return None if unit is None else int(whole) * 10**unit + int(fraction[:unit].ljust(unit, "0") or 0)
