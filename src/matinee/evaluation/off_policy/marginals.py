"""Marginal propensities of titles in slots, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.off_policy.columns import Floats
from matinee.policies import PlackettLuce, Policy, Preference
from matinee.policies.base import places

WIDE = 600.0
"""Logits at most this far apart have weights, exp(logit - largest), that do not underflow."""


def simulated_marginals(
    policy: Policy,
    preference: Preference,
    actions: NDArray[np.int32],
    draws: int,
    seed: int | Sequence[int],
) -> tuple[Floats, Floats]:
    r"""The chance of each title of a slate in its slot, whatever stands above, and its error.

        m_k = P(A_k = a_k),    estimated by the mean over draws of p(a_k | A_0 .. A_{k-1})

    `actions` [K] are positions among the candidates. Gives the marginals [K] and their standard
    errors [K], from `draws` >= 2 simulated slates, of which only the titles above a slot count:
    the chance of the title there is exact (Rao-Blackwell), so the first slot is without error.
    Marginals are 0 without error for titles outside the policy's segment and for slots below it.

    For ``PlackettLuce`` titles above are drawn given that a_k is passed over, by choice or by coin,
    and each draw weighs by the chance of that:

        m_k = E[ prod_{j<k} (1 - p(a_k | A_0 .. A_{j-1}))  p(a_k | A_0 .. A_{k-1}) ]

    so the estimate is above 0 inside the segment, however rare the title is in that slot. For other
    policies it is 0 where a_k stood above slot k in every draw. A slate takes about 16 K D S bytes,
    with D draws and S titles in the segment.

    Give each slate its own seed, for example ``[seed, number of the slate]``, and each of the two
    policies its own too: errors of different slates must not hang together (see
    ``Slates.marginal_ratio``). The same arguments give the same numbers.

    >>> policy = PlackettLuce(temperature=0.5, epsilon=0.1)
    >>> preference = policy.prefer(np.array([0.1, 0.9, 0.4]))
    >>> slate = np.array([1, 2], np.int32)
    >>> marginals, errors = simulated_marginals(policy, preference, slate, draws=200, seed=[1, 0])
    >>> bool(np.isclose(marginals[0], policy.propensities(preference, slate)[0])), float(errors[0])
    (True, 0.0)
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, to have an error, got {draws}")
    found = places(preference, actions)
    slots = np.flatnonzero((found >= 0) & (np.arange(len(found)) < len(preference.segment)))
    marginals, errors = np.zeros(len(actions)), np.zeros(len(actions))
    if not len(slots):
        return marginals, errors
    rng = np.random.default_rng(seed)
    if isinstance(policy, PlackettLuce):
        chances = _of_plackett_luce(policy, preference, slots, found[slots], draws=draws, rng=rng)
    else:
        chances = _of_any(policy, preference, slots, actions[slots], draws=draws, rng=rng)
    marginals[slots] = chances.mean(axis=1)
    spread = chances - marginals[slots, None]
    errors[slots] = np.sqrt((spread**2).sum(axis=1) / (draws - 1) / draws)
    errors[0] = 0.0
    return marginals, errors


