"""The questions as one table: how each is asked of a session's tables. It knows kernels and tables, not how answers are kept or shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import pandas as pd

from ccwatch.analysis.alerts import alerts
from ccwatch.analysis.alpha import alpha
from ccwatch.analysis.attribution import attribution
from ccwatch.analysis.burn_rate import burn_rate
from ccwatch.analysis.changepoints import changepoints
from ccwatch.analysis.drawdown_audit import drawdown_audit
from ccwatch.analysis.drawdowns import drawdowns
from ccwatch.analysis.governance import governance
from ccwatch.analysis.kalman import kalman
from ccwatch.analysis.latency import latency
from ccwatch.analysis.quality import quality
from ccwatch.analysis.reasoning import reasoning
from ccwatch.analysis.regimes import regimes
from ccwatch.analysis.result import Result
from ccwatch.analysis.session_tables import SessionTables
from ccwatch.analysis.signals import signals
from ccwatch.analysis.timeline import timeline
from ccwatch.errors import AnalysisError


class Session(Protocol):
    """The inputs of a question: the session's tables, what was chosen of it, and the answers to other questions."""

    @property
    def tables(self) -> SessionTables:
        """Return the tables."""

    @property
    def symbol(self) -> str | None:
        """Return the symbol that was chosen."""

    @property
    def said(self) -> tuple[str, ...]:
        """Return how a frame was read."""

    def calls(self) -> pd.DataFrame | None:
        """Return the observed calls of agents and models; None where the stream carries none."""

    def answered(self, questions: tuple[str, ...]) -> Mapping[str, Result | AnalysisError]:
        """Return the answers to other questions, or why there is none."""


Ask = Callable[[Session, dict[str, Any]], Result]


class Question(NamedTuple):
    """One question: how it is asked, whether it is part of every report, and the packets' columns that it reads; None is all."""

    ask: Ask
    in_report: bool = True
    columns: tuple[str, ...] | None = None


_EVERY: Final = ("seq", "connection", "received_mono_ns", "flags", "symbol")
"""Columns by which every question finds its rows and their gaps."""


def _of_packets(kernel: Callable[..., Result], *columns: str) -> Question:
    """Return a question of the packets and events alone, which reads these columns beside `_EVERY`; none named is all."""
    return Question(
        lambda session, options: kernel(session.tables.packets, session.tables.events, **{"symbol": session.symbol, **options}),
        columns=(*_EVERY, *columns) if columns else None,
    )


def _of_services(kernel: Callable[..., Result]) -> Question:
    """Return a question of the agents' and models' tables."""

    def ask(session: Session, options: dict[str, Any]) -> Result:
        tables = session.tables
        packets = None if isinstance(tables.source, pd.DataFrame) and "flags" not in tables.packets.columns else tables.packets
        return kernel(tables.agents, tables.models, frame=packets, events=tables.events, **options)

    return Question(ask, columns=_EVERY)


def _quality(session: Session, options: dict[str, Any]) -> Result:
    tables = session.tables
    packets, health = tables.packets_with_text, tables.health
    now = None
    if tables.is_live and health is not None and health.age_s is not None and len(packets):
        now = packets.index.max() + pd.Timedelta(seconds=health.age_s)
    size = None if health is None else health.message_bytes_mean
    return quality(packets, tables.events, now=now, message_bytes_mean=size, is_synthetic=tables.is_synthetic, said=session.said, **options)


def _governance(session: Session, options: dict[str, Any]) -> Result:
    tables = session.tables
    return governance(tables.packets, tables.events, tables.logs, **{"symbol": session.symbol, **options})


def _alerts(session: Session, options: dict[str, Any]) -> Result:
    tables = session.tables
    return alerts(tables.packets, tables.events, tables.agents, tables.models, **{"symbol": session.symbol, **options})


def _timeline(session: Session, options: dict[str, Any]) -> Result:
    tables = session.tables
    given = {"symbol": session.symbol, "marks": tables.marks, "trades": tables.trades, **options}
    if "symbol" not in options:
        given["known"] = session.answered(("quality", "drawdowns", "regimes", "governance", "latency"))
    return timeline(tables.packets, tables.events, tables.agents, tables.models, tables.logs, **given)


def _changepoints(session: Session, options: dict[str, Any]) -> Result:
    return changepoints(session.tables.packets, session.tables.events, session.calls(), **{"symbol": session.symbol, **options})


def _reasoning(session: Session, options: dict[str, Any]) -> Result:
    return reasoning(session.tables.packets_with_words, session.tables.events, **{"symbol": session.symbol, **options})


REGISTRY: Final[Mapping[str, Question]] = {
    "quality": Question(_quality),
    "drawdowns": _of_packets(drawdowns),
    "regimes": _of_packets(regimes, "regime", "alpha"),
    "governance": Question(_governance, columns=(*_EVERY, "status", "regime", "side", "price", "confidence", "approved_size")),
    "latency": _of_services(latency),
    "attribution": _of_packets(attribution, "nav", "regime", "side"),
    "burn_rate": _of_services(burn_rate),
    "drawdown_audit": _of_packets(drawdown_audit),
    "signals": _of_packets(signals, "side", "price", "confidence", "regime"),
    "alpha": _of_packets(alpha),
    "kalman": _of_packets(kalman),
    "alerts": Question(_alerts),
    "changepoints": Question(_changepoints),
    "timeline": Question(_timeline),
    "reasoning": Question(_reasoning, in_report=False),
}
"""The questions by name, in the order of a report. Quality comes first: it limits all others."""
QUESTIONS: Final = tuple(name for name, question in REGISTRY.items() if question.in_report)
"""The questions of a report, in its order."""
