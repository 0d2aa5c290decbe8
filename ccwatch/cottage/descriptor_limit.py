"""The limit of connections that the system allows one process, and one line in the log where it is reached."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Final

from aiohttp import http_exceptions, web

from ccwatch.text import plain

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
    """Shortens aiohttp's log of what a client did wrong to one line: a sender of many would fill the log with tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record; it is always kept."""
        said = _fault_of_the_client(record.exc_info[1] if isinstance(record.exc_info, tuple) else None)
        if said:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.msg, record.args, record.exc_info = "%s", (said,), None
        return True


def _fault_of_the_client(error: BaseException | None) -> str:
    """Return a line on a malformed request or a client that has gone; an empty text for an error of the server's own."""
    if isinstance(error, http_exceptions.HttpProcessingError):
        return f"A request that is none is refused with {error.code}: {type(error).__name__}: {_one_line(error.message)}"
    if isinstance(error, web.RequestPayloadError):
        return f"A request's body cannot be read: {_one_line(str(error))}"
    return "A client has gone before it was answered" if isinstance(error, ConnectionError) else ""


def _one_line(text: str) -> str:
    return plain(" ".join(text.split()), 200)


requests = logging.getLogger("ccwatch.cottage.requests")
requests.addFilter(OneLine())
