"""Stream quality: how well the stream was received, as measures with a level each, and one verdict. It must not know a socket."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ccwatch.analysis import draw, quality_measures
from ccwatch.analysis.quality_measures import LEVELS, OK, Measure, Rows
from ccwatch.analysis.result import Result, count_of
from ccwatch.analysis.usable_rows import SECOND_NS, Basis, Bools, Ints, UsableRows, as_arrived, find_breaks, on_utc, stamps
from ccwatch.errors import NotEnoughData
from ccwatch.protocol import facts
from ccwatch.protocol.decoding.unplaced import unplaced
from ccwatch.protocol.messages import EventKind, Flag
from ccwatch.stream.dataframes import TEXT


@dataclass(frozen=True, eq=False, repr=False)
class Quality(Result):
    """The quality of reception of the stream.

    Attributes:
        verdict: OK; WARN: usable with care; STALLED: at the end of the window nothing new came although the connection was open, or
            its content stood still; STOPPED: at the end of the window the connection was gone, or no packet came at all.
        reasons: why it is not OK, the worst first.
        measures: one row per measure; see `to_frame`.
        gaps: start_time, end_time, duration_s, reason: when the stream was not received.
        flags: flags of packets: flag, n, share.
        unknown_fields: fields that have no column: field, n (packets).
        intervals_s: index time; the interval before each packet, in s, and after_gap.
        basis: n counts all packets, repeats included.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "quality"
    title: ClassVar[str] = "Stream quality"
    verdict: str
    reasons: tuple[str, ...]
    measures: pd.DataFrame
    gaps: pd.DataFrame
    flags: pd.DataFrame
    unknown_fields: pd.DataFrame
    intervals_s: pd.DataFrame
    basis: Basis
    notes: tuple[str, ...]

    def value(self, measure: str) -> float:
        """Return one measure's value.

        Raises:
            KeyError: no such measure.
        """
        return float(dict(zip(self.measures["measure"], self.measures["value"].to_numpy(), strict=True))[measure])

    def headline(self) -> str:
        """Say the verdict and its first reasons."""
        if self.verdict == OK:
            complete = self.value("completeness")
            share = "" if math.isnan(complete) else f" {complete:.2%} complete,"
            return f"Stream quality OK: {count_of(self.basis.n, 'packet')},{share} no gap."
        return f"Stream quality {self.verdict}: {'; '.join(self.reasons[:3])}."

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measure: measure, value, unit, n (observations), level (OK, WARN, STALLED, STOPPED), reason."""
        return self.measures.copy()

    def to_dict(self) -> dict[str, object]:
        """Return the answer as plain values, without the intervals."""
        return {name: value for name, value in super().to_dict().items() if name != "intervals_s"}

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw the interval before each packet, over time; gaps stand out."""
        colours = draw.colours(dark)
        times = np.asarray(pd.DatetimeIndex(self.intervals_s.index).asi8)
        trace = draw.line("interval", times, self.intervals_s["interval_s"].to_numpy(), colours.line)
        gaps = {
            "type": "scatter",
            "mode": "markers",
            "name": "gap",
            "x": draw.ms(self.gaps["end_time"]),
            "y": self.gaps["duration_s"].to_numpy(),
            "marker": {"symbol": "x", "size": 9, "color": colours.line_engine},
            "hovertemplate": "gap of %{y:,.1f} s<extra></extra>",
        }
        return draw.figure([trace, gaps], x_title="time (UTC)", y_title="interval before the packet (s)", dark=dark, dates=True)


