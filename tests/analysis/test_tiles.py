"""The first screen of a report: the four numbers agree with the answers, and what is not known is never called none."""

from __future__ import annotations

from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.analysis.tiles import UNKNOWN, session_line, tiles

SAMPLE = Path(__file__).parents[2] / "recordings" / "sample-bad-session"


@pytest.fixture(scope="module")
def recording():
    return cw.open_recording(SAMPLE)


@pytest.mark.slow
def test_the_tiles_of_the_bad_session_are_its_loss_depth_halt_and_alerts(recording) -> None:
    report = cw.analyze(recording)
    nav = recording.frame(["nav"])["nav"]
    loss, depth, halt, alerts = tiles(report.answers())
    assert (loss.label, loss.is_bad) == ("loss", True)
    assert loss.value == f"\N{MINUS SIGN}{nav.iloc[0] - nav.iloc[-1]:,.2f} USD"
    assert depth.value == f"\N{MINUS SIGN}{-(nav / nav.cummax() - 1).min():.2%}"
    status = recording.frame(["status"])["status"]
    assert halt.value == f"{status.index[(status == 'HALT').to_numpy().argmax()]:%H:%M:%S} UTC"
    assert alerts.value == str(len(report.alerts().firings))
    assert session_line(report.answers()).startswith("Friday, 2026-01-02 · SPY · 14:30:00 to 14:45:29 UTC, 15 min 29 s · 9")


def test_what_the_stream_never_carried_is_unknown_and_not_none(recording) -> None:
    loss, _, halt, _ = tiles(cw.analyze(recording.frame(["price", "symbol"])).answers())
    assert (loss.value, loss.is_bad) == (UNKNOWN, False)
    assert (halt.value, halt.is_bad) == (UNKNOWN, False)
    assert "nav" in loss.detail
    assert "status" in halt.detail


@pytest.mark.slow
def test_the_page_escapes_a_tile(tmp_path: Path, recording) -> None:
    frame = recording.frame(["price", "nav", "status", "symbol"])
    frame["symbol"] = "<b>SPY</b>"
    text = cw.analyze(frame).to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>SPY" not in text.partition("<h2>What happened")[0]


@pytest.mark.slow
def test_axis_tables_and_sentences_are_in_the_one_zone_of_the_trading_hours(recording, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ccwatch.toml").write_text('[hours]\ntimezone = "America/New_York"\nopen = "09:30"\nclose = "16:00"\n')
    report = cw.analyze(recording)
    assert "09:30:00 to 09:45:29 EST" in session_line(report.answers())
    words = "\n".join(map(str, report.what_happened())) + report.drawdowns().to_markdown() + report.explain("09:39").headline()
    assert "EST" in words
    assert "UTC" not in words
    assert "2026-01-02 14:3" not in words, "the tables, too"
    figure = report.drawdowns().figure()
    assert figure.layout.xaxis.title.text == "time (America/New_York, UTC-05:00)"
    assert str(figure.data[0].x[0]).startswith("2026-01-02T09:30")
    assert str(report.drawdowns().to_frame()["peak_time"].dt.tz) == "UTC", "frames stay in UTC"
