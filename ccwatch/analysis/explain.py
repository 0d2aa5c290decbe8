"""Explanation of a moment: the evidence in order of time, the split of the change of nav, and the differences from before.

It compares and orders. It never says that one thing was the cause of another.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import draw
from ccwatch.analysis.attribution import Attribution, attribution
from ccwatch.analysis.quantiles import MAD_TO_SIGMA
from ccwatch.analysis.result import (
    ROWS_SHOWN,
    Result,
    amount,
    basis_line,
    clock,
    count_of,
    dollars,
    html_table,
    markdown_table,
    markdown_text,
)
from ccwatch.analysis.timeline import weights
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Floats, UsableRows, moments_ns, on_utc, select_rows, stamp, times_ns
from ccwatch.domain.drawdown import under_water
from ccwatch.domain.exposure import exposure
from ccwatch.errors import AnalysisError

FALSE_DISCOVERIES: Final = 0.05
"""Differences are called so at this share of false discoveries (Benjamini & Hochberg 1995)."""
LEAST_N, LEAST_BASELINE = 5, 20
"""Observations that a comparison needs in the window and in the baseline."""


class Observed(NamedTuple):
    """One measure of the stream: its name, its subject (a service, or empty), its unit, and its observations."""

    measure: str
    subject: str
    unit: str
    times: Any
    numbers: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Result):
    """The evidence around a moment, and what differs from before. Times UTC.

    Attributes:
        time: the moment asked about.
        start: the window is start ≤ time ≤ end.
        end: see start.
        baseline_start: the baseline is baseline_start ≤ time < start.
        evidence: events of the window; see `to_frame`.
        nav: the change of nav in the window by regime and side of the packet before: regime, side, change_usd, gain_usd, loss_usd, n,
            time_s; without rows where the stream carries no nav.
        change_usd: the change of nav in the window, NaN where the stream carries none.
        differences: one row per measure, the most different first: rank, measure, subject, unit, n, n_baseline, median, baseline_median,
            robust_z (distance of the medians in standard deviations that the baseline's MAD gives), cliffs_delta (chance that a value of
            the window is above one of the baseline less that it is below), p_value (Mann & Whitney 1947), q_value (Benjamini &
            Hochberg 1995), differs (q ≤ 0.05), reason (why a number is missing).
        basis: n counts packets of the window.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "explain"
    title: ClassVar[str] = "What is known around a moment"
    time: pd.Timestamp
    start: pd.Timestamp
    end: pd.Timestamp
    baseline_start: pd.Timestamp
    evidence: pd.DataFrame
    nav: pd.DataFrame
    change_usd: float
    differences: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the change of nav, the number of events and the largest difference in a sentence."""
        change = "the stream carries no nav" if np.isnan(self.change_usd) else f"the nav changed by {dollars(self.change_usd)}"
        said = f"From {clock(self.start, dated=True)} to {clock(self.end, self.basis)} {change}; {count_of(len(self.evidence), 'event')}"
        differing = self.differences[self.differences["differs"].to_numpy(dtype=bool)]
        if not len(differing):
            return f"{said}; {self._nothing_differs()}"
        top = differing.iloc[0]
        name = f"{top['measure']} of {top['subject']}" if top["subject"] else str(top["measure"])
        delta = f"{top['cliffs_delta']:+.2f}".replace("-", "\N{MINUS SIGN}")
        return (
            f"{said}; what differs most from the baseline is {name}: median {amount(top['median'], top['unit'])} against "
            f"{amount(top['baseline_median'], top['unit'])}, Cliff's delta {delta}."
        )

    def _nothing_differs(self) -> str:
        """Say why no measure is named: none differs, or there was nothing to compare with, and what to do then."""
        before = self.differences["n_baseline"].to_numpy(dtype=np.int64)
        if (before >= LEAST_BASELINE).any():
            return "no measure differs from the baseline."
        seconds = (self.start - self.baseline_start).total_seconds()
        known = f"at most {before.max()} observations of a measure" if len(before) and before.max() else "nothing"
        return (
            f"there is nothing to compare it with: {known} in the {seconds:,.0f} s before {clock(self.start, dated=True)}, and "
            f"{LEAST_BASELINE} are needed; ask about a shorter range, or a later moment."
        )

    def differing(self, most: int) -> list[str]:
        """Return the measures that differ from the baseline as lines of text, the largest difference first."""
        rows = self.differences[self.differences["differs"].to_numpy(dtype=bool)].head(most)
        return [
            f"{row['measure']} {row['subject'] or ''}".strip()
            + f": median {amount(row['median'], row['unit'])}, before {amount(row['baseline_median'], row['unit'])} "
            + f"(Cliff's delta {row['cliffs_delta']:+.2f}, n {row['n']} and {row['n_baseline']})".replace("-", "\N{MINUS SIGN}")
            for row in rows.to_dict("records")
        ]

    def worth_most(self, most: int) -> pd.DataFrame:
        """Return the most useful evidence, by time: nearest to the moment, rare events before warnings and changes of side."""
        order = np.lexsort((self.evidence["offset_s"].abs().to_numpy(), weights(self.evidence)))
        return self.evidence.iloc[np.sort(order[:most])]

    def to_frame(self) -> pd.DataFrame:
        """Return the evidence, by time.

        Columns: offset_s (from the moment), time, seq, kind, subject, detail, value, unit, same_packet (another event is in the same
        packet: the two have no order).
        """
        return self.evidence.copy()

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw Cliff's delta of each measure against the baseline, the largest first; a measure that does not differ is hollow."""
        colours = draw.colours(dark)
        shown = self.differences.dropna(subset=["cliffs_delta"]).head(25)
        names = np.where(shown["subject"] == "", shown["measure"], shown["measure"] + " · " + shown["subject"])
        differs = shown["differs"].to_numpy(dtype=bool)
        trace = {
            "type": "bar",
            "orientation": "h",
            "x": shown["cliffs_delta"].to_numpy(),
            "y": draw.labels(names),
            "marker": {
                "color": np.where(differs, colours.buy, "rgba(0,0,0,0)").tolist(),
                "line": {"color": colours.buy, "width": 1.5},
            },
            "customdata": np.column_stack((shown["median"], shown["baseline_median"])),
            "hovertemplate": "%{y}: %{x:+.2f}, median %{customdata[0]:.4g} against %{customdata[1]:.4g}<extra></extra>",
        }
        made = draw.figure([trace], x_title="Cliff's delta", y_title="", dark=dark, height=140 + 24 * len(shown))
        made.update_xaxes(range=[-1.05, 1.05])
        made.update_yaxes(automargin=True, autorange="reversed")
        return made

    def to_markdown(self) -> str:
        """Return headline, notes, evidence, change of nav and differences as Markdown."""
        lines = [f"### {self.title}", "", markdown_text(self.headline()), "", *(f"- {markdown_text(note)}" for note in self.notes)]
        for title, table in self._tables():
            lines += ["", f"#### {title}", "", markdown_table(table)]
        return "\n".join([*lines, "", f"*{basis_line(self.basis)}*", ""])

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        tables = "".join(f"<h5>{html.escape(title)}</h5>{html_table(table)}" for title, table in self._tables())
        return (
            f"<div class='ccwatch-answer'><h4>{html.escape(self.title)}</h4><p>{html.escape(self.headline())}</p>"
            f"<ul>{notes}</ul>{tables}<p><small>{html.escape(basis_line(self.basis))}</small></p></div>"
        )

    def _tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        shown = self.worth_most(ROWS_SHOWN)
        left = len(self.evidence) - len(shown)
        yield f"Evidence in its order{f' ({left:,} of less weight left out; to_frame() has all)' if left else ''}", shown
        if len(self.nav):
            yield "Change of nav by state", self.nav
        yield "What differs from the baseline", self.differences


