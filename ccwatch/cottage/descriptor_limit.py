"""The limit of connections that the system allows one process, and one line in the log where it is reached."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Final

from aiohttp import http_exceptions

log = logging.getLogger("ccwatch.cottage")

MOST_DESCRIPTORS: Final = 65_536
"""Highest soft limit to set: some programs look at each descriptor below it."""
RESERVE: Final = 48
"""Count of descriptors that WebSockets leave for other requests, the source, Redis and files."""


def raise_descriptors() -> int:
    """Raise the soft limit of open files as far as the system allows, and return it: each connection takes one."""
    if sys.platform == "win32":
        return MOST_DESCRIPTORS
    import resource  # noqa: PLC0415 - Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            return soft
        return wanted
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def is_nearly_out(transport: asyncio.BaseTransport | None, limit: int) -> bool:
    """Return whether a connection has one of the last descriptors: the system gives out the lowest free one."""
    socket = None if transport is None else transport.get_extra_info("socket")
    return socket is not None and int(socket.fileno()) >= limit - RESERVE


def complain_in_one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle an error of the loop: without descriptors it tries again in a second, which needs no traceback each time."""
    error = context.get("exception")
    if isinstance(error, OSError) and "accept" in str(context.get("message")):
        log.warning("no connection can be accepted for now: %s", error.strerror or error)
    else:
        loop.default_exception_handler(context)


class OneLine(logging.Filter):
    """Shortens aiohttp's log of a malformed request to one line: a sender of many would fill the log with tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record; it is always kept."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, http_exceptions.HttpProcessingError):
            text = "".join(char if char.isprintable() else " " for char in f"{type(error).__name__}: {error.message}"[:200])
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args, record.exc_info = "A request that is none is refused with %d: %s", (error.code, text), None
        return True


requests = logging.getLogger("ccwatch.cottage.requests")
requests.addFilter(OneLine())
