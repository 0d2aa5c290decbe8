from __future__ import annotations

import pandas as pd
import pytest

import ccwatch as cw
from ccwatch.archives.seen_before import seen_before
from tests.archives.seeded import items_of, write
from tests.archives.test_similar import PLANT

START, END = pd.Timestamp("2026-01-05T14:31:40Z"), pd.Timestamp("2026-01-05T14:32:39Z")


@pytest.mark.slow
def test_the_answer_is_what_the_code_beside_it_gives(tmp_path):
    for n in range(2):
        prices = [100.0 + 0.01 * (k % 7) for k in range(300)]
        prices[100:160] = (100.0 * (1.0 + (0.001 + 0.001 * n) * PLANT)).tolist()
        write(tmp_path / f"s{n}", items_of(n, 300, prices=tuple(prices)), url=f"ws://{n}")
    opened = cw.open_recording(tmp_path / "s0")
    said = seen_before(tmp_path, opened, repr(str(opened.path)), START, END, "Europe/Paris")
    assert said["title"] == "Seen before? 15:31:40 to 15:32:39 CET, by the price"
    assert " · s1 · distance 0.0" in said["lines"][1]
    found = eval(said["code"], {"cw": cw})  # noqa: S307 - the code that a user copies
    assert said["lines"][0] == found.headline()
    assert found.to_frame()["session"][0] == "s1"


def test_without_a_recording_or_with_a_range_that_has_no_shape_it_is_told(tmp_path):
    write(tmp_path / "s0", items_of(0, 300), url="ws://0")
    opened = cw.open_recording(tmp_path / "s0")
    (tmp_path / "none").mkdir()
    assert "holds no recording yet" in seen_before(tmp_path / "none", opened, "x", START, END)["lines"][0]
    assert "needs 8" in seen_before(tmp_path, opened, "x", START, START)["lines"][0]
