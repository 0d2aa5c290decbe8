"""Background: a dashboard's slow jobs beside its charts: computed lines, services, marks, health. It must not know a widget.

A thread of its own, because a quantile over hours, or a function of the user's, may take longer than a frame. Each job waits ten
times as long as it last took, so that together they never take more than a small share of the kernel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_SHARE: Final = 10.0
LEAST_PAUSE_S: Final = 0.05


@dataclass(slots=True)
class Job:
    """A computation that is repeated.

    Attributes:
        name: by which a failure is reported.
        work: returns the result; runs without the dashboard's lock.
        period_s: seconds from one to the next, at least.
        once: whether one success is enough: nothing will change.
        share: it starts again at the earliest so many times as long after its last start as that run took.
    """

    name: str
    work: Callable[[], Any]
    period_s: float
    once: bool = False
    share: float = _SHARE
    due: float = 0.0
    trouble: str = ""


class Background:
    """Runs jobs one after the other and hands over their results."""

    def __init__(self, jobs: list[Job], post: Callable[[str, Any], None], name: str = "ccwatch-background") -> None:
        """Prepare; nothing runs before start().

        Args:
            jobs: the jobs to run.
            post: takes a job's name and its result, on the background thread.
            name: the thread's name.
        """
        self._jobs = jobs
        self._name = name
        self._post = post
        self._stop = threading.Event()
        self._starting = threading.Lock()  # serialises start with stop: two pages may paint at once
        self._thread: threading.Thread | None = None

    @property
    def trouble(self) -> str:
        """Return the jobs that failed at their last attempt, in one line; empty where all is well."""
        return "; ".join(f"{job.name}: {job.trouble}" for job in self._jobs if job.trouble)

    def start(self) -> None:
        """Run until stop(); do nothing where it runs already."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._stop = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name=self._name, daemon=True)
                self._thread.start()

    def stop(self, timeout: float = 0.0) -> None:
        """End after the job that is running; wait for it at most `timeout` seconds."""
        with self._starting:
            self._stop.set()
            thread, self._thread = self._thread, None
        if timeout and thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for job in self._jobs:
                if stop.is_set():
                    return
                if time.monotonic() >= job.due:
                    self._do(job)
            pause = min((job.due for job in self._jobs), default=time.monotonic() + 60.0) - time.monotonic()
            stop.wait(min(max(pause, LEAST_PAUSE_S), 60.0))

    def _do(self, job: Job) -> None:
        began = time.monotonic()
        try:
            made = job.work()
            job.trouble = ""
            self._post(job.name, made)
        except Exception as error:  # noqa: BLE001 - reported in the header; the other jobs go on
            job.trouble = f"{type(error).__name__}: {error}"
        took = time.monotonic() - began
        done = job.once and not job.trouble
        job.due = float("inf") if done else began + max(job.period_s, job.share * took)
