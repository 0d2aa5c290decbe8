"""The server's forecast as lines ahead of the price. Pure: frames in, lines out; it knows no clock."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from ccwatch.domain.limits import USUAL_INTERVALS
from ccwatch.domain.liveness import count_bursts
from ccwatch.figures.figure_data import Floats
from ccwatch.figures.panels import Line
from ccwatch.protocol.messages import Flag

_NS_PER_MS: Final = 1e6


def forecast_lines(frame: pd.DataFrame, forecasts: pd.DataFrame | None) -> list[Line]:
    """Return the newest forecast as lines of prices in USD: p10, p90 filled down to it, and the median; none where there is none.

    A forecast counts while its packet is of the last burst, the packets that came together: an engine sends a state in several. A
    period is the usual interval between bursts, as the stream's own times give it, so a step lies at the time of the last price and
    so many intervals. The lines begin at that price. Steps farther ahead than the frame is long are left out: they would flatten it.

    Args:
        frame: packets, clean, by time, with seq, connection, symbol, price and flags.
        forecasts: columns seq, step, p10, median, p90.
    """
    if forecasts is None or not len(forecasts) or len(frame) < 2:
        return []
    at, connection = _ns(frame.index), frame["connection"].to_numpy()
    begins, intervals = count_bursts(at, np.diff(connection, prepend=connection[0]) != 0)
    intervals = intervals[intervals > 0][-USUAL_INTERVALS:]
    burst = frame.iloc[int(np.flatnonzero(begins)[-1]) :]
    sent = burst[burst["seq"].isin(forecasts["seq"])]
    priced = frame[np.isfinite(frame["price"].to_numpy(dtype=np.float64))]
    if not len(intervals) or not len(sent) or not len(priced):
        return []
    packet, last = sent.iloc[-1], priced.iloc[-1]
    if not pd.isna(packet["symbol"]) and packet["symbol"] != last["symbol"]:
        return []
    points = forecasts[(forecasts["seq"] == packet["seq"]).to_numpy()].sort_values("step", kind="stable")
    start, interval = int(_ns(priced.index)[-1]), float(np.median(intervals))
    ahead = points["step"].to_numpy(dtype=np.float64) * interval
    kept = (ahead > 0.0) & (ahead <= at[-1] - at[0])
    time_ms = np.concatenate(([start], start + ahead[kept])) / _NS_PER_MS
    values = {name: _from(float(last["price"]), points[name].to_numpy(dtype=np.float64)[kept]) for name in ("p10", "p90", "median")}
    word = "mock forecast" if int(packet["flags"]) & Flag.SYNTHETIC_FORECAST else "forecast"
    between = np.isfinite(values["p10"]) & np.isfinite(values["p90"])
    middle = np.isfinite(values["median"])
    lines = []
    if between.sum() > 1:
        lines += [
            Line(f"{word} p10", time_ms[between], values["p10"][between], ahead=word),
            Line(f"{word} p90", time_ms[between], values["p90"][between], fills=True, ahead=word),
        ]
    if middle.sum() > 1:
        lines.append(Line(f"{word} median", time_ms[middle], values["median"][middle], ahead=word))
    return lines


def _from(price: float, values: Floats) -> Floats:
    return np.concatenate(([price], values))


def _ns(index: pd.Index) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return pd.DatetimeIndex(index).as_unit("ns").asi8
