"""A recording is found by its path, its name or as the latest; an error says where was looked and what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

import ccwatch as cw
from ccwatch.recording import locate


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for seed, name in enumerate(("paper", "desk-3", "paper")):
        with cw.synthetic(seed=seed, packets=8, pace="max") as feed, cw.record(feed, folder, name=name):
            feed.join(60)
    return folder


@pytest.mark.slow
def test_a_recording_is_found_by_its_path_its_id_and_its_name(root: Path) -> None:
    (one,) = root.glob("*desk-3*")
    assert locate(one, root) == one
    assert locate(str(one), Path("elsewhere")) == one
    assert locate(one.name, root) == root / one.name
    assert locate("desk-3", root) == root / one.name


def test_the_latest_is_the_one_that_was_begun_last_whatever_the_folders_are_called(root: Path, tmp_path: Path) -> None:
    begun = {path: cw.open_recording(path).frame(columns=["received_at"], clean=False)["received_at"].min() for path in root.iterdir()}
    assert locate("latest", root) == max(begun, key=lambda path: begun[path])
    for place, path in enumerate(sorted(begun, key=lambda path: begun[path], reverse=True)):
        (tmp_path / f"{place}-copy").symlink_to(path)
    assert locate("latest", tmp_path).name == "0-copy"


def test_a_name_that_several_have_is_refused_with_the_newest(root: Path) -> None:
    with pytest.raises(cw.errors.RecordingNotFound, match=r"2 recordings below .* are named 'paper'; give one in full, the newest is "):
        locate("paper", root)


@pytest.mark.parametrize("name", ["nothing", "latest"])
def test_what_is_not_there_is_refused_with_where_was_looked(name: str, tmp_path: Path) -> None:
    with pytest.raises(cw.errors.RecordingNotFound, match=rf"{tmp_path.name}, which holds no recording"):
        locate(name, tmp_path)
    with pytest.raises(cw.errors.RecordingNotFound, match=r"no-folder, which does not exist"):
        locate(name, tmp_path / "no-folder")


def test_a_path_is_never_taken_for_a_name(root: Path) -> None:
    with pytest.raises(cw.errors.RecordingNotFound, match=r"^no recording '\.\./desk-3': looked for /"):
        locate("../desk-3", root)


@pytest.mark.slow
def test_the_verbs_take_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCWATCH_RECORDINGS", str(root))
    (one,) = root.glob("*desk-3*")
    assert cw.open_recording("desk-3").path == one
    assert cw.analyze("desk-3").quality().basis.n == len(cw.open_recording(one).frame()) > 0
    with cw.replay("latest", speed="max") as feed:
        feed.join(10)
        assert feed.health().packets > 0


def test_an_error_names_what_makes_a_recording_of_the_name(root: Path, tmp_path: Path) -> None:
    with pytest.raises(cw.errors.RecordingNotFound, match=r"cw\.record\(source, name='back-test'\) makes one of this name"):
        locate("back-test", root)
    with pytest.raises(cw.errors.RecordingNotFound, match=r"which holds no recording; cw\.record\(url\) makes one"):
        locate("latest", tmp_path)
