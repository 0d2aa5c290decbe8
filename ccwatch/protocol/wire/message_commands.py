"""Commands by message: a key makes one idempotent, a deadline keeps one that waited somewhere from acting late. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ccwatch.protocol import canonical_words
from ccwatch.protocol.wire.hello import LONGEST_KEY, Refused

COMMANDS: Final = frozenset({"HALT", "RESUME"})
MOST_KEYS: Final = 1_000
"""The most keys that are remembered; the oldest is forgotten first."""


class Command(NamedTuple):
    """A command that was read from a message."""

    what: str
    key: str | None
    """None where it may be obeyed twice."""
    deadline_ns: int | None
    """When it is no longer to be obeyed, ns since 1970; None for never."""


class Answered(NamedTuple):
    """The answer to a command: the code of a NACK, or none for an ACK."""

    code: str
    reason: str


def read_command(message: Mapping[str, Any]) -> Command:
    """Return the command in a message.

    Raises:
        Refused: its key or its deadline cannot be read.
    """
    key, deadline = message.get("key"), message.get("deadline")
    if key is not None and (type(key) is not str or not 0 < len(key) <= LONGEST_KEY or not key.isprintable()):
        raise Refused("malformed", f"key: expected a text of at most {LONGEST_KEY} characters, such as a UUID")
    if deadline is None:
        return Command(str(message["type"]), key, None)
    time_ns, is_naive = canonical_words.time_ns(deadline, "UTC") if type(deadline) is str and len(deadline) <= LONGEST_KEY else (None, True)
    if time_ns is None or is_naive:
        raise Refused("malformed", "deadline: expected a time of ISO 8601 with an offset, such as 2026-01-02T14:30:05Z")
    return Command(str(message["type"]), key, time_ns)


def refuse_late(command: Command, now_ns: int) -> None:
    """Refuse a command that comes after its deadline.

    Raises:
        Refused: it does.
    """
    if command.deadline_ns is not None and now_ns > command.deadline_ns:
        raise Refused("late", f"it came {(now_ns - command.deadline_ns) / 1e9:.3f} s after its deadline")


def answer_again(command: Command, what: str, answered: Answered | None) -> Answered:
    """Return the answer that the first command with this key was given.

    Args:
        command: the one that comes now.
        what: the first one.
        answered: its answer; None while it is being obeyed.

    Raises:
        Refused: it was another command, or is still being obeyed.
    """
    if what != command.what:
        raise Refused("key", f"this key was that of a {what}")
    if answered is None:
        raise Refused("busy", "a command with this key is being obeyed")
    return answered


class Keys:
    """The commands that were answered, by their keys. Used by one thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, Answered | None]] = OrderedDict()

    def begin(self, command: Command, now_ns: int) -> Answered | None:
        """Return the answer that was given to a key before; None where the command is to be obeyed now.

        Raises:
            Refused: it comes after its deadline, its key was another command's, or the first with this key is still being obeyed.
        """
        if command.key is not None and command.key in self._known:
            return answer_again(command, *self._known[command.key])
        refuse_late(command, now_ns)
        if command.key is not None:
            self._known[command.key] = command.what, None
            while len(self._known) > MOST_KEYS:
                self._known.popitem(last=False)
        return None

    def end(self, command: Command, answered: Answered) -> None:
        """Remember the answer to a command that was obeyed; one that could not be may be tried again."""
        if command.key is not None and answered.code:
            self._known.pop(command.key, None)
        elif command.key is not None:
            self._known[command.key] = command.what, answered
