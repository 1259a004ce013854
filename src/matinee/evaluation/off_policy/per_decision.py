"""Estimators of the return of sequences of decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from matinee.evaluation.off_policy.base import Estimator, check_number
from matinee.evaluation.off_policy.columns import Floats
from matinee.evaluation.off_policy.sequences import Sequences


@dataclass(frozen=True)
class SequenceEstimator(Estimator[Sequences]):
    """An estimator of a unit's mean return, sum_t discount^t r_t.

    `discount` is in [0, 1]. The `decisions` of its result are units, each with all it decided.
    """

    takes: ClassVar[type[Any]] = Sequences

    discount: float = 1.0

    def __post_init__(self) -> None:
        check_number("discount", self.discount)
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must be in [0, 1], got {self.discount}")
        super().__post_init__()

    def discounts(self, steps: int) -> Floats:
        """discount^t [T]."""
        return self.discount ** np.arange(steps, dtype=np.float64)


@dataclass(frozen=True)
class PerDecisionIS(SequenceEstimator):
    r"""Each reward weighs by the actions that led to it, and by none that came after.

        V = 1/N sum_i sum_t discount^t rho_{0:t} r_t,
        rho_{0:t} = prod_{k <= t} pi(a_k|s_k) / pi_0(a_k|s_k)

    Unbiased where pi_0 covers pi and propensities are true. The ratios multiply, so that its
    variance may grow as fast as a power of T.

    >>> batch = Sequences.of([[1.0, 2.0]], [[0.5, 0.5]], [[0.25, 1.0]])
    >>> PerDecisionIS().add(batch).result().value
    2.5
    """

    name: ClassVar[str] = "pdis"
    references: ClassVar[tuple[str, ...]] = (
        "Precup, D., Sutton, R. S., Singh, S. (2000). Eligibility traces for off-policy policy "
        "evaluation. ICML.",
    )

    def terms(self, batch: Sequences) -> Floats:
        return (batch.ratio * batch.reward) @ self.discounts(batch.steps)[:, None]


@dataclass(frozen=True)
class SequentialDR(SequenceEstimator):
    r"""Per-decision importance sampling on what an outcome model Q left over, step by step.

        V = 1/N sum_i sum_t discount^t [ rho_{0:t} (r_t - Q(s_t, a_t)) + rho_{0:t-1} V(s_t) ]

    with rho_{0:-1} = 1. Unbiased for any Q that did not see these units where pi_0 covers pi and
    propensities are true; with Q = 0 it is `PerDecisionIS`. Q is a return: of decision t and all
    that follow, discounted from t on.

    >>> q = dict(predicted=[[1.0, 3.0]], expected=[[2.0, 2.5]])
    >>> batch = Sequences.of([[1.0, 2.0]], [[0.5, 0.5]], [[0.25, 1.0]], **q)
    >>> SequentialDR().add(batch).result().value
    2.25
    """

    name: ClassVar[str] = "sequential-dr"
    references: ClassVar[tuple[str, ...]] = (
        "Jiang, N., Li, L. (2016). Doubly robust off-policy value evaluation for reinforcement "
        "learning. ICML.",
        "Thomas, P. S., Brunskill, E. (2016). Data-efficient off-policy policy evaluation for "
        "reinforcement learning. ICML.",
    )

    def terms(self, batch: Sequences) -> Floats:
        ratio = batch.ratio
        before = np.column_stack([np.ones(len(batch)), ratio[:, :-1]])
        each = ratio * (batch.reward - batch.predicted) + before * batch.expected
        return each @ self.discounts(batch.steps)[:, None]


@dataclass(frozen=True)
class SelfNormalisedPerDecisionIS(SequenceEstimator):
    r"""Per-decision importance sampling over the mean ratio of each step, 1 in a true log.

        V = sum_t discount^t ( sum_i rho_{0:t} r_t / sum_i rho_{0:t} )

    The weighted form that is consistent (CWPDIS). Units that have ended keep the ratio they ended
    with. `horizon` T >= 1 is the most decisions a unit may have; batches of fewer steps are padded.
    Biased of order 1/N, mostly of lower variance than `PerDecisionIS`, and each step's part is
    bounded by its rewards seen. NaN where the candidate would have taken no unit to some step.

    >>> batch = Sequences.of([[1.0], [0.0]], [[0.5], [0.5]], [[0.9], [0.3]])
    >>> SelfNormalisedPerDecisionIS(horizon=1).add(batch).result().value
    0.75
    """

    name: ClassVar[str] = "snpdis"
    references: ClassVar[tuple[str, ...]] = (
        "Thomas, P. S. (2015). Safe reinforcement learning. PhD thesis, University of "
        "Massachusetts Amherst.",
    )

    horizon: int = 1

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {self.horizon}")
        super().__post_init__()

    @property
    def count(self) -> int:
        return 2 * self.horizon

    def terms(self, batch: Sequences) -> Floats:
        missing = self.horizon - batch.steps
        if missing < 0:
            raise ValueError(
                f"sequences of {batch.steps} steps are longer than the horizon {self.horizon}; "
                f"give horizon={batch.steps} or more"
            )
        ratio = np.pad(batch.ratio, ((0, 0), (0, missing)), mode="edge")
        reward = np.pad(batch.reward, ((0, 0), (0, missing)))
        return np.column_stack([ratio * reward, ratio])

    def value(self, means: Floats) -> float:
        weighted, ratio = means.reshape(2, -1)
        return float(self.discounts(self.horizon) @ (weighted / ratio))

    def gradient(self, means: Floats) -> Floats:
        weighted, ratio = means.reshape(2, -1)
        by_weighted = self.discounts(self.horizon) / ratio
        return np.concatenate([by_weighted, -by_weighted * weighted / ratio])
