"""The heartbeat: a sign of life that stops when the guard is blind or dead, so that a monitor notices its absence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ccwatch.errors import ConfigError
from ccwatch.guard.receivers import Receiver


class Heartbeat:
    """Beats into a file or to a web server, no more often than asked; a beat never waits for the server."""

    def __init__(self, where: str, period_s: float, receivers: Sequence[Receiver] = ()) -> None:
        """Prepare; no beat is sent before beat().

        Args:
            where: a path, a json:// address, or a receiver's name; empty is no heartbeat.
            period_s: seconds from one beat to the next.
            receivers: the receivers that `where` may name.
        """
        self._period_s, self._last = period_s, 0.0
        self._file: Path | None = None
        self._receiver: Receiver | None = None
        self.beaten_ns = 0
        """Time of the last successful beat, ns since 1970; 0 before the first."""
        named = next((receiver for receiver in receivers if receiver.name == where), None)
        if named is not None:
            self._receiver = named
        elif "://" in where or where.startswith(("env:", "file:")):
            self._receiver = Receiver("heartbeat", where)
        elif where:
            self._file = Path(where).expanduser()

    @property
    def is_set(self) -> bool:
        """Return whether there is a heartbeat."""
        return self._file is not None or self._receiver is not None

    def beat(self) -> None:
        """Send a beat if one is due."""
        now = time.monotonic()
        if not self.is_set or (self._last and now - self._last < self._period_s):
            return
        self._last = now
        if self._file is not None:
            self.send()
        else:
            threading.Thread(target=self.send, name="ccwatch-heartbeat", daemon=True).start()

    def send(self) -> bool:
        """Send a beat now; return whether it arrived.

        Raises:
            ConfigError: the heartbeat's file cannot be written.
        """
        beat = {"kind": "heartbeat", "at_ns": time.time_ns(), "period_s": self._period_s}
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                part = self._file.with_name(self._file.name + ".part")
                part.write_text(json.dumps(beat), encoding="utf-8")
                part.replace(self._file)
            except OSError as error:
                raise ConfigError(f"heartbeat: {self._file} cannot be written: {error.strerror}") from None
        elif self._receiver is not None and not self._receiver.send(beat).done:
            return False
        self.beaten_ns = time.time_ns()
        return True
