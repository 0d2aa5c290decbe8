"""Every question of every sort of bad input: a result, or the error that says what is missing; no warning, and no silent zero."""

from __future__ import annotations

import json
import math
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis import Report, Result
from ccwatch.analysis.report import QUESTIONS
from ccwatch.errors import AnalysisError, ConfigError, MissingColumns, MixedSymbols, NotEnoughData
from ccwatch.protocol.messages import Flag
from ccwatch.stream.dataframes import build, long_columns
from ccwatch.stream.table_reader import TableReader

N = 400
ASKED = (*QUESTIONS, "explain", "compare")


def packets(count=N):
    """A plain session: every column of the market, the agent and the portfolio."""
    rng = np.random.default_rng(5)
    index = pd.date_range("2026-01-02T14:30:00Z", periods=count, freq="s", unit="ns", name="time")
    at = np.arange(count)
    nav = np.round(100_000.0 + np.cumsum(rng.normal(0.0, 20.0, count)), 2)
    return pd.DataFrame(
        {
            "seq": (at + 1).astype(np.uint64),
            "connection": np.ones(count, dtype=np.int32),
            "received_at": index,
            "received_mono_ns": at.astype(np.int64) * 1_000_000_000,
            "flags": np.zeros(count, dtype=np.uint32),
            "status": np.full(count, "ACTIVE"),
            "symbol": np.full(count, "SPY"),
            "regime": np.array(["Gaussian", "Critical"])[at // 50 % 2],
            "side": np.array(["BUY", "SELL", "FLAT"])[at // 20 % 3],
            "price": np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count))), 2),
            "alpha": rng.uniform(1.0, 3.0, count),
            "velocity": rng.normal(size=count),
            "acceleration": rng.normal(size=count),
            "nav": nav,
            "cash": nav / 2,
            "daily_pnl": nav - 100_000.0,
            "max_drawdown": np.minimum.accumulate(nav / np.maximum.accumulate(nav) - 1.0) if count else nav,
            "confidence": rng.uniform(0.0, 1.0, count),
            "approved_size": rng.uniform(0.0, 0.2, count),
            "sentiment_score": rng.uniform(-1.0, 1.0, count),
        },
        index=index,
    )


def calls(kind, frame, invocations=None):
    rate = "success_rate" if kind == "agent" else "cache_hit_rate"
    count = len(frame)
    return pd.DataFrame(
        {
            "seq": frame["seq"].to_numpy(),
            kind: np.full(count, "Risk"),
            "latency_ms": 10.0 + np.arange(count) % 7,
            rate: np.full(count, 0.99),
            "invocations": np.arange(count, dtype=float) if invocations is None else invocations,
        },
        index=frame.index,
    )


class Source(TableReader):
    """What a recording is to a report."""

    origin, label = "live", "a test"

    def __init__(self, frame, *, services=True, invocations=None):
        self._frame, self._services, self._invocations = frame, services, invocations

    def frame(self, *_, **__):
        return self._frame

    def _long(self, table, _last):
        if table == "events":
            return pd.DataFrame(
                {"seq": np.zeros(0, np.uint64), "kind": pd.array([], "str"), "detail": pd.array([], "str")}, self._frame.index[:0]
            )
        if table not in {"agents", "models"}:
            return build(table, long_columns(table, []))
        return calls(table[:-1], self._frame if self._services else self._frame.iloc[:0], self._invocations if self._services else None)


def nans(frame):
    frame = frame.copy()
    for start in (0, 90, 300):
        frame.iloc[start : start + 60, [frame.columns.get_loc(name) for name in ("price", "alpha", "nav", "confidence", "velocity")]] = (
            np.nan
        )
    return frame


def backwards(frame):
    order = np.arange(len(frame))
    order[100:140] = order[100:140][::-1]
    return frame.set_axis(frame.index[order])


EXTREMES = (1e308, -1e308, 1.2e19, -1.2e19, -0.0, 5e-324, -5e-324, 2.3e-308, np.inf, -np.inf)
"""What no measure can be, and what float64 can only just hold."""


def extreme(values, first):
    """Numbers with each of EXTREMES among them, some rows apart."""
    found = np.array(values, dtype=np.float64)
    found[first : first + 31 * len(EXTREMES) : 31] = EXTREMES
    return found


def extremes(frame):
    """Every number of every packet goes wrong somewhere."""
    names = [name for name in frame.columns if frame[name].dtype == np.float64]
    return frame.assign(**{name: extreme(frame[name], 3 + place) for place, name in enumerate(names)})


