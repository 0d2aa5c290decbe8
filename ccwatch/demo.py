"""The demo: an embedded Cottage, a recording of it, and copies of the notebooks in JupyterLab. It prints nothing."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, Self

from ccwatch import api
from ccwatch.errors import CcwatchError, ConfigError

NOTEBOOK: Final = "01-live.ipynb"
FOLDER: Final = "ccwatch-demo"
RATE_HZ: Final = 5.0
LAB_TIMEOUT_S: Final = 60.0


class Demo:
    """A seeded stream that is served and recorded, in a working folder. A context manager."""

    def __init__(self, folder: Path, *, seed: int = 0, scenario: str = "calm", rate: float = RATE_HZ) -> None:
        """Start to serve, connect and record.

        Raises:
            CcwatchError: a folder that cannot be written, or a missing extra.
        """
        self.folder = folder
        self.cottage = api.serve(seed=seed, scenario=scenario, rate=rate)
        self.feed = api.connect(self.cottage.url, name="demo")
        try:
            self.recorder = api.record(self.feed, folder / "recordings", name="demo", tags=["demo"])
        except CcwatchError:
            self.feed.stop()
            self.cottage.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.recorder.stop()
        self.feed.stop()
        self.cottage.stop()

    def copy_notebooks(self) -> Path:
        """Copy all notebooks into the working folder and return the first one's path; those that exist already are left as they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(shipped("notebooks").iterdir()):
            if file.suffix in {".ipynb", ".py"} and not (self.folder / file.name).exists():
                shutil.copy(file, self.folder)
        shutil.copytree(shipped("notebooks") / "images", self.folder / "images", dirs_exist_ok=True)
        return self.folder / NOTEBOOK

    def lab(self, *, browser: bool) -> Lab:
        """Start JupyterLab on the copied notebook, which connects to this demo's stream.

        Raises:
            ConfigError: JupyterLab is not installed.
        """
        return Lab(self.copy_notebooks(), url=self.cottage.url, recordings=self.folder / "recordings", browser=browser)


class Lab:
    """A JupyterLab server as a child process."""

    def __init__(self, notebook: Path, *, url: str, recordings: Path, browser: bool) -> None:
        """Start the server; `wait_until_up` waits until it answers."""
        if importlib.util.find_spec("jupyterlab") is None:
            raise ConfigError("the demo shows a notebook in JupyterLab; install it with: pip install 'ccwatch[lab]', or use --headless")
        token, port = secrets.token_hex(16), _free_port()
        base = f"http://127.0.0.1:{port}"
        self.url = f"{base}/lab/tree/{notebook.name}?token={token}"
        self._probe = f"{base}/api/status?token={token}"
        command = [sys.executable, "-m", "jupyterlab", notebook.name, "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
        if not browser:
            command.append("--no-browser")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        # By the environment, since a command line can be read by every user of the machine.
        environment = os.environ | {"JUPYTER_TOKEN": token, "CCWATCH_URL": url, "CCWATCH_RECORDINGS": str(recordings.resolve())}
        self.log = notebook.parent / "jupyterlab.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                command, cwd=notebook.parent, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_up(self) -> None:
        """Wait until the server answers.

        Raises:
            CcwatchError: it ended, or did not answer within a minute; its log gives the reason.
        """
        deadline = time.monotonic() + LAB_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self._probe, timeout=2):  # noqa: S310 - our own http url
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise CcwatchError(f"JupyterLab did not come up; see {self.log}")

    def wait(self) -> int:
        """Wait until the server ends, and return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def shipped(kind: str) -> Path:
    """Return the folder of the notebooks or sample recordings that came with ccwatch, in its wheel or beside it in a checkout."""
    package = Path(__file__).parent
    places = (package / "_shipped" / kind, package.parent / kind)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise CcwatchError(f"this installation of ccwatch lacks its {kind}; install it again")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
