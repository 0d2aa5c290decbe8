"""Commands given from a page: armed, held, given, and their outcome. It must not know a widget.

A command is given only if the same page armed it just before, by a token that is good once: a request that waited in a busy kernel
comes too late and is refused. Only a feed that was opened with `commands=True` offers commands.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd

from ccwatch.stream.time_ranges import shown
from ccwatch.stream.view import LiveView, View

log = logging.getLogger("ccwatch.dashboard")

ARMED_S: Final = 5.0
"""How long a command stays armed."""
HOLD_S: Final = 1.0
"""How long the command's button must be held."""
SLACK_S: Final = 1.0
"""How long a request may take on its way."""
MOST_SYMBOLS: Final = 50
ACTIONS: Final = ("HALT", "RESUME")
UNDER_WAY: Final = frozenset({"SENDING", "SENT"})
MOST_SAID: Final = 5
"""At most so many commands are listed at once."""


@dataclass(frozen=True, slots=True)
class _Armed:
    page: str
    what: str
    token: str
    at: float


class Commander:
    """Gives the commands of one view's pages. Requests come one at a time; each command runs on a thread of its own."""

    def __init__(self, view: View, show: Callable[[list[dict[str, Any]]], None], send: Callable[[dict[str, Any]], None]) -> None:
        """Start with nothing armed.

        Args:
            view: the view that the pages show; only a feed that takes commands offers any.
            show: takes the lines on commands, the newest first, on any thread.
            send: sends an answer to the open pages.
        """
        self.offers = isinstance(view, LiveView) and view.takes_commands and not view.is_replay
        self._view: Any = view
        self._show = show
        self._send = send
        self._armed: _Armed | None = None
        self._said: dict[str, dict[str, Any]] = {}
        self._attempt: dict[str, int] = {}  # the attempt that a command's line is about
        self._attempts = itertools.count(1)
        self._lock = threading.Lock()  # guards the lines on commands: several may be under way

    def ask(self, page: str, request: dict[str, Any]) -> None:
        """Carry out a page's request: arm, disarm, give or subscribe."""
        if not self.offers:
            return
        do, what = request.get("do"), str(request.get("what"))[:16]
        if do == "arm" and what in ACTIONS:
            self._armed = _Armed(page, what, secrets.token_hex(8), time.monotonic())
            self._send({"kind": "armed", "page": page, "what": what, "token": self._armed.token, "for_s": ARMED_S, "hold_s": HOLD_S})
        elif do == "disarm":
            self._armed = None
        elif do == "give" and what in ACTIONS:
            armed, self._armed = self._armed, None
            why = _refusal(armed, page, what, str(request.get("token")))
            if why:
                self._say(next(self._attempts), what, "NOT SENT", f"{why}; nothing was sent. Arm it again")
            else:
                command = self._view.halt if what == "HALT" else self._view.resume
                self._run(what, lambda sent: command(confirm=what, on_sent=sent))
        elif do == "subscribe":
            symbol = str(request.get("symbol", "")).strip()[:64]
            self._run(f"SUBSCRIBE {symbol}", lambda sent: self._view.subscribe(symbol, on_sent=sent))

    def symbols(self) -> list[str]:
        """Return the symbols that were seen, sorted; empty where no commands are offered."""
        if not self.offers:
            return []
        seen = self._view.frame(["symbol"])["symbol"].dropna()
        return sorted(str(symbol)[:32] for symbol in pd.unique(seen))[:MOST_SYMBOLS]

    # ── inside ──

    @property
    def said(self) -> list[dict[str, Any]]:
        """Return the lines on commands, the newest first."""
        with self._lock:
            return [*self._said.values()][::-1]

    def _run(self, what: str, give: Callable[[Callable[[], None]], Any]) -> None:
        """Send a command, even while the same one is under way: two halts do no harm, a dropped one does."""
        attempt = next(self._attempts)
        self._say(attempt, what, "SENDING", "")
        name = f"ccwatch-{what.split(maxsplit=1)[0].lower()}"
        threading.Thread(target=self._give, args=(attempt, what, give), name=name, daemon=True).start()

    def _give(self, attempt: int, what: str, give: Callable[[Callable[[], None]], Any]) -> None:
        sent = threading.Event()

        def on_sent() -> None:
            sent.set()
            self._say(attempt, what, "SENT", "waiting for the stream to confirm it")

        try:
            result = give(on_sent)
        except Exception as error:  # noqa: BLE001 - a traceback would land in whichever cell ran last
            self._say(attempt, what, "NOT CONFIRMED" if sent.is_set() else "NOT SENT", _sentence(f"{error}"), _remedy(what, ""))
            return
        if result.confirmed:
            self._say(attempt, what, "CONFIRMED", f"the stream's status is {result.status}" if what in ACTIONS else "its packets arrive")
        else:
            how = "" if result.sent else "it did not leave this machine: "
            self._say(attempt, what, "NOT CONFIRMED", _sentence(how + (result.error or "")), _remedy(what, result.route))

    def _say(self, attempt: int, what: str, state: str, words: str, remedy: str = "") -> None:
        """Show the outcome of an attempt, unless the command's line is about a later attempt already."""
        with self._lock:
            if attempt < self._attempt.get(what, 0):
                return
            line = {"what": what, "state": state, "words": words, "remedy": remedy, "at": f"{shown(datetime.now(UTC)):%H:%M:%S %Z}"}
            known = self._said.get(what)
            if known is not None and known["state"] in UNDER_WAY and attempt != self._attempt[what] and state in {"SENDING", "NOT SENT"}:
                # The earlier attempt was sent, or is about to be: one that was not sent must not replace its line.
                line = known if state == "SENDING" else known | {"words": f"{known['words']}; another was not sent: {words}".lstrip("; ")}
            else:
                self._attempt[what] = attempt
            for other in ACTIONS if what in ACTIONS else ():
                if other != what and self._said.get(other, {}).get("state") not in UNDER_WAY:
                    self._said.pop(other, None)  # the line on the opposite command is out of date
            self._said.pop(what, None)
            self._said[what] = line
            while len(self._said) > MOST_SAID:
                gone = next(iter(self._said))
                del self._said[gone], self._attempt[gone]
        try:
            self._show(self.said)
        except Exception:  # a page that is gone must not end the handling of the command
            log.exception("%s: %s could not be shown", what, state)


def _refusal(armed: _Armed | None, page: str, what: str, token: str) -> str:
    """Return why a command may not be given now; an empty text where it may."""
    if armed is None or (armed.page, armed.what) != (page, what) or not secrets.compare_digest(armed.token.encode(), token.encode()):
        return f"{what} was not armed by this page"
    passed = time.monotonic() - armed.at
    if passed < 0.9 * HOLD_S:
        return f"{what} was not held for {HOLD_S:g} s"
    if passed > ARMED_S + HOLD_S + SLACK_S:
        return f"the request came {passed:.0f} s after {what} was armed: was the kernel busy?"
    return ""


def _remedy(what: str, route: str) -> str:
    """Return advice on a command that nothing has confirmed."""
    if what not in ACTIONS:
        return "Deployed engines do not listen to it: ask the operator of the engine."
    state = "Assume that it still trades" if what == "HALT" else "Assume that it is still halted"
    method, _, address = route.partition(" ")
    if method != "POST" or not address:
        return f"{state}. Call the operator of the engine now."
    curl = f'curl -X POST -H "Authorization: Bearer $TOKEN" {shlex.quote(address)}'
    return f"{state}. Call the operator of the engine, or try: {curl}"


def _sentence(words: str) -> str:
    return words if not words or words.endswith((".", "!", "?")) else words + "."
