"""Boosted: gradient-boosted trees whose probabilities are calibrated on later rows."""

from matinee.models.boosted.model import Boosted

__all__ = ["Boosted"]
