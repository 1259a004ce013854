"""Evaluation: what a model or a policy is worth, from data alone."""

from matinee.evaluation.budget import spent
from matinee.evaluation.gate import Evidence, Guardrail, Rules, Verdict, judge
from matinee.evaluation.interactions import fingerprint
from matinee.evaluation.protocols import (
    Split,
    five_core,
    global_time_split,
    leave_one_out,
)
from matinee.evaluation.ranking import evaluate
from matinee.evaluation.report import Estimate, Report, Row
from matinee.models.data import Holdout

__all__ = [
    "Estimate",
    "Evidence",
    "Guardrail",
    "Holdout",
    "Report",
    "Row",
    "Rules",
    "Split",
    "Verdict",
    "evaluate",
    "fingerprint",
    "five_core",
    "global_time_split",
    "judge",
    "leave_one_out",
    "spent",
]
