"""Text that leaves ccwatch, made safe for terminals, JSON and spreadsheets: text from a server or a file must not control any of them.

All text that is printed or written for people goes through here.
"""

from __future__ import annotations

import re
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SUSPECT: Final = re.compile(r"[^ -~]")
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")


def plain(text: str, limit: int | None = None, *, keep: str = "") -> str:
    """Replace what a terminal or an editor would act on: escapes, control characters (C0 and C1), bidi overrides, surrogates.

    Args:
        text: any text.
        limit: how many characters to keep at most; None for all.
        keep: characters to leave as they are, such as a newline.
    """
    text = text if limit is None else text[:limit]
    return _SUSPECT.sub(lambda found: found[0] if found[0].isprintable() or found[0] in keep else REPLACEMENT, text)


def plain_json(text: str) -> str:
    """Escape such characters in one-line JSON: its meaning stays the same, and a terminal acts on none of it."""
    return _SUSPECT.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def no_formula(cell: str) -> str:
    """Return a spreadsheet cell that stays text: an apostrophe is put before what would be read as a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def rounded(value: float) -> str:
    """Return a number with three significant digits, those before the point all: 0.5, 19.9, 20,100."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
