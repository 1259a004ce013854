"""Proxy metrics from past experiments, held against effects whose covariance is known.

    python -m benchmarks.experiments_proxies [--seeds 5]

Simulated: J experiments on four short-term metrics and a north star. In standard deviations of true
effects their correlations are

                 starts  minutes  finished  returns | north star
    starts          1       .5       .1       .0    |   -.2
    minutes        .5        1       .4       .3    |    .4
    finished       .1       .4        1       .5    |    .6
    returns        .0       .3       .5        1    |    .7

(what makes members start more films has not made them stay). Of one member, starts, minutes,
finished and the north star correlate by .6, returns with any by .4, and in an experiment of size 1
the noise of the first three has the variance of their effects, that of returns and of the north
star four times as much; in one of size n it is n times smaller. In the mixed collection sizes are
between .1 and 10, evenly on a logarithmic scale.

Compared are the covariance of the estimates as they are (naive) and less that of their noise; the
proxy by regression of estimates on estimates (naive) and the optimal one for an experiment of
size 1, by their true quality; and the interval of the quality of a proxy that is known beforehand.
Large experiments count more, in all of them. 40 collections for each of `seeds`.

Bars, from 100 experiments on: the corrected covariance is nearer the truth in every row, less than
half as far off with 1,000 experiments as with 100; the interval covers in 90 % of collections; and
the corrected proxy is truly better. The last is asked of size 0.2 from 300 experiments on alone:
with fewer so weak ones the correction costs more than it mends, and the naive proxy is better.
"""

import argparse
import sys
from itertools import product

import numpy as np
import rich
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.off_policy import verdict
from matinee.experiments.proxies import (
    PastExperiments,
    effect_covariance,
    optimal_proxy,
    proxy_quality,
    quality,
)

Floats = NDArray[np.float64]

TRUE = np.array(
    [
        [1.0, 0.5, 0.1, 0.0, -0.2],
        [0.5, 1.0, 0.4, 0.3, 0.4],
        [0.1, 0.4, 1.0, 0.5, 0.6],
        [0.0, 0.3, 0.5, 1.0, 0.7],
        [-0.2, 0.4, 0.6, 0.7, 1.0],
    ]
)
SPREAD = np.sqrt([1.0, 1.0, 1.0, 4.0, 4.0])
ALIKE = np.full((5, 5), 0.6)
ALIKE[3, :] = ALIKE[:, 3] = 0.4
np.fill_diagonal(ALIKE, 1.0)
NOISE = ALIKE * np.outer(SPREAD, SPREAD)
COUNTS = (20, 50, 100, 300, 1_000)
SIZES = {"0.2": 0.2, "1": 1.0, "5": 5.0, "mixed": None}
COLLECTIONS, RESAMPLES, JUDGED = 40, 200, 100
KNOWN = np.array([0.0, 0.2, 0.4, 0.2])
"""A proxy that somebody thought of."""


def collection(count: int, size: float | None, rng: np.random.Generator) -> PastExperiments:
    sizes = np.geomspace(0.1, 10.0, count) if size is None else np.full(count, size)
    effects = rng.multivariate_normal(np.zeros(5), TRUE, count)
    mistakes = rng.multivariate_normal(np.zeros(5), NOISE, count) / np.sqrt(sizes)[:, None]
    shares = (sizes / (1 + sizes)) ** 2
    return PastExperiments(effects + mistakes, NOISE / sizes[:, None, None], shares)


def error(found: Floats) -> float:
    """How far a covariance is from the true one, as a share of that."""
    return float(np.linalg.norm(found - TRUE) / np.linalg.norm(TRUE))


def figures(past: PastExperiments, seed: int) -> list[float]:
    """Errors, naive and corrected; true qualities of proxies, naive and corrected; whether the
    interval covers, and its width. A proxy without weights has quality 0.
    """
    short = NOISE[:-1, :-1]
    naive, corrected = np.cov(past.effects.T, aweights=past.shares), effect_covariance(past)
    regressed = np.linalg.solve(naive[:-1, :-1], naive[:-1, -1])
    best = optimal_proxy(corrected, short).weights
    interval = quality(past, KNOWN, short, resamples=RESAMPLES, seed=seed)
    truth = proxy_quality(KNOWN, TRUE, short)
    return [
        error(naive),
        error(corrected),
        proxy_quality(regressed, TRUE, short),
        float(np.nan_to_num(proxy_quality(best, TRUE, short))),
        float(interval.low <= truth <= interval.high),
        interval.high - interval.low,
    ]


def study(count: int, size: float | None, seeds: int) -> Floats:
    """The mean figures of each seed, [seeds, 6]."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng((seed, count))
        drawn = [collection(count, size, rng) for _ in range(COLLECTIONS)]
        each = [figures(past, run) for run, past in enumerate(drawn)]
        rows.append(np.mean(each, axis=0))
    return np.array(rows)


def main() -> int:
    """1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    found = {
        (name, count): study(count, size, given.seeds)
        for (name, size), count in product(SIZES.items(), COUNTS)
    }
    columns = ("error naive", "corrected", "quality naive", "corrected")
    table = Table("size", "J", *columns, "covers", "width")
    table.title = f"Means and standard deviations over {given.seeds} seeds"
    for (name, count), rows in found.items():
        cells = [f"{m:.3f} ({s:.3f})" for m, s in zip(rows.mean(0), rows.std(0), strict=True)]
        cells[4:] = [f"{rows.mean(0)[4]:.1%}", f"{rows.mean(0)[5]:.2f}"]
        table.add_row(name, f"{count:,}", *cells)
    rich.print(table)
    best = optimal_proxy(TRUE, NOISE[:-1, :-1]).quality
    print(f"the best quality that there is: {best:.3f}")
    judged = {key: rows.mean(axis=0) for key, rows in found.items() if key[1] >= JUDGED}
    share = max(row[1] / row[0] for row in judged.values())
    met = verdict("error, corrected over naive, at worst", f"{share:.2f}", "1", share < 1)
    for name in SIZES:
        naive, fixed = judged[name, COUNTS[-1]][:2] / judged[name, JUDGED][:2]
        figure = f"naive {naive:.2f}, corrected {fixed:.2f}"
        what = f"error at {COUNTS[-1]:,} over that at {JUDGED}, size {name}"
        met &= verdict(what, figure, "corrected below 0.5", fixed < 0.5)
    gain = min(row[3] - row[2] for key, row in judged.items() if key != ("0.2", JUDGED))
    met &= verdict("true quality gained, at worst", f"{gain:+.3f}", "above 0", gain > 0)
    least = min(row[4] for row in judged.values())
    met &= verdict("interval of quality covers, at worst", f"{least:.1%}", "90 %", least >= 0.9)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
