"""Marginal propensities of titles in slots, by simulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.off_policy.batch import Floats
from matinee.policies import PlackettLuce, Policy, Preference
from matinee.policies.base import places


def simulated_marginals(
    policy: Policy,
    preference: Preference,
    actions: NDArray[np.int32],
    draws: int,
    seed: int | Sequence[int],
) -> tuple[Floats, Floats]:
    r"""The chance of each title of a slate in its slot, whatever stands above, and its error.

        m_k = P(A_k = a_k),    estimated by the mean over draws of p(a_k | A_1 .. A_{k-1})

    `actions` [K] are positions among the candidates. Gives the marginals [K] and their standard
    errors [K], from `draws` >= 2 simulated slates, of which only the titles above a slot count:
    the chance of the title there is exact (Rao-Blackwell), so the first slot is without error.
    Marginals are 0 without error for titles outside the policy's segment and for slots below it.

    For ``PlackettLuce`` titles above are drawn without a_k, and each draw weighs by the chance that
    a_k was passed over; so the estimate is above 0 inside the segment, however rare the title is in
    that slot. For other policies it is 0 where a_k stood above slot k in every draw. The noise of a
    slate takes about 20 K D S bytes, with D draws and S titles in the segment.

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

    Above slot k stand b_1 .. b_k, none of them a. With a coin of epsilon a step, 1 if uniform:

        p(b_j, coin 0 | b_{<j}) = (1 - epsilon) (1 - w_a / W_j)   w_{b_j} / (W_j - w_a)
        p(b_j, coin 1 | b_{<j}) =      epsilon  (1 - 1 / \|R_j\|)  1 / (\|R_j\| - 1)

    The last factors are the policy's two permutations without a (Luce's axiom), and they and the
    coins are what is drawn. The factors in the middle, that a is passed over, are the weight.
    """
    logits = preference.logits.astype(np.float64)
    size, steps = len(logits), int(slots[-1])
    uniform = rng.random((draws, steps)) < policy.epsilon
    above, without = _drawn_above(logits, slots, wanted, uniform, rng)
    with_wanted = np.logaddexp(without, logits[wanted][:, None, None])
    left = size - np.arange(steps + 1)
    passed = np.where(uniform, 1 - 1 / left[:-1], np.exp(without - with_wanted)[..., :-1])
    passed = np.where(above, passed, 1.0).prod(axis=2)
    rows = np.arange(len(slots))
    luce = np.exp(logits[wanted][:, None] - with_wanted[rows, :, slots])
    chances: Floats = passed * ((1 - policy.epsilon) * luce + policy.epsilon / left[slots][:, None])
    return chances


def _drawn_above(
    logits: Floats,
    slots: NDArray[np.intp],
    wanted: NDArray[np.intp],
    uniform: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], Floats]:
    """Which steps [M, 1, T] lie above each slot, and log(W_j - w_a) [M, D, T + 1] before each.

    `uniform` [D, T] says by which permutation a step is drawn. All slots share the permutations.
    """
    draws, steps = uniform.shape
    rows = np.arange(len(slots))
    shape = (len(slots), draws, len(logits))
    preferred = np.broadcast_to(logits - np.log(-np.log1p(-rng.random(shape[1:]))), shape).copy()
    other = np.broadcast_to(rng.random(shape[1:]), shape).copy()
    preferred[rows, :, wanted] = other[rows, :, wanted] = -np.inf
    taken = np.full((len(slots), draws, steps), -np.inf)
    for step in range(steps):
        first = int(np.searchsorted(slots, step, side="right"))
        chosen = preferred[first:].argmax(axis=2)
        coins = uniform[:, step]
        chosen[:, coins] = other[first:, coins].argmax(axis=2)
        taken[first:, :, step] = logits[chosen]
        np.put_along_axis(preferred[first:], chosen[..., None], -np.inf, axis=2)
        np.put_along_axis(other[first:], chosen[..., None], -np.inf, axis=2)
    rest = _log_sum_exp(np.where(preferred > -np.inf, logits, -np.inf))
    backwards = np.concatenate([rest[..., None], taken[..., ::-1]], axis=2)
    above = np.arange(steps) < slots[:, None, None]
    return above, np.logaddexp.accumulate(backwards, axis=2)[..., ::-1]


def _log_sum_exp(logits: Floats) -> Floats:
    """log sum exp over the last axis; -inf where all of it is."""
    largest = np.maximum(logits.max(axis=-1), np.finfo(np.float64).min)
    with np.errstate(divide="ignore"):
        whole: Floats = largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
    return whole
