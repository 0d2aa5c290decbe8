"""The errors of ccwatch, grouped by cause; each says what was expected, what came and what to do.

CcwatchError
├── ConfigError                a setting that cannot be used
├── ProtocolError              the stream does not speak what ccwatch reads
│   └── DecodeError            one message could not be placed
├── FeedError                  the stream cannot be had
│   ├── ConnectFailed          no answer, or an answer that is no WebSocket's
│   │   └── Unauthorized       401 or 403: the server wants another token
│   ├── FeedTimeout            not enough packets within the time allowed
│   ├── FeedClosed             the feed was stopped
│   ├── CommandsDisabled       a command on a feed that was opened for watching only
│   └── NoCommandRoute         where an emergency stop would have to go is not known
├── RecordingError             a recording cannot be used
│   ├── RecordingNotFound      there is none at this path
│   ├── RecordingBusy          another process writes it
│   ├── CorruptRecording       bytes of it fail their checksum
│   └── UnsupportedFormat      written by a newer ccwatch, or not by ccwatch
└── AnalysisError              the data cannot answer the question
    ├── MissingColumns         the stream never carried what is needed
    ├── NotEnoughData          too few packets
    └── MixedSymbols           one price was asked of several symbols
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ccwatch.text import plain


class CcwatchError(Exception):
    """The base class of all errors that ccwatch raises on purpose."""

    def __str__(self) -> str:
        """Return the message without terminal control characters, since it may quote a path or a server."""
        return plain(super().__str__(), keep="\n")


class ConfigError(CcwatchError, ValueError):
    """A setting cannot be used; the message says which, where it came from and what is allowed."""


class ProtocolError(CcwatchError):
    """The stream does not speak what ccwatch reads."""


class DecodeError(ProtocolError):
    """One message could not be placed. `reason` is one line, without the message itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FeedError(CcwatchError):
    """The stream cannot be had. `permanent` says that trying again will not help by itself."""

    permanent = False


class ConnectFailed(FeedError):
    """No connection. `status` is the HTTP status of a refusal, `retry_after_s` the wait that the server asked for."""

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.permanent = permanent


class Unauthorized(ConnectFailed):
    """401 or 403. Another token, or another role, is needed."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, status=status, permanent=True)


class FeedTimeout(FeedError, TimeoutError):
    """Fewer packets than asked for arrived in time; `__cause__` is the last error of the connection, if any."""


class FeedClosed(FeedError):
    """The feed was stopped, so it delivers no more."""


class CommandsDisabled(FeedError):
    """A command was given on a feed that was opened without `commands=True`."""


class NoCommandRoute(FeedError):
    """The feed's url does not say where commands go; the host of an emergency stop is never guessed."""


class RecordingError(CcwatchError):
    """A recording cannot be used."""


class RecordingNotFound(RecordingError, FileNotFoundError):
    """No recording at this path."""


class RecordingBusy(RecordingError):
    """Another process holds the recording open for writing."""


class CorruptRecording(RecordingError):
    """Bytes of a recording fail their checksum. The message names the file and the range."""


class UnsupportedFormat(RecordingError):
    """The recording's format is newer than this ccwatch, or it is no recording."""


class AnalysisError(CcwatchError):
    """The data cannot answer the question."""


class MissingColumns(AnalysisError):
    """The stream never carried what the question needs; `columns` names it."""

    def __init__(self, question: str, columns: tuple[str, ...]) -> None:
        super().__init__(f"{question} needs {', '.join(columns)}, which this stream never carried")
        self.columns = columns


class NotEnoughData(AnalysisError):
    """Too few packets to answer."""


class MixedSymbols(AnalysisError):
    """A question about one price was asked of several symbols; `symbols` lists them."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        super().__init__(f"the stream holds {', '.join(symbols)}; choose one with symbol={symbols[0]!r}, or hand in the rows of one")
        self.symbols = symbols


def no_such(sort: str, word: object, known: Iterable[str], where: str = "") -> str:
    """Return an error message for an unknown word: it suggests the nearest known word, if any, and lists all known ones.

    Args:
        sort: what the word names, such as "column" or "panel".
        word: the unknown word; at most 80 characters of it are repeated.
        known: the known words.
        where: text that follows the word, such as " in packets".
    """
    names = list(known)
    lower = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(str(word).casefold(), lower, n=1, cutoff=0.6)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return f"no {sort} {str(word)[:80]!r}{where}; {hint}there {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'}"
