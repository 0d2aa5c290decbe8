"""The C library's heap: glibc keeps what was freed below the heap's end, so that each burst of a stream leaves a process larger.

It knows no feed. Elsewhere than with glibc nothing needs to be done here.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from time import monotonic
from typing import Final

GIVE_BACK_S: Final = 60.0
"""Seconds between two times that free pages are given back: it takes a few ms."""


def _trim() -> Callable[[int], int] | None:
    """Return glibc's `malloc_trim`; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None
    return found


class Heap:
    """Gives the system the pages back that are free, no more often than each minute. Used by one thread at a time."""

    def __init__(self) -> None:
        self._trim = _trim()
        self._due = monotonic() + GIVE_BACK_S

    def give_back(self) -> bool:
        """Give free pages back, if that is due; return whether it was."""
        now = monotonic()
        if self._trim is None or now < self._due:
            return False
        self._due = now + GIVE_BACK_S
        self._trim(0)
        return True
