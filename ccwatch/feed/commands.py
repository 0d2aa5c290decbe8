"""Commands to an engine: where they go, whether they got there, and what the stream then says of them. It owns no thread.

A command is confirmed by the stream alone: an answer of 200 says that somebody took it, not that trading has stopped.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from ccwatch.errors import CcwatchError, ConfigError, NoCommandRoute
from ccwatch.feed.address import basic_credentials, redact
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.places import COMMAND_PATHS, rest_base
from ccwatch.protocol.messages import Flag, Item, Packet, Status
from ccwatch.stream.source import Sink

log = logging.getLogger("ccwatch.feed")

ANSWER_S: Final = 5.0
"""How long a server may take to answer a POST; it may have obeyed all the same, so the stream is watched on."""
CONFIRM_S, CONFIRM_INTERVALS = 5.0, 3
"""A command waits this long for its confirmation, or this many of the stream's intervals, whichever is more."""
LONGEST_SYMBOL: Final = 32
LONGEST_ANSWER: Final = 64 * 1024
ABSENT: Final = frozenset({404, 405, 426, 501})
"""Answers of a server that has no such route."""
RUNNING: Final = frozenset({Status.ACTIVE, Status.SLEEPING})


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command."""

    route: str
    """Where it went: a method and an address without secrets."""
    sent: bool
    """Whether it left this machine."""
    accepted: bool | None
    """Whether the server took it; None where it does not say."""
    confirmed: bool
    """Whether the stream has shown it since."""
    status: str | None
    """The engine's status when the waiting ended, canonical; None where no packet came with one since it was sent."""
    error: str | None
    """What went wrong, in a line."""


class Line(Protocol):
    """The connection of a live stream, as commands see it."""

    @property
    def interval_s(self) -> float:
        """The stream's usual interval; 0 while it is not known."""

    def send(self, payload: bytes) -> str | None:
        """Send a message on the open connection; why that cannot be, or None."""

    def note(self, detail: str) -> None:
        """Put a command event into the stream."""


OnSent = Callable[[], object]
"""Told once a command has left this machine."""
Listen = Callable[[Sink], Callable[[], None]]


