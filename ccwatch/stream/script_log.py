"""Loggers whose warnings a script shows on stderr, although it has configured no logging. The library's other logs are silent then."""

from __future__ import annotations

import logging
import sys


def script_logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose warnings reach a script's stderr where no handler of the user's takes them."""
    log = logging.getLogger(name)
    log.addHandler(_LastResort(log))
    return log


def is_hosted() -> bool:
    """Return whether a host, such as a notebook's kernel or a test runner, has taken over stderr and decides when the process ends."""
    return sys.stderr is not sys.__stderr__


class _LastResort(logging.Handler):
    """Writes to the process's own stderr, where no handler of the user's shows it, as Python does for a library without handlers.

    A notebook's kernel has replaced sys.stderr by the output of whichever cell ran last: there nothing is written.
    """

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and not is_hosted() and not _has_listener(self._log):
            logging.lastResort.handle(record)


def _has_listener(log: logging.Logger) -> bool:
    """Return whether a handler of the user's takes this logger's records."""
    node: logging.Logger | None = log
    while node is not None:
        if any(not isinstance(handler, _LastResort | logging.NullHandler) for handler in node.handlers):
            return True
        node = node.parent if node.propagate else None
    return False
