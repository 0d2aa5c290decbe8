"""The contract as tests read it: its lines, code fences and tables, by section. It knows nothing of ccwatch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).with_name("websocket-protocol.md")
SHA256: Final = "63539f3ab45fb1579281ffb03fab0ecb4bf026d026b3d9ba8577f9ac683394f6"
"""Of the contract as it was agreed upon; another one is another contract, and needs another ledger."""
TEXT: Final = PATH.read_text(encoding="utf-8")
LINES: Final = tuple(line.strip() for line in TEXT.splitlines() if line.strip())


def section(number: str) -> str:
    """The text below the heading of a section such as "3.2", up to the next heading of its level or above."""
    found = re.search(rf"^(#+) {re.escape(number)}\.? .*$", TEXT, re.MULTILINE)
    assert found, number
    rest = TEXT[found.end() :]
    following = re.search(rf"^#{{2,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def fences(number: str, language: str = "") -> list[str]:
    """The code of a section's fences in a language, as printed; "" where none is named."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(number), re.MULTILINE | re.DOTALL)


def rows(number: str) -> list[dict[str, str]]:
    """A section's table: a dict per row, by the head of its columns, with code marks taken off."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in section(number).splitlines() if line.startswith("|")]
    head, _, *body = table
    return [{key: re.sub(r"^`([^`]*)`$", r"\1", cell) for key, cell in zip(head, cells, strict=True)} for cells in body]


def words(description: str) -> list[str]:
    """The words of an enum, from its description."""
    return re.findall(r"[`\"]([^`\"]+)[`\"]", description)


def bounds(text: str) -> tuple[float, float] | None:
    """A range such as "0.0 to 1.0"."""
    found = re.search(r"(-?\d+\.\d+) to (-?\d+\.\d+)", text)
    return (float(found[1]), float(found[2])) if found else None
