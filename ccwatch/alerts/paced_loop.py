"""A thread that calls a function again and again, at a bounded rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

PERIOD_S: Final = 0.25
"""A batch is judged at most this often."""


class Loop:
    """A thread that calls `step` repeatedly, each time after a pause of at least as long as it last took."""

    def __init__(self, step: Callable[[], None], is_done: Callable[[], bool]) -> None:
        """Start the thread; it ends after a step before which `is_done` held, or once the view was let go."""
        self._step, self._is_done = step, is_done
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ccwatch-alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step that runs, without waiting for it, since a callback may call this."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                is_over = self._is_done()  # asked before: what came until then is judged
                self._step()
            except ReferenceError:  # the view was let go
                return
            if is_over:
                return
            took = time.monotonic() - began
            self._stop.wait(max(PERIOD_S - took, took, 0.05))
