"""The notebooks run from top to bottom, offline, and show what they are saved with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccwatch.protocol.messages import Flag

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_offline_and_its_saved_outputs_are_true(notebook: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CCWATCH_")}
    environment |= {"PYTHONPATH": str(ROOT), "CCWATCH_RECORDINGS": str(tmp_path), "JUPYTER_PLATFORM_DIRS": "1"}
    # A proxy that nobody listens on: a request that left the machine would fail.
    environment |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={tmp_path}"]
    command += [
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout=60",
        f"--nbval-sanitize-with={ROOT / 'tests/notebooks/sanitize.cfg'}",
    ]
    done = subprocess.run(
        [*command, str(notebook)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


def test_the_first_notebook_compares_outputs_and_is_not_all_ignored() -> None:
    text = (ROOT / "notebooks" / "01-live.ipynb").read_text(encoding="utf-8")
    assert text.count("NBVAL_IGNORE_OUTPUT") < text.count('"cell_type": "code"') / 2


def test_the_notebook_on_real_servers_is_saved_with_four_dialects_in_one_table_and_every_flag_explained() -> None:
    notebook = json.loads((ROOT / "notebooks" / "09-real-servers.ipynb").read_text(encoding="utf-8"))
    shown = {
        cell["id"]: "".join(
            "".join(output.get("text", "")) + "".join(output.get("data", {}).get("text/plain", "")) for output in cell["outputs"]
        )
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    }
    assert all(dialect in shown["four"] for dialect in ("contract", "engine_loop", "bridge", "pipeline"))
    assert all(str(flag.name) in shown["flags"] for flag in Flag)
    assert "lowest price in frame(): 449.7" in shown["zeros-raw"]
