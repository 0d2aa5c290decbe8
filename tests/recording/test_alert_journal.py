"""The journal of alerts: a line with a right checksum that lies is passed over and counted, and hides no other."""

from __future__ import annotations

import pytest

from ccwatch.recording import AlertJournal
from ccwatch.recording.folder import seal

ALERT = {
    "id": "abcdef",
    "rule": "drawdown",
    "subject": "",
    "severity": "critical",
    "state": "firing",
    "meaning": "it falls",
    "unit": "",
    "fired": "2026-01-02T14:30:00+00:00",
    "resolved": None,
    "fired_value": -0.03,
    "value": None,
    "worst": -0.05,
}
SILENCE = {"name": "s", "id": "abcdef", "rule": "drawdown", "subject": "", "until_ns": 2, "by": "anna", "reason": "deploy", "at_ns": 1}
LIES = {
    "no kind": {},
    "no alert": {"kind": "alert"},
    "an alert that is a list": {"kind": "alert", "alert": [1]},
    "an alert without rule": {"kind": "alert", "alert": {"id": "x"}},
    "a rule that is a number": {"kind": "alert", "alert": ALERT | {"rule": 7}},
    "a severity that is none": {"kind": "alert", "alert": ALERT | {"severity": "worst"}},
    "a time that is none": {"kind": "alert", "alert": ALERT | {"fired": "yesterday"}},
    "a time without zone": {"kind": "alert", "alert": ALERT | {"fired": "2026-01-02T14:30:00"}},
    "a value that is text": {"kind": "alert", "alert": ALERT | {"value": "-3 %"}},
    "an id that is a dict": {"kind": "alert", "alert": ALERT | {"id": {"a": 1}}},
    "an acknowledgement of a list": {"kind": "acknowledged", "id": [], "by": "anna", "at_ns": 1},
    "an acknowledgement at no time": {"kind": "acknowledged", "id": "abcdef", "by": "anna", "at_ns": "now"},
    "a silence without end": {"kind": "silence"} | {name: value for name, value in SILENCE.items() if name != "until_ns"},
    "a silence until 10^300": {"kind": "silence"} | SILENCE | {"until_ns": 1e300},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_line_that_lies_is_counted_and_hides_no_other(tmp_path, lie):
    lines = [LIES[lie], {"kind": "alert", "alert": ALERT}, LIES[lie], {"kind": "silence"} | SILENCE]
    (tmp_path / "alerts.jsonl").write_bytes(b"".join(seal(line) + b"\n" for line in lines))
    book = AlertJournal(tmp_path).book()
    assert dict(book.alerts) == {"abcdef": ALERT}
    assert [silence.reason for silence in book.silences] == ["deploy"]
    assert book.refused == (0 if lie == "no kind" else 2)  # a kind that a later version may write is no lie
