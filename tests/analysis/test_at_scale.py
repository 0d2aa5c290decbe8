"""Long sessions: memory in a process of its own, and no loop in Python over rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccwatch.analysis import Report
from ccwatch.analysis.report import QUESTIONS
from tests.analysis.at_scale import Session

ROOT = Path(__file__).parents[2]
FULL = "CCWATCH_FULL" in os.environ
PACKAGE = str(ROOT / "ccwatch")


def steps(ask):
    """How many lines of ccwatch's own code were executed."""
    count = 0

    def line(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return line

    def call(frame, _event, _argument):
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        ask()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("question", [*QUESTIONS, "explain", "compare"])
def test_no_answer_loops_over_rows(question):
    """Three times as many packets: a loop over them would take a line or more for each of the 80,000 that are added."""
    counts = []
    for packets in (40_000, 120_000):
        report = Report(Session(packets))
        middle = report._tables.packets.index[packets // 2]
        ask = {"explain": lambda r=report, m=middle: r.explain(m), "compare": lambda r=report: r.compare(r)}.get(question)
        counts.append(steps(ask or getattr(report, question)))
    assert counts[0] > 0
    # rules step where a measure crosses a limit: here one row in eight, some thirty lines each
    most = 5.0 if question == "alerts" else 0.5
    assert counts[1] - counts[0] < most * 80_000, counts


@pytest.mark.skipif(not FULL, reason="an expensive proof: CCWATCH_FULL=1 runs it (2 to 5 minutes, 4 GB)")
def test_every_answer_on_five_million_packets_stays_within_four_gigabytes():
    done = subprocess.run(
        [sys.executable, "-m", "tests.analysis.at_scale", "5000000"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=900
    )
    heard = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["question"] for line in heard] == ["", *QUESTIONS, "explain", "compare"]
    assert not any(line.get("error") for line in heard)
    # each question is asked of a report of its own: the tables, and what one answer needs beyond them
    assert max(line["peak_mb"] for line in heard) <= 4096, done.stdout