def quality(
    frame: pd.DataFrame,
    events: pd.DataFrame | None = None,
    *,
    now: pd.Timestamp | None = None,
    message_bytes_mean: float | None = None,
    is_synthetic: bool = False,
    said: Sequence[str] = (),
) -> Quality:
    """Judge how a stream was received.

    Args:
        frame: packets, flagged ones too (`frame(clean=False)`), in order of arrival; with the column `extra`, unknown fields are named.
        events: the events table; without it, gaps are found in the intervals and reconnects in `connection`.
        now: the end of the window, for a stream that is still received; None is the last packet or event.
        message_bytes_mean: mean size of a message in bytes, where it is known: frames do not carry it.
        is_synthetic: the stream's stamps are seeded, as a synthetic one's are: that they are off this machine's clock says nothing.
        said: one sentence for each choice, reordering or omission with which the frame was read.

    Raises:
        NotEnoughData: neither a packet nor an event.
        AnalysisError: an index that is not a DatetimeIndex with a zone.
    """
    frame = on_utc("quality", frame)
    known_events = on_utc("quality", events) if events is not None and len(events) else None
    if not len(frame) and known_events is None:
        raise NotEnoughData("quality: neither a packet nor an event")
    rows = quality_measures.Rows.of(frame)
    reordered = quality_measures.order(rows)
    by_time = as_arrived(frame)
    if by_time is not frame:
        frame, rows = by_time, quality_measures.Rows.of(by_time)
    broken = find_breaks(frame, known_events) if len(frame) else np.zeros(0, dtype=bool)
    found = [
        *quality_measures.cadence(rows, broken),
        *quality_measures.ending(rows, known_events, now),
        *quality_measures.clocks(rows, is_synthetic),
        *quality_measures.copies(rows),
        *reordered,
        *quality_measures.frozen(rows),
        *quality_measures.connections(rows, known_events),
        *quality_measures.contents(frame, rows, message_bytes_mean),
    ]
    worst = max(found, key=lambda measure: LEVELS.index(measure.level)).level
    reasons = sorted((m for m in found if m.level != OK), key=lambda m: -LEVELS.index(m.level))
    notes = [*said, *(f"{m.measure}: {m.reason}" for m in found if math.isnan(m.value))]
    table = pd.DataFrame(found, columns=list(Measure._fields))
    clean = UsableRows("quality", frame[rows.clean], broken[rows.clean], len(frame))
    basis = clean.basis(len(frame))
    return Quality(
        verdict=worst,
        reasons=tuple(m.reason for m in reasons),
        measures=table,
        gaps=_gaps(rows, broken, known_events),
        flags=_flags(rows.flags),
        unknown_fields=_unknown_fields(frame),
        intervals_s=pd.DataFrame({"interval_s": np.append(np.nan, rows.steps_s)[: len(frame)], "after_gap": broken}, index=frame.index),
        basis=Basis(
            basis.n, basis.packets, basis.left_out, math.nan, basis.start, basis.end, basis.duration_s, int(broken.sum()), basis.gap_s
        ),
        notes=tuple(notes),
    )


def _gaps(rows: Rows, broken: Bools, events: pd.DataFrame | None) -> pd.DataFrame:
    """Return the stretches in which the stream was not received, with the reason that its events give."""
    after = np.flatnonzero(broken)
    before = np.maximum(after - 1, 0)
    why = pd.Series(np.where(rows.connection[after] != rows.connection[before], "reconnect", "silence"), dtype=TEXT)
    if events is not None and rows.seq is not None and len(after):
        ended = events[(events["kind"] == EventKind.GAP).to_numpy()]
        gaps = [facts.read(EventKind.GAP, line) for line in ended["detail"].astype(TEXT)]
        reasons = [gap.reason or None if isinstance(gap, facts.Gap) else None for gap in gaps]
        said = pd.Series(reasons, index=ended["seq"].to_numpy(), dtype=object)
        first_reasons = said[~said.index.duplicated()].reindex(rows.seq[before])
        why = pd.Series(first_reasons.to_numpy(dtype=object)).fillna(why).astype(TEXT)
    return pd.DataFrame(
        {
            "start_time": stamps(rows.times[before]),
            "end_time": stamps(rows.times[after]),
            "duration_s": (rows.arrivals[after] - rows.arrivals[before]) / SECOND_NS,
            "reason": why,
        }
    )


def _flags(flags: Ints) -> pd.DataFrame:
    counts = [(flag.name, int(((flags & int(flag)) != 0).sum())) for flag in Flag]
    table = pd.DataFrame(counts, columns=["flag", "n"])
    return table.assign(share=table["n"] / max(1, len(flags)))[table["n"] > 0].reset_index(drop=True)


def _unknown_fields(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the dotted names of fields that have no column, nor a table of their own. Equal texts are read once."""
    counted: Counter[str] = Counter()
    if "extra" in frame.columns:
        dialect = frame["dialect"].astype(TEXT).fillna("") if "dialect" in frame.columns else pd.Series("", frame.index)
        same = pd.DataFrame({"extra": frame["extra"].to_numpy(), "dialect": dialect.to_numpy()}).dropna().value_counts()
        for row in same.rename("n").reset_index().to_dict("records"):
            for field in _named(str(row["extra"]), str(row["dialect"])):
                counted[field] += int(row["n"])
    return pd.DataFrame(counted.most_common(), columns=["field", "n"])


def _named(text: str, dialect: str) -> tuple[str, ...]:
    found = json.loads(text)
    return unplaced(found, dialect) if isinstance(found, dict) else ()
