"""Routing on real attempts: what a month of card payments through four processors can teach.

    MATINEE_DATA=... python -m benchmarks.psp

Attempts become purchases, shares of processors become propensities, after tests of what choice and
success hang on; all of it on days 1 to 21, and so are models, thresholds and mixes. Policies are
judged on days 22 to 28 by IPS, SNIPS and doubly robustly, with normal intervals clustered by
purchase; days 29 to 31 are left alone. The outcome model is `Boosted`, learned from days 1 to 21.

1. Amount recovered net of fees of an attempt, and of a whole purchase with all its tries
   (per-decision importance sampling, and doubly robust). Bar: ours is not below the best of always
   the same processor, that is, the interval of the difference reaches 0 or more.
2. Fees for each success where 95 % of the successes of always the most successful processor are
   kept: the price of a fee is chosen on days 1 to 21 by doubly robust estimates with models fitted
   without the week that is asked about. Bars: so many are kept, within the interval, and fees are
   less than that processor's, interval included.

Nothing here is drawn, so there are no seeds: policies are judged by their probabilities.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import psp_policies as policies
from benchmarks.psp_log import (
    PROCESSORS,
    Log,
    attempts,
    chances,
    fitted,
    hanging,
    propensities,
    purchases,
    unclear,
)
from matinee.evaluation.intervals import normal
from matinee.evaluation.off_policy import (
    DR,
    IPS,
    SNIPS,
    Batch,
    Calibration,
    Estimator,
    Moments,
    PerDecisionIS,
    Sequences,
    SequentialDR,
    Value,
    Weights,
)

SHOW = Console(width=150).print
TRAINED, JUDGED = (1, 21), (22, 28)
FLOOR = 0.95
COST = 1.0
"""In EUR an attempt, what exploring may cost at most by the model's own scores."""
PRICES = np.geomspace(1e-4, 1.0, 61)
"""What a EUR of fees weighs, in successes."""


class Judge:
    """Values of policies on a log, by a model's q [N, T, A] and propensities [N, T, A]."""

    def __init__(self, log: Log, q: np.ndarray, propensity: np.ndarray) -> None:
        self.log, self.q = log, q
        self.propensity = np.take_along_axis(propensity, log.action[..., None], 2)[..., 0]
        self.cluster = np.nonzero(log.taken)[0]

    def attempts(self, pi: np.ndarray, reward: np.ndarray, expected: np.ndarray) -> Batch:
        """Each try a decision: reward [N, T], expected [N, T, A]."""
        tried = self.log.taken
        return Batch.of_distributions(
            reward[tried],
            self.log.action[tried],
            self.propensity[tried],
            pi[tried],
            q=expected[tried],
            cluster=self.cluster,
        )

    def net(self, pi: np.ndarray) -> Batch:
        return self.attempts(pi, self.log.net, policies.net(self.q, self.log.amount))

    def successes(self, pi: np.ndarray) -> Batch:
        return self.attempts(pi, self.log.success, self.q)

    def fees(self, pi: np.ndarray) -> Batch:
        return self.attempts(pi, self.log.fees, policies.fee(self.q))

    def purchases(self, pi: np.ndarray, retried: np.ndarray) -> Sequences:
        """Each purchase a sequence of tries; one that fails is tried again as often as before."""
        net, log = policies.net(self.q, self.log.amount), self.log
        returns, worth = np.zeros_like(net), np.zeros(log.taken.shape)
        after = np.zeros(len(log))
        for step in reversed(range(log.taken.shape[1])):
            returns[:, step] = net[:, step] + (1 - self.q[:, step]) * retried * after[:, None]
            worth[:, step] = after = (pi[:, step] * returns[:, step]).sum(axis=1)
        own = log.action[..., None]
        return Sequences.of(
            log.net,
            self.propensity,
            np.take_along_axis(pi, own, 2)[..., 0],
            taken=log.taken,
            predicted=np.take_along_axis(returns, own, 2)[..., 0],
            expected=worth,
        )


