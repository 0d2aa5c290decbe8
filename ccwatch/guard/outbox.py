"""The outbox: keeps messages on the disk until each receiver has them. They go at least once; a possible repetition says so.

There is one thread per receiver, so that a slow one does not delay the others. It knows no alert.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import msgspec

from ccwatch.guard.receivers import Delivery
from ccwatch.protocol.decoding import codec
from ccwatch.recording import append_durably, seal, sealed_lines, write_durably

log = logging.getLogger("ccwatch.guard")

OUTBOX: Final = "outbox.jsonl"
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
LATE_S: Final = 30.0
"""A message that is delivered so long after it was due, or later, says so."""
KEEP_S: Final = 14 * 86_400.0
"""Names of messages are remembered so long, so that none is queued twice; messages undelivered until then are given up."""
TIDY_BYTES: Final = 4_000_000


class Takes(Protocol):
    """A receiver, as the outbox needs it."""

    @property
    def name(self) -> str:
        """Return the name that messages use for it."""

    def send(self, body: Mapping[str, Any], /) -> Delivery:
        """Try once to deliver a message."""


@dataclass
class _Message:
    name: str
    at_ns: int
    body: dict[str, Any]
    waiting: dict[str, bool]
    """Receivers that are not known to have it; True for one that may have it all the same."""
    held_until: float = 0.0
    """It is not sent before this moment of the monotonic clock."""


class Outbox:
    """Messages, each with the receivers that still wait for it. May be used by any thread."""

    def __init__(
        self,
        folder: Path,
        receivers: Sequence[Takes],
        *,
        clock: Callable[[], float] = time.time,
        on_result: Callable[[str, str, Delivery], None] = lambda *_: None,
    ) -> None:
        """Take up the messages that wait in the folder; nothing is sent before start().

        Args:
            folder: the outbox's folder, which is made if needed.
            receivers: all receivers; a message for one that is not among them waits until it is there again.
            clock: returns the wall clock's time in seconds since 1970.
            on_result: called after each attempt with the message's name, the receiver's name and the Delivery.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / OUTBOX
        self._clock, self._on_result = clock, on_result
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._changed = threading.Condition()  # guards the fields below: any thread queues, the receivers' threads take
        self._messages: dict[str, _Message] = {}
        self._known: dict[str, int] = {}  # names that were ever queued, and when
        self.successes: dict[str, int] = {}
        """Time at which each receiver last took a message, ns since 1970."""
        self._is_stopping = False
        self._threads: list[threading.Thread] = []
        self._load()

    def start(self) -> None:
        """Begin to deliver, on one thread per receiver."""
        for receiver in self._receivers.values():
            thread = threading.Thread(target=self._deliver, args=(receiver,), name=f"ccwatch-outbox-{receiver.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, last_s: float = 0.7) -> None:
        """End; waiting messages stay on the disk. Deliveries that are under way have `last_s` seconds to end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        until = time.monotonic() + last_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def queue(self, name: str, body: Mapping[str, Any], receivers: Sequence[str], *, hold_s: float = 0.0) -> bool:
        """Store a message for its receivers, durably; return False where there are none or the name was queued before.

        It goes out after `hold_s` seconds at the latest, and before that once it was amended.
        """
        with self._changed:
            if name in self._known or not receivers:
                return False
            at_ns = round(self._clock() * 1e9)
            until = time.monotonic() + hold_s if hold_s else 0.0
            message = _Message(name, at_ns, dict(body) | {"message": name}, dict.fromkeys(receivers, False), until)
            self._append({"kind": "queued", "name": name, "at_ns": at_ns, "receivers": list(receivers), "body": message.body}, durably=True)
            self._known[name] = at_ns
            self._messages[name] = message
            self._changed.notify_all()
            return True

    def amend(self, name: str, body: Mapping[str, Any]) -> None:
        """Replace the body of a waiting message, and release it; a receiver that has it already keeps the first body."""
        with self._changed:
            message = self._messages.get(name)
            if message is not None:
                message.body, message.held_until = dict(body) | {"message": name}, 0.0
                self._append({"kind": "amended", "name": name, "body": message.body})
                self._changed.notify_all()

    def waiting(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the messages that wait, by receiver."""
        with self._changed:
            names = {receiver for message in self._messages.values() for receiver in message.waiting}
            return {name: tuple(m.name for m in self._messages.values() if name in m.waiting) for name in sorted(names)}

    def has(self, name: str) -> bool:
        """Return whether a message of this name was queued before, as far back as names are remembered."""
        with self._changed:
            return name in self._known

    def drain(self, seconds: float) -> bool:
        """Wait up to `seconds` until no message waits for the present receivers; return whether that was reached."""
        until = time.monotonic() + seconds
        with self._changed:
            while any(name in self._receivers for message in self._messages.values() for name in message.waiting):
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def note_success(self, receiver: str) -> None:
        """Note that a receiver took a message that was not queued: a test."""
        with self._changed:
            self.successes[receiver] = round(self._clock() * 1e9)
            self._append({"kind": "tested", "name": "", "receiver": receiver, "at_ns": self.successes[receiver]})

    # ── the receivers' threads ──

    def _deliver(self, receiver: Takes) -> None:
        failures = 0
        while (message := self._next(receiver.name)) is not None:
            found = self._try(message, receiver)
            if found.done:
                failures = 0
            else:
                wait = max(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)], found.retry_s or 0.0)
                failures += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopping, wait)
            with contextlib.suppress(Exception):  # a failing on_result must not end the deliveries
                self._on_result(message.name, receiver.name, found)

    def deliver_next(self, receiver: str) -> bool:
        """Try to deliver a receiver's oldest waiting message now, on this thread; return whether it was delivered."""
        with self._changed:
            found = next((m for m in self._messages.values() if receiver in m.waiting), None)
        return found is not None and self._try(found, self._receivers[receiver]).done

    def _try(self, message: _Message, receiver: Takes) -> Delivery:
        """Make one attempt, written down before and after."""
        body = self._body(message, receiver.name)
        with self._changed:
            self._append({"kind": "attempt", "name": message.name, "receiver": receiver.name})
        found = receiver.send(body)
        self._settle(message, receiver.name, found)
        return found

    def _next(self, receiver: str) -> _Message | None:
        """Wait for a message for a receiver and return the oldest; None once the outbox stops."""
        with self._changed:
            while not self._is_stopping:
                found = next((m for m in self._messages.values() if receiver in m.waiting), None)
                held_s = 0.0 if found is None else found.held_until - time.monotonic()
                if found is not None and held_s <= 0.0:
                    return found
                self._changed.wait(5.0 if found is None else held_s)
            return None

    def _body(self, message: _Message, receiver: str) -> dict[str, Any]:
        """Return the message's body as it is sent now, with remarks on lateness and repetition."""
        late_s = max(0.0, self._clock() - message.at_ns / 1e9)
        repeated = message.waiting.get(receiver, False)
        body = message.body | {"possibly_repeated": repeated, "late_s": round(late_s, 1) if late_s >= LATE_S else 0.0, "receiver": receiver}
        remarks = [f"late by {late_s / 60.0:.0f} min"] if late_s >= LATE_S else []
        remarks += ["possibly a repetition"] if repeated else []
        if remarks:
            body["text"] = f"({', '.join(remarks)}) {body.get('text', '')}"
        return body

    def _settle(self, message: _Message, receiver: str, found: Delivery) -> None:
        with self._changed:
            if found.done:
                message.waiting.pop(receiver, None)
                self.successes[receiver] = round(self._clock() * 1e9)
                self._append({"kind": "done", "name": message.name, "receiver": receiver, "at_ns": self.successes[receiver]})
                if not message.waiting:
                    self._messages.pop(message.name, None)
            elif found.is_known:
                self._append({"kind": "refused", "name": message.name, "receiver": receiver})
            else:
                message.waiting[receiver] = True
            if round(self._clock() * 1e9) - message.at_ns > KEEP_S * 1e9:
                self._messages.pop(message.name, None)
            self._changed.notify_all()

    # ── the disk ──

    def _append(self, fact: dict[str, Any], *, durably: bool = False) -> None:
        """Add a line; without `durably` it survives a kill of this process, not the loss of power."""
        line = seal(fact) + b"\n"
        if durably:
            append_durably(self._path, line)
            return
        with self._path.open("ab") as file:
            file.write(line)

    def _load(self) -> None:
        """Read the waiting messages from the file's lines; an attempt without an end may have been delivered."""
        oldest = round((self._clock() - KEEP_S) * 1e9)
        under_way: set[tuple[str, str]] = set()
        for line in _lines(self._path):
            name = line.name
            if isinstance(line, _Known):
                self._known[name] = line.at_ns
            elif isinstance(line, _Queued):
                self._known[name] = line.at_ns
                if line.at_ns >= oldest:
                    self._messages[name] = _Message(name, line.at_ns, line.body, {r: r in line.maybe for r in line.receivers})
            elif isinstance(line, _Amended):
                if name in self._messages:
                    self._messages[name].body = line.body
            elif isinstance(line, _Tested):
                self.successes[line.receiver] = line.at_ns
            elif name in self._messages:
                waiting, receiver = self._messages[name].waiting, line.receiver
                if isinstance(line, _Done):
                    waiting.pop(receiver, None)
                    self.successes[receiver] = max(line.at_ns, self.successes.get(receiver, 0))
                    if not waiting:
                        del self._messages[name]
                elif receiver in waiting and isinstance(line, _Attempt):
                    waiting[receiver] = waiting[receiver] or (name, receiver) in under_way
                    under_way.add((name, receiver))
                else:  # refused: this attempt was none
                    under_way.discard((name, receiver))
        for name, receiver in under_way:  # the process died before these ended
            if name in self._messages and receiver in self._messages[name].waiting:
                self._messages[name].waiting[receiver] = True
        self._known = {name: at for name, at in self._known.items() if at >= oldest}
        if self._path.exists() and self._path.stat().st_size > TIDY_BYTES:
            self._tidy()

    def _tidy(self) -> None:
        """Write the file again, without the deliveries that are done."""
        kept = [{"kind": "known", "name": name, "at_ns": at} for name, at in self._known.items() if name not in self._messages]
        kept += [
            {
                "kind": "queued",
                "name": m.name,
                "at_ns": m.at_ns,
                "body": m.body,
                "receivers": list(m.waiting),
                "maybe": [name for name, maybe in m.waiting.items() if maybe],
            }
            for m in self._messages.values()
        ]
        write_durably(self._path, b"".join(seal(line) + b"\n" for line in kept))


