"""Published values through the whole house: closes of the S&P 500 as a stream, recorded, analysed."""

from __future__ import annotations

import time

import arch.data.sp500
import numpy as np
import pandas as pd
import pytest

import ccwatch as cw

PUBLISHED = [
    ("2007-10-10", "2009-03-09", "2013-03-28", -0.5678),
    ("2000-03-27", "2002-10-09", "2007-05-30", -0.4915),
    ("2018-09-21", "2018-12-24", None, -0.1978),
    ("2015-05-22", "2016-02-11", "2016-07-11", -0.1416),
    ("1999-07-19", "1999-10-15", "1999-11-16", -0.1208),
]
"""The deepest episodes of the daily closes: first close below the peak, trough, recovery, depth."""


@pytest.mark.slow
def test_the_published_episodes_of_the_sp500_come_out_of_a_stream_that_was_recorded(tmp_path):
    closes = arch.data.sp500.load()["Close"]
    with (
        cw.serve(prices=closes, symbol="SPX", pace="max") as cottage,
        cw.record(cottage.engine_url, tmp_path / "spx") as recorder,
    ):
        over = time.monotonic() + 60
        while recorder.stats.packets < len(closes) and time.monotonic() < over:
            time.sleep(0.05)
    report = cw.analyze(recorder.path)
    frame = cw.open_recording(recorder.path).frame(["price"])
    assert frame["price"].tolist() == closes.tolist()
    days = pd.Series(closes.index.strftime("%Y-%m-%d").to_numpy(), index=frame.index)  # packet n is the close of day n
    found = report.drawdowns(column="price")
    deepest = found.to_frame().nsmallest(len(PUBLISHED), "depth").to_dict("records")
    heard = [
        (
            days[row["start_time"]],
            days[row["trough_time"]],
            None if row["is_open"] else days[row["recovery_time"]],
            round(row["depth"], 4),
        )
        for row in deepest
    ]
    assert heard == PUBLISHED
    np.testing.assert_allclose(found.max_drawdown, (closes / closes.cummax() - 1.0).min(), rtol=0, atol=1e-9)
