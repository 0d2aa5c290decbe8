"""Alerts over a recording: when each rule would have fired, by the code that judges live streams. It contains no rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.alerts import AlertSettings, AlertState, AnyRule, Change, Evaluator, Severity, WrittenRule, read_objectives, rules_of
from ccwatch.analysis import draw
from ccwatch.analysis.drawdowns import drawdowns
from ccwatch.analysis.plan import plan_for
from ccwatch.analysis.result import Result, clock, count_of, count_or_none, in_order, notes_of, stacked
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Bools, Ints, keeps_pace, moments_ns, on_utc, select_rows, stamps, times_ns
from ccwatch.config import Settings
from ccwatch.domain.hours import TradingHours
from ccwatch.domain.limits import DRAWDOWN_WARNS, WARNED_WITHIN_S
from ccwatch.domain.liveness import PAUSE_NS
from ccwatch.errors import AnalysisError, NotEnoughData
from ccwatch.protocol.messages import EventKind
from ccwatch.stream.dataframes import TEXT

_WEIGHTS: Final = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
_COLOURS: Final = {Severity.INFO: "muted", Severity.WARNING: "line_engine", Severity.CRITICAL: "sell"}


@dataclass(frozen=True, eq=False, repr=False)
class Alerts(Result):
    """The firings of each rule over a session. Times UTC, on the stream's own clock.

    Attributes:
        firings: one row per firing; see `to_frame`.
        changes: every change of state: time, rule, subject, state, before, value, worst, severity.
        rules: one row per rule and subject: rule, subject, severity, meaning, n (firings), n_false, firing_s, first_time, lead_s (median),
            state (at the end), reason (why it never had data).
        troughs: the drawdowns that count: peak_time, trough_time, depth (fraction).
        material: a drawdown counts from this depth on (fraction).
        within_s: a firing warned of a trough that came within so many seconds.
        symbol: the one that was asked for.
        judged_by: the rules themselves, with their limits.
        objectives: p95 in ms by the beginning of a service's name.
        basis: n counts packets, flagged ones too.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "alerts"
    title: ClassVar[str] = "Alerts: when each rule would have fired"
    firings: pd.DataFrame
    changes: pd.DataFrame
    rules: pd.DataFrame
    troughs: pd.DataFrame
    material: float
    within_s: float
    symbol: str | None
    judged_by: tuple[AnyRule, ...]
    objectives: Mapping[str, float]
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say how many rules fired, which critical one was first, and what it was worth."""
        if not len(self.firings):
            silent = int((self.rules["state"] == AlertState.NO_DATA).sum())
            return f"No alert would have fired; {count_or_none(silent)} of {count_of(len(self.rules), 'rule')} had no data at the end."
        serious = self.firings[self.firings["severity"] == Severity.CRITICAL]
        first = (serious if len(serious) else self.firings).iloc[0]
        lead = (
            "" if np.isnan(first["lead_s"]) else f", {first['lead_s']:,.0f} s before the trough" if first["lead_s"] else ", at the trough"
        )
        name = f"{first['rule']} ({first['subject']})" if first["subject"] else str(first["rule"])
        return (
            f"{count_of(len(self.firings), 'alert')} would have fired, {count_or_none(len(serious))} critical; the first "
            f"{'critical one' if len(serious) else 'one'} was by the rule {name} at {clock(first['fired_time'], self.basis)}{lead}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per firing, by time.

        Columns: rule, subject (the service that it is about, else empty), severity, fired_time, resolved_time (NaT while it fires still),
        duration_s (to the last packet while it fires), value (at firing) and worst, in `unit`; lead_s (to the trough of the next drawdown
        that counts, NaN without one within `within_s`), false_alarm (no such trough came although the stream went on for so long; missing
        where it did not, where the stream carries no nav or price, and for rules about the stream itself).
        """
        return self.firings.copy()

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the critical ones first, each severity by time."""
        weight = self.firings["severity"].map({str(word): place for place, word in enumerate(_WEIGHTS)})
        return self.firings.iloc[np.argsort(weight.to_numpy(), kind="stable")].reset_index(drop=True)

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the firings over time, one row per rule and service; triangles mark the troughs that count."""
        colours = draw.colours(dark)
        names = np.where(self.firings["subject"] == "", self.firings["rule"], self.firings["rule"] + " · " + self.firings["subject"])
        traces: list[dict[str, Any]] = []
        for severity, colour in _COLOURS.items():
            mine = self.firings["severity"].to_numpy() == severity
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": str(severity),
                    "base": draw.ms(self.firings["fired_time"][mine]),
                    "x": np.maximum(self.firings["duration_s"][mine].to_numpy() * 1000.0, 500.0),
                    "y": draw.labels(names[mine]),
                    "marker": {"color": getattr(colours, colour)},
                    "customdata": self.firings["duration_s"][mine].to_numpy(),
                    "hovertemplate": "%{y}<br>%{base|%H:%M:%S}, %{customdata:,.1f} s<extra>%{fullData.name}</extra>",
                }
            )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "trough",
                "x": draw.ms(self.troughs["trough_time"]),
                "y": ["trough"] * len(self.troughs),
                "marker": {"symbol": "triangle-down", "size": 11, "color": colours.line},
                "hovertemplate": "trough at %{x|%H:%M:%S}<extra></extra>",
            }
        )
        rows = len(set(names)) + 1
        made = draw.figure(traces, x_title="time (UTC)", y_title="", dark=dark, dates=True, height=140 + 28 * rows, barmode="overlay")
        made.update_yaxes(automargin=True, autorange="reversed")
        return made

    def merge(self, other: Alerts, *, apart: bool = False) -> Alerts:
        """Merge the firings of both sessions; a rule's state is that of the later session, at whose start it began again.

        Raises:
            ValueError: asked with another `material`, `within_s` or `symbol`, with other rules or objectives.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        ours, theirs = self.judged_by, other.judged_by
        rules = tuple(rule for rule in ours if rule not in theirs), tuple(rule for rule in theirs if rule not in ours)
        one, two = in_order(self, other, "material", "within_s", "symbol", "objectives", rules=rules)
        basis, firings = one.basis.merge(two.basis, apart=apart), stacked(one.firings, two.firings)
        rows = []
        for (name, subject), mine in pd.concat([one.rules, two.rules]).groupby(["rule", "subject"], sort=False):
            reason = "" if (mine["reason"] == "").any() else mine["reason"].iloc[-1]
            rows.append(mine.iloc[-1].to_dict() | _summed(firings, str(name), str(subject)) | {"reason": reason})
        merged = replace(
            one,
            firings=firings,
            changes=stacked(one.changes, two.changes),
            rules=_rule_table(rows),
            troughs=stacked(one.troughs, two.troughs),
            basis=basis,
        )
        return replace(merged, notes=notes_of(one, two, merged, _limits))


def alerts(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    agents: pd.DataFrame | None = None,
    models: pd.DataFrame | None = None,
    *,
    symbol: str | None = None,
    rules: Sequence[AnyRule] | None = None,
    objectives: Mapping[str, float] | None = None,
    material: float = DRAWDOWN_WARNS,
    within_s: float = WARNED_WITHIN_S,
    virtual_clock: bool | None = None,
    hours: TradingHours | None = None,
) -> Alerts:
    """Judge a whole session by rules, with the evaluator that judges live streams.

    Args:
        frame: packets, flagged ones too (`frame(clean=False)`), in order of arrival.
        events: the events table: how the stream ended, and its gaps.
        agents: the agents table, for rules on latency.
        models: the models table, likewise.
        symbol: whose price is used for drawdowns of a stream without nav.
        rules: to judge by, `cw.Rule` or `ccwatch.alerts.Rule`; None is the default rules and those of ccwatch.toml, as for a live stream.
        objectives: p95 in ms by the beginning of a service's name; None is the setting `objectives`.
        material: a drawdown counts from this depth on (fraction < 0).
        within_s: a firing warned of a trough that came within so many seconds.
        virtual_clock: durations are measured on the stamps, not on the receiver's clock; None is found from both.
        hours: when the market trades, so that each trading day begins from zero; None is [hours] of ccwatch.toml.

    Raises:
        NotEnoughData: no packet.
        AnalysisError: an index that is not a DatetimeIndex with a zone.
        ConfigError: a rule of ccwatch.toml cannot be judged (the error says file and line), two rules have one name, or one judges the
            divergence from a plan and `[expected] path` names none.
    """
    frame = on_utc("alerts", frame)
    if not len(frame):
        raise NotEnoughData("alerts: no packet")
    times = times_ns(frame)
    if "received_mono_ns" not in frame.columns and not frame.index.is_monotonic_increasing:
        frame = frame.iloc[np.argsort(times, kind="stable")]
        times = times_ns(frame)
    if virtual_clock is None:
        virtual_clock = "received_mono_ns" not in frame.columns or not keeps_pace(times, frame["received_mono_ns"].to_numpy(dtype=np.int64))
    wanted = read_objectives(Settings.load().objectives) if objectives is None else objectives
    desk = AlertSettings.load()
    trading = desk.hours if hours is None else hours
    rules = desk.rules if rules is None else rules_of(rules)
    evaluator = Evaluator(rules, objectives=wanted, hours=trading, plan=plan_for(rules), virtual_clock=virtual_clock)
    changes = evaluator.observe(frame, agents, models, events)
    end = int(times[-1])
    ending = max(end, _ending(events))
    mono = times[-1] if virtual_clock else frame["received_mono_ns"].to_numpy(dtype=np.int64)[-1]
    changes += evaluator.advance(int(mono) + max(ending - end, PAUSE_NS))  # a pause at least: the last burst has ended
    end = ending
    troughs, why = _troughs(frame, events, symbol, material)
    firings = _firings(changes, rules, end, troughs, within_s, known=not why)
    table = pd.DataFrame(changes, columns=list(Change._fields))
    notes = [f"false alarms and lead times are not known: {why}"] if why else []
    if virtual_clock:
        notes.append("durations are measured on the stream's stamps, which do not keep pace with the receiver's clock")
    answer = Alerts(
        firings=firings,
        changes=table.assign(time=stamps(table["time_ns"].to_numpy(dtype=np.int64)))[["time", *Change._fields[1:]]],
        rules=_rules(evaluator, firings, rules),
        troughs=troughs,
        material=material,
        within_s=within_s,
        symbol=symbol,
        judged_by=tuple(rules),
        objectives=dict(wanted),
        basis=_basis(frame, events),
        notes=(),
    )
    return replace(answer, notes=(*notes, *_limits(answer)))


def _limits(answer: Alerts) -> tuple[str, ...]:
    """Return the notes that follow from the answer's own tables."""
    silent = answer.rules.loc[answer.rules["reason"] != "", "rule"]
    return (f"without data, so they could not fire: {', '.join(dict.fromkeys(silent))}",) if len(silent) else ()