# ── the file's lines, as they are checked ──

_Ns = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Line(msgspec.Struct, frozen=True, tag_field="kind", tag=lambda name: name.strip("_").lower()):
    name: str


class _Known(_Line, frozen=True):
    at_ns: _Ns


class _Queued(_Line, frozen=True):
    at_ns: _Ns
    receivers: tuple[str, ...]
    body: dict[str, Any]
    maybe: tuple[str, ...] = ()


class _Amended(_Line, frozen=True):
    body: dict[str, Any]


class _Tested(_Line, frozen=True):
    receiver: str
    at_ns: _Ns


class _Attempt(_Line, frozen=True):
    receiver: str


class _Refused(_Line, frozen=True):
    receiver: str


class _Done(_Line, frozen=True):
    receiver: str
    at_ns: _Ns


_AnyLine = _Known | _Queued | _Amended | _Tested | _Attempt | _Refused | _Done
msgspec.json.Decoder(_AnyLine)  # looks at the types before threads do, see `recording.checked.prepare`


def _lines(path: Path) -> Iterator[_AnyLine]:
    """Yield the lines that are right; one that fails its checksum, has other fields or could never be sent hides none; it is logged."""
    damaged = 0
    for _, _, line in sealed_lines(path):
        try:
            found: _AnyLine = msgspec.convert(line, _AnyLine)
            if isinstance(found, _Queued | _Amended):
                codec.dumps(found.body)
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError):
            damaged += 1
        else:
            yield found
    if damaged:
        log.warning("%s: %d lines are damaged: messages may be missing, or be sent again", path, damaged)
