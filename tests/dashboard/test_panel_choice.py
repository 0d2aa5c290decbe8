from __future__ import annotations

from datetime import timedelta

import pytest

from ccwatch.dashboard.panel_choice import choose_panels, choose_window
from ccwatch.errors import ConfigError
from ccwatch.figures.panels import PANELS


@pytest.mark.parametrize(
    ("window", "seconds"), [(None, 0.0), ("all", 0.0), (0, 0.0), ("15min", 900.0), (90, 90.0), (2.5, 2.5), (timedelta(hours=1), 3600.0)]
)
def test_a_window_is_seconds_a_timedelta_or_text(window, seconds):
    assert choose_window(window) == seconds


@pytest.mark.parametrize("window", ["soon", -1, "-5min", [], float("nan")])
def test_a_window_that_is_no_length_of_time_is_refused(window):
    with pytest.raises(ConfigError, match="window="):
        choose_window(window)


def names(panels) -> list[str]:
    return [panel.name for panel in choose_panels(panels)]


def test_panels_are_chosen_by_name():
    assert names(None) == ["price", "pnl", "alpha", "services"]
    assert names("alpha") == ["alpha"]
    assert names(["latency", "price"]) == ["latency", "price"]
    assert names("all") == list(PANELS)


def test_a_function_of_ones_own_is_a_panel_with_its_name():
    def price_spread(frame):
        return frame["price"].diff()

    panel = choose_panels(["price", price_spread])[1]
    assert (panel.name, panel.title) == ("price_spread", "price spread")
    assert panel.compute is not None


@pytest.mark.parametrize("panels", [["prise"], [], ["price", "price"], 7, [None]])
def test_unknown_panels_are_refused_with_the_names_that_there_are(panels):
    with pytest.raises(ConfigError, match="price, pnl, nav, drawdown, exposure, alpha"):
        choose_panels(panels)
