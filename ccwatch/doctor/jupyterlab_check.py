"""Examine the JupyterLab that has to show the widget: it may live in another environment than the kernel. It prints nothing.

A Lab is asked by a program of its own environment, so that what it answers is what its pages load.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 60.0
WIDGETS: Final = "@jupyter-widgets/jupyterlab-manager"
ANYWIDGET: Final = "anywidget"
OLDEST_MANAGER: Final = 4
"""Major version of the manager that shows widgets of ipywidgets 8."""
_LISTED: Final = re.compile(r"^\s+(?P<name>\S+) v(?P<version>\S+)\s+(?P<state>enabled|disabled)\s+(?P<health>OK|ok|X)", re.MULTILINE)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Extension:
    """The JavaScript half of a widget library, as installed in a Lab."""

    version: str
    works: bool
    """Whether it is enabled, and compatible with this Lab."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A JupyterLab that was found.

    Attributes:
        where: how it was found.
        python: its interpreter, or the program that was asked.
        version: JupyterLab's version; None where it did not say.
        extensions: the installed ones of those that the dashboard needs, by name.
        problems: reasons why it cannot show the dashboard.
        remedy: the command that repairs it; empty where there is no problem.
    """

    where: str
    python: str
    version: str | None
    extensions: dict[str, Extension]
    problems: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class LabDiagnosis:
    """The result of `examine_lab`.

    Attributes:
        healthy: whether the kernel's half and that of the Lab in use are installed and fit each other.
        python: the interpreter that ran the examination: that of the kernel, if it is the notebook's.
        versions: of the kernel's packages; None for one that is missing.
        in_use: the Lab that counts, the first of `labs`; None where there is none.
        labs: every Lab that was found.
        problems: the problems, a line each.
        advice: steps to take, a line each.
    """

    healthy: bool
    python: str
    versions: dict[str, str | None]
    in_use: str | None
    labs: tuple[Lab, ...]
    problems: tuple[str, ...]
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values that JSON can hold."""
        return asdict(self)


def examine_lab(environment: Mapping[str, str] = os.environ) -> LabDiagnosis:
    """Examine this interpreter's packages, and ask each JupyterLab that may be the one in use for its extensions.

    The Lab in use is the one whose server started this kernel (where this runs in a notebook's cell), else that of the `jupyter` on the
    PATH, else this interpreter's own.
    """
    versions = {name: _version(name) for name in ("ipywidgets", "anywidget", "ipykernel")}
    labs = [lab for lab in (ask(where, command, versions["anywidget"]) for where, command in _candidates(environment)) if lab]
    kernel_lacks = [name for name, found in versions.items() if found is None]
    problems = [f"{sys.executable} lacks {name}, so no kernel of it can make the dashboard" for name in kernel_lacks]
    advice = [f"{sys.executable} -m pip install {' '.join(kernel_lacks)}"] if kernel_lacks else []
    if labs:
        problems += [f"the Lab of {labs[0].python}: {problem}" for problem in labs[0].problems]
        advice += [labs[0].remedy] if labs[0].problems else []
    else:
        problems.append("no JupyterLab was found, neither on the PATH nor beside this interpreter")
        advice.append(f"{sys.executable} -m pip install 'ccwatch[lab]'")
    if advice:
        advice.append("then restart JupyterLab and reload its page")
    return LabDiagnosis(
        healthy=not problems,
        python=sys.executable,
        versions=versions,
        in_use=labs[0].python if labs else None,
        labs=tuple(labs),
        problems=tuple(problems),
        advice=tuple(advice),
    )


def ask(where: str, command: Sequence[str], anywidget: str | None) -> Lab | None:
    """Return a JupyterLab with the extensions that the dashboard needs; None where there is no JupyterLab.

    Args:
        where: how it was found, in words.
        command: the command that runs its `labextension`.
        anywidget: the kernel's version of anywidget.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a program of the user's own PATH, without a shell
            [*command, "list"], capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = _COLOUR.sub("", done.stdout + done.stderr)
    lab = re.search(r"JupyterLab v(\S+)", text)
    if lab is None:
        return None
    extensions = {
        found["name"]: Extension(found["version"], found["state"] == "enabled" and found["health"] != "X")
        for found in _LISTED.finditer(text)
        if found["name"] in {WIDGETS, ANYWIDGET}
    }
    problems = judge(extensions, anywidget)
    python = _python_of(command[0])
    packages = "ipywidgets" + (f" anywidget=={anywidget}" if anywidget else " anywidget")
    return Lab(where, python, lab[1], extensions, problems, f"{python} -m pip install --upgrade {packages}" if problems else "")


def judge(extensions: Mapping[str, Extension], anywidget: str | None) -> tuple[str, ...]:
    """Return the reasons why a Lab with these extensions cannot show a widget of a kernel with this anywidget."""
    problems = []
    for name in (WIDGETS, ANYWIDGET):
        if name not in extensions:
            problems.append(f"it lacks the extension {name}")
        elif not extensions[name].works:
            problems.append(f"its extension {name} is disabled or does not fit: see `jupyter labextension list`")
    manager, front = extensions.get(WIDGETS), extensions.get(ANYWIDGET)
    if manager is not None and int(re.match(r"\d*", manager.version)[0] or 0) < OLDEST_MANAGER:  # type: ignore[index] # always matches
        problems.append(f"its {WIDGETS} {manager.version} is for ipywidgets 7; the kernel has 8")
    if front is not None and anywidget is not None and front.version.split(".")[:2] != anywidget.split(".")[:2]:
        problems.append(f"its anywidget is {front.version}, the kernel's is {anywidget}: they must agree in the first two numbers")
    return tuple(problems)


def _candidates(environment: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """Return the places where a Lab may be, each with the command that asks it, the one in use first; each environment once."""
    found: list[tuple[str, list[str]]] = []
    server = _python_of_process(environment.get("JPY_PARENT_PID", ""))
    if server is not None:
        found.append(("the server of this notebook", [server, "-m", "jupyterlab.labextensions"]))
    jupyter = shutil.which("jupyter", path=environment.get("PATH"))
    if jupyter is not None:
        found.append(("jupyter on the PATH", [jupyter, "labextension"]))
    found.append(("this interpreter", [sys.executable, "-m", "jupyterlab.labextensions"]))
    by_place = {_place(_python_of(command[0])): (where, command) for where, command in reversed(found)}
    return [entry for entry in found if entry in by_place.values()]


def _python_of(program: str) -> str:
    """Return the interpreter named in a script's first line; for a program that is no script, return the program."""
    try:
        with Path(program).open("rb") as script:
            head = script.readline(4096)
    except OSError:
        return program
    if not head.startswith(b"#!"):
        return program
    named = head[2:].decode(errors="replace").strip()
    python = Path(program).with_name("python")  # `#!/bin/sh`, where the interpreter's path is too long or has a space in it
    return named if Path(named).is_file() and "python" in Path(named).name else str(python) if python.is_file() else program


def _python_of_process(pid: str) -> str | None:
    """Return the interpreter of a process; None where it has none, or the system does not say."""
    try:
        program = Path("/proc", str(int(pid)), "cmdline").read_bytes().split(b"\0")[0].decode()
    except (OSError, ValueError):
        return None
    return program if Path(program).is_file() and "python" in Path(program).name else None


def _place(python: str) -> Path:
    """Return an interpreter's folder, without following a link of the interpreter itself, since each environment has its own."""
    return Path(python).parent.resolve()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
