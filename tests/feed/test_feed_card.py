from __future__ import annotations

import pytest

import ccwatch as cw
from ccwatch.feed.feed_card import card, odd
from tests.feed.conftest import wait_until
from tests.feed.servers import free_port


def test_the_card_of_a_feed_says_what_is_known_now_and_a_good_stream_has_nothing_odd():
    with cw.synthetic(seed=2, packets=120, pace="max") as feed:
        assert feed.health().packets == 0
        assert "none yet" in feed._repr_html_(), "showing it begins no stream"
        feed.join(20)
        shown, frame = feed._repr_html_(), feed.frame()
        last = frame.iloc[-1]
    assert odd(feed.health()) == []
    invested = f"{(last.nav - last.cash) / last.nav:.1%}".replace("-", "\N{MINUS SIGN}")
    for text in (f"{last.symbol} {last.price:,.2f} USD", str(last.regime), f"{last.nav:,.2f} USD", invested, "SYNTHETIC", "ENDED", "120"):
        assert text in shown


def test_values_that_the_last_packet_does_not_carry_are_the_last_known_ones():
    with cw.synthetic(seed=2, packets=20, pace="max") as feed:
        feed.join(20)
        frame = feed.frame()
        frame.loc[frame.index[-1], ["price", "nav"]] = None
        assert f"{frame.price.iloc[-2]:,.2f} USD" in card(feed.health(), frame, "x")


def test_a_feed_that_is_refused_says_why_and_when_it_tries_again(raw, live):
    feed = live(f"ws://127.0.0.1:{free_port()}")
    wait_until(lambda: feed.error)
    shown = feed._repr_html_()
    assert "refused" in shown.lower()
    assert "next attempt in" in shown
    denied = live(raw(lambda peer: peer.answer("401 Unauthorized")).url)
    wait_until(lambda: denied.error)
    assert "401" in denied._repr_html_()


@pytest.mark.parametrize(("scenario", "said"), [("malformed", "unreadable message"), ("reconnect-storm", "reconnection")])
def test_what_is_odd_is_named_and_counted(scenario, said):
    with cw.synthetic(seed=1, scenario=f"{scenario}@1", packets=400, rate=5, pace="max") as feed:
        feed.join(20)
        assert said in feed._repr_html_()


def test_what_a_server_wrote_is_escaped():
    with cw.synthetic(seed=2, packets=5, pace="max") as feed:
        feed.join(20)
        frame = feed.frame().astype({"symbol": "str"})
        frame["symbol"] = "<img src=x>"
        shown = card(feed.health(), frame, "<script>")
    assert "<img" not in shown
    assert "<script" not in shown
