"""Setup of a working folder: `init` asks the doctor, writes a commented ccwatch.toml and copies the notebook. It prints nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccwatch.config import FILE_NAME, Settings
from ccwatch.demo import shipped
from ccwatch.doctor import Diagnosis, examine
from ccwatch.errors import ConfigError
from ccwatch.feed.connection import parse_url

SHIPPED: Final = "03-your-engine.ipynb"
NOTEBOOK: Final = "your-engine.ipynb"
PLACEHOLDER: Final = 'URL = ""'
_TOML: Final = """\
# ccwatch: what holds for this folder and all below it. An argument and the environment (CCWATCH_URL, …) win over it.
# All settings: ccwatch's guide, page "Settings".

url = {url}
server_tz = {server_tz}          # zone of timestamps that carry no offset
# display_tz = "America/New_York"  # zone of the charts, and of times that you type: "14:38"
# token_file = "/run/secrets/ccwatch"  # its first line is the token, read at each connect; never the token itself in this file
# engine_url = "http://HOST:8000"  # where halt and resume go, if the BFF passes nothing on
# recordings = "recordings"        # where recordings go; beside this file if not set

# When the market trades: rules are quiet outside of it, and a day's figures begin again at the open.
# [hours]
# timezone = "America/New_York"
# open = "09:30"
# close = "16:00"
# days = "mon-fri"

# The expectation of a stream, drawn as a ghost line: a recording's path or name, or a CSV file of nav, returns or signals.
# [expected]
# path = "back-test.csv"
# align = "open"

# Receivers of `ccwatch guard --notify desk`: an address is in the environment or in a file, not here.
# [receivers]
# desk = "env:DESK_WEBHOOK"
# boss = "file:/run/secrets/boss"
"""


@dataclass(frozen=True)
class Started:
    """The result of `init`: the files and the next commands.

    Attributes:
        url: the stream's url, without secrets, as written into both files.
        found: the doctor's Diagnosis of the stream.
        made: files that were written.
        kept: files that existed already and were left as they are.
        stale: those of them that do not name this url.
        next: three commands to go on with.
    """

    url: str
    found: Diagnosis
    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    stale: tuple[Path, ...]
    next: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values that JSON can hold."""
        return {
            "url": self.url,
            "healthy": self.found.healthy,
            "problems": list(self.found.problems),
            "made": [str(path) for path in self.made],
            "kept": [str(path) for path in self.kept],
            "stale": [str(path) for path in self.stale],
            "next": list(self.next),
        }


def init(url: str | None = None, folder: Path | None = None, *, seconds: float = 3.0) -> Started:
    """Examine a stream, and write a ccwatch.toml and a notebook to watch it; a file that exists is left as it is.

    Args:
        url: the stream's url; None tries the usual places.
        folder: where the files go, made if needed; None is the working folder.
        seconds: how long the doctor listens.

    Raises:
        ConfigError: not a url, or a folder that cannot be written.
    """
    if url is not None:
        parse_url(url)
    found = examine(url, seconds=seconds)
    stream = parse_url(found.url or url or Settings.load().url).shown  # without secrets
    place = folder or Path.cwd()
    zone = found.settings.get("server_tz", "UTC")
    files = {
        place / FILE_NAME: _TOML.format(url=json.dumps(stream), server_tz=json.dumps(zone)),
        place / NOTEBOOK: _notebook(stream),
    }
    made, kept, stale = [], [], []
    try:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(shipped("notebooks") / "images", place / "images", dirs_exist_ok=True)
        for path, text in files.items():
            if path.exists():
                kept.append(path)
                stale += [path] if stream not in path.read_text(encoding="utf-8", errors="replace") else []
            else:
                path.write_text(text, encoding="utf-8")
                made.append(path)
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror}") from None
    commands = (f"jupyter lab {NOTEBOOK}", "ccwatch record " + stream, "ccwatch guard " + stream + " --record")
    return Started(stream, found, tuple(made), tuple(kept), tuple(stale), commands)


def _notebook(url: str) -> str:
    """Return the notebook for a user's own engine as JSON text, with its url and without saved outputs."""
    notebook = json.loads((shipped("notebooks") / SHIPPED).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = [line.replace(PLACEHOLDER, f"URL = {json.dumps(url)}") for line in cell["source"]]
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
