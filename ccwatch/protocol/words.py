"""What the server's words and timestamps mean: canonical regimes, sides and status, and time as nanoseconds in UTC."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from ccwatch.protocol.messages import EPOCH, Regime, Side, Status

_EPOCH_NUMBER: Final = re.compile(r"[0-9]{9,13}(\.[0-9]+)?")
LONGEST_STAMP: Final = 64
LONGEST_WORD: Final = 256
"""Characters of a word that are looked at: meanings are cached, and a cache of giants would fill the memory."""
FARTHEST_NS: Final = 9_200_000_000 * 1_000_000_000
"""Stamps reach from 1678 to 2261: what int64 nanoseconds hold, with room to add an interval."""
_FRACTION: Final = re.compile(r"[.,](\d{7,9})\d*")


@lru_cache(maxsize=1024)
def regime(word: str) -> tuple[str, bool]:
    """Canonical regime of any case, accents, suffix or double encoding, and whether the word is a known one."""
    plain = _plain(word)
    for stem, canonical in (("gaussian", Regime.GAUSSIAN), ("levy", Regime.LEVY), ("critical", Regime.CRITICAL)):
        if plain.startswith(stem):
            return canonical, True
    return Regime.UNKNOWN, plain in {"unknown", "wait", ""}


@lru_cache(maxsize=1024)
def status(word: str) -> tuple[str, bool]:
    """Canonical status, and whether the word is a known one; every HALT… is HALT."""
    plain = _plain(word).upper()
    if plain.startswith("HALT"):
        return Status.HALT, True
    if plain in _STATUS:
        return _STATUS[plain], True
    return Status.UNKNOWN, plain in {"UNKNOWN", ""}


@lru_cache(maxsize=1024)
def side(word: str) -> tuple[str | None, bool]:
    """Canonical side (HOLD is FLAT), and whether the word is a known one; None where the server does not know either."""
    plain = _plain(word).upper()
    if plain in _SIDES:
        return _SIDES[plain], True
    return None, plain in {"UNKNOWN", ""}


_STATUS: Final = {word.value: word for word in Status}
_SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL, "FLAT": Side.FLAT, "HOLD": Side.FLAT}


def _plain(word: str) -> str:
    """Lower case without accents, with text that was UTF-8 read as Latin-1 (once or more) put right."""
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
    """An ISO 8601 stamp, or seconds or milliseconds since 1970, in ns since 1970 UTC, and whether it carried no offset.

    A stamp without offset is read in `server_tz`; an ambiguous hour at the end of summer time is the first one. None: not a time.
    """
    if not 9 <= len(stamp) <= LONGEST_STAMP:
        return None, False
    if stamp[4] != "-":
        if is_epoch(stamp):
            whole, _, fraction = stamp.partition(".")
            unit = 9 if len(whole) < 12 else 6
            return _within(int(whole) * 10**unit + int(fraction[:unit].ljust(unit, "0"))), False
        if stamp[8:9] != "T":  # fromisoformat reads eight digits as a day
            return None, False
    try:
        moment = datetime.fromisoformat(stamp)
        is_naive = moment.tzinfo is None
        if is_naive:
            moment = moment.replace(tzinfo=ZoneInfo(server_tz))
        passed = moment - EPOCH
    except (ValueError, OverflowError):
        return None, False
    ns = (passed.days * 86_400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
    finer = _FRACTION.search(stamp) if len(stamp) > 26 else None  # datetime reads microseconds and drops what is finer
    if finer is not None:
        ns += int(finer[1][6:].ljust(3, "0"))
    return _within(ns), is_naive


def _within(ns: int) -> int | None:
    return ns if abs(ns) < FARTHEST_NS else None


def is_epoch(stamp: str) -> bool:
    """Whether a stamp is a plain number of seconds (9 to 11 digits) or milliseconds (12 to 13) since 1970."""
    return _EPOCH_NUMBER.fullmatch(stamp) is not None
