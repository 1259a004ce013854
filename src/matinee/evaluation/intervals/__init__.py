"""Intervals around a value, and when to trust each.

``RunningMean``, a confidence sequence, is the default: it holds at every look, for logs that a
learning policy wrote. The others are for one look at a log of one fixed policy.
"""

from matinee.evaluation.intervals.base import Interval, Side
from matinee.evaluation.intervals.bootstrap import bootstrap
from matinee.evaluation.intervals.clopper_pearson import clopper_pearson
from matinee.evaluation.intervals.confidence_sequence import (
    Betting,
    ConfidenceSequence,
    RunningMean,
)
from matinee.evaluation.intervals.difference import PairedDifference, unpaired_difference
from matinee.evaluation.intervals.empirical_bernstein import empirical_bernstein
from matinee.evaluation.intervals.normal import normal
from matinee.evaluation.intervals.slate_difference import SlateDifference
from matinee.evaluation.intervals.wilson import wilson

__all__ = [
    "Betting",
    "ConfidenceSequence",
    "Interval",
    "PairedDifference",
    "RunningMean",
    "Side",
    "SlateDifference",
    "bootstrap",
    "clopper_pearson",
    "empirical_bernstein",
    "normal",
    "unpaired_difference",
    "wilson",
]
