"""New log lines by themselves."""

from __future__ import annotations

from ccwatch.protocol.loglines import LOG_MEMORY, LogLines
from ccwatch.protocol.messages import LogLine


def plain(*texts):
    return tuple(LogLine(None, text, None, None) for text in texts)


def timed(*seconds):
    return tuple(LogLine("INFO", "same text", second, str(second)) for second in seconds)


def test_lines_without_a_time_are_told_by_overlap():
    logs = LogLines()
    assert logs.fresh(plain("a", "b")) == plain("a", "b")
    assert logs.fresh(plain("b", "c")) == plain("c")
    assert logs.fresh(plain("b", "c")) == ()
    assert logs.fresh(plain("b", "c", "b", "c")) == plain("b", "c"), "a true repetition later is new"


def test_lines_with_a_time_are_new_once_in_any_order():
    logs = LogLines()
    assert logs.fresh(timed(1, 2)) == timed(1, 2)
    assert logs.fresh(timed(3, 2, 1)) == timed(3)
    assert logs.fresh(plain("a")) == plain("a")
    assert logs.fresh(timed(1, 4)) == timed(4)


def test_the_memory_is_bounded():
    logs = LogLines()
    for n in range(LOG_MEMORY):
        logs.fresh(timed(*range(3 * n, 3 * n + 3)))
    assert len(logs._keys) <= LOG_MEMORY + 3
