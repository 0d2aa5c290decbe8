from __future__ import annotations

import gc
import json
import socket
import threading
import time
import weakref
from pathlib import Path

import ipywidgets
import numpy as np
import pytest

import ccwatch as cw
from ccwatch.dashboard.dashboard import Dashboard
from ccwatch.dashboard.page_messages import CHUNK_ROWS, EXACT_ROWS, FIRST_ROWS, SKETCH_ROWS
from ccwatch.dashboard.widget import plotly_source
from ccwatch.errors import ConfigError
from ccwatch.protocol.messages import AgentMetric, ConnectionState, Flag
from tests.dashboard.conftest import SteppedView, wait_until


def say(widget, content) -> None:
    """What the page sends, through the widget's own door."""
    widget._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


def set_value(widget, **state) -> None:
    widget._handle_msg({"content": {"data": {"method": "update", "state": state}}, "buffers": []})


def ready(dashboard, page="p1", **more) -> None:
    assert dashboard.model_id  # it was shown
    say(dashboard, {"type": "ready", "page": page, "seq": 0, **more})


def reported(dashboard) -> str:
    """All that the status line says."""
    return " | ".join(f"{name}={value}" for name, value in dashboard._publisher._side_content["status"].items())


def kinds(sent) -> list[str]:
    return [content["kind"] for content, _ in sent.custom() if content["kind"] != "side"]


@pytest.fixture
def dashboard(view):
    plotly_source()
    with Dashboard(view, rate=10) as shown:
        yield shown


def ticks(dashboard) -> None:
    """Wait until the dashboard's thread has looked again, and wait until it has done so."""
    dashboard._wake.set()
    wait_until(lambda: not dashboard._wake.is_set())
    with dashboard._lock:
        pass


def rests(dashboard) -> bool:
    """Whether nothing more is to be sent before someone asks."""
    with dashboard._lock:
        return dashboard._publisher.step() is None


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ccwatch-dashboard")]


def test_nothing_is_sent_before_a_page_asks(dashboard, view, sent):
    dashboard._repr_mimebundle_()
    view.step(20)
    ticks(dashboard)
    assert sent.custom() == []


def test_a_page_that_asks_gets_the_rows_and_plotly_only_when_it_wants_it(dashboard, sent):
    ready(dashboard)
    assert kinds(sent) == ["full"]
    ready(dashboard, "p2", source=True)
    assert kinds(sent) == ["full", "source", "full"]
    assert len(sent.custom("source")[0][1][0]) < 2_000_000


def test_new_packets_reach_the_page_in_one_message_per_frame(dashboard, view, sent):
    ready(dashboard)
    for _ in range(5):
        before = len(sent.custom("rows"))
        with dashboard._lock:  # between two frames
            view.step(10)
        wait_until(lambda before=before: len(sent.custom("rows")) > before)
    assert len(sent.custom("rows")) == 5
    assert {content["rows"] for content, _ in sent.custom("rows")} == {10}
    assert sent.mirror().seq == view.latest.seq
    assert all(isinstance(buffer, bytes) for _, buffers in sent.custom() for buffer in buffers)


def test_pause_freezes_the_page_and_counts_what_it_hides(dashboard, view, sent):
    ready(dashboard)
    say(dashboard, {"type": "pause"})
    frozen = sent.mirror().seq
    view.step(37)
    wait_until(lambda: "hidden=37" in reported(dashboard))
    assert dashboard.hidden_packets == 37
    assert sent.mirror().seq == frozen
    assert "charts paused" in reported(dashboard)
    say(dashboard, {"type": "pause"})
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    assert dashboard.hidden_packets == 0
    assert "paused=False" in reported(dashboard)
    assert len(sent.mirror()) == len(view.frame())


@pytest.mark.slow
def test_after_a_long_pause_the_page_gets_every_row(dashboard, view, sent):
    ready(dashboard)
    dashboard.pause()
    for _ in range(EXACT_ROWS * 3):
        view.step()
    dashboard.resume()
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    assert len(sent.mirror()) == len(view.frame())


