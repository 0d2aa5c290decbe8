"""Several processes that serve one stream of Redis on one port, and one that writes it; one that dies is started again.

    bridge ──▶ stream of Redis ──▶ worker 0, worker 1, … (SO_REUSEPORT: the system gives each client to one of them)

Where another server writes the stream already, the bridge stands by, and the workers serve what is there.

Each child is a `worker_process`. One more waits for a task with all modules loaded, which takes most of the time of a start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ccwatch.cottage import Listen, StreamAddress, forget
from ccwatch.errors import CcwatchError, ConfigError
from ccwatch.stream.source import Stop
from ccwatch.worker_process import BRIDGE, Plan

__all__ = ["Plan", "Workers"]

log = logging.getLogger("ccwatch.cottage")

STREAM: Final = "ccwatch"
"""The stream's name, where none is given."""
START_S: Final = 60.0
"""How long a child may take to its first word."""
RESTART_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Wait before a child that died is started again; the waits start over after a child that lived for a minute."""
SILENT_S: Final = 20.0
"""Time without a sign of life after which a child is killed: the system would go on to give it clients. On a machine with too much to do
a living one may be silent for seconds, and to start another would be still more to do."""
STOPPED_S: Final = 3.0
"""The same for a child that was stopped by a signal, which is no question of load."""
END_S: Final = 5.0
"""How long a child may take to end."""


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
        self._spare = _Spare()
        self._children = [_Child(self._plan, role, self._stop, self._spare) for role in (BRIDGE, *map(str, range(plan.workers)))]
        try:
            for child in self._children:
                child.wait_until_up()
            self._spare.prepare()
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
        self._spare.end()
        for held in self._held:
            held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Spare:
    """A process without a task, for the next child that has to be started at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the children's threads ask at any time
        self._process: subprocess.Popen[bytes] | None = None
        self._has_ended = False

    def take(self) -> subprocess.Popen[bytes]:
        """Return a process that waits for its task."""
        with self._lock:
            process, self._process = self._process, None
        return process if process is not None and process.poll() is None else _started()

    def prepare(self) -> None:
        """Start a process for later, unless one waits."""
        with self._lock:
            if not self._has_ended and (self._process is None or self._process.poll() is not None):
                self._process = _started()

    def end(self) -> None:
        """End the process that waits; no other one is started."""
        with self._lock:
            process, self._process, self._has_ended = self._process, None, True
        if process is not None:
            process.kill()
            process.wait()


class _Child:
    """One process, and the thread that starts it again."""

    def __init__(self, plan: Plan, role: str, stop: Stop, spare: _Spare) -> None:
        self.role = role
        self.pid = 0
        self._plan, self._stop, self._spare = plan, stop, spare
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
        process = self._spare.take()
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
        if self._was_up:  # another one than the first: that took what was kept for it
            self._spare.prepare()
        trouble = json.loads(said.splitlines()[0]).get("error", "")
        self._trouble = "" if self._was_up else trouble
        self._was_up = self._was_up or not trouble
        if not trouble or not self._was_up:
            self._up.set()


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ccwatch.worker_process"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - this module itself


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
