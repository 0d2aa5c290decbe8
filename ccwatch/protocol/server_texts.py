"""Texts of a server (an error, a reason), made safe to show: one line, bounded, without secrets."""

from __future__ import annotations

import re
from typing import Any, Final

LONGEST: Final = 300
"""How many characters of a remark are shown."""
_LOOKED_AT: Final = 4096
_HIDDEN: Final = "…"
_HIDDEN_NAME: Final = (
    r"(?i)(?<![\w-])([\w-]{0,64}(?:token|secret|pass(?:word|wd|phrase|code)|pwd|api[_-]?key|(?:access|private|signing)[_-]?key|authorization|jwt"
    r"|credential|cookie|session[_-]?id|signature)[\w-]{0,32}|(?:auth|pass|key)(?==))"
)
"""A name whose value is a secret, with what may be put before and after it, such as APCA-API-SECRET-KEY."""
_IS: Final = r"[\"']?\s*(?:=>|[=:]|%3[Dd])\s*"
_SECRETS: Final = (
    (re.compile(r"eyJ[\w-]{4,}(?:\.[\w-]*){0,2}"), _HIDDEN),  # a JWT
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), rf"\1 {_HIDDEN}"),
    (re.compile(rf"{_HIDDEN_NAME}({_IS})([\"'])(?:(?!\3).)+"), rf"\1\2\3{_HIDDEN}"),
    (re.compile(rf"{_HIDDEN_NAME}({_IS})(?:(?:bearer|basic|token|digest)\s+)?[^\s\"',;&}}]+"), rf"\1\2{_HIDDEN}"),
    (re.compile(r"(?i)\b((?:token|secret|password|jwt)\s+[\"']?)(?=[\w.~+/=-]*\d)[\w.~+/=-]{6,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,31}://)[^\s/@]+@"), rf"\1{_HIDDEN}@"),
)
_KEYS: Final = ("code", "error", "errors", "message", "msg", "reason", "detail", "details", "description")


def shown(text: str) -> str:
    """Return a server's text as one printable line of at most 300 characters, with secrets left out."""
    line = " ".join(text[:_LOOKED_AT].split())
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    line = "".join(char if char.isprintable() else "�" for char in line)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def of_message(message: dict[str, Any]) -> str:
    """Return the error that a message reports: its code and its words, in that order, from any of their known places."""
    found: list[str] = []
    _collect(message, found, 3)
    return shown(" ".join(dict.fromkeys(found)))


def _collect(value: Any, found: list[str], levels: int) -> None:
    if isinstance(value, dict) and levels:
        for key in (*_KEYS, "data"):
            if key in value:
                _collect(value[key], found, levels - 1)
    elif isinstance(value, list) and levels:
        for entry in value[:5]:
            _collect(entry, found, levels - 1)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        found.append(str(value)[:_LOOKED_AT])
