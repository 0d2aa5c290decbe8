"""A rule chosen on one half of an archive and judged on the other; signs judged by the calm of other sessions; words in SQL."""

from __future__ import annotations

import numpy as np
import pytest

import ccwatch as cw
from ccwatch.analysis.what_if import IN_SAMPLE
from ccwatch.errors import ConfigError, NotEnoughData

RULES = ({"size_cap": 0.02}, {"size_cap": 0.2}, {"size_cap": 0.05})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Four calm sessions and one with a slow agent, of one desk each, since seeded streams begin at one time."""
    folder = tmp_path_factory.mktemp("choice")
    for seed in range(5):
        feed = cw.synthetic(seed=seed, scenario="slow-agent" if seed == 4 else "calm", packets=300, pace="max")
        with feed, cw.record(feed, folder, name=f"s{seed}", fsync="off"):
            feed.join(60)
    return cw.archive(folder)


@pytest.mark.slow
def test_the_rule_that_is_best_on_the_earlier_half_is_judged_on_the_later_one(archive):
    found = archive.choose(*RULES)
    assert len(found.chosen_on) + len(found.judged_on) == len(archive)
    assert not set(found.chosen_on) & set(found.judged_on)
    parts = {
        name: [cw.analyze(archive.sessions.loc[name, "path"]).what_if(**rule).difference for rule in RULES]
        for name in (*found.chosen_on, *found.judged_on)
    }
    chosen = np.sum([parts[name] for name in found.chosen_on], axis=0)
    assert dict(found.rule) == RULES[int(np.argmax(chosen))]
    judged = sum(parts[name][int(np.argmax(chosen))] for name in found.judged_on)
    assert found.answer.difference == pytest.approx(judged, abs=0.01)
    assert found.to_frame()["chosen_usd"].tolist() == sorted(chosen.tolist(), reverse=True)
    assert IN_SAMPLE not in found.notes
    assert any(note.startswith("out of sample") for note in found.notes)
    found.figure()
    assert found.headline()


@pytest.mark.slow
def test_one_session_has_no_other_half(archive):
    with pytest.raises(NotEnoughData, match="two sessions"):
        archive.filter(where=[archive.sessions.index[0]]).choose(*RULES)
    with pytest.raises(ConfigError, match="expected rules"):
        archive.choose()


@pytest.mark.slow
def test_what_if_and_reasoning_are_asked_of_all_sessions(archive):
    whole = archive.ask("what_if", size_cap=0.05)
    each = archive.ask("what_if", "session", size_cap=0.05)
    assert len(whole.changed) == len(each)
    assert whole.basis.n == sum(answer.basis.n for answer in each.answers.values())
    words = archive.ask("reasoning")
    assert words.statements == sum(answer.statements for answer in archive.ask("reasoning", "session").answers.values())


@pytest.mark.slow
def test_a_first_sign_is_judged_by_the_calm_of_other_sessions(archive):
    name = archive.sessions["max_drawdown"].idxmin()
    found = archive.first_sign(name, lead_s=60.0)
    assert "this session and of" in found.notes[-1]
    assert found.lead_s == 60.0
    with pytest.raises(ConfigError, match="no such session"):
        archive.first_sign("nowhere")


@pytest.mark.slow
def test_reasoning_is_searched_in_sql(archive):
    found = archive.sql("SELECT session, time, side, reasoning FROM packets WHERE reasoning ILIKE '%velocity%' ORDER BY time LIMIT 5").df()
    assert len(found) == 5
    assert found["reasoning"].str.contains("velocity", case=False).all()
