"""Detection of a packet's new log lines: servers send their last ten lines in every packet."""

from __future__ import annotations

from typing import Final

from ccwatch.protocol.messages import LogLine
from ccwatch.protocol.timed_rows import overlap

LOG_MEMORY: Final = 2048
"""Log lines remembered beyond those of the last packet."""


class LogLines:
    """The log lines of one feed so far."""

    def __init__(self) -> None:
        self._last: tuple[LogLine, ...] = ()
        self._keys: dict[int, None] = {}

    def fresh(self, lines: tuple[LogLine, ...]) -> tuple[LogLine, ...]:
        """Take a packet's lines; return those that no earlier packet carried.

        Lines with a time are recognised by time, level and message; others by overlap with the list before, so that a true repetition
        later is new.
        """
        before, self._last = self._last, lines
        if lines == before:
            return ()
        timeless = [line for line in lines if line[2] is None]  # by place: a name costs twice as much
        known = overlap([line for line in before if line[2] is None], timeless) if timeless else 0
        keys = self._keys
        fresh = []
        for line in lines:
            if line[2] is None:
                known -= 1
                if known < 0:
                    fresh.append(line)
                continue
            key = hash(line[:3])  # not the line: a memory of giants would fill the machine's
            if key not in keys:
                keys[key] = None
                fresh.append(line)
        while len(keys) > LOG_MEMORY + len(lines):
            del keys[next(iter(keys))]
        return tuple(fresh)
