"""Ask: merged answers are those of the concatenated session, groups are indexed, whoever works, and no session ends a question."""

from __future__ import annotations

import re
import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.analysis import Report, Result
from ccwatch.archives import Archive
from ccwatch.archives.ask import ASKED, check
from ccwatch.archives.executors import Cancelled, run_all
from ccwatch.archives.locations import open_place
from ccwatch.archives.views import Joined
from ccwatch.errors import AnalysisError, ConfigError, RecordingNotFound
from tests.archives.seeded import FIRST, items_of, make, write


@pytest.fixture(scope="module")
def archive(made):
    return Archive(made.root)


@pytest.fixture(scope="module")
def few(made):
    """The damaged one and two sessions of each desk: the fewest that have groups of more than one."""
    return Archive(made.root).filter(where=[*made.damaged, *made.names[3:9]])


@pytest.fixture(scope="module")
def one_desk(tmp_path_factory):
    """Four days of one desk and one symbol."""
    root = tmp_path_factory.mktemp("one-desk")
    make(root, sessions=4, packets=150, desks=("paris",), symbols=("SPY",), damaged=0, killed=0, running=0, seed=40)
    return Archive(root)


def same(one, two, *, apart=()):
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(two, field.name)
        if field.name in apart:
            continue
        if isinstance(mine, pd.DataFrame):
            mine, theirs = (t.astype({c: "str" for c in t if isinstance(t[c].dtype, pd.CategoricalDtype)}) for t in (mine, theirs))
            keys = [name for name in mine.columns if not pd.api.types.is_float_dtype(mine[name])]
            if isinstance(mine.index, pd.RangeIndex) and keys:
                mine, theirs = (t.sort_values(keys, ignore_index=True) for t in (mine, theirs))
            pd.testing.assert_frame_equal(mine, theirs, rtol=1e-9, atol=1e-9, check_dtype=False, obj=field.name)
        elif is_dataclass(mine):
            same(mine, theirs)
        elif isinstance(mine, float):
            assert mine == pytest.approx(theirs, rel=1e-9, nan_ok=True), field.name
        else:
            assert mine == theirs, field.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "apart"),
    [
        ("attribution", {"notes"}),
        ("signals", {"notes"}),
        ("drawdowns", {"notes"}),
        ("quality", {"notes"}),
    ],
)
def test_an_answer_is_that_of_the_concatenated_session(one_desk, question, apart):
    whole = Report(Joined([open_place(session.place) for session in one_desk.asked()]))
    same(one_desk.ask(question), getattr(whole, question)(), apart=apart)


@pytest.mark.slow
def test_counts_of_governance_and_regimes_are_those_of_the_concatenated_session(one_desk):
    whole = Report(Joined([open_place(session.place) for session in one_desk.asked()]))
    mine, theirs = one_desk.ask("governance"), whole.governance()
    pd.testing.assert_frame_equal(mine.vetoes.astype("str"), theirs.vetoes.astype("str"))
    names = ["regime", "n", "n_vetoed", "veto_rate"]
    pd.testing.assert_frame_equal(
        mine.by_regime[names].sort_values("regime", ignore_index=True), theirs.by_regime[names].sort_values("regime", ignore_index=True)
    )
    assert one_desk.ask("regimes").transitions["n"].sum() == whole.regimes().transitions["n"].sum()


@pytest.mark.slow
def test_latencies_merge_by_sketches_within_their_stated_error(one_desk):
    answer = one_desk.ask("latency")
    assert any("within 1%" in note for note in answer.notes)
    calls = pd.concat([Report(open_place(session.place)).latency().observations for session in one_desk.asked()])
    answers = one_desk.ask("latency", by="week")
    by_week = answers.quantile(0.95)
    pd.testing.assert_frame_equal(answers.quantile([0.5, 0.95]).xs(0.95, level="quantile"), by_week)
    assert by_week.index.name == "week"
    for name, mine in calls.groupby("name", observed=True):
        exact = np.quantile(mine["latency_ms"], 0.95, method="lower")
        assert answer.sketches()[name].quantile(0.95) == pytest.approx(exact, rel=0.0101)
        weekly = (
            mine["latency_ms"].groupby(mine.index.tz_localize(None).to_period("W-SUN").start_time).quantile(0.95, interpolation="lower")
        )
        np.testing.assert_allclose(by_week[name].to_numpy(), weekly.to_numpy(), rtol=0.0101)
    row = answer.to_frame().set_index("name").loc["RiskAgent"]
    assert row["p95_low_ms"] <= row["p95_ms"] * 1.02
    assert row["p95_ms"] <= row["p95_high_ms"] * 1.02


