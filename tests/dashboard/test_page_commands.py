"""Commands from a page, at a real Cottage: what is armed and held is given, anything else is refused."""

from __future__ import annotations

import threading
import time

import pytest

import ccwatch as cw
from ccwatch.dashboard import page_commands as module
from ccwatch.dashboard.page_commands import Commander
from ccwatch.protocol.messages import Status
from tests.dashboard.conftest import wait_until
from tests.dashboard.test_dashboard import ready, say


@pytest.fixture
def cottage():
    with cw.serve(seed=1, rate=40) as serving:
        yield serving


@pytest.fixture
def feed(cottage):
    with cw.connect(cottage.url, commands=True) as connected:
        yield connected.wait(5)


class Page:
    """What a page hears and asks."""

    def __init__(self, view, name="p1") -> None:
        self.name = name
        self.states: list[tuple[str, str]] = []
        self.said: list[dict] = []
        self.heard: list[dict] = []
        self.armed: list[dict] = []
        self.commander = Commander(view, self._show, self.armed.append)

    def _show(self, said) -> None:
        self.said = said
        self.heard.append(said[0])
        self.states.append((said[0]["what"], said[0]["state"]))

    def ask(self, do, what="HALT", page=None, **more) -> None:
        self.commander.ask(page or self.name, {"do": do, "what": what, **more})

    def hold(self, what="HALT", seconds=1.0) -> None:
        self.ask("arm", what)
        time.sleep(seconds)
        self.ask("give", what, token=self.armed[-1]["token"])


@pytest.mark.slow
def test_a_command_that_was_armed_and_held_is_sent_then_confirmed(feed):
    page = Page(feed)
    page.hold("HALT")
    wait_until(lambda: page.states == [("HALT", "SENDING"), ("HALT", "SENT"), ("HALT", "CONFIRMED")])
    assert "HALT" in page.said[0]["words"]
    assert feed.latest.status == Status.HALT
    noted = "command=HALT sent=True accepted=True confirmed=True evidence=stream"  # by the feed's thread, when it next looks
    wait_until(lambda: ("command", noted) in set(feed.events()[["kind", "detail"]].itertuples(index=False, name=None)))
    page.hold("RESUME")
    wait_until(lambda: page.states[-1] == ("RESUME", "CONFIRMED"))
    assert [line["what"] for line in page.said] == ["RESUME"], "the halt is history"


@pytest.mark.parametrize(
    ("do", "why"),
    [
        (lambda page: page.ask("give", token="x"), "not armed by this page"),
        (lambda page: page.hold(seconds=0.0), "not held for 1 s"),
        (lambda page: (page.ask("arm"), page.ask("give", token="guessed")), "not armed by this page"),
        (lambda page: (page.ask("arm"), page.ask("give", page="other", token=page.armed[0]["token"])), "not armed by this page"),
        (lambda page: (page.ask("arm", "RESUME"), page.ask("give", token=page.armed[0]["token"])), "not armed by this page"),
        (lambda page: (page.ask("arm"), page.ask("disarm"), page.ask("give", token=page.armed[0]["token"])), "not armed by this page"),
    ],
)
def test_nothing_is_given_that_was_not_armed_and_held(feed, do, why):
    page = Page(feed)
    do(page)
    assert page.states == [("HALT", "NOT SENT")]
    assert why in page.said[0]["words"]
    time.sleep(0.1)
    assert feed.latest.status != Status.HALT
    assert not len(feed.events()[feed.events()["kind"] == "command"])


def test_a_request_that_waited_in_a_busy_kernel_comes_too_late(feed, monkeypatch):
    for name, seconds in (("ARMED_S", 0.1), ("HOLD_S", 0.05), ("SLACK_S", 0.05)):
        monkeypatch.setattr(module, name, seconds)
    page = Page(feed)
    page.hold(seconds=0.4)
    assert page.states == [("HALT", "NOT SENT")]
    assert "was the kernel busy?" in page.said[0]["words"]


def test_a_token_is_good_once(feed):
    page = Page(feed)
    page.hold()
    page.ask("give", token=page.armed[0]["token"])
    assert any("another was not sent: HALT was not armed by this page" in line["words"] for line in page.heard)
    wait_until(lambda: not any(thread.name == "ccwatch-halt" for thread in threading.enumerate()), 60)


def test_an_engine_that_is_gone_is_not_confirmed_and_the_page_is_told_what_to_do(feed, cottage):
    cottage.stop()
    page = Page(feed)
    page.hold()
    wait_until(lambda: page.states[-1] == ("HALT", "NOT CONFIRMED"), 60)
    line = page.said[0]
    assert "did not leave this machine" in line["words"]
    assert line["remedy"].startswith("Assume that it still trades. Call the operator")
    assert f'curl -X POST -H "Authorization: Bearer $TOKEN" {cottage.url.replace("ws", "http", 1)}/api/system/halt' in line["remedy"]


def test_a_token_is_in_nothing_that_the_page_is_told(cottage):
    with cw.connect(cottage.url, commands=True, token="header.very-secret.signature", name="secretive") as feed:
        feed.wait(3)
        cottage.stop()
        page = Page(feed)
        page.hold()
        wait_until(lambda: page.states[-1][1] == "NOT CONFIRMED", 60)
        assert "secret" not in str(page.said)