class Wild(Source):
    """Services whose numbers go wrong, too, and a success rate in percent."""

    def agents(self):
        table = super().agents()
        return table.assign(
            latency_ms=extreme(table["latency_ms"], 5),
            invocations=extreme(table["invocations"], 8),
            success_rate=100.0 * table["success_rate"],
        )

    def models(self):
        table = super().models()
        return table.assign(latency_ms=extreme(table["latency_ms"], 5), cache_hit_rate=extreme(table["cache_hit_rate"], 9))


PORTFOLIO = ["nav", "cash", "daily_pnl", "max_drawdown"]
RESETS = np.concatenate((np.arange(150.0), np.arange(120.0), np.arange(N - 270.0)))
INPUTS = {
    "empty": lambda: Source(packets(0)),
    "one packet": lambda: Source(packets(1)),
    "all repeats": lambda: Source(packets().assign(flags=np.full(N, int(Flag.REPEAT), np.uint32))),
    "no portfolio": lambda: Source(packets().drop(columns=PORTFOLIO)),
    "no agents": lambda: Source(packets(), services=False),
    "constant price": lambda: Source(packets().assign(price=100.0)),
    "constant everything": lambda: Source(
        packets().assign(price=100.0, nav=1e5, alpha=2.0, velocity=0.0, acceleration=0.0, confidence=0.5)
    ),
    "zero nav": lambda: Source(packets().assign(nav=0.0)),
    "negative nav": lambda: Source(packets().assign(nav=-np.arange(N, dtype=float))),
    "nav through zero": lambda: Source(packets().assign(nav=np.linspace(5.0, -5.0, N))),
    "NaN runs": lambda: Source(nans(packets())),
    "NaN only": lambda: Source(packets().assign(**dict.fromkeys(("price", "nav", "alpha", "confidence", "approved_size"), np.nan))),
    "infinite": lambda: Source(packets().assign(price=np.inf, alpha=-np.inf)),
    "time going backwards": lambda: Source(backwards(packets())),
    "one time for all": lambda: Source(packets().set_axis(packets().index[[0] * N])),
    "two symbols": lambda: Source(packets().assign(symbol=np.array(["SPY", "QQQ"])[np.arange(N) % 2])),
    "extremes": lambda: Wild(extremes(packets())),
    "extremes only": lambda: Wild(packets().assign(**dict.fromkeys(("price", "nav", "alpha", "velocity", "confidence"), 1e308))),
    "denormals only": lambda: Wild(packets().assign(**dict.fromkeys(("price", "nav", "alpha", "velocity", "confidence"), 5e-324))),
    "small prices": lambda: Source(packets().assign(price=np.geomspace(2.3e-308, 1e-300, N), nav=np.geomspace(2.3e-308, 9e13, N))),
    "negative price": lambda: Source(packets().assign(price=-packets()["price"])),
    "counters that reset": lambda: Source(packets(), invocations=RESETS),
}
RAISES = {
    ("empty", "drawdowns"): NotEnoughData,
    ("empty", "quality"): NotEnoughData,
    ("one packet", "drawdowns"): NotEnoughData,
    ("all repeats", "regimes"): NotEnoughData,
    ("no portfolio", "attribution"): MissingColumns,
    ("no portfolio", "drawdown_audit"): MissingColumns,
    ("no agents", "latency"): MissingColumns,
    ("no agents", "burn_rate"): MissingColumns,
    ("NaN only", "drawdowns"): MissingColumns,
    ("NaN only", "alpha"): MissingColumns,
    ("infinite", "kalman"): MissingColumns,
    ("two symbols", "kalman"): MixedSymbols,
    ("two symbols", "regimes"): MixedSymbols,
    ("two symbols", "explain"): MixedSymbols,
}
"""Where there can be no answer, and why."""


@cache
def report_of(kind):
    """One report of each input: a question that needs another's answer finds it."""
    return Report(INPUTS[kind]())


@cache
def usual():
    return Report(Source(packets()))


def ask(report, question):
    if question == "explain":
        return report.explain("2026-01-02T14:34:00Z")
    if question == "compare":
        return report.compare(usual())
    return getattr(report, question)()


