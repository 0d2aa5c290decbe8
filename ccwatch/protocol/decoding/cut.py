"""The limit on the length of words: symbols, names and status words are cut at 256 characters, since they go into vocabularies.

Reasoning and log messages are never cut. The raw bytes keep the whole text.
"""

from __future__ import annotations

from typing import Any, Final

from ccwatch.protocol import columns
from ccwatch.protocol.decoding.fields import AGENTS, FLAGS, INDEX, LOGS, MODELS
from ccwatch.protocol.messages import Flag

LONGEST: Final = 256
"""The most characters of a word."""
_CUT: Final = int(Flag.CUT)
_RAW_WORDS: Final = ("status_raw", "regime_raw", "side_raw", "order_id")
_WORDS: Final = tuple(
    INDEX[column.field] for column in columns.PACKETS if (column.dtype == "category" and not column.words) or column.name in _RAW_WORDS
)
_LISTS: Final = tuple(INDEX[name] for name in ("calls", "trades", "scanner"))


def cut(values: list[Any]) -> list[Any]:
    """Cut the words of a packet that are too long, in place, and set Flag.CUT; return its fields."""
    is_cut = False
    for place in _WORDS:
        word = values[place]
        if word is not None and len(word) > LONGEST:
            values[place] = word[:LONGEST]
            is_cut = True
    for place in (AGENTS, MODELS, LOGS):  # a name, or a level, comes first
        for entry in values[place]:
            word = entry[0]
            if word is not None and len(word) > LONGEST:
                values[place] = tuple([_entry(entry, 1) for entry in values[place]])
                is_cut = True
                break
    for place in _LISTS:
        if values[place] and any(type(part) is str and len(part) > LONGEST for entry in values[place] for part in entry):
            values[place] = tuple([_entry(entry, len(entry)) for entry in values[place]])
            is_cut = True
    if is_cut:
        values[FLAGS] |= _CUT
    return values


def _entry(entry: Any, upto: int) -> Any:
    """Return an entry of a list with its first words cut."""
    return entry._make([part[:LONGEST] if n < upto and type(part) is str else part for n, part in enumerate(entry)])
