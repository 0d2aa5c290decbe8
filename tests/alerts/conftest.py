"""The streams of tests/analysis."""

from tests.analysis.conftest import stream

__all__ = ["stream"]
