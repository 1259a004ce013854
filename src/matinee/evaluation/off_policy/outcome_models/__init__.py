"""Models of the reward of every action, and fitting them so that no row predicts itself."""

from matinee.evaluation.off_policy.outcome_models.action_mean import ActionMean
from matinee.evaluation.off_policy.outcome_models.base import Outcome, OutcomeModel
from matinee.evaluation.off_policy.outcome_models.cross_fitted import cross_fitted, folds_of
from matinee.evaluation.off_policy.outcome_models.predictable import doubling, predictable
from matinee.evaluation.off_policy.outcome_models.ridge import RidgePerAction

__all__ = [
    "ActionMean",
    "Outcome",
    "OutcomeModel",
    "RidgePerAction",
    "cross_fitted",
    "doubling",
    "folds_of",
    "predictable",
]