@pytest.mark.slow
def test_each_group_has_the_rows_of_its_own_answer(few):
    by_session = few.ask("governance", by="session")
    assert isinstance(by_session, pd.DataFrame)
    assert by_session.index.name == "session"
    for session in few.asked()[:2]:
        mine = by_session.loc[[session.name]].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            mine, Report(open_place(session.place)).governance().to_frame(), check_dtype=False, check_frame_type=False
        )
    days = few.ask("governance", by="day")
    assert {str(day.date()) for day in days.index} == {
        f"{session.name[:4]}-{session.name[4:6]}-{session.name[6:8]}" for session in few.asked()
    }
    assert str(days.index.dtype) == "datetime64[ns, UTC]"
    assert set(few.ask("governance", by="symbol").index) == {"SPY", "QQQ"}
    assert set(few.ask("governance", by="tag").index) <= {"paris", "london", "tokyo", "untagged"}
    regimes = few.ask("governance", by="regime")
    assert (regimes.index == regimes["regime"]).all()
    assert regimes["n"].sum() == by_session["n"].sum()


@pytest.mark.slow
@pytest.mark.slow
def test_a_group_is_asked_whatever_the_question_reads(tmp_path):
    """Words as they came, reasons and marks are those of the group's packets too; a session that has none is named."""
    items = [*items_of(3, 40), *(item._replace(time_ns=item.time_ns + 86_400 * 10**9) for item in items_of(4, 40, symbol="QQQ"))]
    write(tmp_path / "both", items, url="ws://x")
    write(tmp_path / "none", [], url="ws://y")
    archive = Archive(tmp_path)
    for question in ("quality", "timeline", "reasoning"):
        for by in ("symbol", "regime", "day"):
            found = archive.filter(where=["both"]).ask(question, by)
            assert len(found) or question == "reasoning"
            assert found.attrs["left_out"] == {}
            assert by != "day" or str(found.index.dtype) == "datetime64[ns, UTC]"
    assert archive.ask("timeline", "symbol").attrs["left_out"] == {"none": "it holds no packet of any group"}
    assert archive.ask("drawdowns", "symbol").attrs["left_out"].keys() == {"none"}


def test_a_session_over_midnight_is_in_both_days_once(tmp_path):
    items = [item._replace(time_ns=item.time_ns + 9 * 3600 * 10**9 + 28 * 60 * 10**9) for item in items_of(3, 200)]  # 23:58 on
    write(tmp_path / "a", items, url="ws://x")
    archive = Archive(tmp_path)
    days = archive.ask("attribution", by="day")
    assert list(dict.fromkeys(days.index.strftime("%m-%d"))) == ["01-05", "01-06"]
    n = days[days["split"] == "regime"]["n"].sum()
    assert n == Report(open_place(str(tmp_path / "a"))).attribution().basis.n - 1  # the change over midnight is of neither day


@pytest.mark.slow
def test_desks_that_overlap_are_merged_and_two_recordings_of_one_stream_count_once(tmp_path):
    for name, seed in (("paris", 1), ("london", 2)):
        write(tmp_path / name, items_of(seed, 120), url=f"ws://{name}")
    archive = Archive(tmp_path)
    parts = [Report(open_place(session.place)).governance() for session in archive.asked()]
    whole = archive.ask("governance")
    assert whole.basis.n == sum(part.basis.n for part in parts)
    assert whole.basis.duration_s == pytest.approx(sum(part.basis.duration_s for part in parts))
    same(Result.merge_all(parts), whole, apart={"notes"})
    changes = [Report(open_place(session.place)).attribution().change_usd for session in archive.asked()]
    assert archive.ask("attribution").change_usd == pytest.approx(sum(changes))
    with pytest.raises(AnalysisError, match="quality: its answers of several streams do not merge, and there are 2"):
        archive.ask("quality")
    assert len(archive.ask("drawdowns").episodes) == sum(len(Report(open_place(s.place)).drawdowns().episodes) for s in archive.asked())


