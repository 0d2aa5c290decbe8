"""Workers: run tasks by threads, processes or many machines, in the order of the tasks, with progress reports and cancellation.

Tasks are cut independently of the workers, and results come in the tasks' order, so every executor gives the same bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ccwatch.errors import AnalysisError, ConfigError

Task = TypeVar("Task")
Done = TypeVar("Done")
Progress = Callable[[int, int], object]

TASK_SESSIONS: Final = 8
"""Count of sessions in one task."""
LOOK_S: Final = 0.2
"""Seconds between two checks whether the question was cancelled."""
MOST_THREADS: Final = 8


class Cancelled(AnalysisError):
    """The error of a question that was cancelled before it was answered."""


def run_all(
    work: Callable[[Task], Done],
    tasks: Sequence[Task],
    executor: Any = None,
    *,
    on_progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> list[Done]:
    """Run a function on each task and return the results, in the order of the tasks.

    Args:
        work: the function; it must be picklable if other processes run it.
        tasks: its arguments.
        executor: None or "threads", "processes", any `concurrent.futures.Executor`, or a Dask `Client`.
        on_progress: called with the count of tasks that are done and the count of all.
        cancel: ends the question when another thread sets it.

    Raises:
        Cancelled: `cancel` was set.
        ConfigError: no such executor.
    """
    report = on_progress or (lambda _done, _all: None)
    report(0, len(tasks))
    if executor is None and len(tasks) <= 1:
        return [work(task) for task in tasks]
    with _pool(executor, len(tasks)) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            _await(futures, report, cancel)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]


def _await(futures: list[Future[Any]], report: Progress, cancel: threading.Event | None) -> None:
    left = set(futures)
    while left:
        done, left = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        if cancel is not None and cancel.is_set():
            raise Cancelled(f"cancelled after {len(futures) - len(left)} of {len(futures)} tasks")
        for future in done:
            try:
                future.result()  # a worker that cannot work at all ends the question, with its error
            except CancelledError:
                raise AnalysisError(
                    f"the executor gave up a task, after {len(futures) - len(left)} of {len(futures)}: it was shut down, or lost its "
                    "connection or its workers; ask again"
                ) from None
        if done:
            report(len(futures) - len(left), len(futures))


@contextmanager
def _pool(executor: Any, tasks: int) -> Iterator[Executor]:
    """Yield the executor to submit to; one that was made here ends with the question."""
    cores = os.cpu_count() or 1
    if executor is None or executor == "threads":
        with ThreadPoolExecutor(min(cores, MOST_THREADS, max(1, tasks)), thread_name_prefix="ccwatch-ask") as pool:
            yield pool
    elif executor == "processes":
        with ProcessPoolExecutor(min(cores, max(1, tasks))) as processes:
            yield processes
    elif isinstance(executor, Executor):
        yield executor
    elif callable(getattr(executor, "get_executor", None)):  # a Dask client
        dask = executor.get_executor(pure=False, retries=3)
        try:
            yield dask
        finally:
            dask.shutdown(wait=False)
    else:
        raise ConfigError(f"executor={executor!r}: expected None, 'threads', 'processes', a concurrent.futures.Executor or a Dask Client")
