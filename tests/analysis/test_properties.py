"""What must not matter to any answer: the unit of money, the date, the order of arrival, and the order of what has none.

Splitting and merging sessions is in test_merge. Two things keep an order that is theirs: packets of one time stand as they came in, since
each continues the one before; log lines of one packet stand as the engine wrote them.
"""

from __future__ import annotations

import functools
import os
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ccwatch.analysis import Report, burn_rate, latency
from tests.analysis.test_bad_input import ASKED, Source
from tests.analysis.test_merge import market, same

START, COUNT = pd.Timestamp("2026-01-02T14:30:00Z"), 260
MONEY = ["price", "velocity", "acceleration", "nav", "cash", "daily_pnl"]
"""Columns of packets that are amounts, or amounts per period."""
AMOUNTS = {
    "drawdowns": {"peak", "trough", "depth_usd", "value"},
    "drawdown_audit": {"starting_capital"},
    "attribution": {"change_usd", "gain_usd", "loss_usd", "start_usd", "end_usd"},
    "kalman": {"max_abs_error", "rms_error", "engine", "ours"},
    "signals": {"price"},
    "changepoints": {"before", "after"},
    "timeline": {"value"},
    "explain": {"change_usd", "gain_usd", "loss_usd", "median", "baseline_median", "value"},
    "compare": {"a", "b", "difference", "low", "high"},
}
"""Columns and attributes of answers that are amounts; in a table with a unit, those of the rows whose unit has a dollar in it."""
QUOTED = r"[+\N{MINUS SIGN}][\d,]+\.\d\d USD"
"""An amount in words."""
AGENTS = np.array(["Chronos", "Risk", "Allocator"])
FEW = settings(max_examples=3 if "CCWATCH_FULL" in os.environ else 2, deadline=None, derandomize=True)
"""Sixteen questions are asked twice for each example."""


class Market(Source):
    """A market of three agents and two models that all report in every packet, with a gap, in which the order of services is drawn."""

    def __init__(self, frame, *, shuffled=None):
        super().__init__(frame)
        self._shuffled = shuffled

    def agents(self):
        return self._table("agent", AGENTS, "success_rate")

    def models(self):
        return self._table("model", np.array(["Gemma", "FinBERT"]), "cache_hit_rate")

    def _table(self, kind, names, rate):
        frame, rng, size = self._frame, np.random.default_rng(11), len(names)
        count = np.cumsum(rng.integers(0, 3, (len(frame), size)), axis=0).astype(float)
        heard = rng.lognormal(3.0, 0.8, (len(frame), size))
        heard[100:130, 0] *= 12.0
        order = np.tile(np.arange(size), (len(frame), 1))
        if self._shuffled is not None:
            order = np.random.default_rng(self._shuffled).permuted(order, axis=1)
        rows = np.arange(len(frame))[:, None], order
        columns = {
            "seq": np.repeat(frame["seq"].to_numpy(), size),
            kind: names[order].ravel(),
            "latency_ms": heard[rows].ravel(),
            rate: (1.0 - np.floor(count / 20.0) / np.maximum(count, 1.0))[rows].ravel(),
            "invocations": count[rows].ravel(),
        }
        return pd.DataFrame(columns, index=frame.index.repeat(size))


@functools.cache
def session():
    """Random regimes, sides, sizes, prices and nav in packets of one second, with a gap of a minute."""
    frame = market(5, COUNT)
    late = np.where(np.arange(COUNT) < 150, 0, 60)
    index = frame.index + pd.to_timedelta(late, unit="s")
    mono = frame["received_mono_ns"].to_numpy() + late * 1_000_000_000
    nav = frame["nav"].to_numpy()
    worst = np.minimum.accumulate(nav / np.maximum.accumulate(nav) - 1.0)
    frame = frame.set_axis(index, axis=0).assign(received_at=index, received_mono_ns=mono, max_drawdown=worst)
    return frame.assign(daily_pnl=nav - nav[0])  # the day began with the first nav: no loss came before it


def ask(source, question, start=START):
    report = Report(source)
    if question == "explain":
        return report.explain(start + pd.Timedelta("2min"), window="1min")
    if question == "compare":
        half = start + pd.Timedelta("140s")
        return report.between(end=half).compare(report.between(start=half))
    return getattr(report, question)()


