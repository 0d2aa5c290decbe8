"""One process of several that serve a stream of Redis on one port: a worker, or the bridge that writes the stream.

It gets its task as JSON on its standard input (so that no secret is in a command line), says on its standard output that it lives,
and ends when either end of it is closed. It prints nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import signal
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ccwatch.cottage import (
    AccessRules,
    Cottage,
    Listen,
    Message,
    Options,
    RedisBridge,
    RedisStreamSource,
    Shared,
    StreamAddress,
    StreamWriter,
    commands_from,
)
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.protocol.wire.channel_sender import RING
from ccwatch.stream.source import Stop

log = logging.getLogger("ccwatch.cottage")

HISTORY: Final = RING
"""Count of the stream's last entries that a worker begins with: it welcomes its clients with them, and others' clients resume on it."""
BRIDGE: Final = "bridge"
"""The role of the process that writes the stream; a worker's is its number."""
BEAT_S: Final = 1.0
"""Time between two signs of life of a child."""
WAIT_S: Final = 0.05
"""Time between two looks at what another thread has set."""


@dataclass(frozen=True)
class Plan:
    """The task of the processes."""

    redis: str = field(repr=False)
    stream: str
    workers: int
    listen: Listen
    access: AccessRules
    seeded: dict[str, Any] | None
    """Arguments of the SyntheticSource to stream; None streams what engines publish on Redis."""
    protocol: int = 2
    """The highest protocol that clients may ask for."""
    log: bool = False
    """Whether the processes print their log lines, and not warnings alone."""
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    """The name under which the bridges that follow each other write the stream, and the workers share what they count."""

    def __post_init__(self) -> None:
        """Refuse an impossible plan.

        Raises:
            ConfigError: fewer than one worker.
        """
        if self.workers < 1:
            raise ConfigError(f"workers: expected a number from 1, got {self.workers}")

    @property
    def address(self) -> StreamAddress:
        """Return the address of the stream."""
        return StreamAddress(self.redis, self.stream, group=None)

    def task(self, role: str) -> bytes:
        """Return the task of a child: "bridge", or the number of a worker."""
        access = asdict(self.access)
        return json.dumps({"role": role, "plan": {**self.__dict__, "listen": asdict(self.listen), "access": access}}).encode()

    @classmethod
    def read(cls, plan: dict[str, Any]) -> Plan:
        """Read the plan of a task."""
        access = plan["access"] | {name: tuple(plan["access"][name]) for name in ("origins", "proxies")}
        return cls(**plan | {"listen": Listen(**plan["listen"]), "access": AccessRules(**access)})


def main() -> None:
    """Run the task on the standard input until that is closed, or SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's: the parent ends its children
    given = sys.stdin.readline()
    if not given:  # the parent ended before there was a task
        return
    task = json.loads(given)
    plan, role = Plan.read(task["plan"]), task["role"]
    _show(role)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    log.setLevel(logging.DEBUG if plan.log else logging.WARNING)
    ended = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    threading.Thread(target=_watch_the_parent, args=(ended,), name="ccwatch-worker-parent", daemon=True).start()
    try:
        with _bridge(plan, ended) if role == BRIDGE else _worker(plan, role) as is_alive:
            _say({})
            while not ended.wait(BEAT_S):
                if is_alive():
                    _say({})
    except CcwatchError as error:
        _say({"error": str(error)})
        sys.exit(1)


def _show(role: str) -> None:
    """Name the process by its role, for who looks at the list of processes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"cc-{role}", encoding="ascii")


def _say(facts: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def _watch_the_parent(ended: threading.Event) -> None:
    sys.stdin.read()  # until it is closed: the parent has ended, however
    ended.set()


@contextlib.contextmanager
def _bridge(plan: Plan, ended: threading.Event) -> Any:
    """Write to the stream the messages of a seeded engine, or those that engines publish, while the context lasts.

    While another server writes it, this one stands by; it ends where another one has begun to, and is started again to stand by.
    """
    stop = Stop()
    seeded = None if plan.seeded is None else SyntheticSource(**plan.seeded)

    def write() -> None:
        while not writer.begun.wait(WAIT_S):
            if stop.is_set():
                return
        listening = threading.Thread(
            target=lambda: asyncio.run(_listen(plan, writer, seeded, stop)), name="ccwatch-bridge-redis", daemon=True
        )
        listening.start()
        if seeded is not None:
            seeded.stream(writer, stop)
        listening.join()

    with StreamWriter(plan.address, owner=plan.owner, origin="live" if seeded is None else "synthetic") as writer:
        thread = threading.Thread(target=write, name="ccwatch-bridge", daemon=True)
        thread.start()

        def is_alive() -> bool:
            if writer.lost.is_set():
                ended.set()
            return True

        try:
            yield is_alive
        finally:
            stop.set()
            thread.join(2.0)


async def _listen(plan: Plan, writer: StreamWriter, seeded: SyntheticSource | None, stop: Stop) -> None:
    """Write what comes from Redis until `stop` is set: commands to a seeded engine, or all that engines publish."""

    def obey(status: str, message: Message) -> None:
        if seeded is not None:
            (seeded.halt if status == "HALT" else seeded.resume)()
            writer.add(message.payload)

    if seeded is None:
        listening = RedisBridge(plan.redis, lambda message, _: writer.add(message.payload), on_gap=writer.begin_epoch)
    else:  # the key shows a command that was announced while Redis was gone
        listening = commands_from(plan.redis, obey)
    bridge = asyncio.create_task(listening.run())
    while not stop.is_set() and not bridge.done():  # noqa: ASYNC110 - the request comes from another thread
        await asyncio.sleep(WAIT_S)
    bridge.cancel()


@contextlib.contextmanager
def _worker(plan: Plan, role: str) -> Any:
    """Serve the stream while the context lasts."""
    source = RedisStreamSource(plan.address, history=HISTORY)
    if plan.seeded:
        source.origin = "synthetic"
    with (
        Shared(plan.address, plan.owner, int(role), plan.workers) as shared,
        Cottage(source, Options(listen=plan.listen, access=plan.access, shared=shared, protocol=plan.protocol)) as cottage,
    ):
        yield cottage.answers


if __name__ == "__main__":
    main()