def explain(
    frame: pd.DataFrame,
    timeline_events: pd.DataFrame,
    calls: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    *,
    time: pd.Timestamp,
    window_s: float = 120.0,
    baseline_s: float = 900.0,
    symbol: str | None = None,
) -> Explanation:
    """Order the evidence of a window around a moment, split the change of nav, and rank the differences from the baseline before it.

    Args:
        frame: packets; flagged ones are left out.
        timeline_events: the table of `timeline`.
        calls: the observations of `latency`: index time; kind, name, latency_ms.
        events: the events table, for gaps.
        time: the moment; aware.
        window_s: length of the window, half of it on either side of the moment, s.
        baseline_s: length of the baseline, which ends where the window begins, s.
        symbol: only rows of this one; needed where the stream holds several.

    Raises:
        NotEnoughData: no packet in the window.
        MixedSymbols: several symbols and none was chosen.
    """
    frame = on_utc("explain", frame)
    middle, half = int(time.as_unit("ns").value), round(window_s * SECOND_NS / 2)
    first, last, before = middle - half, middle + half, middle - half - round(baseline_s * SECOND_NS)
    times = times_ns(frame)
    inside = select_rows("explain", frame[(times >= first) & (times <= last)], events, symbol=symbol, one_symbol=True)
    whole = select_rows("explain", frame[times <= last], events, symbol=symbol, one_symbol=True)
    at = moments_ns(timeline_events["time"])
    evidence = timeline_events[(at >= first) & (at <= last)].reset_index(drop=True)
    evidence.insert(0, "offset_s", (moments_ns(evidence["time"]) - middle) / SECOND_NS)
    notes = ["an order in time is no proof of cause; p-values take observations for independent, which neighbours in time are not"]
    ties = int(evidence["same_packet"].sum())
    notes += [f"of these events {ties:,} came in one packet with another one: those have no order"] if ties else []
    parts, change = _nav(inside, events, symbol, notes)
    measured = observed(whole, calls)
    return Explanation(
        time=stamp(middle),
        start=stamp(first),
        end=stamp(last),
        baseline_start=stamp(before),
        evidence=evidence,
        nav=parts,
        change_usd=change,
        differences=_differences(measured, before, first, last),
        basis=inside.basis(len(inside)),
        notes=tuple(notes),
    )


