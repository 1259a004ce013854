"""Experiments settle what logs cannot: first, whether one was run as planned."""

from matinee.experiments.sample_ratio import irregular, sample_ratio

__all__ = ["irregular", "sample_ratio"]
