"""The limit on the length of words: symbols, names and status words are cut at 256 characters, since they go into vocabularies.

Reasoning and log messages are never cut. A word that was cut stays whole in `extra`, as any value that its column cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ccwatch.protocol import columns
from ccwatch.protocol.canonical_words import LONGEST_WORD
from ccwatch.protocol.decoding.packet_fields import AGENTS, INDEX, LOGS, MODELS
from ccwatch.protocol.messages import AgentMetric, Flag, LogLine, ModelMetric

_CUT: Final = int(Flag.CUT)
_RAW_WORDS: Final = ("status_raw", "regime_raw", "side_raw", "order_id")
WORDS: Final = {
    column.name: INDEX[column.field]
    for column in columns.PACKETS
    if (column.dtype == "category" and not column.words) or column.name in _RAW_WORDS
}
"""The columns of packets whose words have a limit, and their fields."""
_METRICS: Final = {AGENTS: "agents", MODELS: "models"}
_LISTS: Final = tuple(INDEX[name] for name in ("calls", "trades", "scanner"))


def cut(values: list[Any], body: dict[str, Any], residue: dict[str, Any], place_of: Callable[[str], tuple[str, str]], logs: str) -> int:
    """Cut the words of a packet that are too long, in place, and keep them whole in `residue`; return Flag.CUT if there were any.

    Args:
        values: the packet's fields.
        body: the part of the message that they were read from.
        residue: what becomes the packet's `extra`.
        place_of: section and key of a column on the wire.
        logs: the key of the list of log lines.
    """
    flags = 0
    for name, place in WORDS.items():
        word = values[place]
        if word is not None and len(word) > LONGEST_WORD:
            values[place] = word[:LONGEST_WORD]
            section, key = place_of(name)
            (residue.setdefault(section, {}) if section else residue).setdefault(key, word)  # a number that became text is there
            flags = _CUT
    for place in _METRICS:
        if any(len(metric[0]) > LONGEST_WORD for metric in values[place]):
            values[place] = tuple([_with_short_words(metric) for metric in values[place]])
            flags = _CUT
    if any(_has_long_level(line) for line in values[LOGS]):
        residue.setdefault(logs, {}).update({str(n): body[logs][n] for n, line in enumerate(values[LOGS]) if _has_long_level(line)})
        values[LOGS] = tuple([line._replace(level=line.level[:LONGEST_WORD]) if line.level else line for line in values[LOGS]])
        flags = _CUT
    for place in _LISTS:  # which `extra` holds anyway
        short = tuple([_with_short_words(entry) for entry in values[place]])
        if short != values[place]:
            values[place] = short
            flags = _CUT
    if flags:  # names may be equal once cut
        residue |= {key: body[key] for place, key in _METRICS.items() if has_longest_name(values[place])}
    return flags


def has_longest_name(metrics: Iterable[AgentMetric | ModelMetric]) -> bool:
    """Return whether a name is as long as one that was cut: in a packet with Flag.CUT such metrics are whole in `extra`."""
    return any(len(metric[0]) == LONGEST_WORD for metric in metrics)


def _has_long_level(line: LogLine) -> bool:
    return line.level is not None and len(line.level) > LONGEST_WORD


def _with_short_words(entry: Any) -> Any:
    """Return an entry of a list, and gauges within it, with its words cut."""
    return entry._make(
        [part[:LONGEST_WORD] if type(part) is str else _with_short_words(part) if isinstance(part, tuple) else part for part in entry]
    )
