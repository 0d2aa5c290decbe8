"""The agents' words: the share of templates, whether words and side agree, changes before a loss. Text is data, never instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from ccwatch.analysis import draw
from ccwatch.analysis.lexicon import direction
from ccwatch.analysis.result import Result, count_of, in_order, notes_of, stacked
from ccwatch.analysis.returns import forward_returns
from ccwatch.analysis.usable_rows import Basis, Bools, UsableRows, runs, select_rows, stamps
from ccwatch.errors import MissingColumns
from ccwatch.protocol.messages import Side
from ccwatch.stream.dataframes import TEXT

HORIZON_S: Final = 60.0
LEAST_N: Final = 20
LONGEST_QUOTE: Final = 200
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*%?")
_SIDES: Final = re.compile(r"\b(BUY|SELL|FLAT|HOLD|LONG|SHORT)\b", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, eq=False, repr=False)
class Reasoning(Result):
    """The agents' statements, judged. Times UTC.

    Attributes:
        statements: number of stretches of one text.
        templates: one row per template (a text without its numbers and sides): template, n (statements), share, example.
        repeated_share: share of statements whose template occurred before.
        findings: one row per finding; see `to_frame`.
        turns: changes of template that a loss followed within the horizon: time, before, after, return (of the side held, a fraction).
        length: Spearman's rank correlation of a text's length with the return that followed: rho, p_value, n, reason.
        horizon_s: seconds that a statement is followed.
        basis: n counts statements.
        notes: limits of the answer, as sentences.
    """

    question: ClassVar[str] = "reasoning"
    title: ClassVar[str] = "The agents' words"
    statements: int
    templates: pd.DataFrame
    repeated_share: float
    findings: pd.DataFrame
    turns: pd.DataFrame
    length: dict[str, Any]
    horizon_s: float
    basis: Basis
    notes: tuple[str, ...]

    def headline(self) -> str:
        """Say the share of templates, and how often words and side disagree."""
        against = count_of(len(self.findings), "statement points", "statements point")
        return (
            f"Of {count_of(self.statements, 'statement')} {self.repeated_share:.0%} repeat one of "
            f"{count_of(len(self.templates), 'template')}; "
            f"{against} against the side taken."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per statement whose words point against its side, by time.

        Columns: time, end_time, seq, side, points (up, down), weight (of the words, without unit), words (that say so), quote (the text,
        cut at 200 characters), return (of the side taken over the horizon, a fraction).
        """
        return self.findings.copy()

    def listed(self) -> pd.DataFrame:
        """Return the rows of `to_frame`, the clearest first."""
        return self.findings.iloc[np.argsort(-self.findings["weight"].abs().to_numpy(), kind="stable")].reset_index(drop=True)

    def merge(self, other: Reasoning, *, apart: bool = False) -> Reasoning:
        """Merge the statements of both sessions; a template of both is one. Ranks of two sessions do not merge.

        Raises:
            ValueError: asked with another `horizon_s`.
            AnalysisError: the sessions overlap in time, and are not `apart`: of different streams, with nothing between them.
        """
        one, two = in_order(self, other, "horizon_s")
        said = one.statements + two.statements
        both = pd.concat([one.templates, two.templates]).groupby("template", sort=False)
        table = both.agg(n=("n", "sum"), example=("example", "first")).reset_index()
        table = table.assign(share=table["n"] / said).sort_values("n", ascending=False, kind="stable", ignore_index=True)
        merged = replace(
            one,
            statements=said,
            templates=table[["template", "n", "share", "example"]],
            repeated_share=(said - len(table)) / said,
            findings=stacked(one.findings, two.findings),
            turns=stacked(one.turns, two.turns),
            length={
                "rho": np.nan,
                "p_value": np.nan,
                "n": one.length["n"] + two.length["n"],
                "reason": "ranks of two sessions do not merge",
            },
            basis=one.basis.merge(two.basis, apart=apart),
        )
        return replace(merged, notes=notes_of(one, two, merged))

    def figure(self, *, dark: bool = False) -> go.Figure:
        """Draw how often each template was used, the most frequent first."""
        colours = draw.colours(dark)
        shown = self.templates.head(15)
        trace = {
            "type": "bar",
            "orientation": "h",
            "x": shown["n"].to_numpy(),
            "y": draw.labels(shown["template"].str.slice(0, 60)),
            "marker": {"color": colours.buy},
            "hovertemplate": "%{x} statements<extra></extra>",
        }
        made = draw.figure([trace], x_title="statements", y_title="", dark=dark, height=140 + 24 * len(shown))
        made.update_yaxes(automargin=True, autorange="reversed")
        return made


