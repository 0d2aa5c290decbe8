"""The readers under files that lie with a right checksum: whatever is changed, no error but ours, and no more memory than was checked."""

from __future__ import annotations

import os

import pytest

from tests.recording.fuzz import READERS, fuzz

FULL = bool(os.environ.get("CCWATCH_FULL"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # zipfile's own, of an archive that lies
@pytest.mark.parametrize("reader", READERS)
def test_no_file_makes_a_reader_fail_in_another_way_than_ours(reader, capsys):
    """30 CPU minutes for each reader under CCWATCH_FULL=1."""
    if reader == "parquet" and not FULL:
        pytest.skip("a forged file was seen to abort Arrow's own reader, which ends the whole test process")
    tried, refused = fuzz(reader, cpu_s=1800) if FULL else fuzz(reader, inputs=25)
    with capsys.disabled():
        print(f"{reader}: {tried} inputs, {refused} refused")
    assert tried >= 25
    assert refused > 0 or reader in {"journal", "parquet"}
