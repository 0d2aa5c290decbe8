from __future__ import annotations

import math
import time

from ccwatch.alerts.recorder_lag import RecorderLag


def test_a_recorder_that_falls_behind_is_told():
    class Behind:
        """A recorder on a disk that hangs."""

        class stats:  # noqa: N801 - as the recorder's attribute is called
            received_seq, durable_seq = 100, 7

    lag, recorder = RecorderLag(), Behind()
    assert math.isnan(lag.seconds(None)), "nothing records"
    assert lag.seconds(recorder) == 0.0
    time.sleep(0.02)
    assert lag.seconds(recorder) >= 0.02
    Behind.stats.durable_seq = 100
    assert lag.seconds(recorder) == 0.0
