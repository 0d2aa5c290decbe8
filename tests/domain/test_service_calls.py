"""Calls that are listed again and again count once each, in the order of their times."""

from __future__ import annotations

import math

from hypothesis import given, settings, strategies as st

from ccwatch.domain import service_calls
from ccwatch.domain.known_items import KnownItems
from ccwatch.domain.service_calls import Call, ServiceCalls


def test_an_item_is_new_as_often_as_a_message_has_it_more_often_than_any_before():
    known = KnownItems()
    assert known.new_of(["a", "b", "a"]) == [0, 1, 2]
    assert known.new_of(["a", "b", "a"]) == []
    assert known.new_of(["b", "a"]) == []
    assert known.new_of(["a", "a", "a", "c"]) == [2, 3]


def test_what_is_still_sent_is_not_forgotten_and_the_memory_is_bounded():
    known = KnownItems(most=10)
    assert known.new_of(["steady"]) == [0]
    for n in range(1000):
        assert known.new_of(["steady", n]) == [1]
    assert len(known._counts) <= 12


def test_calls_are_counted_in_the_order_of_their_times_however_they_are_listed():
    calls = ServiceCalls()
    listed = [Call("risk", 30, 3.0, 0.0), Call("risk", 20, 2.0, 1.0), Call("macro", 25, 9.0, math.nan), Call("risk", 10, 1.0, 1.0)]
    assert [(listed[c.place].time_ns, c.success_rate, c.invocations) for c in calls.count(listed) if listed[c.place].name == "risk"] == [
        (10, 1.0, 1),
        (20, 1.0, 2),
        (30, 2 / 3, 3),
    ]
    assert calls.count(listed) == []
    (new,) = calls.count([Call("risk", 40, 4.0, 1.0), *listed])
    assert (new.place, new.success_rate, new.invocations) == (0, 0.75, 4)


def test_a_call_that_says_nothing_of_success_counts_without_it():
    calls = ServiceCalls()
    first, second = calls.count([Call("model", 1, 5.0, math.nan), Call("model", 2, math.nan, math.nan)])
    assert math.isnan(first.success_rate)
    assert (first.invocations, second.invocations) == (1, 2)


def test_two_calls_that_look_alike_are_two_and_calls_without_a_time_are_known_too():
    calls = ServiceCalls()
    twins = [Call("a", 1, 5.0, 1.0), Call("a", 1, 5.0, 1.0), Call("a", None, 7.0, 1.0)]
    assert [c.invocations for c in calls.count(twins)] == [1, 2, 3]
    assert calls.count(twins) == []
    assert [c.invocations for c in calls.count([Call("a", None, 8.0, 1.0), *twins])] == [4]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(1, 10))
@settings(max_examples=50, deadline=None)
def test_a_window_of_the_last_calls_gives_each_call_once_whatever_its_steps(steps, window):
    history = [Call("a", n, float(n % 3), 1.0) for n in range(sum(steps))]
    calls, found, end = ServiceCalls(), [], 0
    for step in steps:
        end += step
        listed = history[max(0, end - max(window, step)) : end][::-1]
        found += [(listed[c.place].time_ns, c.invocations) for c in calls.count(listed)]
    assert found == [(n, n + 1) for n in range(end)]


def test_a_flood_of_names_is_forgotten_and_those_that_still_call_are_not(monkeypatch):
    monkeypatch.setattr(service_calls, "MOST_NAMES", 100)
    calls = ServiceCalls()
    for n in range(1_000):
        found = calls.count([Call("steady", n, 1.0, 1.0), Call(f"new{n}", n, 1.0, 0.0)])
        assert sorted((c.invocations, c.success_rate) for c in found) == sorted([(n + 1, 1.0), (1, 0.0)])
    assert len(calls._counts) == 100