def difference(estimator: Estimator, one: Batch, other: Batch) -> Value:
    """How much more the one is, with its error, by an estimator that is a mean."""
    terms = estimator.checked_terms(one) - estimator.checked_terms(other)
    sums = Moments.of(terms, one.cluster)
    return Value(float(sums.means[0]), sums.error(np.ones(1)), sums.rows, sums.clusters)


def ratio(estimator: Estimator, over: Sequence[Batch], under: Sequence[Batch]) -> Value:
    """The product of some means by that of others, with its error by the delta method."""
    batches = (*over, *under)
    sums = Moments.of(
        np.hstack([estimator.checked_terms(batch) for batch in batches]), batches[0].cluster
    )
    powers = np.repeat([1.0, -1.0], [len(over), len(under)])
    value = float(np.prod(sums.means**powers))
    return Value(value, sums.error(value * powers / sums.means), sums.rows, sums.clusters)


def said(value: Value, digits: int = 1, scale: float = 1.0) -> str:
    found = normal(value)
    ends = f"{scale * found.low:.{digits}f}, {scale * found.high:.{digits}f}"
    return f"{scale * found.value:.{digits}f} [{ends}]"


def by_week(log: Log, shares: np.ndarray) -> np.ndarray:
    """q [N, T, A] of each week by a model of the others."""
    week = (log.day - 1) // 7
    q = np.zeros((*log.taken.shape, len(PROCESSORS)))
    for one in np.unique(week):
        rest, asked = log.where(week != one), log.where(week == one)
        q[week == one] = chances(fitted(rest, propensities(rest, shares)), asked)
    return q


def price_of(judge: Judge, best: int) -> float:
    """The highest price of a EUR of fees at which enough successes are kept, by what was logged."""
    kept = judge.successes(policies.always(judge.log, best))
    fits = []
    for price in PRICES.tolist():
        pi = policies.greedy(judge.q - price * policies.fee(judge.q))
        if ratio(DR(), [judge.successes(pi)], [kept]).value >= FLOOR:
            fits.append(price)
    return max(fits, default=0.0)


def tell(frame: pl.DataFrame, log: Log) -> None:
    """What the days of training say of purchases, of choices and of successes."""
    tries = np.bincount(log.taken.sum(axis=1))[1:]
    print(f"{len(frame):,} attempts of {len(log):,} purchases; tries a purchase: {tries.tolist()}")
    print(f"unclear, taken as new purchases: {unclear(frame)}")
    rows = {"first tries": log.shares()[0], "later tries": log.shares()[1]}
    rows |= {"tried again after a failure": log.retried(), "successes": log.rates()}
    for name, row in rows.items():
        parts = zip(PROCESSORS.ids, row, strict=True)
        print(f"{name}:", ", ".join(f"{one} {part:.1%}" for one, part in parts))
    table = Table("what", "on what", "of", "p", title="Pearson's chi-square; success by processor")
    for what, name, part, p in hanging(frame):
        table.add_row(what, name, part, f"{p:.2g}")
    SHOW(table)
    day = frame.filter(pl.col("processor") == "Moneycard").with_columns(
        hours=pl.when(pl.col("at").dt.hour().is_between(13, 18))
        .then(pl.lit("13 to 18 h"))
        .otherwise(pl.lit("other hours"))
    )
    rates = day.group_by("hours").agg(pl.col("success").mean(), pl.len()).sort("hours").rows()
    print("Moneycard:", ", ".join(f"{rate:.1%} of {size} at {when}" for when, rate, size in rates))


def calibrated(log: Log, shares: np.ndarray) -> None:
    """Whether processors were chosen on the days judged as often as the shares say."""
    planned = propensities(log, shares)[log.taken]
    own = planned[np.arange(len(planned)), log.action[log.taken]]
    found = Calibration(len(PROCESSORS)).add(log.action[log.taken], own, weight=planned).result()
    z = ", ".join(f"{cell.z:+.1f}" for cell in found.tested if cell.action is not None)
    print(f"shares on the days judged: {'sound' if found.calibrated else 'WRONG'} (z {z})")


