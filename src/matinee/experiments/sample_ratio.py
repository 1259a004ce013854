"""Sample ratio: did each arm get the share of units that was planned?

Where it did not, something beside chance chose who was in which arm, and no comparison of the arms
can be trusted. Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments"
(KDD 2019). doi:10.1145/3292500.3330722
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import binom, chi2

from matinee.evaluation.off_policy.multiple import holm

FEW, MOST = 50, 2**53
"""With fewer units expected in an arm chi-square is simulated; more units than float64 counts."""
DRAWS = 99_999
PRIOR = 200.0
"""Units that the prior of other shares counts for."""

Period = TypeVar("Period", int, str)


def sample_ratio(counts: ArrayLike, shares: ArrayLike | None = None) -> float:
    r"""How likely counts as uneven as these are, if units were spread by chance as planned.

    counts : units in each of K >= 2 arms, whole numbers. shares : planned, above 0, in any unit;
    equal by default. Pearson's test,

    .. math:: \chi^2 = \sum_k \frac{(n_k - n s_k)^2}{n s_k}

    with K - 1 degrees of freedom; where an arm expects fewer than 50 units, against 99,999 draws
    with a fixed seed, so that small values are right too. A value below 0.001, say, is not bad
    luck. 1 where there are no units.

    >>> sample_ratio([5_000, 5_050]) > 0.5
    True
    >>> sample_ratio([5_200, 4_800]) < 0.001
    True
    >>> sample_ratio([900, 100], shares=[9, 1]) > 0.99
    True
    """
    found, planned = _checked(counts, shares)
    expected = found.sum() * planned
    if not expected.all():
        return 1.0
    distance = ((found - expected) ** 2 / expected).sum()
    if expected.min() >= FEW:
        return float(chi2.sf(distance, len(found) - 1))
    drawn = np.random.default_rng(0).multinomial(int(found.sum()), planned, DRAWS)
    as_far = ((drawn - expected) ** 2 / expected).sum(axis=1) >= distance * (1 - 1e-12)
    return float((1 + np.count_nonzero(as_far)) / (1 + DRAWS))


def sample_ratio_anytime(counts: ArrayLike, shares: ArrayLike | None = None) -> float:
    r"""The same, for counts that are looked at again and again: the chance that it is ever below a
    level is at most that level, if units are spread by chance as planned.

    With a Dirichlet prior of other shares, as spread around those planned as `PRIOR` units are,

    .. math:: M = \frac{B(\alpha s + n)}{B(\alpha s) \prod_k s_k^{n_k}}

    starts at 1 and is a martingale; the p-value is 1 / M, at most 1 (Ville). M. Lindon, A. Malek,
    "Anytime-valid inference for multinomial count data" (NeurIPS 2022), arXiv 2011.03567.

    >>> sample_ratio_anytime([5_000, 5_050])
    1.0
    >>> sample_ratio_anytime([5_400, 4_600]) < 0.001
    True
    """
    found, planned = _checked(counts, shares)
    prior = PRIOR * planned
    log = float(_log_beta(prior + found) - _log_beta(prior) - found @ np.log(planned))
    return float(np.exp(-max(log, 0.0)))


def _log_beta(values: NDArray[np.float64]) -> float:
    """The logarithm of the multivariate beta function."""
    return float(gammaln(values).sum() - gammaln(values.sum()))


def _checked(
    counts: ArrayLike, shares: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts, and the shares that were planned, adding up to 1; `ValueError` for what is none."""
    found = np.asarray(counts, float)
    planned = np.ones_like(found) if shares is None else np.asarray(shares, float)
    if found.ndim != 1 or len(found) < 2 or planned.shape != found.shape:
        raise ValueError("give one count, and one share, for each of two arms or more")
    if not ((found >= 0) & (found < MOST)).all() or (found % 1).any():
        raise ValueError(f"counts are {found.tolist()}; give whole numbers of units from 0")
    if not (planned > 0).all() or not np.isfinite(planned).all():
        raise ValueError(f"shares are {planned.tolist()}; give numbers above 0")
    planned = planned / planned.max()
    return found, planned / planned.sum()


def irregular(
    periods: Sequence[Period], pvalues: ArrayLike, *, level: float = 0.01, alpha: float = 0.01
) -> list[Period]:
    """The periods in which more experiments fail their sample-ratio check than chance explains.

    periods : of each of N experiments, a week or a platform, say. pvalues : of their checks [N].
    Without anything wrong a share of `level` fails at that level, so failures in a period are
    binomial; Holm's procedure holds the chance to name any period wrongly at `alpha`. One broken
    experiment condemns no period: it takes two.

    Returns them in ascending order.

    >>> weeks = ["good"] * 50 + ["bad"] * 10
    >>> irregular(weeks, [0.3] * 49 + [1e-9] + [1e-9] * 6 + [0.5] * 4)
    ['bad']
    """
    failed = np.asarray(pvalues, float) < level
    if failed.shape != (len(periods),):
        raise ValueError("give one p-value for each experiment's period")
    names = list(dict.fromkeys(periods))
    places = {name: place for place, name in enumerate(names)}
    codes = np.array([places[period] for period in periods], int)
    size, failures = (np.bincount(codes, of, len(names)) for of in (None, failed))
    chances = np.asarray(binom.sf(failures - 1, size, level))
    many = holm(chances, alpha) & (failures > 1)
    return sorted(names[place] for place in np.flatnonzero(many).tolist())
