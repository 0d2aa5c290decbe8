from __future__ import annotations

import json

import numba
import numpy as np
import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.archives import Archive
from ccwatch.archives.distance import SLACK, nearest, squared, z_normalised
from ccwatch.archives.index import on_grid
from ccwatch.errors import ConfigError, NotEnoughData
from ccwatch.protocol.checked_text import with_checksum, without_checksum
from tests.archives.seeded import items_of, write

numba.config.DISABLE_JIT = True  # to compile stumpy takes longer than what is asked of it here
import stumpy  # noqa: E402

numba.config.DISABLE_JIT = False

PLANT = np.sin(np.linspace(0.0, 9.0, 60)) + np.linspace(0.0, 1.0, 60)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Random walks; in three sessions the same shape at another level and scale."""
    root = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(3)
    for n in range(4):
        prices = 100.0 + np.cumsum(rng.normal(0.0, 0.05, 400))
        if n < 3:
            at = 100 + 60 * n
            prices[at : at + 60] = prices[at] * (1.0 + (0.001 + 0.001 * n) * PLANT)
        write(root / f"s{n}", items_of(n, 400, prices=tuple(prices.tolist())), url=f"ws://{n}")
    return Archive(root)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")  # stumpy's own, of the missing values
@pytest.mark.parametrize("m", [8, 37, 120])
def test_distances_and_order_are_stumpys_to_1e9(m):
    rng = np.random.default_rng(m)
    series = 100.0 + np.cumsum(rng.normal(size=3000))
    series[700:760] = np.nan
    query = series[2000 : 2000 + m].copy()
    theirs = stumpy.core.mass(query, series)
    found = nearest([query], [series], 12)
    assert found[0].place == 2000
    for match in found[1:]:
        assert match.distance == pytest.approx(theirs[match.place], abs=1e-9)
    zone, left, order = int(np.ceil(m / 4)), theirs.copy(), []
    for _ in range(12):
        order.append(int(np.argmin(left)))
        left[max(0, order[-1] - zone) : order[-1] + zone + 1] = np.inf
    assert [match.place for match in found] == order


@pytest.mark.parametrize("m", [8, 37, 400])
def test_what_is_screened_is_within_the_error_that_is_allowed_for(m):
    """Loud, quiet and still stretches, holes, and levels far apart; in blocks of single and of double precision."""
    rng = np.random.default_rng(m)
    walk = np.cumsum(rng.normal(size=6000))
    parts = [
        100 + walk,
        1e5 + 1e-3 * walk,
        [np.nan],
        400 + walk,
        np.full(500, 7.0),
        7.0 + 1e-6 * walk[:900],
        5e4 + walk,
        [np.nan] * 3,
        walk,
    ]
    series = np.concatenate(parts)
    shape = z_normalised(np.cumsum(rng.normal(size=m)))
    found = squared([shape], [series], m)
    for place in rng.integers(0, len(found), 3000).tolist():
        other = z_normalised(series[place : place + m])
        exact = np.inf if other is None else float(np.sum(np.square(shape - other)))
        assert exact == found[place] or abs(found[place] - exact) <= SLACK * m, (place, found[place], exact)


def test_stretches_that_do_not_vary_or_hold_a_hole_are_no_match():
    series = np.concatenate([np.full(200, 5.0), np.arange(100) % 7.0, np.full(50, np.nan), np.full(200, 1e6)])
    found = nearest([np.arange(20) % 7.0], [series], 500)
    assert found
    assert all(180 < match.place <= 280 for match in found)
    assert nearest([np.full(20, 1.0)], [series], 5) == []
    assert nearest([np.arange(20) % 7.0], [series[:10]], 5) == []


@pytest.mark.slow
def test_planted_repeats_rank_first_at_any_level_and_scale(planted):
    found = planted.similar("s0", "2026-01-05T14:31:40", "2026-01-05T14:32:39", top=12, horizon="1min")
    table = found.to_frame()
    assert table.columns[:4].tolist() == ["session", "start", "end", "distance"]
    assert set(table["session"][:2]) == {"s1", "s2"}
    assert (table["distance"][:2] < 0.5).all()
    assert table["distance"][2] > 1.0
    starts = table.set_index("session")["start"]
    assert str(starts["s1"].iloc[0] if isinstance(starts["s1"], pd.Series) else starts["s1"]) == "2026-01-05 14:32:40+00:00"
    assert found.headline().endswith(".")
    pd.testing.assert_frame_equal(planted.similar("s0", "14:31:40", "14:32:39", top=12, horizon="1min").to_frame(), table)
    found.figure()
    assert found.to_dict()["question"] == "similar"


@pytest.mark.slow
def test_a_stretch_is_not_found_in_other_recordings_of_the_stream_it_is_of(tmp_path):
    with cw.synthetic(seed=3, packets=300, pace="max") as feed, cw.record(feed, tmp_path) as one, cw.record(feed, tmp_path, name="other"):
        feed.join(60)
    times = cw.open_recording(one.path).frame().index
    start, end = times[100], times[160]
    for source in (feed, one.path.name, one.path):
        found = cw.archive(tmp_path).similar(source, start, end, top=4).to_frame()
        assert len(found)
        assert ((found["start"] - start).abs() >= pd.Timedelta(seconds=60)).all()
    elsewhere = cw.archive(tmp_path).similar(cw.open_recording(one.path).frame(clean=True), start, end, top=1).to_frame()
    assert elsewhere["distance"][0] < 1e-6, "a frame does not say which stream it is of"


@pytest.mark.slow
def test_what_followed_is_that_of_the_recording(planted):
    found = planted.similar("s0", "2026-01-05T14:31:40", "2026-01-05T14:32:39", top=12, horizon="1min")
    row = found.to_frame().dropna(subset=["return"]).iloc[0]
    frame = cw.open_recording(planted.sessions.loc[row["session"], "path"]).frame(["price", "nav"])
    within = frame.loc[row["end"] : row["end"] + pd.Timedelta("1min")]
    assert row["return"] == pytest.approx(within["price"].iloc[-1] / within["price"].iloc[0] - 1.0)
    assert row["drawdown"] == pytest.approx((within["nav"] / within["nav"].cummax() - 1.0).min())


@pytest.mark.slow
def test_too_few_matches_tell_nothing_of_what_followed(planted):
    found = planted.similar("s0", "2026-01-05T14:31:40", "2026-01-05T14:32:39", top=3, horizon="1min").followed
    assert found["value"].isna().all()
    assert found["reason"].str.contains("n too small: . match(?:es)? could be followed, 10 are needed").all()


def test_several_channels_are_the_root_of_the_mean_square(planted):
    table = planted.similar("s0", "2026-01-05T14:31:40", "2026-01-05T14:32:39", on=["price", "alpha", "latency:RiskAgent"]).to_frame()
    parts = table[["distance:price", "distance:alpha", "distance:latency:RiskAgent"]].to_numpy()
    np.testing.assert_allclose(table["distance"], np.sqrt((parts**2).mean(axis=1)))


@pytest.mark.slow
def test_the_index_is_kept_and_follows_what_is_new(tmp_path, monkeypatch):
    for n in range(2):
        write(tmp_path / f"s{n}", items_of(n, 120), url=f"ws://{n}")
    asked = ("s0", "2026-01-05T14:30:20", "2026-01-05T14:30:50")
    first = cw.archive(tmp_path).similar(*asked, top=5).to_frame()
    with monkeypatch.context() as closed:
        closed.setattr("ccwatch.archives.index.open_place", lambda _: pytest.fail("a session was read again"))
        pd.testing.assert_frame_equal(cw.archive(tmp_path).similar(*asked, top=5).to_frame(), first)
        only = cw.archive(tmp_path).filter(where=["s1"]).similar(*asked, top=5).to_frame()
        assert set(only["session"]) == {"s1"}
    write(tmp_path / "s2", items_of(0, 120), url="ws://2")
    again = cw.archive(tmp_path).similar(*asked, top=5).to_frame()
    assert again["session"][0] == "s2"
    assert again["distance"][0] < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "lie",
    [
        {"rows": [["s0", 0, 400, 0], ["s1", 5, 400, 0]]},
        {"rows": [["s0", -1, 400, 0]]},
        {"rows": [["s0", 0, "400", 0]]},
        {"rows": [["s0", 0, 10**12, 0]], "size": 10**12 + 1},
        {"channels": ["price", "nav", "halted", "alpha", "cash"]},
        {"stamps": []},
        {"version": 2},
        {"left_out": None},
    ],
)
def test_an_index_that_lies_about_itself_is_made_again(planted, tmp_path, monkeypatch, lie):
    monkeypatch.setenv("CCWATCH_CACHE", str(tmp_path))
    asked = ("s0", "2026-01-05T14:31:40", "2026-01-05T14:32:39")
    few = planted.filter(where=["s0", "s1"])
    first = few.similar(*asked, top=5).to_frame()
    (path,) = tmp_path.glob("similar-*/index.json")
    path.write_bytes(with_checksum(json.dumps(json.loads(without_checksum(path.read_bytes())) | lie).encode()))  # not by chance
    pd.testing.assert_frame_equal(few.similar(*asked, top=5).to_frame(), first)
    assert [found.name for found in tmp_path.glob("similar-*")] == [path.parent.name]


def test_what_cannot_be_asked_is_refused(planted):
    window = "2026-01-05T14:31:40", "2026-01-05T14:32:39"
    for error, arguments in (
        (ConfigError, ("s0", *window, ["weather"])),
        (ConfigError, ("s0", *window, [])),
        (ConfigError, ("s0", *window, ["price"], 0)),
        (ConfigError, ("s0", *window, ["price"], True)),
        (ConfigError, ("s0", *window, ["price"], 2.5)),
        (ConfigError, ("s0", 5, window[1])),
        (ConfigError, (5, *window)),
        (ConfigError, ("s0", "soon", window[1])),
        (NotEnoughData, ("s0", window[0], window[0])),
        (NotEnoughData, ("s0", "2027-01-05T14:31:40", "2027-01-05T14:32:39")),
        (NotEnoughData, ("s0", *window, ["latency:Nobody"])),
    ):
        with pytest.raises(error):
            planted.similar(*arguments)


def test_random_walks_are_no_nearer_than_chance():
    """What follows the nearest stretches of a walk is a coin: its interval covers 0."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(20):
        walk = np.cumsum(rng.normal(size=4000))
        place = 500 + 50 * seed
        found = nearest([walk[place : place + 40]], [walk], 21)[1:]
        moves = np.array([walk[min(match.place + 60, 3999)] - walk[match.place + 39] for match in found])
        covered += abs(moves.mean()) < 2.1 * moves.std(ddof=1) / np.sqrt(len(moves))
    assert covered >= 16


@pytest.mark.filterwarnings("error")
def test_a_value_out_of_its_columns_range_is_no_value_of_a_channel():
    times = pd.date_range("2026-01-02T14:30:00Z", periods=5, freq="s", unit="ns")
    frame = pd.DataFrame({"price": [1.0, 1e308, 2.0, -np.inf, 5e-324], "confidence": [0.5, 97.0, 0.6, 1e19, -0.0]}, index=times)
    _, (price, confidence) = on_grid(frame, ["price", "confidence"], 10**9)
    assert price.tolist() == [1.0, 1.0, 2.0, 2.0, 0.0]
    assert confidence.tolist() == [0.5, 0.5, 0.6, 0.6, 0.0]
