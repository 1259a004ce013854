"""The contract of a policy.

Shapes: A candidates, K slots, one decision at a time (a batch is a loop; draws are cheap).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

PropensityKind = Literal["conditional", "marginal", "joint"]


@dataclass(frozen=True, slots=True)
class Preference:
    """Where a policy may look and how it leans: candidates in its segment and their logits.

    `segment` [S] holds positions among the A candidates, the best first; `logits` [S] is what the
    draw is made from. The pair is written into the decision record, so that the logging
    distribution can be rebuilt without the model.
    """

    segment: NDArray[np.int32]
    logits: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Slate:
    """K drawn positions (indices into the A candidates) and their propensities [K]."""

    actions: NDArray[np.int32]
    propensities: NDArray[np.float64]
    kind: PropensityKind


class Policy(ABC):
    """Turns the scores of candidates into a distribution over slates, and draws from it.

    ``prefer`` (deterministic) and ``draw`` (random) are apart so that the first can be cached for
    a member until a new event arrives, and so that the second can be replayed from a record.
    """

    name: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    kind: ClassVar[PropensityKind] = "conditional"

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The hyper-parameters, as arguments of ``__init__``."""

    @abstractmethod
    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        """The segment and logits for candidate scores [A] (finite, higher is better)."""

    @abstractmethod
    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        """Draw a slate of ``min(slots, S)`` distinct candidates."""

    @abstractmethod
    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """The conditional propensity [K] of each position of a slate, 0 outside the support."""

    def probabilities(self, preference: Preference, candidates: int) -> NDArray[np.float64]:
        """First-slot probabilities [A] over all candidates; they sum to one."""
        whole = np.zeros(candidates)
        whole[preference.segment] = [
            self.propensities(preference, np.array([action], np.int32))[0]
            for action in preference.segment
        ]
        return whole
