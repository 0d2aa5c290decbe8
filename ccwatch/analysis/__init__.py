"""Questions about a stream, as pure functions: frames in, frozen results out.

`ccwatch.analyze` asks them of a feed, a recording or a frame; here they are plain functions. A function takes the place of the
module of its name: `ccwatch.analysis.drawdowns` is the function.
"""

from ccwatch.analysis.against import expected_curve
from ccwatch.analysis.alerts import Alerts, alerts
from ccwatch.analysis.alpha import Alpha, alpha
from ccwatch.analysis.attribution import Attribution, attribution
from ccwatch.analysis.burn_rate import BurnRate, burn_rate
from ccwatch.analysis.calibration import Calibration, calibrate
from ccwatch.analysis.changepoints import Changepoints, changepoints, page_hinkley, pelt
from ccwatch.analysis.compare import Comparison, compare
from ccwatch.analysis.drawdown_audit import DrawdownAudit, drawdown_audit
from ccwatch.analysis.drawdowns import Drawdowns, drawdowns
from ccwatch.analysis.expected import read_expected
from ccwatch.analysis.explain import Explanation, explain
from ccwatch.analysis.first_sign import FirstSign
from ccwatch.analysis.governance import Governance, governance
from ccwatch.analysis.kalman import Kalman, kalman
from ccwatch.analysis.latency import Latency, latency
from ccwatch.analysis.plan import plan_for
from ccwatch.analysis.quality import Quality, quality
from ccwatch.analysis.quantiles import Quantile, quantile
from ccwatch.analysis.question_table import REGISTRY
from ccwatch.analysis.reasoning import reasoning
from ccwatch.analysis.regimes import Regimes, regimes
from ccwatch.analysis.related_questions import question_name
from ccwatch.analysis.report import QUESTIONS, Report
from ccwatch.analysis.result import Result, clock, count_of, dollars, percent
from ccwatch.analysis.returns import wilson
from ccwatch.analysis.signals import Signals, signals
from ccwatch.analysis.sketch import Sketch
from ccwatch.analysis.survival import kaplan_meier
from ccwatch.analysis.tail import TailIndex, hill
from ccwatch.analysis.timeline import Timeline, timeline
from ccwatch.analysis.usable_rows import Basis, UsableRows, select_rows
from ccwatch.analysis.what_if import IN_SAMPLE, WhatIf

__all__ = [
    "IN_SAMPLE",
    "QUESTIONS",
    "REGISTRY",
    "Alerts",
    "Alpha",
    "Attribution",
    "Basis",
    "BurnRate",
    "Calibration",
    "Changepoints",
    "Comparison",
    "DrawdownAudit",
    "Drawdowns",
    "Explanation",
    "FirstSign",
    "Governance",
    "Kalman",
    "Latency",
    "Quality",
    "Quantile",
    "Regimes",
    "Report",
    "Result",
    "Signals",
    "Sketch",
    "TailIndex",
    "Timeline",
    "UsableRows",
    "WhatIf",
    "alerts",
    "alpha",
    "attribution",
    "burn_rate",
    "calibrate",
    "changepoints",
    "clock",
    "compare",
    "count_of",
    "dollars",
    "drawdown_audit",
    "drawdowns",
    "expected_curve",
    "explain",
    "governance",
    "hill",
    "kalman",
    "kaplan_meier",
    "latency",
    "page_hinkley",
    "pelt",
    "percent",
    "plan_for",
    "quality",
    "quantile",
    "question_name",
    "read_expected",
    "reasoning",
    "regimes",
    "select_rows",
    "signals",
    "timeline",
    "wilson",
]
