from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.alerts.grammar import Name, Number, Operation, Window, parse, text_of
from ccwatch.errors import ConfigError

names = st.sampled_from(["alpha", "nav", "drawdown_peak"]).map(Name) | st.just(Name("latency", "Risk Agent"))
numbers = st.floats(0.001, 1e6).map(lambda v: Number(float(f"{v:.6g}")))
values = st.recursive(
    names | numbers,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner).map(lambda t: Operation(t[0], t[1:])),
        inner.map(lambda v: Operation("abs", (v,))),
        st.tuples(st.sampled_from(["mean", "std", "max"]), inner, st.integers(1, 600)).map(lambda t: Window(t[0], t[1], float(t[2]))),
    ),
    max_leaves=6,
)
conditions = st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), values, values).map(lambda t: Operation(t[0], t[1:]))


def test_percentages_durations_and_services_are_read():
    assert parse("drawdown_peak <= -2%") == Operation("<=", (Name("drawdown_peak"), Number(-0.02)))
    assert parse("mean(latency:Risk, 5m) > 300") == Operation(">", (Window("mean", Name("latency", "Risk"), 300.0), Number(300.0)))
    assert parse("alpha < 1.7 and exposure > 10%").sign == "and"
    assert parse("0 < alpha < 1").sign == "and"
    assert parse("alpha < 1 AND Not nav > 1") == parse("alpha < 1 and not nav > 1")
    assert text_of(parse("exposure > 12.5%")) == "(exposure > 12.5%)"


@pytest.mark.slow
@given(conditions)
def test_a_tree_as_text_parses_to_itself(tree):
    assert parse(text_of(tree)) == tree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha <", "its end was not expected"),
        ("(alpha < 1", "its end was not expected"),
        ("alpha < 1 or", "its end was not expected"),
        ("menan(alpha, 5m) > 1", "did you mean 'mean'"),
        ("mean(alpha) > 1", "mean"),
        ("__import__('os').system('true')", "unknown function|was not expected"),
        ("alpha.__class__.x() > 1", "was not expected|unknown function"),
        ("", "empty"),
        ("(" * 100 + "alpha" + ")" * 100, "too long|too deep"),
        ("a" * 3000, "too long"),
    ],
)
def test_what_is_no_condition_is_refused_and_nothing_is_evaluated(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


@pytest.mark.slow
@given(st.text(max_size=40))
@settings(max_examples=40)
def test_any_text_is_a_condition_or_refused(text):
    with contextlib.suppress(ConfigError):
        parse(text)
