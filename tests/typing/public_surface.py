"""Uses of the public surface, as a user's type checker sees them: never run, only checked by test_public_surface."""

from __future__ import annotations

from typing import assert_type

import pandas as pd

import ccwatch as cw
from ccwatch.analysis import Report
from ccwatch.feed.group import Feeds
from ccwatch.protocol.messages import ConnectionState


def a_feed(url: str) -> None:
    with cw.connect(url, token=lambda: "word", window="1h", max_rows=1000) as feed:
        assert_type(feed, cw.Feed)
        assert_type(feed.wait(packets=1, timeout=1.0), cw.Feed)
        assert_type(feed.state, ConnectionState)
        assert_type(feed.latest, cw.Packet | None)
        assert_type(feed.frame(["price"], last="5min", clean=False), pd.DataFrame)
        assert_type(feed.agents(), pd.DataFrame)
        assert_type(feed.models(), pd.DataFrame)
        assert_type(feed.logs(), pd.DataFrame)
        assert_type(feed.forecasts(), pd.DataFrame)
        assert_type(feed.events(), pd.DataFrame)
        assert_type(feed.health(), cw.Health)
        assert_type(feed.halt(confirm="HALT"), cw.CommandResult)
        assert_type(feed.join(1.0), bool)
        feed.on_packet(lambda packet: packet.price)()


def a_recording(feed: cw.Feed) -> None:
    with cw.record(feed, tags=["desk-3"]) as recorder:
        assert_type(recorder, cw.Recorder)
    recording = cw.open_recording(recorder.path)
    assert_type(recording, cw.Recording)
    assert_type(recording.frame(), pd.DataFrame)
    assert_type(cw.recordings(), pd.DataFrame)
    assert_type(cw.replay(recording, speed="max"), cw.Feed)
    assert_type(cw.replay([recording, "latest"]), Feeds)
    assert_type(cw.replay({"paper": recording}), Feeds)


def a_report(recording: cw.Recording) -> None:
    report = cw.analyze(recording)
    assert_type(report, Report)
    assert_type(report.drawdowns().to_frame(), pd.DataFrame)
    assert_type(report.latency().to_frame(), pd.DataFrame)
    assert_type(report.timeline().to_frame(), pd.DataFrame)


def a_server_and_a_dashboard() -> None:
    with cw.serve(seed=7, scenario="drawdown-halt") as cottage:
        assert_type(cottage, cw.Cottage)
        assert_type(cottage.url, str)
        assert_type(cw.watch(cottage.url, panels=["price"]), cw.Dashboard)
    assert_type(cw.synthetic(seed=7, pace="max"), cw.Feed)


def errors(error: cw.CcwatchError) -> None:
    if isinstance(error, cw.Unauthorized):
        assert_type(error.status, int | None)