def test_a_page_reloaded_while_paused_shows_what_was_frozen(dashboard, view, sent):
    ready(dashboard)
    dashboard.pause()
    frozen = sent.mirror()
    view.step(10)
    ready(dashboard, "reloaded")
    assert sent.mirror().seq == frozen.seq
    assert len(sent.mirror()) == len(frozen)


def test_pausing_twice_and_resuming_twice_is_no_error(dashboard):
    dashboard.pause()
    dashboard.pause()
    assert dashboard.is_paused
    dashboard.resume()
    dashboard.resume()
    assert not dashboard.is_paused


@pytest.mark.slow
def test_what_came_after_a_pause_is_not_lost_when_the_page_was_reloaded_meanwhile(dashboard, view, sent):
    ready(dashboard)
    dashboard.pause()
    view.step(5)
    ready(dashboard, "reloaded")
    view.step(5)
    dashboard.resume()
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    assert len(sent.mirror()) == len(view.frame())


@pytest.mark.slow
def test_a_flood_beyond_what_waits_for_a_frame_still_reaches_the_page(dashboard, view, sent, monkeypatch):
    monkeypatch.setattr("ccwatch.dashboard.publisher.MOST_WAITING", 50)
    ready(dashboard)
    with dashboard._lock:  # between two frames
        view.step(400)
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    assert len(sent.mirror()) == len(view.frame())


def test_a_page_without_a_view_gets_nothing_until_it_asks_again(dashboard, view, sent):
    ready(dashboard)
    say(dashboard, {"type": "asleep", "page": "p1"})
    wait_until(lambda: threads() == [])
    assert view._sinks == []
    count = len(sent.custom())
    view.step(10)
    assert len(sent.custom()) == count
    ready(dashboard)
    assert sent.mirror().seq == view.latest.seq
    view.step(10)
    wait_until(lambda: sent.mirror().seq == view.latest.seq)


def test_rows_out_of_order_are_put_in_order_by_a_full_message(dashboard, view, sent):
    ready(dashboard)
    view.change(time_ns=view.latest.time_ns - 3_000_000_000, flags=int(Flag.OUT_OF_ORDER))
    wait_until(lambda: len(sent.custom("full")) == 2)
    times = sent.mirror().rows["time"]
    assert (times[1:] >= times[:-1]).all()
    assert len(times) == len(view.frame())


def test_the_window_that_a_page_chooses_is_the_dashboards(dashboard):
    set_value(dashboard, window_s=300.0)
    assert dashboard.window_s == 300.0


def test_thirty_minutes_are_shown_where_nobody_says_how_much(view):
    with Dashboard(view) as shown, Dashboard(view, window="2min") as shorter, Dashboard(view, window="all") as whole:
        assert (shown.window_s, shorter.window_s, whole.window_s) == (1800.0, 120.0, 0.0)


def test_the_status_is_sent_only_when_it_changes(dashboard, sent):
    def statuses():
        return [content for content, _ in sent.custom("side") if "status" in content.get("replace", {})]

    ready(dashboard)
    wait_until(lambda: time.monotonic() - dashboard._status_at < 0.3)
    count, looked = len(statuses()), dashboard._status_at
    dashboard.view.facts["age_s"] = 7.0  # the page counts by itself
    wait_until(lambda: dashboard._status_at > looked)
    assert len(statuses()) == count
    dashboard.view.facts["gaps"] = 3
    wait_until(lambda: len(statuses()) == count + 1)


def test_a_disconnect_is_read_in_the_header(dashboard, view):
    ready(dashboard)
    view.state = ConnectionState.DISCONNECTED
    view.facts["retry_in_s"] = 3.4
    wait_until(lambda: "Disconnected, next try in 4 s" in reported(dashboard))
    view.facts["retry_in_s"] = 2.4
    wait_until(lambda: "next try in 3 s" in reported(dashboard))


