"""The doctor of JupyterLab, on this environment's own Lab, and on environments of programs that answer as others' do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ccwatch.doctor import examine_lab
from ccwatch.doctor.jupyterlab_check import ANYWIDGET, WIDGETS, Extension, _candidates, ask, judge

HEALTHY = {WIDGETS: Extension("5.0.15", works=True), ANYWIDGET: Extension("0.11.0", works=True)}


def environment_with(folder: Path, answer: str, code: int = 0) -> Path:
    """An environment whose `jupyter` gives this answer; returns its folder of programs."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    jupyter = programs / "jupyter"
    jupyter.write_text(f"#!{programs / 'python'}\nimport sys\nsys.stderr.write({answer!r})\nsys.exit({code})\n")
    jupyter.chmod(0o755)
    return programs


@pytest.mark.slow
def test_this_environments_own_lab_can_show_the_dashboard() -> None:
    found = examine_lab({"PATH": str(Path(sys.executable).parent)})
    assert found.healthy, found.problems
    assert len(found.labs) == 1, "one environment is asked once, however it is found"
    assert set(found.labs[0].extensions) == {WIDGETS, ANYWIDGET}
    assert (found.labs[0].version or "").startswith("4")
    assert found.versions["anywidget"] == found.labs[0].extensions[ANYWIDGET].version
    json.dumps(found.to_dict())


@pytest.mark.slow
def test_a_lab_of_another_environment_that_lacks_the_widgets_is_named_with_what_to_install_there(tmp_path: Path) -> None:
    answer = "JupyterLab v4.2.0\n/elsewhere/labextensions\n        jupyterlab_pygments v0.3.0 \x1b[32menabled\x1b[0m \x1b[32mOK\x1b[0m\n"
    programs = environment_with(tmp_path / "other", answer)
    found = examine_lab({"PATH": str(programs)})
    assert not found.healthy
    assert found.in_use == str(programs / "python")
    assert any(WIDGETS in problem for problem in found.problems)
    assert found.advice[0] == f"{programs / 'python'} -m pip install --upgrade ipywidgets anywidget=={found.versions['anywidget']}"
    assert [lab.where for lab in found.labs] == ["jupyter on the PATH", "this interpreter"]
    assert not found.labs[1].problems, "this environment's own would do, but is not the one in use"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system does not say which program a process runs")
def test_the_server_that_started_this_kernel_is_the_lab_in_use(tmp_path: Path) -> None:
    programs = environment_with(tmp_path, "")
    command = [programs / "python", "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()  # a program that has not started yet is no Python yet
        found = _candidates({"PATH": "", "JPY_PARENT_PID": str(server.pid)})
        server.communicate(b"\n")
    assert [where for where, _ in found] == ["the server of this notebook", "this interpreter"]
    assert found[0][1] == [str(programs / "python"), "-m", "jupyterlab.labextensions"]


@pytest.mark.parametrize("pid", ["", "1", "nonsense", "999999999"])
def test_a_parent_that_is_gone_or_is_no_python_is_passed_over(pid: str) -> None:
    assert [where for where, _ in _candidates({"PATH": "", "JPY_PARENT_PID": pid})] == ["this interpreter"]


@pytest.mark.parametrize("answer", ["", "jupyter: command `labextension` not found", "Traceback (most recent call last):"])
def test_a_jupyter_without_a_lab_is_no_lab(answer: str, tmp_path: Path) -> None:
    programs = environment_with(tmp_path, answer, 1)
    assert ask("there", [str(programs / "jupyter"), "labextension"], "0.11.0") is None


def test_extensions_that_are_disabled_old_or_of_another_release_do_not_fit() -> None:
    assert judge(HEALTHY, "0.11.3") == ()
    assert "disabled" in judge(HEALTHY | {WIDGETS: Extension("5.0.15", works=False)}, "0.11.3")[0]
    assert "ipywidgets 7" in judge(HEALTHY | {WIDGETS: Extension("3.1.0", works=True)}, "0.11.3")[0]
    assert "first two numbers" in judge(HEALTHY, "0.9.13")[0]
    assert len(judge({}, "0.11.3")) == 2


def test_the_lists_states_are_read_as_jupyterlab_prints_them(tmp_path: Path) -> None:
    answer = (
        "JupyterLab v4.6.6\n/x/labextensions\n"
        "        anywidget v0.11.0 \x1b[31mdisabled\x1b[0m \x1b[32mOK\x1b[0m\n"
        "        @jupyter-widgets/jupyterlab-manager v5.0.16 \x1b[32menabled\x1b[0m \x1b[31m X\x1b[0m (python, jupyterlab_widgets)\n"
    )
    programs = environment_with(tmp_path, answer)
    lab = ask("there", [str(programs / "jupyter"), "labextension"], "0.11.0")
    assert lab is not None
    assert {name: extension.works for name, extension in lab.extensions.items()} == {ANYWIDGET: False, WIDGETS: False}
