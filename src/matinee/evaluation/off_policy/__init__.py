"""Off-policy evaluation: what another policy would have earned on logged decisions."""

from matinee.evaluation.off_policy.base import ActionEstimator, Estimator, Value
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.moments import Moments
from matinee.evaluation.off_policy.snips import SNIPS

__all__ = ["IPS", "SNIPS", "ActionEstimator", "Batch", "Estimator", "Moments", "Value"]