def test_stop_ends_the_publisher_at_once_and_leaves_a_feed_that_is_not_its_own(view):
    dashboard = Dashboard(view)
    ready(dashboard)
    assert threads() == ["ccwatch-dashboard"]
    began = time.monotonic()
    dashboard.stop()
    dashboard.stop()
    assert time.monotonic() - began < 5.0
    assert threads() == []
    assert view.stopped == 0
    assert "view stopped" in reported(dashboard)
    assert view._sinks == []


def test_stop_ends_the_feed_that_it_owns_once(view):
    dashboard = Dashboard(view, owns_feed=True)
    dashboard.stop()
    dashboard.stop()
    assert view.stopped == 1
    assert "Stopped" in reported(dashboard)


def test_a_page_loaded_after_stop_still_shows_the_data(view, sent):
    dashboard = Dashboard(view)
    dashboard.stop()
    ready(dashboard)
    assert len(sent.mirror()) == len(view.frame())


def test_the_publisher_rests_when_the_stream_has_ended_and_wakes_for_a_page(dashboard, view, sent):
    ready(dashboard)
    view.state = ConnectionState.ENDED
    wait_until(lambda: "The stream has ended" in reported(dashboard))
    looked = wait_until(lambda: dashboard._status_at)
    wait_until(lambda: dashboard._wake._cond._waiters)
    assert dashboard._status_at >= looked
    ready(dashboard, "another")
    assert len(sent.mirror()) == len(view.frame())


@pytest.mark.slow
def test_a_view_that_fails_is_told_in_the_header_and_does_not_end_the_thread(dashboard, view, sent, monkeypatch):
    ready(dashboard)
    with monkeypatch.context() as broken:
        broken.setattr(view, "events", lambda: 1 / 0)
        view.change(agents=(AgentMetric("NewcomerAgent", 1.0, 1.0, 1.0),))  # so that everything must be read again
        wait_until(lambda: "charts could not be updated: division" in reported(dashboard), 60)  # at its share of the time
        broken.setattr(view, "health", lambda: 1 / 0)
        wait_until(lambda: "status could not be updated: division" in reported(dashboard))
    assert threads() == ["ccwatch-dashboard"]
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    wait_until(lambda: "could not" not in reported(dashboard))


