"""Commands to an engine: their routes, their answers, and their confirmation by the stream. It owns no thread.

A command is confirmed by the engine's status alone, in the stream or read by REST: an answer of 200 says that a server took it, not
that trading has stopped. A halted loop is silent, so that the stream alone may never confirm it.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from ccwatch.errors import CcwatchError, ConfigError, NoCommandRoute
from ccwatch.feed.address import basic_credentials, redact
from ccwatch.feed.command_witness import CommandWitness
from ccwatch.feed.conversation import Reply
from ccwatch.protocol import canonical_words, server_texts
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import Status
from ccwatch.protocol.server_paths import COMMAND_PATHS, STATE_PATH, STATUS_PATH, rest_base
from ccwatch.stream.source import Sink
from ccwatch.text import plain

log = logging.getLogger("ccwatch.feed")

ANSWER_S: Final = 5.0
"""How long a server may take to answer a POST; it may have obeyed all the same, so the stream is watched on."""
DEADLINE_S: Final = 10.0
"""Seconds after which a server is not to obey a command that was sent by message: it may have waited somewhere."""
FINAL: Final = "forbidden"
"""The code of a refusal after which a server is not asked by REST; that it is unable may only mean that its engine has no such route."""
CONFIRM_S, CONFIRM_INTERVALS = 5.0, 3
"""A command waits this long for its confirmation, or this many of the stream's intervals, whichever is more."""
LOOK_S, LOOK_AGAIN_S = 1.0, 0.5
"""How long the status may take by REST, and how long after one look the next one comes."""
LONGEST_SYMBOL: Final = 32
LONGEST_ANSWER: Final = 64 * 1024
ABSENT: Final = frozenset({404, 405, 426, 501})
"""HTTP status codes of a server that has no such route."""
RUNNING: Final = frozenset({Status.ACTIVE, Status.SLEEPING})
REFUSED: Final = frozenset({"ERROR", "FAILED", "FAILURE", "REFUSED", "REJECTED", "DENIED"})
"""Statuses in the body of a 2xx answer that mean a refusal."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The outcome of a command."""

    route: str
    """Where the command went: a method and an address without secrets."""
    sent: bool
    """Whether the command left this machine."""
    accepted: bool | None
    """Whether the server accepted it; None where it does not say."""
    confirmed: bool
    """Whether the engine has shown its effect since."""
    status: str | None
    """The engine's status when the waiting ended, canonical; None where none was seen since it was sent."""
    error: str | None
    """The error in one line; None without one."""
    evidence: str | None = None
    """The source of the confirmation: "stream", or "rest" where the engine's status was read by REST; None without one."""


class Line(Protocol):
    """The connection of a live stream, as commands see it."""

    @property
    def interval_s(self) -> float:
        """Return the stream's usual interval; 0 while it is not known."""

    def send(self, payload: bytes) -> str | None:
        """Send a message on the open connection; return None, or why it could not be sent."""

    def command(self, what: str, deadline_s: float, wait_s: float) -> Reply | None:
        """Send a command by message, and return the server's answer; None where the connection does not speak protocol 2."""

    def note(self, detail: str) -> None:
        """Put a command event into the stream."""

    def learn_status(self, status: str) -> None:
        """Take the engine's status from a source other than the stream."""


OnSent = Callable[[], object]
"""A function called once a command has left this machine."""
Listen = Callable[[Sink], Callable[[], None]]


