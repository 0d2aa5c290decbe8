"""Reports of failures in users' callbacks, the same way for packets and for alerts, in every module that calls one.

Such a failure happens on a thread of ours, so that it cannot be raised, and the library's log is silent until its user configures
logging. In a notebook counts and the dashboard's header show it; a script has neither, and its traceback belongs on stderr.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

TEXT_LIMIT: Final = 300
_LOG: Final = logging.getLogger(__name__)


class _LastResort(logging.Handler):
    """Writes to the process's own stderr, where no handler of the user's shows it, as Python does for a library without handlers.

    A notebook's kernel has replaced sys.stderr by the output of whichever cell ran last: there nothing is written.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and sys.stderr is sys.__stderr__ and not _has_listener(_LOG):
            logging.lastResort.handle(record)


_LOG.addHandler(_LastResort())


class Failures:
    """The failures of one callback: counted, and the first one logged with its traceback.

    Attributes:
        count: how many of its calls failed.
        last: the newest in a line; empty before the first.
    """

    def __init__(self, what: str) -> None:
        """Count from zero; `what` says which sort of callback it is, such as "a callback on packets"."""
        self.count = 0
        self.last = ""
        self._what = what

    def guard(self, callback: Callable[[Any], object], value: Any) -> None:
        """Call `callback(value)`; count an exception instead of raising it."""
        try:
            callback(value)
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything
            self.count += 1
            text = traceback.format_exception_only(error)[-1].strip()  # whatever its own __str__ does
            self.last = f"{self._what} failed: {text[:TEXT_LIMIT]}"
            if self.count == 1:  # once: one that fails a thousand times a minute would bury the log
                _LOG.exception("%s failed; further failures of it are only counted", self._what)


def _has_listener(log: logging.Logger) -> bool:
    """Return whether a handler of the user's takes this logger's records."""
    node: logging.Logger | None = log
    while node is not None:
        if any(not isinstance(handler, _LastResort | logging.NullHandler) for handler in node.handlers):
            return True
        node = node.parent if node.propagate else None
    return False
