"""Deltas: what they make of the message before is the next one, byte for byte; what is no delta is refused."""

from __future__ import annotations

import copy
import json
import time

import orjson
import pytest
from hypothesis import given, strategies as st

from ccwatch.errors import DecodeError
from ccwatch.protocol.wire.delta import MOST_OPERATIONS, diff, rebuild
from tests.protocol.shapes import SHAPES, contract, examples, json_values, messages

ANY = st.sampled_from([message for group in SHAPES.values() for message in group]) | messages


def assert_exact(before, after):
    kept = orjson.dumps(before)
    delta = diff(before, after)
    if delta is None:
        return False
    sent = orjson.loads(orjson.dumps(delta))
    assert orjson.dumps(rebuild(before, sent)) == orjson.dumps(after)
    assert orjson.dumps(before) == kept, "the message before is changed"
    return True


@pytest.mark.slow
@given(ANY, ANY)
@examples(150)
def test_a_delta_between_any_two_messages_is_exact_to_the_byte(before, after):
    assert_exact(orjson.loads(orjson.dumps(before)), orjson.loads(orjson.dumps(after)))


@st.composite
def neighbours(draw):
    """A message, and the next one: numbers other, entries gone or new, lists moved on."""
    before = draw(st.sampled_from([message for group in SHAPES.values() for message in group]))
    after = copy.deepcopy(before)
    place = after
    for _ in range(draw(st.integers(0, 3))):
        inner = [value for value in place.values() if isinstance(value, dict)]
        if inner:
            place = draw(st.sampled_from(inner))
    for key in list(place):
        action = draw(st.sampled_from(["keep", "keep", "other", "gone", "move"]))
        if action == "gone":
            del place[key]
        elif action == "other":
            place[key] = draw(json_values)
        elif action == "move" and isinstance(place[key], list):
            place[key] = place[key][draw(st.integers(0, 2)) :] + draw(st.lists(json_values, max_size=2))
    place |= draw(st.dictionaries(st.text(max_size=3) | st.just("$"), json_values, max_size=2))
    return before, after


@pytest.mark.slow
@given(neighbours())
@examples(200)
def test_neighbours_have_a_delta_and_it_is_exact(pair):
    before, after = (orjson.loads(orjson.dumps(message)) for message in pair)
    assert_exact(before, after)


def test_a_delta_names_only_what_is_other():
    before = contract(logs=["a", "b", "c"])
    after = contract(logs=["b", "c", "d"], market={"price": 451.0}, agents={"New": {"latency_ms": 1.0}}, sentiment={"label": "N/A"})
    assert diff(before, after) == {
        "set": {
            "data": {
                "market": {"price": 451.0},
                "agents": {"New": [{"latency_ms": 1.0}]},
                "sentiment": [{"label": "N/A"}],
            }
        },
        "append": [[["data", "logs"], ["d"], 1]],
    }
    assert assert_exact(before, after)
    assert diff(after, before)["unset"] == [["data", "sentiment"], ["data", "agents", "New"]]
    assert assert_exact(after, before)
    assert diff(before, before) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": 0.0}, {"a": -0.0}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": None, "b": None}),
        ({"a": {}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}),
        ({"a": {"$": 1}}, {"a": {"$": 2}}),
        ({"a": {}}, {"a": {"$": None}}),
        ({"a": [1, 2]}, {"a": []}),
        ({"a": [1, 1, 1]}, {"a": [1, 1, 1, 1]}),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"y": 2, "x": 1}]}),
    ],
)
def test_what_looks_alike_and_is_written_otherwise_is_told_apart(before, after):
    assert assert_exact(before, after)


@pytest.mark.parametrize(
    ("before", "after"), [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"b": 1}, {"a": 1, "b": 1}), ([], {}), (None, {"a": 1})]
)
def test_another_order_of_keys_is_no_delta(before, after):
    assert diff(before, after) is None


@pytest.mark.parametrize(
    "delta",
    [
        None,
        [],
        {"foo": 1},
        {"set": []},
        {"set": 1},
        {"set": {"a": []}},
        {"set": {"a": [1, 2]}},
        {"set": {"list": {"b": [1]}}},
        {"set": {"missing": {"b": [1]}}},
        {"unset": "a"},
        {"unset": [["missing"]]},
        {"unset": [[]]},
        {"unset": [["a", 5]]},
        {"unset": [["number", "x"]]},
        {"unset": [["a"] * 1000]},
        {"append": [[["list"], [1]]]},
        {"append": [[["list"], [1], 9]]},
        {"append": [[["list"], [1], -1]]},
        {"append": [[["list"], [1], 1.5]]},
        {"append": [[["list"], 5, 0]]},
        {"append": [[["number"], [1], 0]]},
        {"append": [[["missing"], [1], 0]]},
        {"append": [5]},
    ],
)
def test_what_does_not_fit_is_refused(delta):
    with pytest.raises(DecodeError):
        rebuild({"a": {"b": 1}, "list": [1, 2], "number": 5}, delta)


@pytest.mark.slow
def test_a_delta_on_nothing_and_one_of_a_million_operations_are_refused_at_once():
    with pytest.raises(DecodeError, match="nothing"):
        rebuild(None, {})
    many = {"set": {f"k{n}": n for n in range(1_000_000)}}
    began = time.perf_counter()
    with pytest.raises(DecodeError, match=str(MOST_OPERATIONS)):
        rebuild({"a": 1}, many)
    with pytest.raises(DecodeError):
        rebuild({"a": []}, {"append": [[["a"], [1], 0]] * 1_000_000})
    assert time.perf_counter() - began < 5.0
    deep = json.loads('{"a":' * 500 + "1" + "}" * 500)
    with pytest.raises(DecodeError):
        rebuild({}, {"set": deep})
