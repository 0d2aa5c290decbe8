"""The facts of an event as values, and the one line in which they are kept: written and read here, and nowhere else.

A line is made of its facts when the event is made. Only a recording, which keeps the line alone, reads it back; so a live event
and the same event of a recording have equal facts. Events of other kinds (a mark, a command) have their line alone.
"""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    """The facts of a gap event; None or empty where it does not carry them."""

    seconds: float | None = None
    """How long nothing was received, to the millisecond."""
    messages: int | None = None
    """How many messages are missing; None where that is not known."""
    channel: str = ""
    """The channel of protocol 2 whose numbers prove it."""
    entries: int | None = None
    """How many entries of a recording are lost."""
    bytes: int | None = None
    """How many bytes of a journal are lost, where their entries cannot be counted."""
    reason: str = ""
    """One word, such as "silence", "disconnect", "sleep", "missing" or "damaged"."""
    first_entry: int | None = None
    seq: tuple[int, int] | None = None
    """Seq of the first and the last packet among the entries."""
    tables: tuple[str, ...] = ()
    """The tables that are lost; empty where all are."""
    is_numbered: bool = False
    """Whether the messages are numbered, so that how many are missing is written, even as "unknown"."""

    @property
    def is_of_recording(self) -> bool:
        """Return whether a part of the recording was lost, not of the stream."""
        return self.reason == DAMAGED

    def __str__(self) -> str:
        seconds = None if self.seconds is None else f"{self.seconds:.3f}"
        messages = "unknown" if self.messages is None and self.is_numbered else self.messages
        seq = None if self.seq is None else f"{self.seq[0]}-{self.seq[1]}"
        facts = {"seconds": seconds, "messages": messages, "channel": self.channel, "entries": self.entries, "bytes": self.bytes}
        facts |= {"reason": self.reason, "first_entry": self.first_entry, "seq": seq, "tables": ",".join(self.tables)}
        return " ".join(f"{name}={value}" for name, value in facts.items() if value not in {None, ""})


class Disconnected(NamedTuple):
    """The facts of a disconnect event."""

    connection: int
    reason: str

    def __str__(self) -> str:
        return f"connection={self.connection} reason={self.reason}"


class ServerError(NamedTuple):
    """The facts of an error event: the server's words, one line, without secrets."""

    text: str

    def __str__(self) -> str:
        return f"server={self.text}"


class UnknownType(NamedTuple):
    """The facts of a message of an unknown type: the server's word for the type, and the message's size in bytes."""

    type: str
    bytes: int

    def __str__(self) -> str:
        return f"type={self.type} bytes={self.bytes}"


Facts = Gap | Disconnected | ServerError | UnknownType

DAMAGED = "damaged"
"""The reason of a gap where a part of a recording cannot be read any more."""


def read(kind: str, line: str) -> Facts | None:
    """Return the facts of a recorded event's line; None where its kind has none, or they are not in it."""
    if kind == "gap":
        return _gap(line)
    if kind == "disconnect":
        connection, separator, reason = line.removeprefix("connection=").partition(" reason=")
        return Disconnected(int(connection), reason) if separator and _is_whole(connection) else None
    if kind == "error":
        return ServerError(line.removeprefix("server=")) if line.startswith("server=") else None
    if kind == "unknown":
        name, separator, size = line.removeprefix("type=").rpartition(" bytes=")
        return UnknownType(name, int(size)) if separator and _is_whole(size) else None
    return None


def _gap(line: str) -> Gap:
    said = dict([word.partition("=")[::2] for word in line.split()])
    first, _, last = said.get("seq", "").partition("-")
    return Gap(
        seconds=_number(said.get("seconds", "")),
        messages=_count(said, "messages"),
        channel=said.get("channel", ""),
        entries=_count(said, "entries"),
        bytes=_count(said, "bytes"),
        reason=said.get("reason", ""),
        first_entry=_count(said, "first_entry"),
        seq=(int(first), int(last)) if _is_whole(first) and _is_whole(last) else None,
        tables=tuple(said["tables"].split(",")) if "tables" in said else (),
        is_numbered="messages" in said,
    )


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20


def _count(said: dict[str, str], name: str) -> int | None:
    text = said.get(name, "")
    return int(text) if _is_whole(text) else None


def _number(text: str) -> float | None:
    whole, _, part = text.partition(".")
    return float(text) if _is_whole(whole) and (not part or _is_whole(part)) else None
