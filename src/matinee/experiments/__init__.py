"""Experiments settle what logs cannot: who is in which arm, whether it was run as planned, and what
came of it, at every look.
"""

from matinee.experiments.allocation import allocation
from matinee.experiments.design import AA, Baseline, a_a, days, mde, power, size
from matinee.experiments.effects import Effect, compare, fixed
from matinee.experiments.plan import Allocated, Allocator, Experiment, Holdout, Layer, Plan
from matinee.experiments.sample_ratio import irregular, sample_ratio, sample_ratio_anytime
from matinee.experiments.segments import Heterogeneity, by_segment
from matinee.experiments.sequential import AsymptoticSequence, quantile, quantile_difference

__all__ = [
    "AA",
    "Allocated",
    "Allocator",
    "AsymptoticSequence",
    "Baseline",
    "Effect",
    "Experiment",
    "Heterogeneity",
    "Holdout",
    "Layer",
    "Plan",
    "a_a",
    "allocation",
    "by_segment",
    "compare",
    "days",
    "fixed",
    "irregular",
    "mde",
    "power",
    "quantile",
    "quantile_difference",
    "sample_ratio",
    "sample_ratio_anytime",
    "size",
]
