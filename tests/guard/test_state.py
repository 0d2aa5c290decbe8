"""What a guard keeps for its restart is checked before use: a file that lies is as good as none."""

from __future__ import annotations

import json

import pytest

from ccwatch.alerts.certificates import FILE as CERTIFICATES, Certificates
from ccwatch.guard.state import FILE, GuardState

CERTIFICATE = {"rule": "r", "digest": "d", "incidents": 1, "caught": 1, "false_a_day": 0.2, "lead_s": None, "sessions": [], "days": 1.0}


@pytest.mark.parametrize(
    "text", ["[]", "7", '{"alive_ns": "now"}', '{"sessions": [1]}', '{"blind": [["a"]]}', '{"journal": {}}', "[" * 100_000]
)
def test_a_state_that_lies_is_an_empty_one(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert GuardState.read(tmp_path) == GuardState()


def test_a_state_is_read_as_it_was_written(tmp_path):
    state = GuardState(5, ["a"], {"seq": 1}, 2, "b", ["c"], [[1, 2]], 3)
    state.write(tmp_path)
    assert GuardState.read(tmp_path) == state


@pytest.mark.parametrize("lie", [{"days": "many"}, {"false_a_day": []}, {"sessions": 5}, {"caught": None}])
def test_certificates_that_lie_are_none(tmp_path, lie):
    (tmp_path / CERTIFICATES).write_text(json.dumps({"d": CERTIFICATE | {"tried_at": ""} | lie}))
    assert Certificates(tmp_path).read() == {}
    (tmp_path / CERTIFICATES).write_text(json.dumps({"d": CERTIFICATE | {"tried_at": ""}}))
    assert Certificates(tmp_path).read()["d"].days == 1.0