def _nav(inside: UsableRows, events: pd.DataFrame | None, symbol: str | None, notes: list[str]) -> tuple[pd.DataFrame, float]:
    columns = ["regime", "side", "change_usd", "gain_usd", "loss_usd", "n", "time_s"]
    try:
        found: Attribution = attribution(inside.frame, events, symbol=symbol)
    except AnalysisError as error:
        notes.append(f"the change of nav cannot be split: {error}")
        known = inside.numbers("nav")
        known = known[np.isfinite(known)]
        return pd.DataFrame(columns=columns), float(known[-1] - known[0]) if len(known) else np.nan
    return found.parts[found.parts["split"] == "both"][columns].reset_index(drop=True), found.change_usd


def observed(whole: UsableRows, calls: pd.DataFrame | None) -> list[Observed]:
    """Return every measure of a session: those of its packets, and the latency of each service."""
    return [*_of_packets(whole), *_of_calls(calls)]


def _of_packets(whole: UsableRows) -> Iterator[Observed]:
    """Return the measures of packets; a step across a gap is not counted."""
    times = whole.times
    price, nav = whole.prices(), whole.numbers("nav")
    steady = np.append(False, ~whole.broken[1:]) if len(whole) else np.zeros(0, dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = np.append(np.nan, np.diff(np.log(price)))
    yield Observed("|return|", "", "fraction", times, np.where(steady, np.abs(returns), np.nan))
    yield Observed("return", "", "fraction", times, np.where(steady, returns, np.nan))
    yield Observed("step of nav", "", "USD", times, np.where(steady, np.append(np.nan, np.diff(nav)), np.nan))
    yield Observed("drawdown", "", "fraction", times, under_water(nav)[1])
    sent = whole.numbers("exposure")  # a frame of the user's own may have it; no known server sends it
    implied = exposure(nav, whole.numbers("cash"))
    yield Observed(
        "exposure" if np.isfinite(sent).any() else "implied exposure", "", "fraction", times, sent if np.isfinite(sent).any() else implied
    )
    for name, unit in (
        ("alpha", ""),
        ("velocity", "$/period"),
        ("acceleration", "$/period²"),
        ("confidence", "fraction"),
        ("approved_size", "fraction"),
        ("sentiment_score", ""),
    ):
        yield Observed(name, "", unit, times, whole.numbers(name))
    yield Observed("interval", "", "s", times, np.append(np.nan, np.diff(times) / SECOND_NS))


def _of_calls(calls: pd.DataFrame | None) -> Iterator[Observed]:
    if calls is None:
        return
    for name, mine in calls.groupby("name", sort=True):  # once per service
        yield Observed("latency", str(name), "ms", times_ns(mine), mine["latency_ms"].to_numpy())


def _differences(measured: list[Observed], before: int, first: int, last: int) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for seen in measured:
        known = np.isfinite(seen.numbers)
        if not known.any():
            continue
        times, values = seen.times[known], seen.numbers[known]
        now, usual = values[(times >= first) & (times <= last)], values[(times >= before) & (times < first)]
        rows.append({"measure": seen.measure, "subject": seen.subject, "unit": seen.unit, **_compared(now, usual)})
    names = ["measure", "subject", "unit", "n", "n_baseline", "median", "baseline_median", "robust_z", "cliffs_delta", "p_value", "reason"]
    table = pd.DataFrame(rows, columns=names)
    p = table["p_value"].to_numpy(dtype=np.float64)
    q = np.full(len(table), np.nan)
    if np.isfinite(p).any():
        q[np.isfinite(p)] = stats.false_discovery_control(p[np.isfinite(p)])
    table = table.assign(q_value=q, differs=np.nan_to_num(q, nan=1.0) <= FALSE_DISCOVERIES)
    strength = np.nan_to_num(np.abs(table["cliffs_delta"].to_numpy(dtype=np.float64)), nan=-1.0)
    order = np.lexsort((np.arange(len(table)), -strength, ~table["differs"].to_numpy(dtype=bool)))
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table[["rank", *names[:-1], "q_value", "differs", "reason"]]


def _compared(now: Floats, usual: Floats) -> dict[str, Any]:
    n, m = len(now), len(usual)
    row: dict[str, Any] = {
        "n": n,
        "n_baseline": m,
        "median": float(np.median(now)) if n else np.nan,
        "baseline_median": float(np.median(usual)) if m else np.nan,
        "robust_z": np.nan,
        "cliffs_delta": np.nan,
        "p_value": np.nan,
        "reason": "",
    }
    if n < LEAST_N or m < LEAST_BASELINE:
        return row | {"reason": f"n too small: {n} of {LEAST_N} in the window, {m} of {LEAST_BASELINE} in the baseline"}
    spread = MAD_TO_SIGMA * float(np.median(np.abs(usual - row["baseline_median"])))
    if spread > 0.0:
        row["robust_z"] = (row["median"] - row["baseline_median"]) / spread
    else:
        row["reason"] = "no robust z: more than half of the baseline is one value"
    row["cliffs_delta"] = cliffs_delta(now, usual)
    row["p_value"] = (
        float(stats.mannwhitneyu(now, usual, method="asymptotic").pvalue) if np.ptp(np.concatenate((now, usual))) > 0.0 else 1.0
    )
    return row


def cliffs_delta(a: Floats, b: Floats) -> float:
    """Return Cliff's (1993) delta: the share of pairs in which a is above b less the share in which it is below, from -1 to 1."""
    ordered = np.sort(b)
    below = np.searchsorted(ordered, a, side="left").sum()
    above = (len(b) - np.searchsorted(ordered, a, side="right")).sum()
    return float((below - above) / (len(a) * len(b)))