def reasoning(
    frame: pd.DataFrame, events: pd.DataFrame | None = None, *, symbol: str | None = None, horizon_s: float = HORIZON_S
) -> Reasoning:
    """Compare the agents' words with what they did. The same text packet after packet is one statement.

    Args:
        frame: packets with reasoning; side and price where words are to be compared with them.
        events: the events table, for gaps.
        symbol: only rows of this one.
        horizon_s: seconds that a statement is followed.

    Raises:
        MissingColumns: the stream never carried a reasoning.
        NotEnoughData: no packet is left.
        ConfigError: the word lists are not installed.
    """
    found = select_rows("reasoning", frame, events, symbol=symbol)
    if "reasoning" not in found.frame.columns or not found.frame["reasoning"].notna().any():
        raise MissingColumns("reasoning", ("reasoning",))
    used = found.where(found.frame["reasoning"].notna().to_numpy() & (found.frame["reasoning"] != "").to_numpy(dtype=bool, na_value=False))
    texts = used.frame["reasoning"].astype(TEXT)
    codes, words = pd.factorize(texts)
    side = np.asarray(used.words("side").astype(object))
    first, end = runs(codes * 8 + pd.factorize(side)[0], used.broken)
    said = [str(words[code]) for code in codes[first]]
    kinds = [template(text) for text in said]
    followed = _followed(used, first, side, horizon_s)
    findings = _findings(used, first, end, side, said, followed)
    table = _templates(said, kinds)
    notes = ["words are read by published lists of words: irony, conditions and other tongues are not understood"]
    if not np.isfinite(followed).any():
        notes.append("what followed is not known: no side and price, or no packet late enough")
    return Reasoning(
        statements=len(said),
        templates=table,
        repeated_share=float(pd.Series(kinds).duplicated().mean()),
        findings=findings,
        turns=_turns(used, first, said, kinds, followed),
        length=_length(said, followed),
        horizon_s=horizon_s,
        basis=found.basis(len(said), carrying=len(used)),
        notes=tuple(notes),
    )


def template(text: str) -> str:
    """Return a text with its numbers and sides replaced, since these change from one statement to the next."""
    return _SPACE.sub(" ", _SIDES.sub("<side>", _NUMBER.sub("#", text))).strip()


def _templates(said: list[str], kinds: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"template": pd.array(kinds, dtype=TEXT), "example": pd.array(said, dtype=TEXT)})
    found = table.groupby("template", sort=False).agg(n=("example", "size"), example=("example", "first")).reset_index()
    found = found.assign(share=found["n"] / len(said)).sort_values("n", ascending=False, kind="stable", ignore_index=True)
    return found[["template", "n", "share", "example"]]


def _followed(used: UsableRows, first: Any, side: Any, horizon_s: float) -> Any:
    """Return the return of each statement's side over the horizon, from the next packet on; a fraction, NaN where not known."""
    price = used.prices()
    if not np.isfinite(price).all() or not len(price):
        return np.full(len(first), np.nan)
    back = forward_returns(used.times, price, used.broken, first, horizon_s)
    sign = np.where(side[first] == Side.BUY, 1.0, np.where(side[first] == Side.SELL, -1.0, np.nan))
    return sign * back


def _findings(used: UsableRows, first: Any, end: Any, side: Any, said: list[str], followed: Any) -> pd.DataFrame:
    """Return the statements whose words point against their side."""
    points = [direction(text) for text in said]
    sign = np.array([point.sign for point in points])
    taken = np.where(side[first] == Side.BUY, 1, np.where(side[first] == Side.SELL, -1, 0))
    rows = np.flatnonzero(sign * taken < 0)
    seq = used.frame["seq"].to_numpy()[first[rows]] if "seq" in used.frame.columns else np.full(len(rows), np.nan)
    return pd.DataFrame(
        {
            "time": stamps(used.times[first[rows]]),
            "end_time": stamps(used.times[end[rows] - 1]),
            "seq": seq,
            "side": pd.array([str(side[first[row]]) for row in rows], dtype=TEXT),
            "points": pd.array(["up" if sign[row] > 0 else "down" for row in rows], dtype=TEXT),
            "weight": [points[row].weight for row in rows],
            "words": pd.array([", ".join(dict.fromkeys(points[row].words)) for row in rows], dtype=TEXT),
            "quote": pd.array([said[row][:LONGEST_QUOTE] for row in rows], dtype=TEXT),
            "return": followed[rows],
        }
    )


def _turns(used: UsableRows, first: Any, said: list[str], kinds: list[str], followed: Any) -> pd.DataFrame:
    """Return the changes of template that a loss followed."""
    turned: Bools = np.append(False, [a != b for a, b in pairwise(kinds)])
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(turned & (followed < 0.0))
    return pd.DataFrame(
        {
            "time": stamps(used.times[first[rows]]),
            "before": pd.array([said[row - 1][:LONGEST_QUOTE] for row in rows], dtype=TEXT),
            "after": pd.array([said[row][:LONGEST_QUOTE] for row in rows], dtype=TEXT),
            "return": followed[rows],
        }
    )


def _length(said: list[str], followed: Any) -> dict[str, Any]:
    """Return Spearman's rank correlation of a text's length with the return that followed, with p-value, n and reason."""
    known = np.isfinite(followed)
    lengths = np.array([len(text) for text in said], dtype=np.float64)
    n = int(known.sum())
    if n < LEAST_N or np.ptp(lengths[known]) == 0.0 or np.ptp(followed[known]) == 0.0:
        return {"rho": np.nan, "p_value": np.nan, "n": n, "reason": f"n too small, or nothing varies: {n} of {LEAST_N}"}
    rank = stats.spearmanr(lengths[known], followed[known])
    return {"rho": float(rank.statistic), "p_value": float(rank.pvalue), "n": n, "reason": ""}