class Commands:
    """Sends commands to the engine behind one feed. Safe to call from any thread."""

    def __init__(
        self,
        url: str,
        line: Line,
        *,
        engine_url: str | None = None,
        token: Callable[[], str | None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare commands for the server of `url`, or for the engine at `engine_url`; neither is contacted yet.

        Args:
            url: url of the stream, secrets included.
            line: its connection.
            engine_url: http://HOST:PORT or ws://HOST:PORT/ws/stream of the engine, if the stream's own server does not forward commands.
            token: called at each command; its result is sent as `Authorization: Bearer`.
            tls: TLS context for https; None trusts the system's certificates.

        Raises:
            ConfigError: engine_url is not such a url.
        """
        self._base = rest_base(engine_url or url)
        self._by_message = engine_url is None  # else the engine itself is asked
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

        witness = CommandWitness(lambda packet: packet.symbol == symbol, frozenset())
        return self._give(f"SUBSCRIBE symbol={symbol}", send, witness, listen, on_sent)

    def halt(self, listen: Listen, on_sent: OnSent | None = None) -> CommandResult:
        """Stop trading; confirmed by a status HALT.

        Raises:
            NoCommandRoute: the server has no route for it.
        """
        witness = CommandWitness(lambda packet: packet.status == Status.HALT, frozenset({Status.HALT}))
        return self._give("HALT", lambda: self._order("HALT"), witness, listen, on_sent)

    def resume(self, listen: Listen, on_sent: OnSent | None = None) -> CommandResult:
        """Resume trading; confirmed by a status ACTIVE or SLEEPING that no packet of its burst contradicts.

        Raises:
            NoCommandRoute: the server has no route for it.
        """
        return self._give("RESUME", lambda: self._order("RESUME"), CommandWitness(None, RUNNING), listen, on_sent)

    def _give(
        self, what: str, send: Callable[[], _Answer], witness: CommandWitness, listen: Listen, on_sent: OnSent | None
    ) -> CommandResult:
        leave = listen(witness)  # before it is sent: the confirmation may be faster than the answer
        evidence, status = None, None
        try:
            self._line.note(f"command={what} asked")
            answer = send()
            if answer.sent and answer.accepted is not False:
                if on_sent is not None:
                    try:
                        on_sent()
                    except Exception:  # it was sent, and its outcome is still to be reported
                        log.exception("on_sent of %s failed", what)
                evidence, status = self._await(witness)
        finally:
            leave()
        status = status or witness.status
        error = answer.error
        if error is None and evidence is None:
            error = f"the engine has not confirmed it; its last status is {status or 'not known'}"
            if status is None and what == "HALT":
                error += "; a halted loop broadcasts nothing: silence is what success looks like on an engine's own socket"
        if evidence is not None and status is not None and witness.wanted:
            self._line.learn_status(status)
        text = f"command={what} sent={answer.sent} accepted={answer.accepted} confirmed={evidence is not None}"
        self._line.note(text + (f" evidence={evidence}" if evidence else ""))
        return CommandResult(answer.route, answer.sent, answer.accepted, evidence is not None, status, error, evidence)

    def _await(self, witness: CommandWitness) -> tuple[str | None, str | None]:
        """Wait for the stream or REST to confirm it; return which of them did, and the status read by REST."""
        deadline = time.monotonic() + max(CONFIRM_S, CONFIRM_INTERVALS * self._line.interval_s)
        paths = [STATE_PATH, STATUS_PATH] if witness.wanted else []
        status = None
        while True:
            if witness.is_done(min(LOOK_AGAIN_S, max(0.0, deadline - time.monotonic()))):
                return "stream", None
            if time.monotonic() >= deadline:
                return None, status
            for path in list(paths):
                found = self._look(path, min(LOOK_S, max(0.05, deadline - time.monotonic())))
                if found is None:
                    paths.remove(path)  # it has no such route
                elif found:
                    status = found
                if found in witness.wanted and witness.admits(found):
                    return ("stream", None) if witness.is_done(0.0) else ("rest", found)

    def _look(self, path: str, timeout_s: float) -> str | None:
        """Return the engine's canonical status by REST; empty where it could not be read now, None where there is no such route."""
        try:
            status, _, body = self._request("GET", path, self._headers(), timeout_s)
        except (OSError, http.client.HTTPException, ValueError, CcwatchError):
            return ""
        if status in ABSENT:
            return None
        said = _object(body).get("status") if 200 <= status < 300 else None
        word, is_known = canonical_words.status(said[: canonical_words.LONGEST_WORD]) if isinstance(said, str) else ("", False)
        return str(word) if is_known else ""

    def _order(self, what: str) -> _Answer:
        """Send the command by message where the stream's server takes it so, else by REST.

        A server that refuses it for good is not asked again; one that did not answer is asked by REST, since a halt does no harm twice.

        Raises:
            NoCommandRoute: the server has no route for it.
        """
        reply = self._line.command(what, DEADLINE_S, ANSWER_S) if self._by_message else None
        if reply is None:
            return self._post(what)
        route = f"{what} {self._shown}"
        if reply.taken:
            return _Answer(route, sent=True, accepted=True, error=None)
        if reply.taken is False and reply.code == FINAL:
            return _Answer(route, sent=True, accepted=False, error=f"{reply.code}: {plain(reply.reason, 200)}")
        try:
            answer = self._post(what)
        except NoCommandRoute:
            if reply.taken is False:  # refused by message, and no route: no server carried it out, as without protocol 2
                raise
            reason = f"{reply.code}: {plain(reply.reason, 200)}" if reply.code else reply.reason
            return _Answer(route, sent=True, accepted=reply.taken, error=reason)
        return _Answer(answer.route, sent=True, accepted=answer.accepted, error=answer.error)

    def _post(self, what: str) -> _Answer:
        """Post to the first of the command's routes that the server has.

        Raises:
            NoCommandRoute: the server has none of them.
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
        """Send one POST; return None where the server has no such route. It follows no redirects and uses no proxies."""
        route = self._route(path)
        sent: list[bool] = []
        try:
            status, reason, body = self._request("POST", path, headers, ANSWER_S, lambda: sent.append(True))
        except ssl.SSLError as error:
            return _Answer(route, sent=bool(sent), accepted=None if sent else False, error=f"TLS: {error.reason or type(error).__name__}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
            return _Answer(route, sent=bool(sent), accepted=None if sent else False, error=why)
        if status in ABSENT:
            return None
        said = _object(body)
        if 200 <= status < 300:
            if _refuses(said):
                refusal = _said(body) or said.get("status") or "without a reason"
                return _Answer(route, sent=True, accepted=False, error=f"HTTP {status}: refused: {refusal}")
            return _Answer(route, sent=True, accepted=True, error=None)
        # A server that failed may have obeyed all the same; one that refused has not.
        accepted = None if status >= 500 else False
        return _Answer(route, sent=True, accepted=accepted, error=f"HTTP {status}: {_said(body) or reason}")

    def _request(
        self, method: str, path: str, headers: dict[str, str], timeout_s: float, on_sent: Callable[[], object] | None = None
    ) -> tuple[int, str, bytes]:
        """Send one request on a new connection; return the status, its reason, and the beginning of the body.

        Raises:
            OSError: the server cannot be reached, or did not answer in time.
            http.client.HTTPException: the answer is not HTTP.
        """
        parts = urlsplit(self._base)
        assert parts.hostname is not None  # noqa: S101 - rest_base has refused anything else
        if parts.scheme == "https":
            tls = self._tls or ssl.create_default_context()
            link: http.client.HTTPConnection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=tls)
        else:
            link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        try:
            link.connect()
            link.request(method, parts.path + path, headers=headers)
            if on_sent is not None:
                on_sent()
            answer = link.getresponse()
            return answer.status, answer.reason, answer.read(LONGEST_ANSWER)
        finally:
            link.close()


@dataclass(frozen=True, slots=True)
class _Answer:
    route: str
    sent: bool
    accepted: bool | None
    error: str | None


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__}; is the server running?"


def _object(body: bytes) -> dict[str, object]:
    """Return the body parsed as a JSON object; an empty dict where it is not one."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _refuses(said: dict[str, object]) -> bool:
    """Return whether the body of a 2xx answer says that the command was not taken."""
    word = said.get("status")
    if isinstance(word, str) and canonical_words.enum_name(word.strip()[: canonical_words.LONGEST_WORD]).upper() in REFUSED:
        return True
    return False in (said.get("success"), said.get("ok")) or (word is None and bool(said.get("error")))


def _said(body: bytes) -> str:
    """Return the text of a refusal, on one line, safe to print and without secrets."""
    said = _object(body)
    found = next((said[name] for name in ("error", "message", "detail", "reason") if said.get(name)), None)
    text = str(found) if found is not None else "" if said else body.decode("utf-8", "replace")
    return server_texts.shown(text)