def moved(value: Any, by: pd.Timedelta) -> Any:
    """An answer, or a part of one, with every time in it later."""
    if isinstance(value, pd.Timestamp):
        return value + by
    if isinstance(value, pd.DataFrame):
        times = {name: value[name] + by for name in value.columns if isinstance(value[name].dtype, pd.DatetimeTZDtype)}
        return value.assign(**times).set_axis(value.index + by if isinstance(value.index, pd.DatetimeIndex) else value.index, axis=0)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: moved(getattr(value, field.name), by) for field in fields(value)})
    return value


def dearer(value: Any, factor: float, amounts: set[str]) -> Any:
    """An answer with its amounts so many times as large, and those that are quoted in words left out."""
    changed = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if isinstance(part, pd.DataFrame):
            names = [name for name in part.columns if name in amounts]
            of_money = part["unit"].astype("str").str.contains(r"USD|\$").to_numpy() if "unit" in part.columns else np.ones(len(part), bool)
            if "detail" in part.columns:
                part = part.assign(detail=part["detail"].astype("str").str.replace(QUOTED, "USD", regex=True))
            part = part.assign(**{name: part[name] * np.where(of_money, factor, 1.0) for name in names})
        elif field.name in amounts:
            part *= factor
        changed[field.name] = part
    return replace(value, **changed)


@functools.cache
def plain(question):
    return ask(Market(session()), question)


@pytest.mark.slow
@pytest.mark.parametrize("question", ASKED)
@given(seconds=st.integers(1, 10**7))
@FEW
def test_a_shift_in_time_shifts_times_and_nothing_else(question, seconds):
    by, frame = pd.Timedelta(seconds=seconds), session()
    later = frame.set_axis(frame.index + by, axis=0).assign(received_at=frame["received_at"].array + by)
    same(ask(Market(later), question, START + by), moved(plain(question), by))


@pytest.mark.slow
@pytest.mark.parametrize("question", ASKED)
@given(power=st.integers(1, 10))
@FEW
def test_another_unit_of_money_scales_amounts_and_nothing_else(question, power):
    frame, factor = session(), 2.0**power  # no rounding: what does not scale is a mistake
    scaled = ask(Market(frame.assign(**{name: frame[name] * factor for name in MONEY})), question)
    amounts = AMOUNTS.get(question, set())
    same(dearer(scaled, 1.0, amounts), dearer(plain(question), factor, amounts), apart={"decimals"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "question",
    [question for question in ASKED if question in {"latency", "burn_rate", "changepoints", "alerts", "timeline", "explain", "compare"}],
)
@given(order=st.integers(0, 10**6))
@FEW
def test_the_order_of_services_in_a_packet_is_none(question, order):
    same(ask(Market(session(), shuffled=order), question), plain(question))


@pytest.mark.slow
@pytest.mark.parametrize("question", [question for question in ASKED if question not in {"quality", "latency", "burn_rate"}])
@given(data=st.data(), ties=st.sampled_from([1, 3]))
@FEW
def test_packets_of_one_time_keep_the_order_they_came_in_and_no_other_order_matters(question, data, ties):
    # quality counts what came out of order; the services' tables are the next test's
    frame = session().drop(columns=["seq", "connection", "received_at", "received_mono_ns", "flags"])
    frame = frame.set_axis(frame.index[np.arange(COUNT) // ties * ties], axis=0)
    groups = np.split(np.arange(COUNT), np.arange(ties, COUNT, ties))
    late = np.random.default_rng(data.draw(st.integers(0, 10**6))).permutation(len(groups))
    arrived = frame.iloc[np.concatenate([groups[place] for place in late])]
    same(ask(arrived, question), ask(frame, question))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [latency, burn_rate])
@given(seed=st.integers(0, 10**6))
@FEW
def test_the_order_in_which_readings_are_handed_over_does_not_matter(kernel, seed):
    source, rng = Market(session()), np.random.default_rng(seed)
    tables = [table.drop(columns="seq") for table in (source.agents(), source.models())]
    same(kernel(*(table.iloc[rng.permutation(len(table))] for table in tables)), kernel(*tables))