@pytest.mark.slow
def test_the_same_stream_recorded_twice_at_once_is_asked_once(tmp_path):
    with cw.synthetic(seed=5, rate=200) as feed, cw.record(feed, tmp_path, name="one") as one, cw.record(feed, tmp_path, name="two") as two:
        until = time.monotonic() + 60
        while min(one.stats.packets, two.stats.packets) < 40 and time.monotonic() < until:
            time.sleep(0.05)
    archive = Archive(tmp_path)
    assert archive.sessions["packets"].min() >= 40
    answer = archive.ask("attribution")
    assert answer.basis.packets <= archive.sessions["packets"].max()
    assert any("recorded at the same time" in note for note in answer.notes)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", "processes", ThreadPoolExecutor])
def test_every_executor_gives_the_same_bytes(few, pool):
    alone = few.ask("attribution")
    done = []
    if isinstance(pool, str):
        other = few.ask("attribution", executor=pool, on_progress=lambda now, of: done.append((now, of)))
    else:
        with pool(2) as executor:
            other = few.ask("attribution", executor=executor, on_progress=lambda now, of: done.append((now, of)))
    assert other.to_dict() == alone.to_dict()
    assert done[0][0] == 0
    assert done[-1][0] == done[-1][1] > 1


@pytest.mark.slow
def test_a_question_ends_when_it_is_cancelled_and_refuses_what_it_does_not_know(few):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        few.ask("timeline", cancel=cancel)
    for arguments, said in (
        ({"question": "weather"}, "no question 'weather'; there are quality"),
        ({"question": "drawdown"}, "did you mean 'drawdowns'"),
        ({"question": "latency", "by": "year"}, "expected None or one of session"),
        ({"question": "latency", "executor": 5}, "expected None, 'threads'"),
    ):
        with pytest.raises(ConfigError, match=said):
            few.ask(**arguments)


@pytest.mark.slow
def test_one_damaged_session_is_left_out_and_named(few, made):
    for answer in (few.ask("governance"), few.worst_drawdowns(3), few.performance()):
        assert any(made.damaged[0] in note for note in answer.notes)
    assert made.damaged[0] in few.ask("governance", by="session").attrs["left_out"]


@pytest.mark.slow
def test_the_worst_drawdowns_are_the_deepest_of_all_sessions(few):
    every = pd.concat([Report(open_place(session.place)).drawdowns().episodes["depth"] for session in few.asked()]).nsmallest(5)
    worst = few.worst_drawdowns(5)
    np.testing.assert_allclose(worst.to_frame()["depth"], every.to_numpy())
    assert worst.to_frame()["session"].isin(few.sessions.index).all()
    assert worst.headline().endswith(".")
    worst.figure()
    for n in (0, 2.5, True, "x"):
        with pytest.raises(ConfigError):
            few.worst_drawdowns(n)


def test_an_absent_default_folder_is_empty_and_a_named_one_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = cw.archive()
    assert len(empty) == 0
    assert empty.sessions.empty
    assert "0 sessions" in empty._repr_html_()
    with pytest.raises(AnalysisError, match="holds no session"):
        empty.ask("governance")
    for ask in (cw.archive, cw.recordings):
        with pytest.raises(RecordingNotFound):
            ask(tmp_path / "nowhere")


@pytest.mark.slow
def test_filters_take_what_they_name(archive, made):
    first = archive.filter(end=FIRST.isoformat())
    assert all(name.startswith(f"{FIRST:%Y%m%d}") for name in first.sessions.index)
    later = archive.filter(start=(FIRST + timedelta(days=1)).isoformat())
    assert set(first.sessions.index) | set(later.sessions.index) == {s.name for s in archive.asked()}
    assert archive.filter(symbol="QQQ").sessions["symbols"].apply(lambda words: "QQQ" in words).all()
    assert archive.filter(status="killed").sessions.index.tolist() == made.killed
    assert len(archive.filter(where=lambda frame: frame["max_drawdown"] < -0.01)) < len(archive)
    assert archive.filter(where=[made.killed[0]]).sessions.index.tolist() == made.killed
    for wrong in (
        {"start": "soon"},
        {"start": 5},
        {"start": "14:38"},
        {"end": "9:30"},
        {"start": "2026-01-06", "end": "2026-01-05"},
        {"where": 5},
    ):
        with pytest.raises(ConfigError):
            archive.filter(**wrong)


