from __future__ import annotations

from datetime import timedelta

import pytest

from ccwatch.dashboard.panels import choose_panels, choose_window
from ccwatch.errors import ConfigError


@pytest.mark.parametrize(
    ("window", "seconds"), [(None, 0.0), ("all", 0.0), (0, 0.0), ("15min", 900.0), (90, 90.0), (2.5, 2.5), (timedelta(hours=1), 3600.0)]
)
def test_a_window_is_seconds_a_timedelta_or_text(window, seconds):
    assert choose_window(window) == seconds


@pytest.mark.parametrize("window", ["soon", -1, "-5min", [], float("nan")])
def test_a_window_that_is_no_length_of_time_is_refused(window):
    with pytest.raises(ConfigError, match="window="):
        choose_window(window)


def test_panels_are_chosen_by_name():
    assert choose_panels(None) == ("price", "drawdown", "alpha", "latency")
    assert choose_panels("alpha") == ("alpha",)
    assert choose_panels(["latency", "price"]) == ("latency", "price")


@pytest.mark.parametrize("panels", [["prise"], []])
def test_unknown_panels_are_refused_with_the_names_that_there_are(panels):
    with pytest.raises(ConfigError, match="price, drawdown, alpha, latency"):
        choose_panels(panels)
