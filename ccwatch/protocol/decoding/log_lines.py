"""The log lines of a message, as objects, plain text or any other form that servers send; from the wire and back."""

from __future__ import annotations

import json
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from ccwatch.protocol import canonical_words
from ccwatch.protocol.decoding.packet_fields import COERCED, LOGS, NUMBERS, WRONG_TYPE
from ccwatch.protocol.messages import LogLine

LONGEST_USUAL: Final = 1000
"""Characters of a log line beyond which it is not cached: a cache of giants would fill the memory."""
LONGEST_SHOWN: Final = 4096
"""Characters shown of an entry that is not a log line."""


def read_logs(key: str, value: Any, values: list[Any], residue: dict[str, Any], server_tz: str) -> int:
    """Read a list of objects, plain texts or both, and return flags; parts that a line cannot hold stay in `residue` by position."""
    if type(value) is not list:
        residue[key] = value
        return WRONG_TYPE
    try:  # the usual case: objects of just these three texts
        lines = [usual_line(level, message, stamp, server_tz) for level, message, stamp in map(_LINE, value)]
        if sum(map(len, value)) == 3 * len(value):
            values[LOGS] = tuple(lines)
            return 0
    except (KeyError, TypeError):
        pass
    lines = []
    flags = 0
    rest: dict[str, Any] = {}
    for i, entry in enumerate(value):
        if type(entry) is str:
            lines.append(LogLine(None, entry, None, None))
            continue
        line, is_whole, flag = _line(entry, server_tz)
        flags |= flag
        if not is_whole:
            rest[str(i)] = entry
        lines.append(line)
    values[LOGS] = tuple(lines)
    if rest:
        residue[key] = rest
    return flags


_LINE: Final = itemgetter("level", "message", "timestamp")
_TEXTS: Final = ("message", "msg", "text", "event")
"""The keys that servers use for the text of a line."""


@lru_cache(maxsize=256)  # the same lines come again in the next packets
def usual_line(level: Any, message: Any, stamp: Any, server_tz: str) -> LogLine:
    """Return the line of three texts; raise TypeError, which is not cached, for anything else and for giants."""
    if type(level) is not str or type(message) is not str or type(stamp) is not str:
        raise TypeError
    if len(level) + len(message) + len(stamp) > LONGEST_USUAL:
        raise TypeError
    return LogLine(level, message, canonical_words.time_ns(stamp, server_tz)[0], stamp)


def _line(entry: Any, server_tz: str) -> tuple[LogLine, bool, int]:
    """Return the line of an entry that is not plain text, whether the line holds the whole entry, and flags."""
    text = next((entry[name] for name in _TEXTS if type(entry.get(name)) is str), None) if type(entry) is dict else None
    if text is None:
        return LogLine(None, _shown(entry), None, None), False, WRONG_TYPE
    level, stamp = entry.get("level"), entry.get("timestamp")
    flags = 0
    if type(stamp) in NUMBERS:
        stamp = canonical_words.epoch_text(stamp) or str(stamp)
        flags |= COERCED
        is_whole = False
    else:
        is_whole = (
            len(entry) == 3 and "message" in entry and type(stamp) is str and (type(level) is str or ("level" in entry and level is None))
        )
    if not (level is None or type(level) is str):
        level, flags = None, flags | WRONG_TYPE
    if not (stamp is None or type(stamp) is str):
        stamp, flags = None, flags | WRONG_TYPE
    return LogLine(level, text, None if stamp is None else canonical_words.time_ns(stamp, server_tz)[0], stamp), is_whole, flags


def _shown(entry: Any) -> str:
    try:
        return json.dumps(entry, ensure_ascii=False)[:LONGEST_SHOWN]
    except RecursionError:
        return type(entry).__name__


def write_log(line: LogLine) -> Any:
    """Return a line as the entry it was read from: an object where it has a time, plain text where it has none."""
    if line.log_time_raw is None:
        return line.message
    return {"level": line.level, "message": line.message, "timestamp": line.log_time_raw}
