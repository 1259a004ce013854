"""Recovery: what an attempt to charge is worth, where and when."""

from matinee.models.recovery.cascade import Cascade
from matinee.models.recovery.hazard import Hazard
from matinee.models.recovery.model import Recovery

__all__ = ["Cascade", "Hazard", "Recovery"]
