"""The command line: one module per group of commands; `rendering` is the only place that prints."""

from ccwatch.cli.app import cli, main

__all__ = ["cli", "main"]
