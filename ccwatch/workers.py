"""Several processes that serve one stream of Redis on one port, and one that writes it; one that dies is started again.

    bridge ──▶ stream of Redis ──▶ worker 0, worker 1, … (SO_REUSEPORT: the system gives each client to one of them)

Where another server writes the stream already, the bridge stands by, and the workers serve what is there.

Each child is `python -m ccwatch.workers`, gets its task as JSON on its standard input (so that no secret is in a command line), says where
it listens on its standard output, and ends when either end of it is closed. It prints nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

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
    forget,
)
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.feed.synthetic import SyntheticSource
from ccwatch.protocol.wire.track import RING
from ccwatch.stream.source import Stop

log = logging.getLogger("ccwatch.cottage")

STREAM: Final = "ccwatch"
"""The stream's name, where none is given."""
HISTORY: Final = RING
"""Count of the stream's last entries that a worker begins with: it welcomes its clients with them, and others' clients resume on it."""
BRIDGE: Final = "bridge"
"""The role of the process that writes the stream; a worker's is its number."""
START_S: Final = 60.0
"""How long a child may take to its first word."""
RESTART_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Wait before a child that died is started again; the waits start over after a child that lived for a minute."""
BEAT_S: Final = 1.0
"""Time between two signs of life of a child."""
SILENT_S: Final = 20.0
"""Time without a sign of life after which a child is killed: the system would go on to give it clients. On a machine with too much to do
a living one may be silent for seconds, and to start another would be still more to do."""
STOPPED_S: Final = 3.0
"""The same for a child that was stopped by a signal, which is no question of load."""
WAIT_S: Final = 0.05
"""Time between two looks at what another thread has set."""
END_S: Final = 5.0
"""How long a child may take to end."""


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


class Workers:
    """The supervisor: keeps one bridge and the workers running. A context manager."""

    def __init__(self, plan: Plan) -> None:
        """Start all, and return once every worker listens.

        Raises:
            ConfigError: a port is in use, or a child cannot start.
        """
        StreamAddress.parse(f"{plan.redis}{'&' if '?' in plan.redis else '?'}stream={plan.stream}")
        self._held = [_reserved(plan.listen.host, port) for port in (plan.listen.port, plan.listen.engine_port)]
        port, engine_port = (held.getsockname()[1] for held in self._held)
        listen = Listen(plan.listen.host, port, engine_port, plan.listen.tls_cert, plan.listen.tls_key, shared=True)
        self._plan = replace(plan, listen=listen)
        scheme, host = "wss" if listen.tls_cert else "ws", f"[{listen.host}]" if ":" in listen.host else listen.host
        self.url, self.engine_url = f"{scheme}://{host}:{port}", f"{scheme}://{host}:{engine_port}/ws/stream"
        self._stop = Stop()
        self._children = [_Child(self._plan, role, self._stop) for role in (BRIDGE, *map(str, range(plan.workers)))]
        try:
            for child in self._children:
                child.wait_until_up()
        except CcwatchError:
            self.stop()
            raise

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the running processes by role."""
        return {child.role: child.pid for child in self._children if child.pid}

    def restart(self) -> None:
        """Start one worker after another again: each closes its clients' connections with 1001, and serves again before the next one ends.

        Clients of protocol 2 resume on the others, so that nothing is lost.
        """
        for child in self._children:
            if child.role != BRIDGE and not self._stop.is_set():
                child.restart()

    def stop(self) -> None:
        """Make every worker close its clients' connections, then end all. Stopping again does nothing."""
        self._stop.set()
        for child in self._children:
            child.end()
        for held in self._held:
            held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Child:
    """One process, and the thread that starts it again."""

    def __init__(self, plan: Plan, role: str, stop: Stop) -> None:
        self.role = role
        self.pid = 0
        self._plan, self._stop = plan, stop
        self._process: subprocess.Popen[bytes] | None = None
        self._up = threading.Event()
        self._was_up = self._is_asked_to_end = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=f"ccwatch-worker-{role}", daemon=True)
        self._thread.start()

    def wait_until_up(self) -> None:
        """Wait until the process listens.

        Raises:
            ConfigError: it did not start.
        """
        if not self._up.wait(START_S) or self._trouble:
            raise ConfigError(f"{_named(self.role)} did not start: {self._trouble or f'no word within {START_S:g} s'}")

    def restart(self) -> None:
        """End the process, and return once another one listens, or has had the time to."""
        self._up.clear()
        self._is_asked_to_end = True
        self._terminate()
        if not self._up.wait(START_S):
            log.warning("%s does not listen again within %g s", _named(self.role), START_S)

    def end(self) -> None:
        self._terminate()
        self._thread.join(END_S + 1.0)

    def _terminate(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                process.terminate()

    def _run(self) -> None:
        deaths = 0
        while not self._stop.is_set():
            begun = time.monotonic()
            code = self._live()
            self.pid = 0
            if self.role != BRIDGE:
                forget(self._plan.address, self._plan.owner, int(self.role))
            if self._stop.is_set() or not self._was_up:
                self._up.set()
                return
            if self._is_asked_to_end:
                self._is_asked_to_end = False
                continue
            deaths = 0 if time.monotonic() - begun > 60.0 else deaths + 1
            log.warning("%s has ended with %s and is started again", _named(self.role), code)
            self._stop.wait(RESTART_S[min(deaths - 1, len(RESTART_S) - 1)] if deaths else 0.0)

    def _live(self) -> int:
        command = [sys.executable, "-m", "ccwatch.workers", self.role]  # the role is for who looks at the list of processes
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - this module itself
        self._process, self.pid = process, process.pid
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a child without pipes")
        with process.stdin, process.stdout:
            with contextlib.suppress(OSError):
                process.stdin.write(self._plan.task(self.role) + b"\n")
                process.stdin.flush()
            has_said, heard = False, time.monotonic()
            while process.poll() is None or not has_said:
                if self._stop.is_set():
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(END_S)
                    process.kill()
                    break
                if select.select([process.stdout], [], [], 0.05)[0]:
                    said = os.read(process.stdout.fileno(), 65_536)
                    if said and not has_said:
                        self._note_first(said)
                    elif not said:  # it has ended, or is about to
                        process.wait()
                    has_said, heard = True, time.monotonic()
                elif (silent_s := time.monotonic() - heard) > STOPPED_S and (
                    silent_s > (SILENT_S if has_said else START_S) or _is_stopped(process.pid)
                ):
                    log.warning("%s has given no sign of life for a while and is killed", _named(self.role))
                    process.kill()
            return process.wait()

    def _note_first(self, said: bytes) -> None:
        """Note that the process listens, or why it cannot."""
        trouble = json.loads(said.splitlines()[0]).get("error", "")
        self._trouble = "" if self._was_up else trouble
        self._was_up = self._was_up or not trouble
        if not trouble or not self._was_up:
            self._up.set()


def _is_stopped(pid: int) -> bool:
    """Return whether a process was stopped by a signal, as far as the system shows it."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in {b"T", b"t"}
    except OSError:
        return False


def _named(role: str) -> str:
    return "the bridge" if role == BRIDGE else f"worker {role}"


def _reserved(host: str, port: int) -> socket.socket:
    """Return a socket that reserves a port for the workers, whichever of them are alive; it does not listen.

    Raises:
        ConfigError: the port is in use, or the system cannot share one.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("workers: this system cannot share a port among processes (SO_REUSEPORT)")
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        with socket.socket(held.family) as probe:  # without SO_REUSEPORT: another Cottage's workers must not be joined
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ConfigError(f"port {port} cannot be used on {host} ({error.strerror}); --port 0 and --engine-port 0 take free ones") from None
    return held


# ── in a child ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Run the task on the standard input until that is closed, or SIGTERM."""
    task = json.loads(sys.stdin.readline())
    plan, role = Plan.read(task["plan"]), task["role"]
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
