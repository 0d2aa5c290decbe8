from __future__ import annotations

import threading

from ccwatch.dashboard.background_jobs import Background, Job
from tests.dashboard.conftest import wait_until


def test_a_job_that_fails_is_told_and_does_not_keep_the_others_from_going_on():
    made: list[tuple[str, object]] = []
    jobs = [Job("bad", lambda: 1 / 0, 0.01), Job("good", lambda: 7, 0.01), Job("once", lambda: 1, 0.01, once=True)]
    background = Background(jobs, lambda name, value: made.append((name, value)))
    background.start()
    background.start()
    try:
        wait_until(lambda: made.count(("good", 7)) > 3)
        assert background.trouble == "bad: ZeroDivisionError: division by zero"
        assert made.count(("once", 1)) == 1
        assert [thread.name for thread in threading.enumerate()].count("ccwatch-background") == 1
    finally:
        background.stop(2.0)
    wait_until(lambda: "ccwatch-background" not in [thread.name for thread in threading.enumerate()])


def test_it_runs_again_after_it_was_stopped():
    made: list[str] = []
    background = Background([Job("good", lambda: 7, 0.01)], lambda name, _: made.append(name))
    background.start()
    wait_until(lambda: made)
    background.stop(2.0)
    made.clear()
    background.start()
    wait_until(lambda: made)
    background.stop(2.0)