class FileRecorder:
    """The smallest thing that records: a file and whether it was finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def stop(self) -> None:
        self.path.rename(self.path.with_suffix(".done"))


def test_the_record_button_starts_and_finishes_a_recording(view, tmp_path):
    with Dashboard(view, record=lambda: FileRecorder(tmp_path / "r")) as shown:
        say(shown, {"type": "record"})
        wait_until(lambda: "records=True" in reported(shown))
        assert (tmp_path / "r").exists()
        assert f"recording to {tmp_path / 'r'}" in reported(shown)
        say(shown, {"type": "record"})
        wait_until(lambda: "records=False" in reported(shown))
        assert (tmp_path / "r.done").exists()
        assert "recorded to" in reported(shown)


def test_stop_finishes_the_recording_that_the_button_started(view, tmp_path):
    shown = Dashboard(view, record=lambda: FileRecorder(tmp_path / "r"))
    say(shown, {"type": "record"})
    wait_until(lambda: "records=True" in reported(shown))
    shown.stop()
    assert (tmp_path / "r.done").exists()


def test_a_recording_that_cannot_start_is_told_in_the_header(view):
    def fail():
        raise PermissionError("no room for <b>recordings</b>")

    with Dashboard(view, record=fail) as shown:
        say(shown, {"type": "record"})
        wait_until(lambda: "could not record: no room for <b>" in reported(shown))
        assert "records=False" in reported(shown)


def test_what_the_page_sends_waits_for_the_publisher(dashboard):
    done = threading.Event()

    def click() -> None:
        say(dashboard, {"type": "pause"})
        done.set()

    with dashboard._lock:
        threading.Thread(target=click, daemon=True).start()
        assert not done.wait(0.1)
    assert done.wait(2)
    assert dashboard.is_paused


def test_a_dashboard_is_shown_as_a_widget_with_plain_words_beside(dashboard):
    bundle = dashboard._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == dashboard.widget.model_id
    assert data["text/plain"].startswith("<Dashboard of stepped, OPEN; charts need a notebook")


@pytest.mark.slow
def test_to_html_is_one_file_with_plotly_in_it(dashboard, tmp_path):
    path = dashboard.to_html(tmp_path / "view.html")
    text = path.read_text(encoding="utf-8")
    assert "plotly.js v" in text
    assert "services (× usual)" in text
    assert [p.name for p in tmp_path.iterdir()] == ["view.html"]
    assert "color-scheme: light" in text
    assert "color-scheme: dark" in dashboard.to_html(path, dark=True).read_text(encoding="utf-8")


@pytest.mark.parametrize("rate", [0, -1, 11, float("nan")])
def test_a_rate_that_no_page_could_follow_is_refused(view, rate):
    with pytest.raises(ConfigError, match="rate="):
        Dashboard(view, rate=rate)


@pytest.mark.slow
def test_a_cell_that_is_run_again_leaves_no_thread_and_no_sink_behind(view):
    kept = []
    for page in ("first", "second", "third", "fourth", "fifth"):
        shown = Dashboard(view)
        shown._repr_mimebundle_()
        if kept:
            say(kept[-1], {"type": "asleep", "page": kept[-1].page})
        shown.page = page
        ready(shown, page)
        kept.append(shown)  # as the notebook's Out does
    wait_until(lambda: threads() == ["ccwatch-dashboard"])
    wait_until(lambda: view._sinks == [kept[-1]._publisher])
    kept[-1].stop()


@pytest.mark.slow
def test_a_dashboard_that_was_never_shown_is_let_go(view):
    shown = Dashboard(view)
    gone = weakref.ref(shown)
    del shown
    gc.collect()
    assert gone() is None
    assert view._sinks == []


@pytest.mark.slow
def test_a_cell_that_is_run_again_lets_the_old_feeds_memory_go():
    kept = []
    for _ in range(2):
        feed = cw.synthetic(seed=1, packets=50, pace="max", name="again")
        assert feed.join(30)
        kept.append(cw.watch(feed))  # as the notebook's Out does
        ready(kept[-1])
        if len(kept) == 1:
            gone = weakref.ref(feed)
        del feed
    assert gone() is not None, "its page shows it"
    say(kept[0], {"type": "asleep", "page": "p1"})
    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    assert kept[0].selection.start is None
    assert "again" in repr(kept[0])
    kept[1].stop()


@pytest.mark.slow
@pytest.mark.parametrize("leaves_first", [True, False])
def test_a_stopped_dashboard_of_a_url_lets_the_memory_go_once_the_url_is_watched_again(leaves_first):
    with cw.serve(seed=1, rate=20) as server:
        first = cw.watch(server.url)
        ready(first)
        gone = weakref.ref(first.view)
        first.view.wait(3)
        first.stop()
        if leaves_first:
            say(first, {"type": "asleep", "page": "p1"})
        assert gone() is not None, "it may still be asked"
        second = cw.watch(server.url)
        if not leaves_first:
            say(first, {"type": "asleep", "page": "p1"})
        wait_until(lambda: gc.collect() >= 0 and gone() is None)
        assert server.url in repr(first)
        second.stop()


def test_any_widget_may_hold_a_dashboard(dashboard):
    box = ipywidgets.VBox([dashboard])
    assert box.children == (dashboard,)
    assert dashboard.widget is dashboard
    assert f"IPY_MODEL_{dashboard.model_id}" in str(ipywidgets.widget_serialization["to_json"](box.children, box))


def test_what_is_chosen_in_the_page_is_a_value_in_python(dashboard, view):
    ready(dashboard)
    frame = view.frame()
    whole = dashboard.selection
    assert (whole.start, whole.end, whole.cursor, whole.row) == (frame.index[0], frame.index[-1], None, None)
    heard = []
    forget = dashboard.on_select(heard.append)
    ms = frame.index.asi8 / 1e6
    say(dashboard, {"type": "select", "page": "p1", "from": ms[10], "to": ms[20], "cursor": ms[15]})
    wait_until(lambda: len(heard) == 1)
    chosen = dashboard.selection
    assert (chosen.start, chosen.end, chosen.cursor) == (frame.index[10], frame.index[20], frame.index[15])
    assert chosen.row["seq"] == frame["seq"].iloc[15]
    assert len(frame.loc[chosen.slice]) == 11, "closed at both ends"
    assert heard[0].start == chosen.start
    forget()
    say(dashboard, {"type": "select", "page": "p1", "from": None, "to": None, "cursor": None})
    assert dashboard.selection.end == frame.index[-1]
    assert len(heard) == 1


def test_two_streams_share_one_page_each_with_its_own_rows(sent):
    first, second = SteppedView(seed=3), SteppedView(seed=5)
    for each in (first, second):
        each.step(60)
    with Dashboard({"paper": first, "live": second}, rate=10) as shown:
        ready(shown)
        fulls = sent.custom("full")
        assert [(content.get("stream", 0), content["name"]) for content, _ in fulls] == [(0, "paper"), (1, "live")]
        for each in (first, second):
            each.step(10)
        wait_until(lambda: {content.get("stream", 0) for content, _ in sent.custom("rows")} == {0, 1})
        size = sum(len(json.dumps(content)) + sum(map(len, buffers)) for content, buffers in sent.custom("rows"))
        assert size <= 4096, "a frame of ten packets of both"


@pytest.mark.slow
def test_a_feed_of_a_dashboard_that_was_left_open_is_noticed():
    url = f"ws://127.0.0.1:{closed_port()}"
    left_open = [cw.watch(url)]
    with pytest.warns(ResourceWarning, match="was left open"):  # noqa: PT031 - it warns when it is collected
        left_open.clear()
        gc.collect()
    wait_until(lambda: not any(thread.name.startswith("ccwatch-feed") for thread in threading.enumerate()))


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_stop_ends_a_live_feed_with_its_view_within_a_second_though_the_server_is_silent():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        shown = cw.watch(f"ws://127.0.0.1:{silent.getsockname()[1]}")
        ready(shown)
        peer, _ = silent.accept()
        began = time.monotonic()
        shown.stop()
        assert time.monotonic() - began < 5.0
        peer.close()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith(("ccwatch-feed", "ccwatch-dashboard"))])
    assert shown.view.state == ConnectionState.STOPPED
    assert "Stopped" in reported(shown)


@pytest.mark.slow
def test_stop_ends_a_live_feed_that_delivers_within_a_second(sent):
    with cw.serve(rate=50) as server:
        shown = cw.watch(server.url, rate=10)
        ready(shown)
        wait_until(lambda: len(sent.custom("rows")) > 2, 60)
        began = time.monotonic()
        shown.stop()
        assert time.monotonic() - began < 5.0
        assert threads() == []
        count = len(sent.custom())
    assert len(sent.custom()) == count


@pytest.mark.slow
def test_older_rows_follow_the_first_picture_in_bounded_messages_until_the_page_holds_every_row(view, sent):
    view.step(FIRST_ROWS + CHUNK_ROWS + 700)
    with Dashboard(view, rate=10) as shown:
        ready(shown)
        first = sent.custom("full")[0]
        assert first[0]["rows"] - first[0]["sketched"] == FIRST_ROWS
        assert first[0]["sketched"] < 2 * SKETCH_ROWS
        assert sent.custom("older") == [], "they wait until the page has painted"
        say(shown, {"type": "painted", "page": "p1"})
        view.step(20)
        wait_until(lambda: sent.mirror().missing == 0)
        wait_until(lambda: sent.mirror().seq == view.latest.seq)
        assert [content["rows"] for content, _ in sent.custom("older")] == [CHUNK_ROWS, len(view.frame()) - 20 - FIRST_ROWS - CHUNK_ROWS]
        frame = view.frame()
        assert np.array_equal(sent.mirror().rows["time"], frame.index.asi8 / 1e6)
        assert np.array_equal(sent.mirror().rows["price"], frame["price"])


@pytest.mark.slow
def test_frames_go_on_between_the_older_rows(view, sent):
    view.step(FIRST_ROWS + 4 * CHUNK_ROWS)
    with Dashboard(view, rate=10) as shown:
        ready(shown)
        say(shown, {"type": "painted", "page": "p1"})
        while len(sent.custom("older")) < 5:
            view.step()
            time.sleep(0.02)
        kinds = [content["kind"] for content, _ in sent.custom()]
        last = len(kinds) - kinds[::-1].index("older")
        assert "rows" in kinds[kinds.index("older") : last]


@pytest.mark.slow
def test_older_rows_are_not_sent_for_a_page_that_has_gone(view, sent):
    view.step(FIRST_ROWS + 100)
    with Dashboard(view) as shown:
        ready(shown)
        say(shown, {"type": "asleep", "page": "p1"})
        wait_until(lambda: threads() == [])
        assert shown._publisher._encoder.chunks_left == 0
    assert sent.custom("older") == []


@pytest.mark.slow
def test_a_recording_in_progress_is_followed_until_it_is_finished(sent, tmp_path):
    feed = cw.synthetic(seed=5, rate=50)
    recorder = cw.record(feed, tmp_path)
    try:
        feed.wait(20)
        wait_until(lambda: len(cw.open_recording(recorder.path).frame()) > 5)
        with cw.watch(recorder.path) as shown:
            ready(shown)
            assert "Recording in progress" in reported(shown)
            known = len(sent.mirror())
            wait_until(lambda: len(sent.mirror()) > known + 40, 60)
            shown.pause()
            hidden = wait_until(lambda: shown.hidden_packets, 60)
            held = sent.mirror().seq
            shown.resume()
            wait_until(lambda: sent.mirror().seq >= held + hidden, 60)
            feed.stop()
            recorder.stop()
            frame = cw.open_recording(recorder.path).frame()
            wait_until(lambda: len(sent.mirror()) == len(frame), 60)
            assert np.array_equal(sent.mirror().rows["price"], frame["price"])
            wait_until(lambda: "Recording in progress" not in reported(shown))
            assert len(sent.custom("full")) == 1, "what it grew by was sent, not all of it again"
            wait_until(lambda: rests(shown))  # the header may learn of the end a poll earlier than the publisher
    finally:
        recorder.stop()
        feed.stop()


def test_a_page_hears_that_the_kernel_lives_while_nothing_happens_and_no_longer_once_the_view_was_stopped(dashboard, sent, monkeypatch):
    monkeypatch.setattr("ccwatch.dashboard.dashboard.BEAT_S", 0.05)
    ready(dashboard)
    wait_until(lambda: len(sent.custom("alive")) >= 3)
    dashboard.stop()
    said = len(sent.custom("alive"))
    time.sleep(0.2)
    assert len(sent.custom("alive")) == said


def test_two_pages_hold_the_same_rows_and_one_that_leaves_does_not_end_the_other(dashboard, view, sent):
    ready(dashboard, "one")
    view.step(30)
    ready(dashboard, "two")
    say(dashboard, {"type": "asleep", "page": "one"})
    view.step(30)
    wait_until(lambda: sent.mirror().seq == view.latest.seq)
    assert len(sent.mirror()) == len(view.frame())
    assert threads() == ["ccwatch-dashboard"]
