"""Requests of clients of protocol 2 beside the stream, and their answers: HELLO, channels, RESYNC, commands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ccwatch.cottage.access import Grant
from ccwatch.cottage.broadcaster import StateBroadcaster
from ccwatch.cottage.client import Client
from ccwatch.cottage.command_keys import CommandKeys
from ccwatch.protocol.wire import hello
from ccwatch.protocol.wire.client_state import Talk
from ccwatch.protocol.wire.hello import Refused
from ccwatch.protocol.wire.message_commands import COMMANDS, Answered, read_command

log = logging.getLogger("ccwatch.cottage")

RESYNC_S: Final = 0.5
"""The shortest time between two RESYNCs of a client that are obeyed; ccwatch's own sends at most one a second."""

CATCH_UP_S: Final = 20.0
"""The longest time that a client of another server waits until its numbering is known here; it waits for 30 s itself."""
WAIT_S: Final = 0.02

Obey = Callable[[str, Grant], Awaitable[Answered]]
"""A function that obeys HALT or RESUME of a client that may command."""


class Requests:
    """Answers the requests of one endpoint's clients. Used on the loop's thread only."""

    def __init__(
        self,
        broadcaster: StateBroadcaster,
        obey: Obey,
        choose_symbol: Callable[[Client, str], bool],
        keys: CommandKeys,
        refused: Callable[[str], None],
    ) -> None:
        """Prepare to answer.

        Args:
            broadcaster: whose clients ask.
            obey: obeys a command.
            choose_symbol: sends a client one symbol's packets only, and returns whether there are any.
            keys: the commands that were obeyed, on every site of this Cottage.
            refused: counts a command that its client may not give.
        """
        self._broadcaster = broadcaster
        self._obey = obey
        self._choose_symbol = choose_symbol
        self._keys = keys
        self._refused = refused
        self._resynced: dict[Client, float] = {}

    def forget(self, client: Client) -> None:
        """Forget a client that has gone."""
        self._resynced.pop(client, None)

    async def answer(self, message: dict[str, Any], client: Client, grant: Grant, symbol: str | None) -> bool:
        """Answer a message, and return whether it is one of protocol 2.

        Args:
            message: what the client said.
            client: who said it.
            grant: its rights.
            symbol: the message's symbol, if it has a valid one.
        """
        what, ref = message.get("type"), message.get("ref")
        if self._broadcaster.channels is None or (client.talk is None and what != "HELLO") or what == "PING":
            return False
        try:
            if what == "HELLO":
                await self._catch_up(message, client)
                self._greet(message, client)
            elif what in {"SUBSCRIBE", "UNSUBSCRIBE"}:
                self._subscribe(message, client, grant, symbol)
            elif what == "RESYNC":
                self._resync(message, client)
            elif what in COMMANDS:
                client.say(await self._command(message, grant))
            else:
                raise Refused("unknown", "no such request")  # noqa: TRY301 - answered like the others
        except Refused as refusal:
            client.say(hello.write_nack(ref, refusal.code, str(refusal)))
        return True

    def refuse(self, client: Client, reason: str) -> bool:
        """Answer what is no message, and return whether the client speaks protocol 2."""
        if client.talk is None:
            return False
        client.say(hello.write_nack(None, "malformed", reason))
        return True

    async def _catch_up(self, message: dict[str, Any], client: Client) -> None:
        """Wait while a client may come from a server of the same stream that was further, in a numbering that has not been read here yet.

        Without it the client would be given what it has. One who cannot be helped is cut: it finds a server that reads the stream.
        """
        channels, asked_s = self._broadcaster.channels_of(client.symbol), time.monotonic()
        if channels is None or client.talk is not None or not (want := hello.read_want(message)).epoch:
            return
        state = channels.track("state")
        while self._broadcaster.caught_up_to_s() < asked_s and state.since(want.epoch, want.seq.get("state", 0)) is None:
            if time.monotonic() > asked_s + CATCH_UP_S:
                log.warning("A client is cut: the stream that it has read cannot be read here")
                client.abort()
                raise Refused("unable", "the stream cannot be read here")
            await asyncio.sleep(WAIT_S)

    def _greet(self, message: dict[str, Any], client: Client) -> None:
        if client.talk is not None:
            raise Refused("twice", "HELLO was said on this connection")
        channels = self._broadcaster.channels_of(client.symbol)
        assert channels is not None  # noqa: S101 - the caller has looked
        talk, answer, missed = Talk.greet(message, channels, counted=self._broadcaster.is_counted)
        client.begin(talk, channels, answer, missed)
        self._broadcaster.regroup()

    def _subscribe(self, message: dict[str, Any], client: Client, grant: Grant, symbol: str | None) -> None:
        talk = client.talk
        if talk is None or client.channels is None:
            return
        if "channels" in message:
            client.say(talk.change(message, client.channels))
            self._broadcaster.regroup()
            return
        if "origin" in grant.why_not:
            raise Refused("forbidden", grant.why_not)
        if message["type"] == "UNSUBSCRIBE":
            symbol = ""
        if symbol is None or not self._choose_symbol(client, symbol):
            raise Refused("symbol", "there are no packets of this symbol here")
        channels = self._broadcaster.channels_of(client.symbol)
        if channels is not None:
            client.channels, client.backlog = channels, None
            at = talk.begin(channels)
            client.say(hello.write_ack(message.get("ref"), symbol=client.symbol, epoch=channels.epoch, at=at))
        self._broadcaster.regroup()

    def _resync(self, message: dict[str, Any], client: Client) -> None:
        talk, channels, now = client.talk, client.channels, time.monotonic()
        if talk is None or channels is None:
            return
        if now - self._resynced.get(client, -RESYNC_S) < RESYNC_S or client.is_full or client.backlog is not None:
            raise Refused("busy", "a whole message is on its way, or one was asked for a moment ago")
        self._resynced[client] = now
        *messages, answer = talk.resync(message, channels)
        for payload in messages:
            client.write(payload)
        client.say(answer)

    async def _command(self, message: dict[str, Any], grant: Grant) -> bytes:
        """Obey a command once, and return the answer."""
        ref = message.get("ref")
        command = read_command(message)
        facts = {} if command.key is None else {"key": command.key}
        if grant.why_not:
            self._refused(command.what)
            log.warning("%s refused: %s", command.what, grant.why_not)
            return hello.write_nack(ref, "forbidden", grant.why_not, **facts)
        try:
            answered = await self._keys.begin(command, time.time_ns())
        except Refused as refusal:
            return hello.write_nack(ref, refusal.code, str(refusal), **facts)
        if answered is None:
            answered = Answered("unable", "the server failed")
            try:
                answered = await self._obey(command.what, grant)
            finally:
                await self._keys.end(command, answered)
        return hello.write_nack(ref, answered.code, answered.reason, **facts) if answered.code else hello.write_ack(ref, **facts)
