"""`python -m tests.analysis.at_scale PACKETS`: every question of a long session, in a process of its own; JSON lines of time and memory.

Six agents and two models report in every packet, as a Cottage's do, and are called in every fourth; regimes last 1,000 packets, sides 60.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import pandas as pd

from ccwatch.analysis import Report
from ccwatch.analysis.report import QUESTIONS
from ccwatch.errors import AnalysisError
from ccwatch.stream.dataframes import build, long_columns
from ccwatch.stream.table_reader import TableReader

AGENTS, MODELS = 6, 2


class Session(TableReader):
    """What a Recording is to an analysis: the tables of a session, made once."""

    origin, label = "synthetic", "at scale"

    def __init__(self, packets: int, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        start = pd.Timestamp("2026-01-02T14:30:00Z").as_unit("ns").value
        times = start + np.arange(packets, dtype=np.int64) * 1_000_000_000
        index = pd.DatetimeIndex(times.view("M8[ns]"), name="time").tz_localize("UTC")
        seq = np.arange(1, packets + 1, dtype=np.uint64)
        block = np.arange(packets) // 1000 % 4
        regime = pd.Categorical.from_codes(np.array([0, 1, 0, 2], np.int8)[block], pd.Index(["Gaussian", "Lévy Stable", "Critical"]))
        turn = (np.arange(packets) // 60 % 3).astype(np.int8)
        price = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, packets))), 2)
        nav = np.round(100_000.0 * np.exp(np.cumsum(rng.normal(0.0, 5e-5, packets))), 2)
        velocity = np.append(0.0, np.diff(price))
        self._packets = pd.DataFrame(
            {
                "seq": seq,
                "connection": np.ones(packets, dtype=np.int32),
                "received_at": index,
                "received_mono_ns": times - start,
                "flags": np.zeros(packets, dtype=np.uint32),
                "status": pd.Categorical.from_codes(np.zeros(packets, np.int8), pd.Index(["ACTIVE"])),
                "symbol": pd.Categorical.from_codes(np.zeros(packets, np.int8), pd.Index(["SPY"])),
                "regime": regime,
                "side": pd.Categorical.from_codes(turn, pd.Index(["FLAT", "BUY", "SELL"])),
                "price": price,
                "alpha": np.array([2.5, 1.7, 2.5, 1.2])[block] + rng.uniform(0.0, 0.2, packets),
                "velocity": velocity,
                "acceleration": np.append(0.0, np.diff(velocity)),
                "nav": nav,
                "cash": nav / 2,
                "daily_pnl": nav - nav[0],
                "max_drawdown": np.minimum.accumulate(nav / np.maximum.accumulate(nav) - 1.0),
                "confidence": rng.uniform(0.3, 1.0, packets),
                "approved_size": np.where((block == 3) | (turn == 0), 0.0, rng.uniform(0.0, 0.2, packets)),
                "sentiment_score": rng.uniform(-1.0, 1.0, packets),
            },
            index=index,
        )
        self._agents = self._calls("agent", index, seq, AGENTS, rng)
        self._models = self._calls("model", index, seq, MODELS, rng)

    def _calls(self, kind: str, index: pd.DatetimeIndex, seq: np.ndarray, count: int, rng: np.random.Generator) -> pd.DataFrame:
        packets = len(index)
        took = np.round(rng.exponential(20.0, (-(-packets // 4), count)), 1)
        numbers = np.empty((3, packets * count))  # one block, as a recording's reader gives it
        numbers[0] = np.repeat(took, 4, axis=0)[:packets].ravel()
        numbers[1] = 0.99
        numbers[2] = np.repeat(np.arange(packets) // 4, count)
        rate = "success_rate" if kind == "agent" else "cache_hit_rate"
        table = pd.DataFrame(numbers.T, columns=["latency_ms", rate, "invocations"], index=index.repeat(count), copy=False)
        names = pd.Index([f"{kind} {n}" for n in range(count)])
        table[kind] = pd.Categorical.from_codes(np.tile(np.arange(count, dtype=np.int8), packets), names)
        table["seq"] = np.repeat(seq, count)
        return table

    def frame(self, columns: list[str] | None = None, _last: object = None, *, clean: bool = True) -> pd.DataFrame:
        assert not clean
        found = self._packets
        if columns and "extra" in columns:
            found = found.assign(extra=pd.Series(None, index=found.index, dtype="str"))
        return found

    def _long(self, table: str, _last: object) -> pd.DataFrame:
        if table == "events":
            return pd.DataFrame({"seq": np.array([1], np.uint64), "kind": ["connect"], "detail": [""]}, index=self._packets.index[:1])
        return {"agents": self._agents, "models": self._models}.get(table, build(table, long_columns(table, [])))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(packets: int) -> None:
    session = Session(packets)
    print(json.dumps({"question": "", "seconds": 0.0, "peak_mb": peak_mb()}), flush=True)
    middle = session.frame(clean=False).index[packets // 2]
    for question in (*QUESTIONS, "explain", "compare"):
        report = Report(session)  # a new one, which holds no other answers
        arguments = {"explain": (middle,), "compare": (report,)}.get(question, ())
        begun, error = time.perf_counter(), ""
        try:
            getattr(report, question)(*arguments).headline()
        except AnalysisError as failed:
            error = str(failed)
        took = time.perf_counter() - begun
        print(json.dumps({"question": question, "seconds": round(took, 2), "peak_mb": round(peak_mb()), "error": error}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
