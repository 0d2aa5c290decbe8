"""Questions that need another question's answer, or something to compare the session with. It knows kernels and tables only."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.analysis import against as against_kernel, first_sign as first_sign_kernel, what_if as what_if_kernel
from ccwatch.analysis.against import Against
from ccwatch.analysis.drawdowns import Drawdowns
from ccwatch.analysis.expected import read_expected
from ccwatch.analysis.explain import Observed, observed
from ccwatch.analysis.first_sign import FirstSign
from ccwatch.analysis.question_table import REGISTRY
from ccwatch.analysis.reasoning import Reasoning
from ccwatch.analysis.report_questions import ReportQuestions
from ccwatch.analysis.result import Result
from ccwatch.analysis.usable_rows import select_rows
from ccwatch.analysis.what_if import WhatIf
from ccwatch.config import Align, alignment
from ccwatch.domain.limits import DRAWDOWN_LEAST
from ccwatch.errors import ConfigError, NotEnoughData, no_such
from ccwatch.stream.time_ranges import parse_time

SHALLOW: Final = 0.1
"""A fall has begun below this share of its depth."""
NAMES: Final = (*REGISTRY, "against", "what_if", "first_sign", "explain")
"""The questions that have a method of a Report."""


class RelatedQuestions(ReportQuestions):
    """The questions against, what_if, first_sign and reasoning, and a user's own."""

    def ask(self, question: str | Callable[..., Result], **options: Any) -> Result:
        """Ask a question by its name, or one of your own.

        Args:
            question: the name of a method, such as "governance"; or a function of the packets and the events, with keyword arguments,
                which returns a Result: `def crossings(packets, events, *, symbol=None)`, as `ccwatch.analysis.drawdowns` is one. Its
                packets are those of `source.frame()` in the report's range, its `symbol` the report's.
            options: the arguments of the method or the function.

        Raises:
            ConfigError: no question of that name, or a function that returns something else.
        """
        if isinstance(question, str):
            if question not in NAMES:
                raise ConfigError(f"{no_such('question', question, NAMES)}, or a function of your own")
            named: Result = getattr(self, question)(**options)
            return named
        if not callable(question):
            raise ConfigError(f"question={question!r}: expected a name, such as 'governance', or a function of packets and events")
        parameters = inspect.signature(question).parameters.values()
        if not any(parameter.name == "symbol" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            name = question_name(question)
            raise ConfigError(f"{name}: expected a question to be def {name}(packets, events=None, *, symbol=None)")
        found = question(self._tables.packets, self._tables.events, **{"symbol": self._symbol, **options})
        if not isinstance(found, Result):
            raise ConfigError(f"{question_name(question)} returned a {type(found).__name__}; expected a ccwatch.analysis.Result")
        return found

    def against(self, expected: Any = None, align: Align | None = None) -> Against:
        """Compare this session with a plan, packet by packet; `ccwatch.compare` is for two equals. See `ccwatch.analysis.against`.

        Args:
            expected: a Recording, its path or name, "latest", a CSV file, or a frame or series of nav, price, returns or side;
                None is `[expected]` of ccwatch.toml.
            align: "clock" aligns the two by time, "open" by their first packets, "event" by their first BUY or SELL;
                None is "clock", or what `[expected]` says of its own plan.

        Raises:
            ConfigError: something else.
            RecordingNotFound: no recording of that name.
            MissingColumns: the two have no column in common.
            NotEnoughData: fewer than two packets meet.
        """
        found = read_expected(expected, symbol=self._symbol)
        tables = self._tables
        return against_kernel.against(
            tables.packets,
            found.frame,
            tables.events,
            align=alignment(align, expected),
            symbol=self._symbol,
            name=found.name,
            said=found.said,
        )

    def what_if(
        self,
        *,
        veto: str | None = None,
        size_cap: float | None = None,
        breaker: float | None = None,
        rearm: str = "next day",
        delay: str | int = "1 packet",
        cost_bps: float = 0.0,
    ) -> WhatIf:
        """Replay the account under another veto, size cap or breaker at the recorded prices. See `ccwatch.analysis.what_if`.

        Raises:
            ConfigError: no rule at all, or one that cannot be.
            MissingColumns: the stream never carried price, nav or cash.
            NotEnoughData: fewer than two packets carry all three.
        """
        tables = self._tables
        return what_if_kernel.what_if(
            tables.packets,
            tables.events,
            veto=veto,
            size_cap=size_cap,
            breaker=breaker,
            rearm=rearm,
            delay=delay,
            cost_bps=cost_bps,
            symbol=self._symbol,
        )

    def first_sign(
        self, episode: int | str | datetime | pd.Timestamp | None = None, *, lead_s: float = 300.0, calm: Iterable[RelatedQuestions] = ()
    ) -> FirstSign:
        """Say which measure had left its usual range before a drawdown began. See `ccwatch.analysis.first_sign`.

        Args:
            episode: a row of `drawdowns().to_frame()`, or a time in one; None is the deepest.
            lead_s: how long before the start signs are looked for, s.
            calm: reports of calm sessions, whose range counts as usual, too.

        Raises:
            ConfigError: no such episode.
            NotEnoughData: no drawdown, or nothing before it.
        """
        found = self.drawdowns()
        table = found.episodes
        if not len(table):
            raise NotEnoughData(f"first_sign: the {found.column} has no drawdown")
        row = self._episode(episode, table)
        tables = self._tables
        whole = select_rows("first_sign", tables.packets, tables.events, symbol=self._symbol, one_symbol=True)
        deep = table[(table["depth"] <= min(DRAWDOWN_LEAST, 0.5 * float(table["depth"].iloc[row]))) & (np.arange(len(table)) != row)]
        sessions = [other.measured() for other in calm]
        return first_sign_kernel.first_sign(
            self.measured(),
            _fall_begins(found, table.iloc[row]),
            whole.basis(len(whole)),
            lead_s=lead_s,
            busy=deep,
            calm=sessions,
        )

    def measured(self) -> list[Observed]:
        """Return every measure of the session, as observations over time."""
        tables = self._tables
        whole = select_rows("first_sign", tables.packets, tables.events, symbol=self._symbol, one_symbol=True)
        return observed(whole, self.calls())

    def reasoning(self, **options: Any) -> Reasoning:
        """Say what the agents write, and whether it agrees with what they do. See `ccwatch.analysis.reasoning`.

        Raises:
            MissingColumns: the stream never carried a reasoning.
        """
        return self._ask(Reasoning, "reasoning", **options)

    def _episode(self, episode: Any, table: pd.DataFrame) -> int:
        """Return the row of an episode."""
        if episode is None:
            return int(table["depth"].argmin())
        if isinstance(episode, int | np.integer) and not isinstance(episode, bool):
            if not -len(table) <= episode < len(table):
                raise ConfigError(f"episode={episode}: there are {len(table)}, numbered from 0; drawdowns().to_frame() lists them")
            return int(episode) % len(table)
        at = parse_time(episode, "episode", self._tables.ends)
        if at is None:
            raise ConfigError(f"episode={episode!r}: expected a row number, or a time")
        end = table["recovery_time"].fillna(at)
        inside = np.flatnonzero(((table["peak_time"] <= at) & (at <= end)).to_numpy())
        if not len(inside):
            raise ConfigError(f"episode={episode!r}: no drawdown at {at}; drawdowns().to_frame() lists them")
        return int(inside[-1])


def question_name(question: str | Callable[..., Result]) -> str:
    """Return a question's name, or that of the function that answers it."""
    return question if isinstance(question, str) else str(getattr(question, "__name__", question))


def _fall_begins(found: Drawdowns, episode: pd.Series) -> pd.Timestamp:
    """Return when the fall to the trough began: the last packet before it that was less than a tenth of the way down.

    A noisy nav is under water most of the time, so the first packet below the peak says little.
    """
    depth = found.curve["drawdown"]
    way = depth[(depth.index >= episode["peak_time"]) & (depth.index <= episode["trough_time"])]
    above = np.flatnonzero(way.to_numpy() > SHALLOW * float(episode["depth"]))
    begins: pd.Timestamp = way.index[int(above[-1])] if len(above) else episode["start_time"]
    return begins