def first_reading(
    judge: Judge, candidates: Mapping[str, np.ndarray], best: str, retried: np.ndarray
) -> bool:
    columns = ("IPS", "SNIPS", "DR", f"less {best}", "worth")
    table = Table("policy", *columns, title="Net of fees, EUR an attempt")
    whole = Table("policy", "PDIS", "sequential DR", f"less {best}", title="EUR a purchase")
    champion = judge.net(candidates[best])
    whole_champion = judge.purchases(candidates[best], retried)
    met = True
    for name, pi in candidates.items():
        batch, units = judge.net(pi), judge.purchases(pi, retried)
        more = difference(DR(), batch, champion)
        values = [said(estimator.add(batch).result()) for estimator in (IPS(), SNIPS(), DR())]
        support = Weights.none().add(batch.weight).result()
        table.add_row(name, *values, said(more), f"{support.effective:.0f}")
        values = [said(one.add(units).result()) for one in (PerDecisionIS(), SequentialDR())]
        whole.add_row(name, *values, said(difference(SequentialDR(), units, whole_champion)))
        if name.startswith("ours"):
            met &= normal(more).high >= 0
    SHOW(table, whole)
    print(f"ours not below {best}: {'met' if met else 'MISSED'}")
    return met


def second_reading(judge: Judge, candidates: Mapping[str, np.ndarray], best: str) -> bool:
    columns = ("successes, %", f"% of {best}", "fees each", "by IPS", f"% of {best}", "net")
    table = Table("policy", *columns, title="Successes, and EUR of fees for each (DR)")
    kept, paid = judge.successes(candidates[best]), judge.fees(candidates[best])
    for name, pi in candidates.items():
        won, fees = judge.successes(pi), judge.fees(pi)
        share = ratio(DR(), [won], [kept])
        cheaper = ratio(DR(), [fees, kept], [won, paid])
        table.add_row(
            name,
            said(DR().add(won).result(), scale=100),
            said(share, scale=100),
            said(ratio(DR(), [fees], [won])),
            said(ratio(IPS(), [fees], [won])),
            said(cheaper, scale=100),
            said(DR().add(judge.net(pi)).result()),
        )
    SHOW(table)
    enough, less = normal(share).high >= FLOOR, normal(cheaper).high < 1
    print(f"at least {FLOOR:.0%} kept, within the interval: {'met' if enough else 'MISSED'}")
    print(f"fees a success below those of {best}: {'met' if less else 'MISSED'}")
    return enough and less


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds psp/psp_2019_01.parquet")
        return 2
    frame = purchases(attempts(Path(os.environ["MATINEE_DATA"])))
    whole = Log.of(frame)
    trained, judged = (whole.between(*days) for days in (TRAINED, JUDGED))
    train, test = whole.where(trained), whole.where(judged)
    tell(frame.filter(pl.col("purchase").is_in(np.flatnonzero(trained))), train)
    shares, rates, best = train.shares(), train.rates(), int(train.rates().argmax())
    calibrated(test, shares)
    model = fitted(train, propensities(train, shares))
    judge = Judge(test, chances(model, test), propensities(test, shares))
    every = {f"always {one}": policies.always(test, a) for a, one in enumerate(PROCESSORS.ids)}
    champion, net = list(every)[best], policies.net(judge.q, test.amount)
    routes = every | {
        "uniform": np.full_like(judge.q, 1 / len(PROCESSORS)),
        "as logged": propensities(test, shares),
        "cascade by success rate": policies.cascade(test, rates),
        "success-rate window, hedged": policies.hedged(test, policies.window_rates(frame)[judged]),
        "ours, inverse gaps": policies.inverse_gaps(net, len(PROCESSORS) / COST),
        "ours, greedy": policies.greedy(net),
    }
    met = first_reading(judge, routes, champion, train.retried())
    price = price_of(Judge(train, by_week(train, shares), propensities(train, shares)), best)
    print(f"a EUR of fees weighs {price:.4f} successes")
    mixes = every | {
        "blind mix": np.broadcast_to(policies.blind_mix(rates, FLOOR), judge.q.shape),
        "ours, at the floor": policies.greedy(judge.q - price * policies.fee(judge.q)),
    }
    return 0 if second_reading(judge, mixes, champion) and met else 1


if __name__ == "__main__":
    raise SystemExit(main())