@pytest.mark.slow
@pytest.mark.parametrize("question", ASKED)
@pytest.mark.parametrize("kind", INPUTS)
def test_bad_input_gives_a_result_or_the_error_that_says_what_is_missing(kind, question):
    report = report_of(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if (kind, question) in RAISES:
            with pytest.raises(RAISES[kind, question]) as caught:
                ask(report, question)
            assert len(str(caught.value)) > 15
            return
        try:
            answer = ask(report, question)
        except (MissingColumns, NotEnoughData, MixedSymbols) as error:
            heard = str(error)
            assert question in heard.split(":", maxsplit=1)[0].split() or "symbol" in heard
            return
        assert isinstance(answer, Result)
        assert answer.headline().endswith(".")
        answer.figure()
        assert len(answer.to_markdown()) > 50
        answer._repr_html_()
        json.dumps(answer.to_dict(), allow_nan=False)
        if question not in {"quality", "timeline", "alerts"}:  # these count what was received, flagged or not
            assert answer.basis.n > 0 or question in {"signals", "governance"}


@pytest.mark.slow
def test_a_value_out_of_its_own_range_enters_no_answer():
    plain, wild = Report(Source(packets())), Report(Wild(extremes(packets())))
    assert abs(wild.drawdowns().max_drawdown - plain.drawdowns().max_drawdown) < 1.01  # a nav of -0 is a total loss, 1e308 no peak
    assert wild.drawdowns().curve["value"].abs().max() < 2e5
    assert abs(wild.attribution().change_usd) < 1e6
    assert wild.burn_rate().services["gauge"].tolist() == ["cache_hit_rate"]
    assert (wild.latency().observations["latency_ms"] <= 1.2e19).all()
    sized = Report(Source(packets().assign(confidence=85.0, flags=np.full(N, int(Flag.RANGE), np.uint32))))
    assert sized.drawdowns().to_dict() == plain.drawdowns().to_dict()  # a flag of another column does not matter
    assert "confidence" not in set(sized.explain("2026-01-02T14:34:00Z").differences["measure"])


def test_a_success_rate_in_percent_fails_no_call():
    frame = packets()
    with pytest.raises(MissingColumns, match="success_rate"):
        cw.analysis.burn_rate(calls("agent", frame).assign(success_rate=98.0))


def test_what_a_nav_without_worth_cannot_tell_is_missing_and_not_zero():
    found = Report(INPUTS["zero nav"]()).drawdowns()
    assert math.isnan(found.ulcer_index)
    assert math.isnan(found.current)
    assert math.isnan(found.max_drawdown)
    assert "0.00" not in found.headline()


def test_resets_of_counters_are_counted_and_lose_no_call():
    report = Report(INPUTS["counters that reset"]())
    assert report.latency().services["resets"].tolist() == [2, 2]
    assert report.burn_rate().to_frame()["resets"].tolist() == [2, 2]
    assert report.latency().services["calls"].tolist() == [149 + 119 + N - 271] * 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (pd.DataFrame({"nav": [1.0, 2.0]}), "tz_localize"),
        (pd.DataFrame({"nav": [1.0]}, index=pd.DatetimeIndex(["2026-01-02T14:30:00"])), "time zone"),
        (pd.DataFrame([[1.0, 2.0]], columns=["nav", "nav"], index=pd.DatetimeIndex(["2026-01-02T14:30:00Z"])), "more than once: nav"),
    ],
)
def test_a_frame_that_no_question_could_use_is_refused_at_once(source, words):
    with pytest.raises(AnalysisError, match=words):
        cw.analyze(source)


@pytest.mark.parametrize("source", [None, 3, {"nav": [1.0]}, {1.0}, "ws://localhost:3000"])
def test_what_cannot_be_asked_is_refused_with_what_can(source):
    with pytest.raises(ConfigError, match="expected a Feed, a Recording"):
        cw.analyze(source)


def test_an_explanation_of_a_frame_without_regimes_still_tells_the_change_of_nav():
    index = pd.date_range("2026-01-02T14:30:00Z", periods=300, freq="s", unit="ns", name="time")
    found = cw.analyze(pd.DataFrame({"nav": 1e5 + np.arange(300.0)}, index=index)).explain("14:32")
    assert found.change_usd == 120.0
    assert "no nav" not in found.headline()
    assert any("cannot be split" in note for note in found.notes)


@pytest.mark.slow
def test_reports_are_compared_like_their_sources():
    reports = [cw.analyze(INPUTS["constant price"]()) for _ in range(2)]
    assert cw.compare(*reports).to_dict() == reports[0].compare(reports[1]).to_dict()
    with pytest.raises(ConfigError, match="expected a report"):
        reports[0].compare("path")
