"""The flagship: a transformer over histories, trained in JAX and served in NumPy."""

from matinee.models.sequence.config import Config
from matinee.models.sequence.model import Sequence

__all__ = ["Config", "Sequence"]
