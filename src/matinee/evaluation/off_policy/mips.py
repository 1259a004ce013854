"""Marginalised importance weights, for sets of many actions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import (
    Floats,
    Integers,
    actions_of,
    distributions,
    filled,
    integers,
    one_each,
    picked,
)


def marginal_batch(
    reward: ArrayLike,
    action: ArrayLike,
    embedding: ArrayLike,
    target: ArrayLike,
    logging: ArrayLike,
    *,
    q: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> Batch:
    r"""A batch in which what was chosen is the logged action's embedding, not the action.

    reward, action, cluster : [N], as in ``Batch.of_distributions``.
    embedding : int [A], the group that each action is of, such as genre by format.
    target, logging : float64 [N, A], pi(a|x) and pi_0(a|x); each row sums to 1.
    q : float64 [N, A], an outcome model's prediction of the reward of every action.

    On it IPS is MIPS (Saito and Joachims, 2022) and SNIPS its self-normalised form:

        w_i = pi(e_i|x_i) / pi_0(e_i|x_i),    pi(e|x) = sum_{a of e} pi(a|x)

    With A in the thousands these weights are far smaller than those of actions, and the log needs
    to cover embeddings only. It rests on *no direct effect*: given the context and the embedding,
    the action does not matter to the reward. Where it does, the bias is what the two policies'
    different choices within an embedding are worth; finer embeddings have less bias, more variance.

    With `q`, DR is OffCEM (Saito, Ren and Joachims, 2023): q of the action itself, corrected at the
    embedding. It rests on less, *local correctness*: q has the differences between actions of one
    embedding right, at any level. No direct effect with a q that is equal within embeddings is a
    case of it.

    Raises `ValueError` where shapes or actions do not fit or a row does not sum to 1, and as
    ``Batch.of`` does.

    References: Saito, Y., Joachims, T. (2022). Off-policy evaluation for large action spaces via
    embeddings. ICML. Saito, Y., Ren, Q., Joachims, T. (2023). Off-policy evaluation for large
    action spaces via conjunct effect modeling. ICML.

    >>> candidate, log = [[0.25, 0.25, 0.5]], [[0.125, 0.125, 0.75]]
    >>> batch = marginal_batch([1.0], [0], [7, 7, 9], candidate, log)
    >>> batch.target, batch.propensity
    (array([0.5]), array([0.25]))
    """
    rewards = one_each(reward)
    groups = integers("embedding", embedding, (np.size(embedding),))
    pi = distributions("target", target, len(rewards), len(groups))
    pi_0 = distributions("logging", logging, len(rewards), len(groups))
    logged = actions_of(action, pi)
    at = np.unique(groups, return_inverse=True)[1][logged]
    marginal, marginal_0 = embedding_mass(pi, groups), embedding_mass(pi_0, groups)
    outcome = filled("q", q, pi.shape)
    return Batch.of(
        rewards,
        picked(marginal_0, at),
        picked(marginal, at),
        predicted=picked(outcome, logged),
        expected=np.einsum("na,na->n", pi, outcome),
        outside=np.where(marginal_0 > 0, 0.0, marginal).sum(axis=1),
        cluster=cluster,
    )


def marginal_weights(
    embedding: ArrayLike, target: ArrayLike, logging: ArrayLike, action: ArrayLike
) -> Floats:
    """The weights [N], pi(e|x) / pi_0(e|x), of the embeddings of logged actions.

    >>> marginal_weights([7, 7, 9], [[0.25, 0.25, 0.5]], [[0.125, 0.125, 0.75]], [0])
    array([2.])
    """
    return marginal_batch(np.zeros(np.shape(action)), action, embedding, target, logging).weight


def embedding_mass(distribution: Floats, embedding: Integers) -> Floats:
    """The probability [N, E] of each of E embeddings, ascending, from those of actions [N, A].

    >>> embedding_mass(np.array([[0.25, 0.5, 0.25]]), np.array([9, 7, 9]))
    array([[0.5, 0.5]])
    """
    order = np.argsort(embedding, kind="stable")
    first = np.flatnonzero(np.diff(embedding[order], prepend=embedding[order[:1]] - 1))
    return np.minimum(np.add.reduceat(distribution[:, order], first, axis=1), 1.0)
