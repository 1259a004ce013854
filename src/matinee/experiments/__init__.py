"""Experiments settle what logs cannot: who is in which arm, and whether it was run as planned."""

from matinee.experiments.allocation import allocation
from matinee.experiments.sample_ratio import irregular, sample_ratio

__all__ = ["allocation", "irregular", "sample_ratio"]
