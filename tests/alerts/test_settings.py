from __future__ import annotations

import pytest

from ccwatch.alerts import DEFAULT_RULES, AlertSettings
from ccwatch.config import Tables
from ccwatch.errors import ConfigError

HOURS = '[hours]\ntimezone = "America/New_York"\nopen = "09:30"\nclose = "16:00"\n'


def load(tmp_path, text):
    file = tmp_path / "ccwatch.toml"
    file.write_text(text)
    return AlertSettings.load(Tables.load(file=file))


def test_rules_and_hours_of_the_file_hold_beside_the_default_ones(tmp_path):
    (tmp_path / "closed.txt").write_text("2026-12-25  # Christmas\n\n2026-11-27 13:00\n")
    found = load(
        tmp_path,
        '[hours]\ntimezone = "America/New_York"\nopen = "09:30"\nclose = "16:00"\nholidays = "closed.txt"\ngrace = "2min"\n'
        '[[rules]]\nname = "halt"\nwhen = "halt"\nseverity = "critical"\n[[rules]]\nname = "mine"\nwhen = "alpha < 1"\nfor = "30s"\n',
    )
    assert len(found.rules) == len(DEFAULT_RULES) + 1, "halt took the default's place"
    assert found.own[1].for_s == 30.0
    assert found.hours.grace_s == 120.0
    assert len(found.hours.holidays) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rules]]\nname = "a"\nwhen = "alfa < 1"\n', r":3: rule 'a': unknown measure or column 'alfa': did you mean 'alpha'"),
        ('[[rules]]\nname = "a"\nwhen = "alpha < 1"\nfor = "soon"\n', r":4: rule 'a': for_='soon'"),
        ('[[rules]]\nname = "a"\nwhen = "alpha < 1"\nseverty = "x"\n', r":4: unknown key 'severty' .*did you mean 'severity'"),
        ('[[rules]]\nname = "a"\nwhen = "halt"\n[[rules]]\nname = "a"\nwhen = "stale"\n', r":5: a rule named 'a' is there twice"),
        ('[hours]\ntimezone = "UTC"\nopen = "09:30+02:00"\nclose = "16:00"\n', r":3: open='09:30\+02:00' is no time of day"),
        (HOURS + "days = 5\n", r":5: days=5: expected weekdays"),
        (HOURS + 'days = ["mon", 3]\n', r":5: days="),
        (HOURS + "holidays = 2026-12-25\n", r":5: holidays=.*expected a list of dates"),
        (HOURS + 'holidays = ["25.12.2026"]\n', r":5: holidays: '25.12.2026' is no date"),
        (HOURS + 'holidays = ["2026-11-27 08:00"]\n', r":5: holidays: '2026-11-27 08:00': trading is from 09:30 to 16:00"),
        (HOURS + 'holidays = ["2026-11-27 17:00"]\n', r":5: holidays: '2026-11-27 17:00': trading is from 09:30 to 16:00"),
        (HOURS + "grace = 5\n", r":5: grace: '5' is no duration"),
        (HOURS + 'opens = "09:00"\n', r":5: unknown key 'opens' in \[hours\]: did you mean 'open'"),
        ('[hours]\ntimezone = "Mars"\nopen = "09:30"\nclose = "16:00"\n', r":2: timezone='Mars'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, text)