def _ending(events: pd.DataFrame | None) -> int:
    """Return when the stream was last known to be silent or gone; only these events are always on the stream's own clock."""
    if events is None or not len(events):
        return 0
    table = on_utc("alerts", events)
    times = times_ns(table)[table["kind"].isin([EventKind.DISCONNECT, EventKind.STALE]).to_numpy()]
    return int(times.max()) if len(times) else 0


def _basis(frame: pd.DataFrame, events: pd.DataFrame | None) -> Basis:
    try:
        found = select_rows("alerts", frame, events).basis(len(frame), carrying=0)
    except NotEnoughData:  # rules judge a stream of repeats, too
        return Basis(len(frame), 0, len(frame), np.nan, None, None, 0.0, 0, 0.0)
    return Basis(found.n, found.packets, found.left_out, np.nan, found.start, found.end, found.duration_s, found.gaps, found.gap_s)


def _troughs(frame: pd.DataFrame, events: pd.DataFrame | None, symbol: str | None, material: float) -> tuple[pd.DataFrame, str]:
    """Return the drawdowns that count, and the reason where they cannot be determined."""
    names = ["peak_time", "trough_time", "depth"]
    try:
        found = drawdowns(frame, events, symbol=symbol).episodes
    except AnalysisError as error:
        return pd.DataFrame(
            {"peak_time": stamps(np.zeros(0, dtype=np.int64)), "trough_time": stamps(np.zeros(0, dtype=np.int64)), "depth": []}
        ), str(error)
    return found[found["depth"] <= material][names].reset_index(drop=True), ""