def test_an_argument_that_no_session_can_be_asked_with_ends_the_question_at_once(few):
    for question, options, expected in (
        ("governance", {"horizon": 60}, "no argument 'horizon' of governance; did you mean 'horizon_s'"),
        ("reasoning", {"rules": []}, "no argument 'rules' of reasoning"),
        ("what_if", {"cap": 0.1}, "no argument 'cap' of what_if; there are veto, size_cap"),
        ("what_if", {"size_cap": -1}, "size_cap=-1"),
        ("alerts", {"rules": "x"}, "rules: expected"),
    ):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            few.ask(question, **options)
    for question in ASKED:
        check(question, None, {})


@pytest.mark.slow
def test_a_session_that_cannot_be_judged_by_a_filter_is_named_by_its_answers(archive, made):
    day = archive.filter(start=FIRST.isoformat(), end=FIRST.isoformat(), symbol="SPY")
    assert not set(made.damaged) & set(day.sessions.index)
    answer = day.ask("attribution")
    assert any(made.damaged[0] in note and "whether it meets the conditions is not known" in note for note in answer.notes)
    assert set(day.sql("SELECT count(*) FROM packets").left_out) == set(made.damaged)
    for judged in (archive.filter(where=made.names[1:3]), archive.filter(status="finished"), archive.filter(where=made.damaged)):
        assert not any("not known" in why for why in judged.sql("SELECT count(*) FROM packets").left_out.values())


def test_tags_and_notes_are_added_later_with_author_and_time(tmp_path):
    write(tmp_path / "a", items_of(1, 20), url="ws://x", tags=["x"])
    archive = cw.archive(tmp_path).tag("a", "open", author="Ann").note("a", "<script>alert(1)</script>", author="Bo")
    assert archive.sessions.loc["a", "tags"] == ("x", "open")
    assert archive.notes[["author", "kind"]].to_numpy().tolist() == [["Ann", "tag"], ["Bo", "note"]]
    assert len(archive.filter(tag="open")) == 1
    shown = archive._repr_html_()
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown
    assert "<polyline" in shown
    for session, tag, author in (("b", "x", "Ann"), ("a", " ", "Ann"), ("a", 5, "Ann"), ("a", "x", " "), ("a", "x", 5)):
        with pytest.raises(ConfigError):
            archive.tag(session, tag, author=author)
    assert len(archive.notes) == 2


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes_also_when_a_worker_is_killed(few, tmp_path):
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    from distributed import Client  # noqa: PLC0415

    alone = few.ask("attribution")
    file = tmp_path / "scheduler.json"
    command = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--no-jupyter",
    ]
    started = [subprocess.Popen([*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL)]
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-dashboard",
        "--no-nanny",
    ]
    try:
        started += [subprocess.Popen([*worker, "--local-directory", str(tmp_path / str(n))], stderr=subprocess.DEVNULL) for n in range(2)]
        with Client(scheduler_file=str(file), timeout=180) as client:
            client.wait_for_workers(2, timeout=180)
            killed = []

            def kill_one(done, every):
                if 0 < done < every and not killed:
                    killed.append(done)
                    started[1].kill()

            answer = few.ask("attribution", executor=client, on_progress=kill_one)
        assert killed
        assert answer.to_dict() == alone.to_dict()
    finally:
        for process in started:
            process.kill()
            process.wait(10)


def test_an_executor_that_gives_up_a_task_is_an_error_that_says_so():
    class GivesUp(ThreadPoolExecutor):
        def submit(self, *_arguments, **_options):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with GivesUp(1) as executor, pytest.raises(AnalysisError, match=r"gave up a task.*ask again"):
        run_all(len, ["a", "b"], executor)


@pytest.mark.slow
def test_copies_of_a_recording_of_virtual_time_count_once(tmp_path):
    """Its wall clock stood still: it begins and ends at one moment."""
    for name in ("one", "two"):
        shutil.copytree(Path(__file__).parents[2] / "recordings" / "sample-bad-session", tmp_path / name)
    answer = cw.archive(tmp_path).ask("signals")
    assert answer.basis.packets == cw.analyze(tmp_path / "one").signals().basis.packets
    assert any("two" in note for note in answer.notes)
