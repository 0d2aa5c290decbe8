"""Backtests of alert rules on recorded sessions: incidents caught, incidents missed, false alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from ccwatch.alerts import (
    AlertState,
    AnyRule,
    Certificate,
    Certificates,
    Evaluator,
    Plan,
    Rule,
    read_objectives,
)
from ccwatch.config import Settings, recordings_folder
from ccwatch.domain.durations import duration_text, seconds_of
from ccwatch.domain.hours import TradingHours, days_of
from ccwatch.domain.limits import DRAWDOWN_WARNS
from ccwatch.errors import ConfigError
from ccwatch.guard.tuning import Incident, Session, score, trading_days, tuning_curve, variants
from ccwatch.recording import Recording

FEWEST: Final = 5
"""The fewest incidents that limits are tuned on; with fewer, their list says more than a curve would."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """The performance of rules on recorded sessions.

    Attributes:
        rules: the rules that were tried.
        incidents: the incidents of all sessions, in order.
        definition: in words, which events count as incidents and which firings as false alarms.
        horizon_s: how far from an incident, in seconds, a firing may be to belong to it.
        sessions: names of the recordings.
        days: trading days that they hold.
    """

    rules: tuple[AnyRule, ...]
    incidents: tuple[Incident, ...]
    definition: str
    horizon_s: float
    sessions: tuple[str, ...]
    days: int
    tried: tuple[Session, ...] = field(repr=False)
    curves: Mapping[str, pd.DataFrame] = field(repr=False)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print a headline in IPython, and each rule's certificate on a line; `to_frame()` has the rows."""
        head = f"<Backtest of {len(self.rules)} rules on {len(self.sessions)} sessions, {len(self.incidents)} incidents>"
        printer.text("…" if cycle else "\n".join([head, *(f"{rule.name}: {self.certificate(rule)}" for rule in self.rules)]))

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per rule.

        Columns: rule, severity, incidents, caught, missed, lead_s (median seconds from the first firing to the incident; below 0 it came
        after it; NaN where nothing was caught), fired (firings), false_alarms, false_a_day, sessions, certificate.
        """
        rows = []
        for rule in self.rules:
            found = score(self.tried, rule.name, self.horizon_s)
            rows.append(
                {
                    "rule": rule.name,
                    "severity": str(rule.severity),
                    "incidents": found.incidents,
                    "caught": found.caught,
                    "missed": found.incidents - found.caught,
                    "lead_s": found.lead_s,
                    "fired": found.fired,
                    "false_alarms": found.false,
                    "false_a_day": found.false / self.days if self.days else np.nan,
                    "sessions": len(self.sessions),
                    "certificate": str(self.certificate(rule)),
                }
            )
        return pd.DataFrame(rows)

    def curve(self, rule: AnyRule | str) -> pd.DataFrame:
        """Return the tuning curve of a rule that has a single limit.

        Columns: limit, caught and false_a_day on the half of the sessions that it was chosen on; chosen (True for one limit);
        judged_caught, judged_false_a_day on the other half, with the bounds of their 95 % bootstrap intervals over sessions:
        caught_low, caught_high, false_low, false_high (shares of incidents, alarms a day).

        Raises:
            ConfigError: fewer than five incidents, or a rule without one limit; the message says which.
        """
        name = rule if isinstance(rule, str) else rule.name
        if len(self.incidents) < FEWEST:
            raise ConfigError(f"{len(self.incidents)} incidents are too few to tune on: expected {FEWEST}; `.incidents` lists them")
        if name not in self.curves:
            raise ConfigError(f"rule {name!r} has no single limit to tune, or was not tried; there are {', '.join(self.curves) or 'none'}")
        return self.curves[name].copy()

    def certificate(self, rule: AnyRule | str) -> Certificate:
        """Return the certificate of one rule, which holds for as long as the rule is not edited.

        Raises:
            ConfigError: the rule was not tried, or has been edited since.
        """
        name = rule if isinstance(rule, str) else rule.name
        mine = next((tried for tried in self.rules if tried.name == name), None)
        if mine is None or (not isinstance(rule, str) and rule.digest != mine.digest):
            raise ConfigError(f"rule {name!r} {'was not tried' if mine is None else 'was edited since it was tried'}; try it again")
        found = score(self.tried, name, self.horizon_s)
        lead = None if np.isnan(found.lead_s) else found.lead_s
        rate = found.false / self.days if self.days else 0.0
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Certificate(name, mine.digest, found.incidents, found.caught, rate, lead, self.sessions, float(self.days), now)

    def keep(self, folder: str | Path | None = None) -> Path:
        """Store every rule's certificate, so that messages and the dashboard show it until the rule is edited; return the file.

        Args:
            folder: the folder of recordings; None is the desk's, where `ccwatch guard` and the dashboard look.

        Raises:
            ConfigError: the folder cannot be written.
        """
        kept = Certificates(recordings_folder(Settings.load()) if folder is None else Path(folder))
        for rule in self.rules:
            kept.keep(self.certificate(rule))
        return kept.path

    def figure(self, *, dark: bool = False) -> Any:
        """Return a figure of the share caught against false alarms a day: a point per rule, a line per tuning curve."""
        from ccwatch.analysis import draw  # noqa: PLC0415 - plotly takes a second to import

        table = self.to_frame()
        share = np.where(table["incidents"] > 0, table["caught"] / table["incidents"].where(table["incidents"] > 0, 1), np.nan)
        traces: list[dict[str, Any]] = [
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": "rules",
                "x": table["false_a_day"].to_numpy(),
                "y": share,
                "text": table["rule"].tolist(),
                "textposition": "top center",
            }
        ]
        if len(self.incidents) >= FEWEST:
            for name, curve in self.curves.items():
                x, y = curve["judged_false_a_day"].to_numpy(), curve["judged_caught"].to_numpy()
                traces.append({"type": "scatter", "mode": "lines", "name": f"{name}: other limits", "x": x, "y": y})
        return draw.figure(traces, x_title="false alarms a day", y_title="share of incidents caught", dark=dark, height=420)

    def to_dict(self) -> dict[str, Any]:
        """Return the back-test as plain values that JSON can hold."""
        table = self.to_frame().replace({np.nan: None})
        return {
            "definition": self.definition,
            "sessions": list(self.sessions),
            "days": self.days,
            "incidents": [{"session": i.session, "kind": i.kind, "time": _iso(i.time_ns), "detail": i.detail} for i in self.incidents],
            "rules": table.to_dict(orient="records"),
        }

    def __str__(self) -> str:
        lines = [self.definition, "", self.to_frame().to_string(index=False)]
        if len(self.incidents) < FEWEST:
            n = len(self.incidents)
            lines += ["", f"{n} incident{'' if n == 1 else 's'}: too few for a tuning curve, which takes {FEWEST}."]
            lines += [f"  {_iso(i.time_ns)}  {i.kind}  {i.detail}  ({i.session})" for i in self.incidents]
        return "\n".join(lines)


def backtest(
    rules: Sequence[AnyRule],
    recordings: Sequence[Recording],
    *,
    incidents: float | str | Iterable[Any] | None = None,
    horizon: str = "15min",
    hours: TradingHours | None = None,
) -> Backtest:
    """Try rules on recordings, and count the incidents that they caught and missed, and their false alarms.

    Args:
        rules: the rules to try.
        recordings: the sessions; the rules start from the beginning in each.
        incidents: the depth from which a drawdown is one ("-2%" or -0.02; None is -1.5 %), beside halts and marks tagged `incident`; or
            the moments of your own list, and nothing else.
        horizon: how far from an incident a firing may be to belong to it.
        hours: when the market trades.

    Raises:
        ConfigError: no rule, no recording, or an argument that cannot be used.
    """
    if not rules:
        raise ConfigError("there is no rule to try; expected for example cw.Rule('deep', 'drawdown_peak <= -2%'), or [[rules]]")
    if not recordings:
        raise ConfigError("there is no recording to try rules on; expected recordings, or a folder that holds some")
    try:
        horizon_s = seconds_of(horizon)
    except ValueError as error:
        raise ConfigError(f"horizon: {error}") from None
    depth, given = _asked(incidents)
    other = {rule.name: variants(rule) for rule in rules}
    every = [*rules, *(variant for found in other.values() for _, variant in found)]
    from ccwatch.analysis import plan_for  # noqa: PLC0415 - scipy takes a second, and is not needed to guard

    plan = plan_for(rules)
    tried = []
    for recording in recordings:
        frame = recording.frame(Evaluator(every, plan=plan).columns, clean=False)
        if len(frame):
            tried.append(_judge(recording, frame, every, depth, given, horizon_s, hours, plan))
    if not tried:
        raise ConfigError("the recordings hold no packet")
    what = (
        "the moments that were given"
        if given is not None
        else f"a drawdown from the day's peak beyond {100 * depth:g} %, a halt, or a mark tagged incident"
    )
    definition = (
        f"An incident is {what}; several within {duration_text(horizon_s)} are one. A rule catches it by firing within "
        f"{duration_text(horizon_s)} of it, before or after; a false alarm is a firing with none within {duration_text(horizon_s)}."
    )
    missing = [ns for ns in given or () if not any(session.span[0] <= ns <= session.span[1] for session in tried)]
    if missing:
        definition += f" In no recording, and left out: {', '.join(map(_iso, missing))}."
    found = tuple(sorted((i for session in tried for i in session.incidents), key=lambda i: i.time_ns))
    days = trading_days(tried)
    curves = {name: tuning_curve(tried, [(limit, rule.name) for limit, rule in mine], horizon_s) for name, mine in other.items() if mine}
    return Backtest(tuple(rules), found, definition, horizon_s, tuple(s.name for s in tried), days, tuple(tried), curves)


def _asked(incidents: Any) -> tuple[float, list[int] | None]:
    """Return the depth that makes a drawdown an incident, and the moments in ns where a list was given, else None."""
    if incidents is None:
        return DRAWDOWN_WARNS, None
    if isinstance(incidents, str):
        text = incidents.strip().replace("\N{MINUS SIGN}", "-")
        try:
            value = float(text.rstrip("%")) / (100.0 if text.endswith("%") else 1.0)
        except ValueError:
            raise ConfigError(f"incidents={incidents!r}: expected a depth such as '-2%', or a list of moments") from None
        incidents = value
    if isinstance(incidents, int | float):
        if not -1.0 < incidents < 0.0:
            raise ConfigError(f"incidents={incidents!r}: expected a depth below 0, such as -0.02")
        return float(incidents), None
    try:
        listed = list(incidents)
        moments = pd.DatetimeIndex(pd.to_datetime(listed, utc=True)).as_unit("ns")
    except (ValueError, TypeError):
        listed, moments = [0], pd.DatetimeIndex([])
    if any(isinstance(moment, int | float) for moment in listed):  # a number is no moment: pandas would take it for ns since 1970
        raise ConfigError("incidents: expected a depth such as '-2%', or moments with a time zone")
    return DRAWDOWN_WARNS, [int(ns) for ns in moments.asi8]


def _judge(
    recording: Recording,
    frame: pd.DataFrame,
    rules: Sequence[AnyRule],
    depth: float,
    given: list[int] | None,
    horizon_s: float,
    hours: TradingHours | None,
    plan: Plan | None,
) -> Session:
    """Return one session with its incidents and the times at which each rule fired."""
    times = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
    mono = frame["received_mono_ns"].to_numpy().astype(np.int64)
    is_virtual = len(times) > 1 and 2 * int(mono[-1] - mono[0]) < int(times.max() - times.min())
    depths = Rule("incident depth", "drawdown_peak", depth, "", below=True)
    evaluator = Evaluator(
        [*rules, depths, Rule("incident halt", "halt", 1.0, "")],
        objectives=read_objectives(Settings.load().objectives),
        hours=hours,
        plan=plan,
        virtual_clock=is_virtual,
    )
    fired: dict[str, list[int]] = {rule.name: [] for rule in rules}
    found: list[Incident] = []
    name = recording.session.session
    for change in evaluator.observe(frame, recording.agents(), recording.models(), recording.events()):
        if change.state is not AlertState.FIRING or (change.before is AlertState.NO_DATA and change.worst != change.value):
            continue
        if change.rule == "incident depth" and given is None:
            found.append(Incident(name, "drawdown", change.time_ns, f"{100 * change.value:.2f} % from the day's peak"))
        elif change.rule == "incident halt" and given is None:
            found.append(Incident(name, "halt", change.time_ns, "status HALT"))
        elif change.rule in fired:
            fired[change.rule].append(change.time_ns)
    if given is None:
        found += [Incident(name, "mark", mark.time_ns, mark.text) for mark in recording.marks if "incident" in mark.text.casefold()]
    else:
        found += [Incident(name, "given", ns, "") for ns in given if times.min() <= ns <= times.max()]
    merged: list[Incident] = []
    for incident in sorted(found, key=lambda i: i.time_ns):
        if not merged or incident.time_ns - merged[-1].time_ns > horizon_s * 1e9:
            merged.append(incident)
    days = tuple(np.unique(days_of(times.astype(np.int64), hours)).tolist())
    at = {rule: np.array(sorted(moments), dtype=np.int64) for rule, moments in fired.items()}
    return Session(name, days, (int(times.min()), int(times.max())), tuple(merged), at)


def _iso(ns: int) -> str:
    return pd.Timestamp(ns, unit="ns", tz="UTC").isoformat(timespec="seconds")


def opened(paths: Iterable[Any]) -> list[Recording]:
    """Return the recordings at paths, each a recording or a folder of them; Recordings are passed through.

    Raises:
        ConfigError: neither a path nor a Recording.
    """
    found: list[Recording] = []
    for path in paths:
        if isinstance(path, Recording):
            found.append(path)
            continue
        if not isinstance(path, str | Path):
            raise ConfigError(
                f"recordings={path!r:.60}: expected a Recording, its path or name, a folder of recordings, an archive, "
                "the frame of cw.recordings(), or several of these"
            )
        place = Path(path)
        if place.is_dir() and not (place / "session.json").exists():
            inside = sorted(folder for folder in place.iterdir() if (folder / "session.json").exists())
            found += [Recording(folder) for folder in inside]
        else:
            found.append(Recording(place))
    return found