def _firings(
    changes: list[Change], rules: Sequence[AnyRule], end: int, troughs: pd.DataFrame, within_s: float, *, known: bool
) -> pd.DataFrame:
    stream = {rule.name for rule in rules if rule.about_stream}
    units = {rule.name: rule.unit for rule in rules}
    begun: dict[tuple[str, str], int] = {}
    rows: list[dict[str, Any]] = []
    for change in changes:  # a handful: one per change of state
        key = change.rule, change.subject
        if change.state is AlertState.FIRING and key not in begun:
            begun[key] = len(rows)
            rows.append(
                {
                    "rule": change.rule,
                    "subject": change.subject,
                    "severity": str(change.severity),
                    "fired": change.time_ns,
                    "resolved": None,
                    "value": change.value,
                    "worst": change.worst,
                    "unit": units[change.rule],
                }
            )
        elif key in begun:
            row = rows[begun[key]]
            row["worst"] = change.worst if np.isfinite(change.worst) else row["worst"]
            if change.state is AlertState.OK:
                row["resolved"] = change.time_ns
                del begun[key]
    rows.sort(key=lambda row: row["fired"])
    fired = np.array([row["fired"] for row in rows], dtype=np.int64)
    is_over = np.array([row["resolved"] is not None for row in rows], dtype=bool)
    resolved = np.array([end if row["resolved"] is None else row["resolved"] for row in rows], dtype=np.int64)
    of_market = np.array([row["rule"] not in stream for row in rows], dtype=bool)
    lead, false = _judged(fired, of_market, end, np.sort(moments_ns(troughs["trough_time"])), within_s, known=known)
    return pd.DataFrame(
        {
            **{name: pd.array([row[name] for row in rows], dtype=TEXT) for name in ("rule", "subject", "severity")},
            "fired_time": stamps(fired),
            "resolved_time": stamps(resolved, is_over),
            "duration_s": (resolved - fired) / SECOND_NS,
            **{name: np.array([row[name] for row in rows], dtype=np.float64) for name in ("value", "worst")},
            "unit": pd.array([row["unit"] for row in rows], dtype=TEXT),
            "lead_s": lead,
            "false_alarm": pd.array(false, dtype="boolean"),
        }
    )


