"""The guard's settings: what they say, and what is refused with file and line."""

from __future__ import annotations

import pytest

from ccwatch.config import Tables
from ccwatch.errors import ConfigError
from ccwatch.guard.guard_settings import read_options


def options(tmp_path, text, **given):
    file = tmp_path / "ccwatch.toml"
    file.write_text(f"[guard]\n{text}\n")
    return read_options(Tables.load(file=file), given)


def test_options_of_the_command_come_before_those_of_the_file(tmp_path):
    found = options(tmp_path, 'notify = "desk"\nrepeat = "1h"\nescalate = "0s"\ndrop = "nav, cash"', notify=("boss",), drop=())
    assert found.notify == ("boss",)
    assert (found.repeat_s, found.escalate_s) == (3600.0, 0.0)
    assert found.drop == ("nav", "cash")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('notfy = ["a"]', r":2: unknown key 'notfy' in \[guard\]: did you mean 'notify'"),
        ("notify = 5", r":2: expected a name or a list of names"),
        ('repeat = "often"', r":2: 'often' is no duration"),
        ('repeat = "0s"', r":2: expected a duration above 0"),
        ('heartbeat_every = "0s"', r":2: expected a duration above 0"),
        ("escalate = 5", r":2: expected text, got 5"),
        ('digest = "25:00"', r"expected a time of day such as '16:05'"),
        ('drop = ["naw"]', r":2: drop: unknown column 'naw': did you mean 'nav'"),
        ('heartbeat = "https://me:secret@host/x"', r"heartbeat: an address with .* is a secret"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as raised:
        options(tmp_path, text)
    assert "me:secret" not in str(raised.value)


def test_a_misspelt_column_of_the_command_is_refused_too(tmp_path):
    with pytest.raises(ConfigError, match="--drop: unknown column 'chash': did you mean 'cash'"):
        options(tmp_path, "", drop=("chash",))
