"""Off-policy evaluation: what another policy would have earned on logged decisions."""

from matinee.evaluation.off_policy.base import ActionEstimator, Estimator, SlateEstimator, Value
from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.calibration import Calibration
from matinee.evaluation.off_policy.cascade_dr import CascadeDR
from matinee.evaluation.off_policy.closed import closed
from matinee.evaluation.off_policy.direct import DirectMethod
from matinee.evaluation.off_policy.dr import DR
from matinee.evaluation.off_policy.drift import Drift
from matinee.evaluation.off_policy.dros import DRos
from matinee.evaluation.off_policy.ips import IPS
from matinee.evaluation.off_policy.loggers import balanced, mixture
from matinee.evaluation.off_policy.marginals import simulated_marginals
from matinee.evaluation.off_policy.mips import marginal_batch, marginal_weights
from matinee.evaluation.off_policy.moments import Moments
from matinee.evaluation.off_policy.outcome_models import (
    ActionMean,
    RidgePerAction,
    cross_fitted,
    doubling,
    predictable,
)
from matinee.evaluation.off_policy.per_decision import (
    PerDecisionIS,
    SelfNormalisedPerDecisionIS,
    SequentialDR,
)
from matinee.evaluation.off_policy.pseudo_inverse import PseudoInverse, SelfNormalisedPseudoInverse
from matinee.evaluation.off_policy.pseudo_inverse_control import (
    PseudoInverseControl,
    PseudoInverseSlotControl,
)
from matinee.evaluation.off_policy.replay import Replay
from matinee.evaluation.off_policy.sequences import Sequences
from matinee.evaluation.off_policy.slate_iips import IndependentIPS
from matinee.evaluation.off_policy.slate_ips import SlateIPS
from matinee.evaluation.off_policy.slate_rips import (
    RewardInteractionIPS,
    SelfNormalisedRewardInteractionIPS,
)
from matinee.evaluation.off_policy.slates import Slates
from matinee.evaluation.off_policy.slope import Slope
from matinee.evaluation.off_policy.sndr import SelfNormalisedDR
from matinee.evaluation.off_policy.snips import SNIPS
from matinee.evaluation.off_policy.switch_dr import SwitchDR
from matinee.evaluation.off_policy.weights import Support, Weights

__all__ = [
    "DR",
    "IPS",
    "SNIPS",
    "ActionEstimator",
    "ActionMean",
    "Batch",
    "Calibration",
    "CascadeDR",
    "DRos",
    "DirectMethod",
    "Drift",
    "Estimator",
    "IndependentIPS",
    "Moments",
    "PerDecisionIS",
    "PseudoInverse",
    "PseudoInverseControl",
    "PseudoInverseSlotControl",
    "Replay",
    "RewardInteractionIPS",
    "RidgePerAction",
    "SelfNormalisedDR",
    "SelfNormalisedPerDecisionIS",
    "SelfNormalisedPseudoInverse",
    "SelfNormalisedRewardInteractionIPS",
    "Sequences",
    "SequentialDR",
    "SlateEstimator",
    "SlateIPS",
    "Slates",
    "Slope",
    "Support",
    "SwitchDR",
    "Value",
    "Weights",
    "balanced",
    "closed",
    "cross_fitted",
    "doubling",
    "marginal_batch",
    "marginal_weights",
    "mixture",
    "predictable",
    "simulated_marginals",
]
