"""Text that leaves ccwatch: for terminals, JSON and spreadsheets. What a server or a file wrote must command none of them.

The one place for it: whatever is printed or written for people goes through here.
"""

from __future__ import annotations

import re
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SUSPECT: Final = re.compile(r"[^ -~]")
_FORMULA: Final = re.compile(r"\s*[=+\-@\t\r＝＋－＠]")


def plain(text: str, limit: int | None = None, *, keep: str = "") -> str:
    """Text without what a terminal or an editor would obey: escapes, control characters of both sets, bidi overrides, surrogates.

    Args:
        text: whatever came.
        limit: most characters; None for all.
        keep: characters that stay nevertheless, such as a newline.
    """
    text = text if limit is None else text[:limit]
    return _SUSPECT.sub(lambda found: found[0] if found[0].isprintable() or found[0] in keep else REPLACEMENT, text)


def plain_json(text: str) -> str:
    """JSON on one line, in which such characters are escaped: it means the same, and a terminal obeys none of it."""
    return _SUSPECT.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def no_formula(cell: str) -> str:
    """A spreadsheet's cell that is text: an apostrophe goes before what would be computed."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
