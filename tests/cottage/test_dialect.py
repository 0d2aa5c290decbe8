"""Each dialect of the embedded engine is read by ccwatch as the deployed shape that it imitates, and says what the contract said."""

from __future__ import annotations

import itertools
import json

import pytest

from ccwatch.cottage import Cottage
from ccwatch.cottage.broadcaster import Message
from ccwatch.cottage.cottage_options import Options
from ccwatch.cottage.dialect import SPOKEN_DIALECTS, Speaker
from ccwatch.errors import ConfigError
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.decoding import codec

COMMON = ("symbol", "price", "alpha", "velocity", "acceleration", "regime")
RAWS = list(itertools.islice(messages(seed=3, scenario="regime-flip"), 250))


def spoken(dialect):
    speaker = Speaker(dialect)
    return [[codec.decode(message.payload) for message in speaker.speak(Message.of(raw))] for raw in RAWS]


@pytest.mark.parametrize(("dialect", "kind"), [("engine_loop", "TELEMETRY"), ("bridge", "PARTIAL"), ("pipeline", "STATE")])
def test_a_dialect_is_recognised_and_carries_the_contracts_values(dialect, kind):
    for raw, packets in zip(RAWS, spoken(dialect), strict=True):
        heard = codec.decode(raw)
        assert {packet.dialect for packet in packets} == {dialect}
        assert {packet.kind for packet in packets} == {kind}
        assert [getattr(packets[0], name) for name in COMMON] == [getattr(heard, name) for name in COMMON]
        assert heard.side in {packet.side for packet in packets}


def test_the_contracts_dialect_is_the_message_itself():
    message = Message.of(RAWS[0])
    assert list(Speaker().speak(message)) == [message]


def test_a_bridge_sends_parts_without_an_offset_and_words_of_its_own():
    market, forecast, signal = spoken("bridge")[210]
    assert market.regime_raw == "CRITICAL (Chaos)"
    assert not market.timestamp_raw.endswith("Z")
    assert len(forecast.forecasts) == 5
    assert signal.sentiment_label == "N/A"


def test_a_forecast_widens_with_its_steps_and_has_its_median_in_the_middle():
    for packets in spoken("engine_loop")[10:]:
        widths = [point.p90 - point.p10 for point in packets[0].forecasts]
        assert widths == sorted(widths)
        assert all(point.p10 <= point.median <= point.p90 for point in packets[0].forecasts)


def test_a_pipeline_has_no_time_of_its_own_and_logs_as_text():
    packet = spoken("pipeline")[50][0]
    assert packet.timestamp_raw is None
    assert packet.logs[0].message.startswith("[INFO]: ")


@pytest.mark.parametrize("payload", [b'{"type":"TELEMETRY","data":{"logs":[]}}', b'{"symbol":"SPY","price":1.0}'])
def test_what_is_no_contracts_state_passes_through(payload):
    message = Message.of(payload)
    assert list(Speaker("engine_loop").speak(message)) == [message]


def test_an_unknown_dialect_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(ConfigError, match="contract, engine_loop, bridge, pipeline, deployed"):
        Speaker("klingon")
    assert list(SPOKEN_DIALECTS) == ["contract", "engine_loop", "bridge", "pipeline", "deployed"]


def test_the_engine_speaks_its_dialect_and_bff_and_rest_keep_to_the_contract(ws, rest):
    with Cottage(SyntheticSource(rate=50.0), Options(dialect="pipeline")) as cottage:
        assert "current_alpha" in json.loads(ws(cottage.engine_url).recv(timeout=5))
        bff = ws(cottage.url)
        assert {json.loads(bff.recv(timeout=5))["type"] for _ in range(3)} == {"WELCOME", "TELEMETRY"}
        assert "market" in rest(cottage.engine_url, "/api/system/state/current")[1]
