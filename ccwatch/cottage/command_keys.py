"""The keys by which a command is obeyed once, at one server or at any of the workers that share a stream of Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ccwatch.cottage.redis_entries import CONNECT_S, StreamAddress
from ccwatch.protocol.wire.hello import Refused
from ccwatch.protocol.wire.message_commands import Answered, Command, Keys, answer_again, refuse_late

OBEYING_MS: Final = 5_000
"""How long a key counts as being obeyed: a worker that was killed meanwhile never says, and the command may be given again."""
KNOWN_MS: Final = 24 * 3600 * 1000


class CommandKeys(Protocol):
    """The commands that were obeyed, by their keys. Used on a loop's thread only."""

    async def begin(self, command: Command, now_ns: int) -> Answered | None:
        """Return the answer that was given to a key before; None where the command is to be obeyed now.

        Raises:
            Refused: it may not be obeyed.
        """

    async def end(self, command: Command, answered: Answered) -> None:
        """Remember the answer to a command that was obeyed."""


class OwnKeys:
    """The keys of one server, in its memory."""

    def __init__(self) -> None:
        self._keys = Keys()

    async def begin(self, command: Command, now_ns: int) -> Answered | None:
        """Look up and remember a key."""
        return self._keys.begin(command, now_ns)

    async def end(self, command: Command, answered: Answered) -> None:
        """Remember an answer."""
        self._keys.end(command, answered)


class SharedKeys:
    """The keys of all workers of a stream, in Redis, for a day."""

    def __init__(self, address: StreamAddress) -> None:
        self._address = address

    async def begin(self, command: Command, now_ns: int) -> Answered | None:
        """Look up and remember a key; without an answer of Redis nothing is obeyed, since it might be twice."""
        if command.key is None:
            refuse_late(command, now_ns)
            return None
        async with self._asking() as client:
            known = await client.get(self._name(command))
            if known is not None:
                what, *answered = json.loads(known)
                return answer_again(command, what, Answered(*answered) if answered else None)
            refuse_late(command, now_ns)
            if not await client.set(self._name(command), json.dumps([command.what]), nx=True, px=OBEYING_MS):
                raise Refused("busy", "a command with this key is being obeyed")
        return None

    async def end(self, command: Command, answered: Answered) -> None:
        """Remember an answer; one that could not be obeyed may be tried again."""
        if command.key is None:
            return
        with suppress(Refused):  # it was obeyed, and its client is answered so
            await self._remember(command, answered)

    async def _remember(self, command: Command, answered: Answered) -> None:
        async with self._asking() as client:
            if answered.code:
                await client.delete(self._name(command))
            else:
                await client.set(self._name(command), json.dumps([command.what, *answered]), px=KNOWN_MS)

    def _name(self, command: Command) -> str:
        return f"{self._address.stream}:command:{command.key}"

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Any]:
        retry = Retry(NoBackoff(), 0)
        try:
            async with (
                asyncio.timeout(CONNECT_S),
                redis.asyncio.Redis.from_url(self._address.url, socket_connect_timeout=CONNECT_S, retry=retry) as client,
            ):
                yield client
        except Refused:
            raise
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            raise Refused("unable", f"Redis does not say whether this key was obeyed before ({type(error).__name__})") from None
