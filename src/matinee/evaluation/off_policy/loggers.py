"""One propensity for a log that several policies wrote."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from matinee.evaluation.off_policy.columns import Floats, integers, require


def balanced(propensities: ArrayLike, logger: ArrayLike) -> Floats:
    r"""The propensity [N] of the mixture of L policies that wrote a log in turn.

        pi_mix(a_i|x_i) = sum_l n_l/N pi_l(a_i|x_i)

    propensities : float64 [N, L], what each policy would have given the logged action.
    logger : int64 [N], which policy logged the row, in 0..L-1; n_l is how many rows l logged.

    With propensities of the row's own logger, an action that it rarely chose has a huge weight even
    where another logger chose it often. Dividing by the mixture is unbiased too, as long as the
    loggers did not learn from this log and drew from one population of contexts; it needs only that
    some logger covers each action; and for IPS its variance is never larger (Agarwal et al.), while
    with DR it is near the best one can do (Kallus et al.).

    Where a logger learned from the log itself, rows before it are not independent of its weights:
    confidence sequences must keep each row's own propensity. For a log in shards use ``mixture``
    with the counts of all of it.

    Raises `ValueError` where the lengths differ or a logger is not in 0..L-1.

    References: Agarwal, A., Basu, S., Schnabel, T., Joachims, T. (2017). Effective evaluation using
    logged bandit feedback from multiple loggers. KDD. Kallus, N., Saito, Y., Uehara, M. (2021).
    Optimal off-policy evaluation from multiple logging policies. ICML.

    >>> balanced([[0.5, 0.1], [0.5, 0.1], [0.25, 0.75], [0.5, 0.1]], [0, 0, 1, 1])
    array([0.3, 0.3, 0.5, 0.3])
    """
    columns = np.asarray(propensities, np.float64)
    rows = integers("logger", logger, (np.size(logger),))
    if columns.ndim != 2 or len(columns) != len(rows):
        raise ValueError(
            f"propensities has shape {columns.shape}; give a row of one for each logger, for each "
            f"of the {len(rows)} decisions"
        )
    loggers = columns.shape[1]
    require((rows >= 0) & (rows < loggers), "logger", rows, f"in 0..{loggers - 1}")
    return mixture(columns, np.bincount(rows, minlength=loggers))


def mixture(propensities: ArrayLike, decisions: ArrayLike) -> Floats:
    """The propensity [N] of a mixture of L policies by how many `decisions` [L] each logged.

    >>> mixture([[0.5, 0.1]], [300, 100])
    array([0.4])
    """
    counts = np.asarray(decisions, np.float64)
    mixed: Floats = np.asarray(propensities, np.float64) @ (counts / max(counts.sum(), 1.0))
    return np.minimum(mixed, 1.0)
