"""The compose file of the guide: the command line takes each of its commands as it is written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from ccwatch.cli.app import cli

FILE = Path(__file__).parents[1] / ".github" / "guide" / "compose.yaml"


def test_the_command_line_takes_every_command_of_the_compose_file(tmp_path):
    text = FILE.read_text(encoding="utf-8")
    commands = re.findall(r"^    command: ccwatch (.+)$", text, re.MULTILINE)
    assert len(commands) == 2
    (tmp_path / "key").write_text("a secret of the desk")
    with click.Context(cli) as context:
        for words in (shlex.split(line.replace("/run/secrets", str(tmp_path))) for line in commands):
            command = cli.get_command(context, words[0])
            assert command is not None
            found = command.make_context(words[0], words[1:], parent=context)
            assert found.params
    assert set(re.findall(r"^  ([a-z-]+):", text, re.MULTILINE)) >= {"redis", "serve", "record-a", "record-b"}
