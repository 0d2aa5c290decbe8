"""Reports of failures in users' callbacks, the same way for packets and for alerts, in every module that calls one.

Such a failure happens on a thread of ours, so that it cannot be raised, and the library's log is silent until its user configures
logging. In a notebook counts and the dashboard's header show it; a script has neither, and its traceback belongs on stderr.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from ccwatch.stream.script_log import script_logger

TEXT_LIMIT: Final = 300
_LOG: Final = script_logger(__name__)


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
