from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import PlainTextFormatter

import ccwatch as cw
from ccwatch.analysis import Report, Result
from ccwatch.analysis.report import QUESTIONS
from ccwatch.errors import AnalysisError, ConfigError, MissingColumns, NotEnoughData
from ccwatch.stream.view import LiveView

NASTY = "<script>alert(1)</script><img src=x onerror=alert(1)>`*_[x](y)|"


class Tags(HTMLParser):
    """What a browser would find in a page, its scripts' content apart."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.scripts = 0
        self.text = []
        self.attributes = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        if not self.tags or self.tags[-1] not in {"script", "style"}:
            self.text.append(data)


def parsed(text):
    parser = Tags()
    parser.feed(text)
    return parser


@pytest.fixture
def report(stream):
    return Report(stream("drawdown-halt", count=260))


@pytest.mark.slow
def test_a_report_has_a_method_for_each_of_its_questions(report):
    assert list(report.answers()) == list(QUESTIONS)
    for question in QUESTIONS:
        answer = getattr(report, question)()
        assert isinstance(answer, Result)
        assert answer.question == question
        assert len(answer.to_frame().columns) > 3
        assert json.loads(json.dumps(answer.to_dict(), allow_nan=False))["question"] == question
        for dark in (False, True):
            assert len(answer.figure(dark=dark).data) > 0
        assert answer.headline().endswith(".")
        assert answer.basis.n > 0
        with pytest.raises(AttributeError):
            answer.basis = None


def test_nothing_is_read_before_the_first_question(stream):
    class Counting(type(stream("calm", count=60))):
        def frame(self, *args, **kwargs):
            reads.append(args)
            return super().frame(*args, **kwargs)

    reads = []
    report = Report(Counting(stream("calm", count=60).items))
    assert reads == []
    report.drawdowns()
    report.regimes()
    assert len(reads) == 1


def test_a_question_is_answered_once_and_with_options_anew(report):
    assert report.drawdowns() is report.drawdowns()
    assert report.drawdowns(column="price").column == "price"
    assert report.drawdowns().column == "nav"


@pytest.mark.slow
def test_each_question_is_told_before_it_is_asked(report):
    heard = []
    report.answers(on_progress=heard.append)
    assert heard == [question.replace("_", " ") for question in QUESTIONS]


def test_the_error_of_a_question_is_the_same_each_time(rows):
    report = Report(rows(price=[1.0, 2.0, 3.0]))
    for _ in range(2):
        with pytest.raises(MissingColumns, match="nav"):
            report.attribution()


def test_markdown_and_dictionary_say_what_is_known_and_what_is_not(rows):
    report = Report(rows(price=[3.0, 2.0, 4.0]))
    text = report.to_markdown()
    assert "## What happened" in text
    assert "The price fell" in text
    assert "## Questions without an answer" in text
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["answers"]["attribution"]["error"] == "MissingColumns"
    assert found["answers"]["drawdowns"]["column"] == "price"
    assert found["synthetic"] is False


@pytest.mark.slow
def test_a_synthetic_stream_is_called_so_everywhere(report, tmp_path):
    assert report.is_synthetic
    assert "SYNTHETIC" in report.to_markdown()
    assert "SYNTHETIC" in report._repr_html_()
    assert "SYNTHETIC" in "".join(parsed(report.to_html(tmp_path / "r.html").read_text()).text)


@pytest.mark.slow
def test_a_live_stream_is_not_called_synthetic(stream, tmp_path):
    class Live(type(stream("calm", count=60))):
        pass

    report = Report(Live(stream("calm", count=60).items, origin="live"))
    assert "SYNTHETIC" not in report.to_markdown()
    assert "SYNTHETIC" not in "".join(parsed(report.to_html(tmp_path / "r.html").read_text()).text)


@pytest.mark.slow
def test_the_page_is_one_file_that_asks_nothing_of_the_network(report, tmp_path):
    path = report.to_html(tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    page = parsed(path.read_text(encoding="utf-8"))
    assert not {"link", "img", "iframe", "base"} & set(page.tags)
    assert [value for tag, name, value in page.attributes if name in {"src", "href"} and not value.startswith("#")] == []
    anchors = {value for tag, name, value in page.attributes if name == "id"}
    links = [value[1:] for tag, name, value in page.attributes if name == "href"]
    assert links
    assert set(links) <= anchors


@pytest.mark.slow
def test_the_page_begins_with_what_happened(report, tmp_path):
    text = "".join(parsed(report.to_html(tmp_path / "r.html").read_text()).text)
    assert text.index("What happened") < text.index("Overview") < text.rindex("Drawdown episodes")
    assert "−2.20%" in text[text.index("What happened") : text.index("Overview")]


@pytest.mark.slow
def test_what_happened_tells_the_planted_incidents_each_with_its_evidence(stream, tmp_path):
    report = Report(stream("drawdown-halt@300+slow-agent@300+gap@440", seed=3, count=600))
    heard = dict(report.what_happened())
    assert list(heard) == ["drawdowns", "explain", "latency", "governance", "quality"]
    worst = report.drawdowns().worst
    for part in (f"{worst['peak_time']:%H:%M:%S}", f"{worst['trough_time']:%H:%M:%S}", "USD", "Lévy Stable", "had not recovered"):
        assert part in heard["drawdowns"]
    assert "Gaussian → Lévy Stable at 14:35:00 UTC" in heard["explain"]
    assert "RiskAgent" in heard["latency"]
    assert "slow from 14:35:00 UTC" in heard["latency"]
    assert "vetoed" in heard["governance"]
    assert "the engine halted at 14:36:00 UTC" in heard["governance"]
    assert "alerts would have fired" in heard["governance"]
    assert "nothing is known of 1 gap of" in heard["quality"]
    page = parsed(report.to_html(tmp_path / "r.html").read_text())
    links = [value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"]
    sections = [value for tag, name, value in page.attributes if tag == "section" and name == "id"]
    assert links[:5] == list(heard)
    assert set(heard) <= set(sections)


def test_what_happened_says_which_questions_the_data_leaves_open(rows):
    heard = Report(rows(price=[3.0, 2.0, 4.0])).what_happened()
    assert heard[0] == ("drawdowns", heard[0][1])
    assert "The price fell −33.33%" in heard[0][1]
    assert "attribution" in heard[-1][1].partition("the data cannot answer")[2]


@pytest.mark.slow
def test_what_is_dropped_is_told_nowhere_and_the_report_says_so(stream, tmp_path):
    report = Report(stream("drawdown-halt", count=260))
    navs = report.drawdowns().curve["value"]
    secrets = {f"{nav:,.6g}" for nav in navs} | {f"{report.drawdowns().worst['depth_usd']:,.2f}".lstrip("-")}
    assert any(secret in report.to_markdown() for secret in secrets)
    texts = [report.to_markdown(drop=["nav", "cash"]), report.to_html(tmp_path / "r.html", drop=["nav", "cash"]).read_text()]
    for text in texts:
        assert not [secret for secret in secrets if secret in text]
        assert "The price fell" in text
        assert "Left out of this report on purpose: cash, extra, logs, nav" in text
        assert "it needs nav, left out of this report on purpose" in text
    shared = report.without(["nav", "cash"])
    assert not np.isfinite(shared.explain("14:32").change_usd)
    with pytest.raises(MissingColumns, match="nav"):
        shared.attribution()
    assert shared.between("2026-01-02T14:31:00Z").drawdowns().column == "price"
    assert report.drawdowns().column == "nav"


@pytest.mark.parametrize("drop", [["navv"], "nav", ["seq"]])
def test_what_cannot_be_dropped_is_refused(report, tmp_path, drop):
    with pytest.raises(ConfigError, match="drop"):
        report.to_html(tmp_path / "r.html", drop=drop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_poor_data_quality_is_loud(stream, tmp_path):
    poor = Report(stream("gap", count=300))
    assert "Data quality WARN" in "".join(parsed(poor.to_html(tmp_path / "r.html").read_text()).text)
    assert "Data quality WARN" in poor.to_markdown()


@pytest.mark.slow
def test_nothing_that_the_stream_wrote_is_markup(rows, tmp_path):
    frame = rows(
        nav=[3.0, 2.0, 4.0, 5.0],
        price=[3.0, 2.0, 4.0, 5.0],
        regime=[NASTY, NASTY, "Gaussian", NASTY],
        side=["BUY", NASTY, NASTY, "BUY"],
        symbol=[NASTY] * 4,
        alpha=[2.0, 1.0, 3.0, 2.0],
        seq=np.arange(1, 5, dtype=np.uint64),
        connection=1,
        max_drawdown=0.0,
        confidence=0.5,
        approved_size=0.1,
    )
    report = Report(frame)
    page = parsed(report.to_html(tmp_path / "r.html").read_text())
    assert "img" not in page.tags
    assert page.tags.count("script") == parsed(
        Report(frame.assign(regime="Gaussian", side="BUY")).to_html(tmp_path / "p.html").read_text()
    ).tags.count("script")
    for text in (report._repr_html_(), *(answer._repr_html_() for answer in report.answers().values() if isinstance(answer, Result))):
        assert not {"img", "script"} & set(parsed(text).tags)
    assert "<script>" not in report.to_markdown()
    for answer in report.answers().values():
        if isinstance(answer, Result):
            assert "<script>" not in str(json.loads(answer.figure().to_json())).replace("&lt;script&gt;", "")


@pytest.mark.slow
def test_the_figures_in_the_page_are_whole_json(report, tmp_path):
    text = report.to_html(tmp_path / "r.html").read_text()
    found = re.findall(r"<script type='application/json' class='figure' data-place='([^']+)'>(.*?)</script>", text, flags=re.DOTALL)
    assert [place for place, _ in found] == ["figure-overview", *(f"figure-{question}" for question in (*QUESTIONS, "explain"))]
    assert all(json.loads(body)["data"] for _, body in found)


def test_plain_ipython_prints_headlines(report, stream):
    def printed(value):
        return PlainTextFormatter()(value)

    happened = printed(report)
    for _, sentence in report.what_happened():
        assert sentence in happened
    answers = [*report.answers().values(), report.explain("14:32"), report.reasoning(), report.first_sign(), report.what_if(breaker=-0.01)]
    answers.append(cw.compare(report, Report(stream("calm", count=260))))
    for answer in answers:
        assert printed(answer) == repr(answer) == f"<{answer.title}: {answer.headline()}>"


def subclasses(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


def test_no_answer_prints_its_tables():
    kinds = subclasses(Result)
    assert len(kinds) > 15
    assert [kind.__name__ for kind in kinds if kind.__repr__ is not Result.__repr__] == []


@pytest.mark.parametrize(
    ("typed", "meant"), [("drawdown", "drawdowns"), ("timelin", "timeline"), ("explains", "explain"), ("latencies", "latency")]
)
def test_a_question_that_a_report_does_not_have_is_answered_with_the_nearest(typed, meant, report):
    with pytest.raises(AttributeError, match=f"no question '{typed}'; did you mean '{meant}'"):
        getattr(report, typed)
    assert not hasattr(report, "_repr_png_")


def test_a_slice_of_times_is_a_range_of_a_report_and_the_window_of_an_explanation(report):
    chosen = slice("14:31", "14:33")
    assert report.between(chosen).regimes().basis == report.between("14:31", "14:33").regimes().basis
    one, other = report.explain(chosen), report.explain("14:32", window="2min")
    assert (one.start, one.time, one.end) == (other.start, other.time, other.end)
    for bad in (slice("14:33", "14:31"), slice("14:31", None)):
        with pytest.raises(ConfigError, match="slice of two"):
            report.explain(bad)


def test_a_date_explains_its_whole_day_and_a_moment_outside_the_session_is_refused(report):
    whole = report.explain("2026-01-02")
    basis = report.quality().basis
    assert (whole.start, whole.end) == (basis.start, basis.end)
    same = report.between("2026-01-02", "2026-01-02").quality().basis
    assert replace(same, coverage=0.0) == replace(basis, coverage=0.0)  # which is NaN in both
    for outside in ("2026-01-05", "2026-01-05 14:32", pd.Timestamp("2026-01-05T14:32Z"), slice("2025-01-01", "2025-02-01")):
        with pytest.raises(NotEnoughData, match="does not lie in this session, which goes from"):
            report.explain(outside)


def test_a_range_is_asked_about_alone(stream, at):
    source = stream("regime-flip", count=400)
    part = Report(source).between(at(120), at(239))
    assert part.regimes().to_frame()["regime"].tolist() == ["Lévy Stable", "Critical"]
    assert part.regimes().basis.start == at(120)
    assert part.regimes().basis.end == at(239)
    with pytest.raises(NotEnoughData):
        Report(source).between(at(10_000)).drawdowns()


@pytest.mark.parametrize("time", ["soon", pd.Timestamp("2026-01-02")])
def test_a_time_that_is_none_or_has_no_zone_is_refused(rows, time):
    with pytest.raises(ConfigError, match="start"):
        Report(rows(price=[1.0]), start=time)


@pytest.mark.slow
@pytest.mark.parametrize(
    "columns",
    [
        {"price": []},
        {"price": [1.0]},
        {"price": [1.0] * 5, "nav": [1.0] * 5, "regime": ["Gaussian"] * 5},
        {"price": [1.0, 0.0, -1.0], "nav": [0.0, -5.0, 3.0], "max_drawdown": [0.0, 1.0, -1.0], "regime": ["?", None, "Critical"]},
        {"price": [np.nan] * 3, "nav": [np.nan] * 3, "alpha": [np.inf] * 3},
        {"nav": [1.0, 2.0, 3.0], "regime": ["Gaussian"] * 3, "flags": np.array([4, 8, 16], dtype=np.uint32)},
        {"nav": [1.0, 2.0], "price": [1.0, 2.0], "symbol": ["SPY", "QQQ"], "regime": ["Gaussian"] * 2},
        {"nav": [5.0, 2.0, 3.0], "regime": ["Gaussian"] * 3, "times": [3, 1, 2]},
    ],
)
def test_bad_input_gives_a_result_or_an_error_that_says_what_is_missing(rows, tmp_path, columns):
    report = Report(rows(**columns))
    for answer in report.answers().values():
        assert isinstance(answer, Result | AnalysisError)
        if isinstance(answer, Result):
            answer.figure()
            json.dumps(answer.to_dict(), allow_nan=False)
    assert report.to_html(tmp_path / "r.html").stat().st_size > 1_000_000
    report.to_markdown()


@pytest.mark.slow
def test_a_feed_is_asked_while_it_runs_and_after():
    with cw.synthetic(seed=4, scenario="gap", packets=300, pace="max") as feed:
        assert feed.join(10)
        report = cw.analyze(feed)
        assert report.quality().verdict == "WARN"
        assert report.quality().basis.n == 300
    assert report.is_synthetic
    assert all(isinstance(answer, Result) for answer in report.answers().values())


def test_a_feed_that_is_silent_now_is_stalled(stream):
    class Silent(type(stream("calm", count=60))):
        state = "STALE"

        def health(self):
            return SimpleNamespace(age_s=42.0, message_bytes_mean=3000.0)

    LiveView.register(Silent)
    found = Report(Silent(stream("calm", count=60).items)).quality()
    assert found.verdict == "STALLED"
    assert found.value("silence_at_end") == 42.0
    assert found.value("message_size") == 3000.0


@pytest.mark.slow
def test_a_day_at_one_packet_a_second_is_reported_within_seconds(stream, tmp_path):
    source = stream("calm", count=300)
    frame, agents = source.frame(clean=False), source.agents()
    times = 80  # 24,000 packets
    index = pd.date_range("2026-01-02T14:30:00Z", periods=len(frame) * times, freq="s", unit="ns", name="time")
    packets = pd.concat([frame] * times).set_index(index).assign(seq=np.arange(1, len(index) + 1, dtype=np.uint64))
    report = Report(packets)
    assert len(agents) > 0
    assert report.quality().basis.n == len(index)
    path = report.to_html(tmp_path / "r.html")
    assert path.stat().st_size < 12_000_000


def test_a_figure_has_paper_of_its_own_in_a_notebook_and_the_pages_in_a_report(report, tmp_path):
    assert report.drawdowns().figure().layout.paper_bgcolor == "#fff"
    assert report.latency().figure(dark=True).layout.paper_bgcolor == "#111"
    report.to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '"paper_bgcolor":"rgba(0,0,0,0)"' in text
    assert '"paper_bgcolor":"#' not in text
