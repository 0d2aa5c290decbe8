"""A failing callback of a user's: seen in a script, once; silent where the user's own log takes it, or where a notebook owns stderr."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ccwatch.stream.callback_errors import Failures

SCRIPT = """
import logging, sys, time
{setup}
import ccwatch as cw

class Packets(Exception): pass
class Alerts(Exception): pass

def on_packet(packet): raise Packets("mine")
def on_alert(alert): raise Alerts("mine")

halted = cw.synthetic(seed=2, scenario="drawdown-halt", packets=400, pace="max")
halted.join(60)
with cw.synthetic(rate=50) as feed, cw.watch(halted) as dashboard:
    feed.on_packet(on_packet)
    dashboard.on_alert(on_alert)
    until = time.monotonic() + 20
    while (dashboard.callback_errors < 2 or feed.health().callback_errors < 2) and time.monotonic() < until:
        time.sleep(0.02)
    assert "Alerts: mine" in dashboard._alerts.trouble, dashboard._alerts.trouble
assert dashboard.callback_errors >= 2, "counted after the end too"
{end}
"""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_failure_that_cannot_be_put_into_words_is_counted_like_any_other():
    def callback(_):
        raise Unspeakable

    failures = Failures("a callback on tests")
    for _ in range(2):
        failures.guard(callback, None)
    assert failures.count == 2
    assert "Unspeakable" in failures.last


def run(setup: str = "", end: str = "") -> str:
    """What a script of a user's writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(setup=setup, end=end)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_script_sees_the_first_failure_of_each_callback_with_its_traceback():
    seen = run()
    for line in ("a callback on packets failed; further", "a callback on alerts failed; further", "Packets: mine", "Alerts: mine"):
        assert seen.count(line) == 1, seen
    assert "in on_alert" in seen
    assert "in on_packet" in seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "shown"),
    [
        ("logging.basicConfig()", 1),  # by the user's handler, not by ours as well
        ("sys.stderr = __import__('io').StringIO()", 0),  # as a notebook's kernel does
        ("logging.getLogger('ccwatch').setLevel(logging.CRITICAL)", 0),
    ],
)
def test_it_is_left_to_the_users_log_and_never_written_into_a_notebooks_cell(setup, shown):
    end = "sys.stderr is sys.__stderr__ or sys.__stderr__.write(sys.stderr.getvalue())"
    seen = run(setup, end)
    assert seen.count("Traceback") == 2 * shown, seen
