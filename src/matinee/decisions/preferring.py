"""What a policy prefers among what masks allow, by what a model believes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from matinee.models import Belief
from matinee.policies import Policy, Preference


def prefer(
    policy: Policy,
    belief: Belief,
    row: int,
    allowed: NDArray[np.int64],
    bonus: NDArray[np.float64] | float = 0.0,
) -> Preference:
    """The preference of one member, a row of the belief, over the candidates allowed (positions),
    in positions of all candidates; empty where nothing is allowed. `bonus` [allowed] is what they
    are worth besides.

    >>> from matinee.policies import EpsilonGreedy
    >>> belief = Belief(np.array([[0.5, 0.9, 0.7]]))
    >>> prefer(EpsilonGreedy(), belief, 0, np.array([0, 2])).segment
    array([2, 0], dtype=int32)
    """
    if not len(allowed):
        return Preference.empty()
    if policy.draws and belief.samples is not None:
        preference = policy.prefer_among(belief.samples[:, row, allowed] + bonus)
    else:
        preference = policy.prefer(belief.mean[row, allowed] + bonus)
    return Preference(allowed[preference.segment].astype(np.int32), preference.logits)
