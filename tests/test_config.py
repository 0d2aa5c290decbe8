"""Settings: who wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.config import Settings, recordings_folder, user_path
from ccwatch.errors import ConfigError


def test_argument_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "ccwatch.toml").write_text('url = "ws://file"\nwindow = "1h"\nserver_tz = "Europe/Paris"\n')
    settings = Settings.load(tmp_path, {"CCWATCH_URL": "ws://environment", "CCWATCH_WINDOW": "2h"}, url="ws://argument", window=None)
    assert (settings.url, settings.window, settings.server_tz, settings.fsync) == ("ws://argument", "2h", "Europe/Paris", "balanced")


def test_the_nearest_file_above_is_read(tmp_path: Path) -> None:
    (tmp_path / "ccwatch.toml").write_text("max_rows = 5\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert Settings.load(below, {}).max_rows == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("utl = 'x'", "no setting 'utl'; did you mean 'url'\\?"),
        ("max_rows = 0", "above zero"),
        ("max_rows = 'many'", "whole number"),
        ("url = 5", "expected text"),
        ("fsync = 'sometimes'", "strict, balanced, lazy, off"),
        ("server_tz = 'Mars/Olympus'", "no time zone"),
        ("= 3", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_allowed(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "ccwatch.toml").write_text(text + "\n")
    with pytest.raises(ConfigError, match=says):
        Settings.load(tmp_path, {})


def test_a_token_is_in_no_repr_and_a_token_file_is_read_at_each_ask(tmp_path: Path) -> None:
    assert "sesame" not in repr(Settings(token="sesame"))
    file = tmp_path / "token"
    file.write_text("one\n")
    settings = Settings(token_file=str(file))
    assert settings.ask_token() == "one"
    file.write_text("two\n")
    assert settings.ask_token() == "two"
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings(token_file=str(tmp_path / "none")).ask_token()


def test_recordings_go_beside_the_project_file_unless_told(tmp_path: Path) -> None:
    work = tmp_path / "project" / "sub"
    work.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("")
    assert recordings_folder(Settings(), work) == tmp_path.resolve() / "project" / "recordings"
    assert recordings_folder(Settings(recordings="elsewhere"), work) == Path("elsewhere")


def test_times_are_shown_in_the_zone_of_the_trading_hours_unless_another_is_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ccwatch.toml"
    path.write_text('[hours]\ntimezone = "America/New_York"\nopen = "09:30"\nclose = "16:00"\n')
    assert Settings.load().display_tz == "America/New_York"
    assert Settings.load(environment={"CCWATCH_DISPLAY_TZ": "Europe/Berlin"}).display_tz == "Europe/Berlin"
    path.write_text('display_tz = "Asia/Tokyo"\n\n[hours]\ntimezone = "America/New_York"\n')
    assert Settings.load().display_tz == "Asia/Tokyo"
    path.write_text('[hours]\ntimezone = "Mars/Base"\n')
    assert Settings.load().display_tz == "UTC", "those who read the table say what is wrong with it"


def test_settings_that_nest_too_deeply_are_an_error_that_names_the_file(tmp_path, monkeypatch):
    (tmp_path / "ccwatch.toml").write_text("x = " + "[" * 50_000)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"ccwatch\.toml is not TOML"):
        Settings.load()


def test_a_tilde_is_the_home_folder_for_every_verb_that_takes_a_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/desk") == tmp_path / "desk"
    assert user_path("~nobody-of-this-name/desk") == Path("~nobody-of-this-name/desk")
    with cw.synthetic(packets=2, pace="max") as feed, cw.record(feed, "~/desk", name="a") as recorder:
        feed.join(60)
    assert recorder.path.parent == tmp_path / "desk"
    assert list(cw.archive("~/desk").sessions.index) == list(cw.recordings("~/desk").index) == [recorder.path.name]
    assert cw.open_recording(f"~/desk/{recorder.path.name}").path == recorder.path
