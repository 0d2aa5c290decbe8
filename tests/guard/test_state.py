"""What a guard keeps for its restart is checked before use: a file that lies is as good as none."""

from __future__ import annotations

import json
import os
import random
from itertools import islice

import pytest

from ccwatch.alerts.certificates import FILE as CERTIFICATES, Certificate, Certificates
from ccwatch.alerts.evaluator import Evaluator
from ccwatch.feed.synthetic import messages
from ccwatch.guard.state import FILE, GuardState
from ccwatch.protocol.messages import Instant
from ccwatch.protocol.stream_reader import StreamReader
from tests.recording.fuzz import changed

FULL = 3_000 if os.environ.get("CCWATCH_FULL") else 0
NOW = 1_767_364_200 * 10**9

CERTIFICATE = {"rule": "r", "digest": "d", "incidents": 1, "caught": 1, "false_a_day": 0.2, "lead_s": None, "sessions": [], "days": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "7",
        '{"alive_ns": "now"}',
        '{"sessions": [1]}',
        '{"blind": [["a"]]}',
        '{"journal": {}}',
        '{"blind": [[1]]}',
        '{"alive_ns": -1}',
        '{"carry": {"machines": 5}}',
        "[" * 100_000,
    ],
)
def test_a_state_that_lies_is_an_empty_one(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert GuardState.read(tmp_path) == GuardState()


@pytest.fixture(scope="module")
def seen():
    """Items of a stream with a fault, in two halves."""
    reader = StreamReader(virtual_clock=True)
    items = list(reader.opened(Instant(NOW, 0)))
    for n, raw in enumerate(islice(messages(3, "slow-agent", 1.0), 200), 1):
        items += reader.receive(raw, Instant(NOW + n * 10**9, n * 10**9))
    return items[:150], items[150:]


@pytest.fixture(scope="module")
def snapshot(seen):
    """A snapshot of an evaluator that has seen the first half, as it comes back from a file."""
    evaluator = Evaluator()
    evaluator.receive(seen[0])
    return json.loads(json.dumps(evaluator.snapshot()))


@pytest.mark.filterwarnings("error")
def test_a_snapshot_that_lies_is_none_or_an_evaluator_goes_on_from_it(seen, snapshot, tmp_path):
    dice, refused = random.Random(1), 0
    for _ in range(FULL or 40):
        (tmp_path / FILE).write_text(json.dumps({"alive_ns": 5, "carry": changed(dice, snapshot)}))
        state = GuardState.read(tmp_path)
        refused += not state.alive_ns
        if state.carry is not None:
            evaluator = Evaluator()
            evaluator.restore(state.carry)
            evaluator.receive(seen[1])
            evaluator.snapshot()
            assert evaluator.standing
    assert refused


def test_a_state_is_read_as_it_was_written(tmp_path, snapshot):
    state = GuardState(5, ["a"], snapshot, 2, "b", ["c"], [(1, 2)], 3)
    state.write(tmp_path)
    assert GuardState.read(tmp_path) == state


def test_no_flipped_bit_is_believed(tmp_path, snapshot):
    state, made = GuardState(5, ["a"], snapshot, 2, "b", ["c"], [(1, 2)], 3), Certificate("r", "d", 1, 1, 0.2, None, ("s",), 1.0, "")
    state.write(tmp_path)
    Certificates(tmp_path).keep(made)
    whole = {name: (tmp_path / name).read_bytes() for name in (FILE, CERTIFICATES)}
    dice = random.Random(2)
    for _ in range(FULL or 60):
        name = dice.choice((FILE, CERTIFICATES))
        data = bytearray(whole[name])
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (tmp_path / name).write_bytes(data)
        if name == FILE:
            assert GuardState.read(tmp_path) in (state, GuardState())
        else:
            assert Certificates(tmp_path).read() in ({"d": made}, {})


@pytest.mark.parametrize("lie", [{"days": "many"}, {"false_a_day": []}, {"sessions": 5}, {"caught": None}])
def test_certificates_that_lie_are_none(tmp_path, lie):
    (tmp_path / CERTIFICATES).write_text(json.dumps({"d": CERTIFICATE | {"tried_at": ""} | lie}))
    assert Certificates(tmp_path).read() == {}
    (tmp_path / CERTIFICATES).write_text(json.dumps({"d": CERTIFICATE | {"tried_at": ""}}))
    assert Certificates(tmp_path).read()["d"].days == 1.0
