"""What people are told of the guard itself, on a clock that the test sets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccwatch.dashboard.replaced_feed import Gone
from ccwatch.domain.hours import read_hours
from ccwatch.guard.daybook import Daybook
from ccwatch.guard.guard_options import GuardOptions
from ccwatch.guard.outbox import Outbox
from ccwatch.guard.state import GuardState
from ccwatch.recording import AlertJournal

HOURS = read_hours({"timezone": "UTC", "open": "09:30", "close": "16:00"})


class Stream(Gone):
    """A view by its address alone."""

    def __init__(self):
        self.name = self.url = "ws://engine:3000"


def at(text):
    return int(datetime.fromisoformat(f"2026-01-0{text}+00:00").timestamp() * 1e9)


@pytest.fixture
def desk(tmp_path):
    """A daybook over a state; what was queued, by name; what was logged."""

    class Desk:
        state, events, hours = GuardState(journal=str(tmp_path)), [], None
        outbox = Outbox(tmp_path, [])

        def begin(self):
            options = GuardOptions(notify=("desk",), digest_at="16:05")
            self.daybook = Daybook(
                Stream(), self.outbox, self.state, options, on_event=lambda name, facts: self.events.append((name, facts))
            )

        def see(self, moment, *, is_blind=False):
            before = set(self.outbox.waiting().get("desk", ()))
            self.daybook.see(at(moment), is_blind=is_blind, hours=self.hours, zone=UTC)
            new = [name for name in self.outbox.waiting().get("desk", ()) if name not in before]
            return [self.outbox._messages[name].body["text"] for name in new]

    made = Desk()
    made.begin()
    return made


def test_the_first_message_of_a_day_says_that_it_watches_once(desk):
    assert desk.see("5 09:25", is_blind=True) == []
    assert desk.see("5 09:26") == ["Watching ws://engine:3000 since 09:26 UTC."]
    assert desk.see("5 09:27") == []
    assert desk.see("6 09:25") == ["Watching ws://engine:3000 since 09:25 UTC."]


def test_after_a_restart_it_says_from_when_to_when_it_saw_nothing(desk):
    desk.see("5 10:00:00")
    desk.begin()  # killed, and started again
    assert desk.see("5 10:00:08", is_blind=True) == [], "it does not see yet"
    assert desk.see("5 10:00:10") == [
        "Watching ws://engine:3000 again since 10:00:10 UTC. It saw nothing from 2026-01-05 10:00:00 to 10:00:10 UTC."
    ]
    assert desk.see("5 10:00:11") == []


def test_a_restart_within_a_second_is_reported_too(desk):
    desk.see("5 10:00:00")
    desk.begin()
    assert desk.see("5 10:00:01") == [
        "Watching ws://engine:3000 again since 10:00:01 UTC. It saw nothing from 2026-01-05 10:00:00 to 10:00:01 UTC."
    ]


def test_one_that_is_started_again_and_again_says_so_every_ten_minutes(desk):
    desk.see("5 10:00:00")
    heard = []
    for minute in range(1, 13):
        desk.begin()
        heard += desk.see(f"5 10:{minute:02}:00")
    assert len(heard) == 2
    assert heard[1].count(" to ") == 10, "each stretch is in it"
    desk.begin()
    assert "from 2026-01-05 10:12:00 to 2026-01-06 09:00:00 UTC" in desk.see("6 09:00:00")[0], "the next day's first message has the rest"


def test_a_moment_is_not_worth_a_word_and_a_broken_stream_is_only_logged(desk):
    desk.see("5 10:00:00")
    desk.see("5 10:00:01", is_blind=True)
    assert desk.see("5 10:00:02") == []
    assert not [name for name, _ in desk.events if name == "blind"], "a second"
    desk.see("5 10:01:00", is_blind=True)
    assert desk.see("5 10:02:00") == [], "its silence is an alert"
    assert [facts["text"] for name, facts in desk.events if name == "blind"] == ["It saw nothing from 2026-01-05 10:01:00 to 10:02:00 UTC."]


def test_a_night_is_not_missed(desk):
    desk.hours = HOURS
    assert desk.see("5 08:00") == [], "the day begins at the open"
    assert desk.see("5 09:30") == ["Watching ws://engine:3000 since 09:30 UTC."]
    desk.see("5 17:00")
    desk.begin()
    assert desk.see("6 09:00") == []
    assert desk.see("6 09:31") == ["Watching ws://engine:3000 since 09:31 UTC."]
    desk.begin()
    assert "nothing from 2026-01-06 09:31:00 to 11:00:00" in desk.see("6 11:00")[0]


def test_the_digest_counts_the_days_alerts_once_a_trading_day(desk, tmp_path):
    journal = AlertJournal(tmp_path)
    for number, moment in enumerate(("4 12:00", "5 11:00", "5 12:00")):
        facts = {
            "id": f"id{number}",
            "rule": "stale",
            "subject": "",
            "severity": "warning",
            "state": "firing",
            "meaning": "no packet comes",
            "unit": "s",
            **dict.fromkeys(("fired_value", "value", "worst", "resolved")),
            "fired": datetime.fromtimestamp(at(moment) / 1e9, UTC),
        }
        journal.note(facts | {"fired": facts["fired"].isoformat()})

    def digest(moment):
        desk.daybook.digest(at(moment), HOURS, UTC, at("5 09:30"))
        return [m.body["text"] for m in desk.outbox._messages.values() if m.body["kind"] == "digest"]

    assert digest("5 16:04") == []
    assert digest("5 16:05")[0].startswith("2 alerts fired today: stale, stale.")
    assert len(digest("5 17:00")) == 1
    assert len(digest("3 16:10")) == 1, "a Saturday has none"