def _judged(fired: Ints, of_market: Bools, end: int, troughs: Ints, within_s: float, *, known: bool) -> tuple[Any, list[bool | None]]:
    """Return the seconds to the next trough within reach, and whether none came although the stream went on."""
    if not len(fired):
        return np.zeros(0), []
    reach = round(within_s * SECOND_NS)
    place = np.searchsorted(troughs, fired)
    padded = np.append(troughs, np.iinfo(np.int64).max)
    wait = padded[place] - fired
    warned = of_market & (place < len(troughs)) & (wait <= reach)
    lead = np.where(warned, wait / SECOND_NS, np.nan)
    decided = of_market & known & (warned | (end - fired >= reach))
    false = [not was_warning if is_decided else None for was_warning, is_decided in zip(warned, decided, strict=True)]
    return lead, false


def _rules(evaluator: Evaluator, firings: pd.DataFrame, rules: Sequence[AnyRule]) -> pd.DataFrame:
    by_name = {rule.name: rule for rule in rules}
    rows = []
    standing = evaluator.standing
    observed = {(s.rule, s.subject) for s in standing}
    missing = [rule.name for rule in rules if not any(name == rule.name for name, _ in observed)]
    entries = [(s.rule, s.subject, str(s.state), s.since_ns) for s in standing] + [
        (name, "", str(AlertState.NO_DATA), 0) for name in missing
    ]
    for name, subject, state, since in entries:
        rule = by_name[name]
        rows.append(
            {
                "rule": name,
                "subject": subject,
                "severity": str(rule.severity),
                "meaning": rule.meaning or (rule.text if isinstance(rule, WrittenRule) else ""),
                **_summed(firings, name, subject),
                "state": state,
                "reason": "" if since else "nothing that it judges was observed",
            }
        )
    return _rule_table(rows)


def _summed(firings: pd.DataFrame, rule: str, subject: str) -> dict[str, Any]:
    """Summarise the firings of one rule and subject."""
    mine = firings[(firings["rule"] == rule) & (firings["subject"] == subject)]
    lead = mine["lead_s"].dropna()
    return {
        "n": len(mine),
        "n_false": int(mine["false_alarm"].fillna(False).sum()),
        "firing_s": float(mine["duration_s"].sum()),
        "first_time": mine["fired_time"].iloc[0] if len(mine) else pd.NaT,
        "lead_s": float(lead.median()) if len(lead) else np.nan,
    }


def _rule_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["first_time"] = pd.to_datetime(table["first_time"], utc=True).dt.as_unit("ns")
    return table
