"""Forecasts in all the shapes in which servers send them."""

from __future__ import annotations

import pytest

from ccwatch.protocol.decoding import codec
from ccwatch.protocol.messages import NAN, Flag, ForecastPoint
from tests.protocol.shapes import ENGINE_LOOP, changed, decode


@pytest.mark.parametrize(
    ("forecast", "points"),
    [
        ({"p10": [1.0], "median": [2.0, 3.0], "p90": None}, [(1, 1.0, 2.0, NAN), (2, NAN, 3.0, NAN)]),
        ({"p10": 440.0, "p50": 452.0, "p90": 460.0, "trend": 0.001, "quantiles": [1.0] * 9}, [(1, 440.0, 452.0, 460.0)]),
        ({"p10": 440, "median": 452, "p90": "460", "horizon": 10}, [(10, 440.0, 452.0, 460.0)]),
        ({"median": 452.0, "low": 440.0, "high": 460.0}, [(1, 440.0, 452.0, 460.0)]),
        ({"median": [452.0, 453.0], "low": [440.0], "high": []}, [(1, 440.0, 452.0, NAN), (2, NAN, 453.0, NAN)]),
        ({"p10": [440.0], "p50": [452.0], "p90": [460.0], "horizon": 10}, [(10, 440.0, 452.0, 460.0)]),
        ({"p10": [440.0], "median": [452.0], "horizon": "7"}, [(7, 440.0, 452.0, NAN)]),
        ({"p10": [1.0, 2.0], "horizon": 2}, [(1, 1.0, NAN, NAN), (2, 2.0, NAN, NAN)]),
        ({"p50": 452.0, "horizon": 2**40}, [(1, NAN, 452.0, NAN)]),
        ({"p50": 452.0, "horizon": -3}, [(1, NAN, 452.0, NAN)]),
        ([451.0, 452.0], [(1, NAN, 451.0, NAN), (2, NAN, 452.0, NAN)]),
        ({}, []),
        ({"p10": None, "p50": None}, []),
        ({"confidence": 0.8}, []),
    ],
)
def test_a_forecast_of_any_shape_is_points_and_comes_back(forecast, points):
    packet = decode(changed(ENGINE_LOOP, forecast=...) | {"forecast": forecast})
    assert packet.forecasts == tuple(ForecastPoint(*point) for point in points)
    assert decode(codec.encode(packet))[:-1] == packet[:-1]


@pytest.mark.parametrize(("said", "is_synthetic"), [(True, True), ("true", True), (1, True), (False, False), (None, False), ("no", False)])
def test_a_mock_forecast_is_flagged(said, is_synthetic):
    for message in (
        changed(ENGINE_LOOP, forecast={"is_synthetic": said}),
        {
            "timestamp": "2026-11-27T09:00:00Z",
            "source": "forecast.signals",
            "forecast": {"p50": 452.0, "horizon": 10, "is_synthetic": said},
        },
        {"timestamp": "2026-11-27T09:00:00Z", "forecast": {"p50": 452.0}, "is_synthetic": said},
    ):
        packet = decode(message)
        assert packet.is_forecast_synthetic is is_synthetic
        assert bool(packet.flags & Flag.SYNTHETIC_FORECAST) is is_synthetic
        assert packet.forecasts
