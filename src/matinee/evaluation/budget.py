"""One budget of error for one log that judges many candidates."""

from __future__ import annotations

from math import pi


def spent(alpha: float, turn: int) -> float:
    r"""The chance of error that the candidate judged in this turn on a log may spend.

        alpha_i = alpha 6 / (pi^2 i^2),    sum_i alpha_i = alpha

    Twenty candidates that are no better, each judged at 5 % on the same decisions, let one pass
    with a chance of up to 64 %. If the i-th has alpha_i instead, the chance that any of them ever
    passes falsely is at most alpha, by the union bound: however the judgements hang together,
    however many follow, and though which candidate comes next was chosen by what the log said
    before (online Bonferroni; the first has 61 % of alpha). A fresh log, of decisions after all
    earlier ones, has a budget of its own. Looking again at the same candidate is free only where
    its interval is anytime-valid; otherwise each look takes a turn.

    Foster, D. P., Stine, R. A. (2008). Alpha-investing. JRSS B 70, 429-444, which starts from this
    rule.

    `alpha` in (0, 1), `turn` from 1; else `ValueError`.

    >>> [round(spent(0.05, turn), 4) for turn in (1, 2, 3)]
    [0.0304, 0.0076, 0.0034]
    """
    if not 0 < alpha < 1 or turn < 1:
        raise ValueError(f"alpha must be in (0, 1) and turn at least 1, got {alpha} and {turn}")
    return alpha * 6 / (pi * turn) ** 2
