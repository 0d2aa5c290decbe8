"""The table of commands, and the overview that `ccwatch --help` prints. It imports nothing that takes time, not even click."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

WHAT: Final = "Watch, record and explain the live stream of a Curiosity Cottage trading engine."
WIDEST: Final = 110
"""Characters of a line of the overview at most, on a terminal that has more."""

COMMANDS: Final = {
    "demo": ("start", "Serve a seeded stream, record it, and show it in JupyterLab."),
    "init": ("start", "Look at your engine's stream, and make what you need to watch it: ccwatch.toml and a notebook with its address."),
    "serve": ("serve_command", "Serve a seeded stream as an engine and a BFF do, until Ctrl-C."),
    "tail": (
        "stream_commands",
        "Print packets and events as they arrive, from a URL or from a recording (PATH) while it is being written.",
    ),
    "record": ("stream_commands", "Record a stream into a new folder, whose path is printed at the end."),
    "ls": ("recordings", "List the recordings in a folder."),
    "info": ("recordings", "Say what a recording holds."),
    "verify": ("recordings", "Compare the checksums of a recording; exit code 1 where one fails."),
    "recover": ("recordings", "Finish a recording whose recorder was killed: make Parquet of its journal."),
    "compact": ("recordings", "Make Parquet of what a recording has in its journal, without calling it finished."),
    "replay": ("recordings", "Play a recording in its own time: print it as `tail` does, or serve it."),
    "export": ("sharing", "Write a table of a recording as JSON lines, CSV, Parquet or MCAP."),
    "pack": ("sharing", "Pack a recording into one file for a colleague, whole or without what is private."),
    "prune": ("recordings", "Delete old recordings so that the rest keep a limit."),
    "report": ("sharing", "Write the post-mortem of a recording as one offline file."),
    "guard": ("guard_commands", "Watch a stream, or a recording while it is being written, and send its alerts."),
    "alerts": ("alert_commands", "List the alerts of a recording or of a folder of recordings (PATH), or acknowledge and silence one."),
    "rules": ("rule_commands", "Check alert rules, try them on recordings, or propose limits from calm ones."),
    "sql": ("archive_commands", "Answer a SELECT over all recordings."),
    "push": ("archive_commands", "Upload a recording, or all of a folder, to an object store."),
    "pull": ("archive_commands", "Copy a recording, or all of an address, from an object store."),
    "publish": (
        "archive_commands",
        "Publish the recordings of a folder or address as tables for other engines; what is there already is not written again.",
    ),
    "mcp": ("mcp", "Serve recordings and answers to an assistant; it cannot command an engine."),
    "doctor": ("doctor", "Say what a server's stream speaks and how it fares, and what to set; without URL, try the usual places."),
}
"""Each command in the order of its use: the module of `ccwatch.cli` that holds it under its own name (with an underscore behind, where
that is a word of Python or of the module), and one sentence."""


def overview() -> str:
    """Return the overview: how to call the program, and every command with its sentence."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    column = max(map(len, COMMANDS)) + 4
    lines = [
        textwrap.fill(f"  {name:<{column - 2}}{sentence}", width, subsequent_indent=" " * column)
        for name, (_, sentence) in COMMANDS.items()
    ]
    usage = "Usage: ccwatch [--version] [--help] COMMAND ..."
    return "\n".join([usage, "", textwrap.fill(WHAT, width), "", "Commands:", *lines, "", "ccwatch COMMAND --help lists its options."])