class Commands:
    """Gives commands to the engine behind one feed. Safe to call from any thread."""

    def __init__(
        self,
        url: str,
        line: Line,
        *,
        engine_url: str | None = None,
        token: Callable[[], str | None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Commands that go to the server of `url`, or to the engine at `engine_url`; nothing is asked of either yet.

        Args:
            url: of the stream, secrets included.
            line: its connection.
            engine_url: http://HOST:PORT or ws://HOST:PORT/ws/stream of the engine, where the stream's own server passes nothing on.
            token: asked at each command, sent as `Authorization: Bearer`.
            tls: for https; None is the system's trust.

        Raises:
            ConfigError: an engine_url that is none.
        """
        self._base = rest_base(engine_url or url)
        self._shown = redact(url)
        self._line = line
        self._token = token
        self._tls = tls

    def subscribe(self, symbol: str, listen: Listen, on_sent: OnSent | None = None) -> CommandResult:
        """Ask for another symbol on this connection; confirmed by a packet of that symbol.

        Raises:
            ConfigError: not a symbol.
        """
        if not symbol.strip() or len(symbol) > LONGEST_SYMBOL or not symbol.isprintable():
            raise ConfigError(f"symbol: expected a ticker of at most {LONGEST_SYMBOL} characters such as 'AAPL', got {symbol!r:.60}")
        symbol = symbol.strip()
        payload = codec.dumps({"type": "SUBSCRIBE", "symbol": symbol})

        def send() -> _Answer:
            trouble = self._line.send(payload)
            return _Answer(f"SUBSCRIBE {self._shown}", sent=trouble is None, accepted=None, error=trouble)

        return self._give(f"SUBSCRIBE symbol={symbol}", send, lambda packet: packet.symbol == symbol, listen, on_sent)

    def halt(self, listen: Listen, on_sent: OnSent | None = None) -> CommandResult:
        """Stop trading; confirmed by a status HALT in the stream.

        Raises:
            NoCommandRoute: the server has no route for it.
        """
        return self._give("HALT", lambda: self._post("HALT"), lambda packet: packet.status == Status.HALT, listen, on_sent)

    def resume(self, listen: Listen, on_sent: OnSent | None = None) -> CommandResult:
        """Trade again; confirmed by a status ACTIVE or SLEEPING in the stream.

        Raises:
            NoCommandRoute: the server has no route for it.
        """
        return self._give("RESUME", lambda: self._post("RESUME"), lambda packet: packet.status in RUNNING, listen, on_sent)

    def _give(
        self, what: str, send: Callable[[], _Answer], is_done: Callable[[Packet], bool], listen: Listen, on_sent: OnSent | None
    ) -> CommandResult:
        witness = _Witness(is_done)
        leave = listen(witness)  # before it is sent: the confirmation may be faster than the answer
        try:
            self._line.note(f"command={what} asked")
            answer = send()
            if answer.sent and answer.accepted is not False:
                if on_sent is not None:
                    try:
                        on_sent()
                    except Exception:  # it was sent, and what becomes of it is still to be told
                        log.exception("on_sent of %s failed", what)
                witness.done.wait(max(CONFIRM_S, CONFIRM_INTERVALS * self._line.interval_s))
        finally:
            leave()
        confirmed = witness.done.is_set() and answer.sent and answer.accepted is not False
        error = answer.error
        if error is None and not confirmed:
            error = f"the stream has not confirmed it; its last status is {witness.status or 'not known'}"
        self._line.note(f"command={what} sent={answer.sent} accepted={answer.accepted} confirmed={confirmed}")
        return CommandResult(answer.route, answer.sent, answer.accepted, confirmed, witness.status, error)

    def _post(self, what: str) -> _Answer:
        """Post to the first of the command's routes that the server has.

        Raises:
            NoCommandRoute: it has none of them.
        """
        try:
            headers = self._headers()
        except CcwatchError as error:
            return _Answer(self._route(COMMAND_PATHS[what][0]), sent=False, accepted=False, error=f"no token: {error}")
        for path in COMMAND_PATHS[what]:
            answer = self._ask(path, headers)
            if answer is not None:
                return answer
        raise NoCommandRoute(
            f"{redact(self._base)} has no route for {what}; name the engine: connect(…, engine_url='http://HOST:8000'). "
            "The host of an emergency stop is never guessed"
        )

    def _route(self, path: str) -> str:
        return f"POST {redact(self._base)}{path}"

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "ccwatch", "Content-Length": "0", "Connection": "close"}
        parts = urlsplit(self._base)
        token = None if self._token is None else self._token()
        if token and token.strip():
            headers["Authorization"] = f"Bearer {token.strip()}"
        elif parts.username is not None:
            headers["Authorization"] = "Basic " + basic_credentials(unquote(parts.username), unquote(parts.password or ""))
        return headers

    def _ask(self, path: str, headers: dict[str, str]) -> _Answer | None:
        """One POST; None where the server has no such route. Neither redirects are followed nor proxies used."""
        parts = urlsplit(self._base)
        assert parts.hostname is not None  # noqa: S101 - rest_base has refused anything else
        if parts.scheme == "https":
            tls = self._tls or ssl.create_default_context()
            link: http.client.HTTPConnection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=ANSWER_S, context=tls)
        else:
            link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S)
        route = self._route(path)
        sent = False
        try:
            link.connect()
            link.request("POST", parts.path + path, headers=headers)
            sent = True
            answer = link.getresponse()
            body = answer.read(LONGEST_ANSWER)
        except ssl.SSLError as error:
            return _Answer(route, sent=sent, accepted=None if sent else False, error=f"TLS: {error.reason or type(error).__name__}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
            return _Answer(route, sent=sent, accepted=None if sent else False, error=why)
        finally:
            link.close()
        if answer.status in ABSENT:
            return None
        if 200 <= answer.status < 300:
            return _Answer(route, sent=True, accepted=True, error=None)
        # A server that failed may have obeyed all the same; one that refused has not.
        accepted = None if answer.status >= 500 else False
        return _Answer(route, sent=True, accepted=accepted, error=f"HTTP {answer.status}: {_said(body) or answer.reason}")


@dataclass(frozen=True, slots=True)
class _Answer:
    route: str
    sent: bool
    accepted: bool | None
    error: str | None


class _Witness:
    """Watches the stream for the packet that confirms a command. A Sink."""

    def __init__(self, is_done: Callable[[Packet], bool]) -> None:
        self.done = threading.Event()
        self.status: str | None = None
        self._is_done = is_done
        self._since_ns = time.monotonic_ns()

    def receive(self, items: Sequence[Item], /) -> None:
        for item in items:
            # What a server replays after a reconnect is older than the command, however late it arrives.
            if isinstance(item, Packet) and item.received_mono_ns >= self._since_ns and not item.flags & Flag.REPLAYED:
                if not self.done.is_set():
                    self.status = item.status or self.status
                if self._is_done(item):
                    self.done.set()


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__}; is the server running?"


def _said(body: bytes) -> str:
    """What a refusal says of itself, on one line and fit to print."""
    try:
        said = json.loads(body)
        text = str(said.get("error") or said.get("detail") or "") if isinstance(said, dict) else ""
    except ValueError:
        text = body.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text[:200]).strip()
