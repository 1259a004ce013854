"""Thompson sampling, with its chances known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from matinee.policies.base import Policy, Preference, Preferences, Slate, require_finite, top_all
from matinee.policies.plackett_luce import PlackettLuce

LEFT = PlackettLuce(standardise=False)
"""How slots are filled once chances are known."""


@dataclass(frozen=True)
class Thompson(Policy):
    r"""An item is chosen as often as it may be the best, by the model's posterior.

    Thompson sampling chooses what is best in one draw from the posterior, with chances that have no
    closed form. Here they are estimated from `draws` = M draws first, and then drawn from:

    .. math:: p(a) = (1 - \epsilon) \frac{1}{M} \sum_{m=1}^M [a = \arg\max_{a'} s_{m a'}]
              + \frac{\epsilon}{A}

    so what is recorded is the chance by which it was chosen, exactly: with a small M the policy is
    coarser and its propensities no less true. Ties are shared evenly. With more slots, what is left
    is chosen among in the same proportions (Plackett-Luce). `epsilon` in (0, 1] is a uniform share
    that never ends: an item that no draw liked keeps a chance, which estimates of other policies
    need. Scores without draws count as a single one.

    >>> policy = Thompson(epsilon=0.3)
    >>> samples = np.array([[0.9, 0.1, 0.2], [0.1, 0.8, 0.2], [0.7, 0.1, 0.2], [0.9, 0.3, 0.2]])
    >>> policy.probabilities(policy.prefer_among(samples), 3).round(3)
    array([0.625, 0.275, 0.1  ])
    """

    name: ClassVar[str] = "thompson"
    references: ClassVar[tuple[str, ...]] = (
        "W. R. Thompson: On the likelihood that one unknown probability exceeds another in view of "
        "the evidence of two samples. Biometrika 25, 1933, 285-294. doi:10.2307/2332286",
        "O. Chapelle, L. Li: An empirical evaluation of Thompson sampling. NeurIPS 2011.",
    )

    draws: int = 200
    epsilon: float = 0.05

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be 1 at least, got {self.draws}")
        if not 0 < self.epsilon <= 1:
            raise ValueError(f"epsilon must lie in (0, 1], got {self.epsilon}")

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def prefer(self, scores: NDArray[np.floating[Any]]) -> Preference:
        return self.prefer_among(scores[None])

    def prefer_among(self, samples: NDArray[np.floating[Any]]) -> Preference:
        if not samples.shape[1]:
            return Preference.empty()
        return self.prefer_all_among(samples[:, None]).at(0)

    def prefer_all(self, scores: NDArray[np.floating[Any]]) -> Preferences:
        return self.prefer_all_among(scores[None])

    def prefer_all_among(self, samples: NDArray[np.floating[Any]]) -> Preferences:
        require_finite(samples)
        best = samples == samples.max(axis=2, keepdims=True)
        share = (best / best.sum(axis=2, keepdims=True)).mean(axis=0)
        size = samples.shape[2]
        chances = (1 - self.epsilon) * share + self.epsilon / size
        order = top_all(chances, size)
        logits = np.log(np.take_along_axis(chances, order, axis=1))
        return Preferences(order, logits.astype(np.float32))

    def draw(self, preference: Preference, slots: int, rng: np.random.Generator) -> Slate:
        return LEFT.draw(preference, slots, rng)

    def propensities(
        self, preference: Preference, actions: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        return LEFT.propensities(preference, actions)

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return LEFT.chances(logits)