def _of_any(
    policy: Policy,
    preference: Preference,
    slots: NDArray[np.intp],
    actions: NDArray[np.int32],
    *,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """p(action | what was drawn above its slot) [M, D], for actions [M] in slots [M]."""
    chances = np.empty((len(slots), draws))
    for draw in range(draws):
        above = policy.draw(preference, int(slots[-1]) + 1, rng).actions
        for row, (slot, action) in enumerate(zip(slots, actions, strict=True)):
            slate = np.append(above[:slot], action)
            chances[row, draw] = policy.propensities(preference, slate)[-1]
    return chances


def _of_plackett_luce(
    policy: PlackettLuce,
    preference: Preference,
    slots: NDArray[np.intp],
    wanted: NDArray[np.intp],
    *,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    r"""Chances [M, D] with the mean P(A_k = a), for places `wanted` [M] in slots [M], ascending.

    Above slot k stand b_0 .. b_{k-1}, none of them a. Step j, with R_j left of total weight W_j,
    passes a over by Luce's choice or by the uniform coin:

        pass_j = (1 - epsilon) (1 - w_a / W_j) + epsilon (1 - 1 / \|R_j\|)

        P(A_k = a) = E[ prod_{j<k} pass_j ((1 - epsilon) w_a / W_k + epsilon / \|R_k\|) ]

    over b drawn step by step given that a is passed over: the coin is uniform with the chance

        epsilon (1 - 1 / \|R_j\|) / pass_j

    and b_j then comes first, of what is left without a, in a uniform permutation, else in Luce's
    (his axiom: without a the rest keep their odds). All slots share the permutations, and the
    numbers that the coins are compared with.
    """
    logits = preference.logits.astype(np.float64)
    size, rows = len(logits), np.arange(len(slots))
    luce, even = _permutations(logits, slots, wanted, draws, rng)
    coins = rng.random((draws, int(slots[-1])))
    rest = _Rest(logits, slots, wanted, draws)
    passed, chances = np.ones((2, len(slots), draws))
    for step in range(int(slots[-1]) + 1):
        first = int(np.searchsorted(slots, step))
        mine, others = rest.shares(first)
        if slots[first] == step:
            own = (1 - policy.epsilon) * mine[0] + policy.epsilon / (size - step)
            chances[first] = passed[first] * own
            first, others = first + 1, others[1:]
        if first == len(slots):
            break
        by_coin = policy.epsilon * (1 - 1 / (size - step))
        over = (1 - policy.epsilon) * others + by_coin
        passed[first:] *= over
        uniform = coins[:, step] * over < by_coin
        chosen = luce[first:].argmax(axis=2)
        chosen[uniform] = even[first:][uniform].argmax(axis=1)
        at = (rows[first:, None], np.arange(draws), chosen)
        luce[at] = even[at] = -1
        rest.take(at)
    return chances


def _permutations(
    logits: Floats,
    slots: NDArray[np.intp],
    wanted: NDArray[np.intp],
    draws: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Ranks [M, D, S] in Luce's permutations and in uniform ones; the first has the highest.

    The same for all slots, but for -1 at the title wanted in each.
    """
    gumbel = -np.log(-np.log1p(-rng.random((draws, len(logits)))))
    return _ranks(logits + gumbel, wanted), _ranks(rng.random(gumbel.shape), wanted)


def _ranks(keys: Floats, wanted: NDArray[np.intp]) -> NDArray[np.int32]:
    ranks = keys.argsort(axis=1).argsort(axis=1).astype(np.int32)
    each = np.repeat(ranks[None], len(wanted), axis=0)
    each[np.arange(len(wanted)), :, wanted] = -1
    return each


class _Rest:
    """The weights of the titles that are left, without the one wanted in each slot.

    Weights are relative to the largest logit; where that may underflow, to the largest left.
    """

    def __init__(
        self, logits: Floats, slots: NDArray[np.intp], wanted: NDArray[np.intp], draws: int
    ) -> None:
        self._wide = bool(np.ptp(logits) > WIDE)
        each = logits if self._wide else np.exp(logits - logits.max())
        self._gone = -np.inf if self._wide else 0.0
        self._own = each[wanted][:, None]
        self._each = np.tile(each, (len(slots), draws, 1))
        self._each[np.arange(len(slots)), :, wanted] = self._gone

    def take(self, at: tuple[NDArray[np.intp], ...]) -> None:
        """Take away the titles at these indices."""
        self._each[at] = self._gone

    def shares(self, first: int) -> tuple[Floats, Floats]:
        """w_a / W and (W - w_a) / W, each [M - first, D], for the slots from `first` on."""
        each, own = self._each[first:], self._own[first:]
        if self._wide:
            largest = np.maximum(each.max(axis=2), own)
            each, own = np.exp(each - largest[..., None]), np.exp(own - largest)
        others = each.sum(axis=2)
        return own / (own + others), others / (own + others)