def test_a_symbol_is_subscribed_to_and_then_known(feed):
    page = Page(feed)
    page.ask("subscribe", symbol=" AAPL ")
    wait_until(lambda: page.states[-1] == ("SUBSCRIBE AAPL", "CONFIRMED"))
    assert page.commander.symbols() == ["AAPL", "SPY"]
    page.ask("subscribe", symbol="\x00bad")
    wait_until(lambda: page.states[-1] == ("SUBSCRIBE \x00bad", "NOT SENT"))
    assert "expected a ticker" in page.said[0]["words"]


def test_views_that_take_no_commands_offer_and_obey_none(cottage):
    with cw.connect(cottage.url, name="only watches") as watching, cw.synthetic(seed=1, packets=5, pace="max") as seeded:
        for view in (watching, seeded):
            page = Page(view)
            assert not page.commander.offers
            page.hold(seconds=0.0) if page.armed else page.ask("arm")
            page.ask("subscribe", symbol="AAPL")
            assert (page.armed, page.states) == ([], [])


@pytest.mark.slow
def test_the_dashboard_passes_commands_on_without_waiting_and_shows_what_became_of_them(feed, sent):
    def said():
        shown = [m["replace"]["commands"] for m, _ in sent.custom("side") if "commands" in m.get("replace", {})]
        return shown[-1] if shown else None

    with cw.watch(feed) as dashboard:
        ready(dashboard)
        assert said() == {"said": []}
        say(dashboard, {"type": "command", "page": "p1", "do": "arm", "what": "HALT"})
        (armed, _), *_ = sent.custom("armed")
        assert (armed["page"], armed["what"]) == ("p1", "HALT")
        time.sleep(1.0)
        began = time.monotonic()
        say(dashboard, {"type": "command", "page": "p1", "do": "give", "what": "HALT", "token": armed["token"]})
        assert time.monotonic() - began < 5.0
        wait_until(lambda: said()["said"] and said()["said"][0]["state"] == "CONFIRMED", 60)
        dashboard.stop()
        assert said() is None, "a view that was stopped commands nothing"
        say(dashboard, {"type": "command", "page": "p1", "do": "arm", "what": "HALT"})
        assert len(sent.custom("armed")) == 1


def test_a_page_that_is_gone_hides_nothing_of_a_command_that_was_sent(feed, caplog):
    def gone(_said):
        raise RuntimeError("comm is closed")

    page = Page(feed)
    page.commander._show = gone
    page.hold()
    wait_until(lambda: page.commander.said[0]["state"] == "CONFIRMED")
    assert feed.latest.status == Status.HALT
    assert "HALT: SENT could not be shown" in caplog.text


def test_a_listener_that_fails_does_not_end_the_wait_for_the_confirmation(feed, caplog):
    def fail():
        raise RuntimeError("comm is closed")

    assert feed.halt(confirm="HALT", on_sent=fail).confirmed
    assert "on_sent of HALT failed" in caplog.text


def test_a_second_halt_is_sent_while_the_first_waits(feed):
    page = Page(feed)
    for _ in range(2):
        page.commander._run("HALT", lambda sent: feed.halt(confirm="HALT", on_sent=sent))
    wait_until(lambda: confirmed_halts(feed) == 2)
    wait_until(lambda: page.commander.said[0]["state"] == "CONFIRMED")


def confirmed_halts(feed) -> int:
    events = feed.events()
    return int((events["detail"] == "command=HALT sent=True accepted=True confirmed=True evidence=stream").sum())


def test_an_earlier_halts_late_outcome_does_not_take_the_place_of_a_later_one(feed):
    page, late = Page(feed), threading.Event()

    def first(sent):
        sent()
        late.wait(5)
        return cw.CommandResult("POST http://127.0.0.1/halt", True, True, False, None, "too late")

    page.commander._run("HALT", first)
    wait_until(lambda: page.states[-1] == ("HALT", "SENT"))
    page.commander._run("HALT", lambda sent: feed.halt(confirm="HALT", on_sent=sent))
    wait_until(lambda: page.states[-1] == ("HALT", "CONFIRMED"))
    late.set()
    wait_until(lambda: not any(thread.name == "ccwatch-halt" for thread in threading.enumerate()))
    assert page.commander.said[0]["state"] == "CONFIRMED"


def test_what_was_sent_is_not_told_as_not_sent_because_another_was_refused(feed):
    page, end = Page(feed), threading.Event()

    def first(sent):
        sent()
        end.wait(5)
        return feed.halt(confirm="HALT")

    page.commander._run("HALT", first)
    wait_until(lambda: page.states[-1] == ("HALT", "SENT"))
    page.ask("give", token="guessed")
    assert page.said[0]["state"] == "SENT"
    assert "another was not sent: HALT was not armed by this page" in page.said[0]["words"]
    end.set()
    wait_until(lambda: page.states[-1] == ("HALT", "CONFIRMED"))
