"""Commands at a Cottage: given by a feed, by REST and over the socket; obeyed by its stream."""

from __future__ import annotations

import json

import pytest

import ccwatch as cw
from ccwatch.cottage import Cottage
from ccwatch.cottage.cottage_options import Options
from ccwatch.errors import NoCommandRoute
from ccwatch.feed.synthetic import SyntheticSource
from tests.cottage.test_bff import foreign_engine
from tests.cottage.test_broadcaster import Scripted, sized
from tests.cottage.test_cottage import first


def commanding(url, **options):
    return cw.connect(url, commands=True, **options)


@pytest.mark.parametrize("site", ["url", "engine_url"])
def test_a_feed_halts_and_resumes_the_engine_and_the_stream_confirms_both(site):
    with Cottage(SyntheticSource(rate=50.0)) as cottage, commanding(getattr(cottage, site)) as feed:
        feed.wait(3)
        halted = feed.halt(confirm="HALT")
        assert (halted.accepted, halted.confirmed, halted.status, halted.error) == (True, True, "HALT", None)
        assert feed.latest.side == "FLAT"
        resumed = feed.resume(confirm="RESUME")
        assert (resumed.accepted, resumed.confirmed, resumed.status) == (True, True, "ACTIVE")
        lines = set(feed.logs().message)
        assert {"Operator: HALT, trading is halted", "Operator: RESUME, trading goes on"} <= lines


def test_a_halt_shows_in_what_a_polling_bff_streams():
    with Cottage(SyntheticSource(rate=50.0), Options(push=False)) as cottage, commanding(cottage.url) as feed:
        feed.wait(2)
        assert feed.halt(confirm="HALT").confirmed


def test_a_bff_passes_a_halt_on_to_another_cottages_engine():
    with (
        Cottage(SyntheticSource(rate=50.0)) as engine,
        Cottage(None, Options(engine_url=engine.engine_url)) as bff,
        commanding(bff.url) as feed,
    ):
        feed.wait(2)
        assert feed.halt(confirm="HALT").confirmed


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_bff_whose_engine_has_no_route_says_so_and_the_feed_names_no_other_host(protocol):
    with (
        foreign_engine({"/api/system/state/current": (200, b'{"status":"ACTIVE","timestamp":"2026-01-02T10:00:00Z"}')}) as url,
        Cottage(None, Options(engine_url=url)) as bff,
        commanding(bff.url, protocol=protocol) as feed,
    ):
        feed.wait()
        with pytest.raises(NoCommandRoute, match="engine_url="):
            feed.halt(confirm="HALT")


@pytest.mark.slow
def test_a_planted_halt_can_be_overruled_by_who_resumes():
    with Cottage(SyntheticSource(rate=100.0, scenario="drawdown-halt@0")) as cottage, commanding(cottage.url) as feed:
        feed.wait(70)
        assert feed.latest.status == "HALT"
        assert feed.resume(confirm="RESUME").confirmed


def test_a_recording_that_is_streamed_cannot_be_halted_and_says_so():
    with Cottage(Scripted([sized(1, 500)])) as cottage, commanding(cottage.url) as feed:
        result = feed.halt(confirm="HALT")
    assert (result.sent, result.accepted, result.confirmed) == (True, False, False)
    assert result.error.startswith("HTTP 409: nothing here can obey HALT")


def test_a_subscription_changes_the_symbol_of_its_client_and_of_no_other():
    with Cottage(SyntheticSource(rate=50.0)) as cottage, commanding(cottage.url) as feed, cw.connect(cottage.url, name="other") as other:
        feed.wait(2)
        assert feed.subscribe("AAPL").confirmed
        before = len(feed.frame(clean=False))
        seen = feed.wait(before + 20).frame(clean=False)
        assert set(seen.symbol[-20:]) == {"AAPL"}
        assert set(other.wait(20).frame(clean=False).symbol.dropna()) == {"SPY"}
        assert feed.subscribe("SPY").confirmed, "and back"


def test_two_clients_with_two_symbols_get_each_its_own(ws):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        clients = {symbol: ws(cottage.engine_url) for symbol in ("AAPL", "MSFT")}
        for symbol, client in clients.items():
            client.send(json.dumps({"type": "SUBSCRIBE", "symbol": symbol}))
        for symbol, client in clients.items():
            while json.loads(client.recv(timeout=5))["data"]["market"]["symbol"] != symbol:
                pass
            for _ in range(10):
                assert json.loads(client.recv(timeout=5))["data"]["market"]["symbol"] == symbol


def test_what_others_subscribe_to_changes_no_byte_of_the_main_stream(ws):
    with Cottage(SyntheticSource(rate=100.0, packets=150)) as cottage:
        client, other = ws(cottage.url), ws(cottage.url)
        other.send('{"type":"SUBSCRIBE","symbol":"AAPL"}')
        client.recv(timeout=5)
        received = [client.recv(timeout=5).encode() for _ in range(100)]
    expected = first(150, rate=100.0)
    begin = expected.index(received[0])
    assert received == expected[begin : begin + 100]


def test_a_symbol_that_a_given_stream_never_had_leaves_its_client_where_it_is(ws):
    with Cottage(Scripted([sized(n, 400) for n in range(5)]), Options(start_on_first_client=True)) as cottage:
        client = ws(cottage.engine_url)
        client.send('{"type":"SUBSCRIBE","symbol":"AAPL"}')
        assert len([client.recv(timeout=5) for _ in range(5)]) == 5


@pytest.mark.parametrize("path", ["/api/system/halt", "/api/actions/halt"])
def test_both_paths_of_deployed_engines_halt_on_both_sites(path, post):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        for url in (cottage.url, cottage.engine_url):
            assert post(url, path)[0] == 200


def test_a_halt_over_the_socket_is_obeyed_and_what_is_malformed_is_counted(ws, until, metric):
    with Cottage(SyntheticSource(rate=50.0)) as cottage:
        client = ws(cottage.engine_url)
        client.recv(timeout=5)
        for said in ("{not json", "[]", '{"type":"SELL"}', '{"type":"SUBSCRIBE"}', '{"type":"SUBSCRIBE","symbol":7}', '{"type":"PING"}'):
            client.send(said)
        client.send('{"type":"HALT"}')
        until(lambda: json.loads(client.recv(timeout=5))["data"]["status"] == "HALT")
        assert metric(cottage, 'ccwatch_client_messages_ignored_total{site="engine"}') == 5
        assert metric(cottage, 'ccwatch_client_messages_total{site="engine"}') == 7
        assert metric(cottage, 'ccwatch_commands_total{command="HALT",outcome="obeyed",site="engine"}') == 1


@pytest.mark.slow
def test_a_halt_in_the_midst_of_a_planted_slide_halts_and_can_be_resumed():
    with cw.serve(seed=5, rate=20, scenario="drawdown-halt@1") as cottage, cw.connect(cottage.url, commands=True) as feed:
        start, *_ = (plant.start_s for plant in feed.planted if plant.kind == "drawdown") if feed.planted else (1.0,)
        feed.wait(int(20 * (start + 1)), timeout=20)
        assert feed.halt(confirm="HALT").confirmed
        feed.wait(feed.health().packets + 10, timeout=5)
        assert feed.resume(confirm="RESUME").confirmed
