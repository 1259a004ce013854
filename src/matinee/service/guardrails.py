"""What the gate's guardrails measure of a candidate, by their names."""

from __future__ import annotations

from math import nan

import numpy as np

from matinee.evaluation.gate import COVERAGE, FRESH, LATENCY, WORST
from matinee.service.comparing import OfChoices, OfSlates
from matinee.service.weighed import Weighed

LEAST_SEGMENT = 100
"""Decisions below which a country is not looked at on its own."""


def measured(
    comparison: OfSlates | OfChoices, candidate: Weighed, champion: Weighed, alpha: float
) -> dict[str, float]:
    """Each guardrail's measurement; NaN where the candidate was asked for nothing."""
    titles = len(champion.chosen)
    return {
        COVERAGE: len(candidate.chosen) / titles - 1 if titles else nan,
        WORST: _worst(comparison, candidate.country, alpha),
        LATENCY: float(np.quantile(candidate.latency, 0.99)) if len(candidate.latency) else nan,
        FRESH: _fresh(candidate) / _fresh(champion) - 1 if champion.fresh else 0.0,
    }


def _fresh(weighed: Weighed) -> float:
    """The share of new actions in what a version would choose."""
    return weighed.fresh / max(weighed.chosen.total(), 1)


def _worst(comparison: OfSlates | OfChoices, country: list[str], alpha: float) -> float:
    """The least upper bound of a country's difference; alpha is shared between the countries."""
    _, whose, counts = np.unique(country, return_inverse=True, return_counts=True)
    large = np.flatnonzero(counts >= LEAST_SEGMENT)
    low, high = comparison.reward_range
    highs = [comparison.slots * (high - low)]
    for one in large.tolist():
        rows = np.flatnonzero(whose == one)
        highs.append(comparison.interval(alpha / len(large), rows).high)
    return float(min(highs))
