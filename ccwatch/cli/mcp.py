"""The command that serves tools to assistants."""

from __future__ import annotations

from pathlib import Path

import click

from ccwatch.cli.shared_options import interruptible, json_option


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--port", type=click.IntRange(1, 65535), help="Serve over HTTP on 127.0.0.1 instead of standard input and output.")
@json_option
@interruptible
def mcp(*, folder: Path | None, port: int | None, as_json: bool) -> int:
    """Serve recordings and answers to an assistant; it cannot command an engine. It speaks MCP, and needs the extra mcp."""
    from ccwatch.assistant.mcp_server import serve  # noqa: PLC0415 - pandas: only this command needs it

    del as_json  # all that it says is JSON
    serve(folder, port=port)
    return 0
