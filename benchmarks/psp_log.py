"""Card payments through four processors: purchases, propensities, and what success hangs on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import chi2, chi2_contingency

from matinee.models import Boosted, Context, Dataset, Histories, InMemory, Responses, Vocabulary

PROCESSORS = Vocabulary(["Goldcard", "Moneycard", "Simplecard", "UK_Card"])
FEES = np.array([[10.0, 5.0], [5.0, 2.0], [1.0, 0.5], [3.0, 1.0]])
"""In EUR of an attempt that succeeds, and of one that fails, by processor."""
SAME = ("country", "amount", "card", "secure")
"""What attempts of one purchase have in common."""
MINUTE = 60
NUMBERS = 6
"""Tries of a purchase that are told apart: the sixth and all after it are one."""
KNOWN = ("country", "quarter", "secure", "card", "hours", "weekday", "day")
BY = ("amount", "secure", "card", "number", "hour")


def attempts(folder: Path) -> pl.DataFrame:
    """One row an attempt, in order of time."""
    raw = pl.read_parquet(folder / "psp" / "psp_2019_01.parquet")
    named = raw.select(
        "country", "amount", "card", at="tmsp", row="Unnamed: 0", secure="3D_secured",
        processor="PSP", success=pl.col("success") == 1,
    )  # fmt: skip
    return named.sort("at", "row").drop("row")


def purchases(frame: pl.DataFrame) -> pl.DataFrame:
    """Attempts in order of time, with their `purchase` (from 0, by when it began) and which try
    they are of it (`number`, from 0).

    A try follows one of the same country, amount, card and 3D within a minute that failed; what
    follows a success is a new purchase.
    """
    alone = pl.col("at").diff().over(SAME).dt.total_seconds().fill_null(MINUTE + 1) > MINUTE
    paid = pl.col("success").shift(1, fill_value=False).over(SAME)
    begun = frame.with_columns(purchase=pl.when(alone | paid).then(pl.int_range(pl.len())))
    numbered = begun.with_columns(pl.col("purchase").forward_fill().over(SAME).rank("dense") - 1)
    return numbered.with_columns(number=pl.int_range(pl.len()).over("purchase"))


def unclear(frame: pl.DataFrame) -> dict[str, int]:
    """Purchases that began within a minute of an attempt of the same country and amount: after a
    success, and by another card or 3D.
    """
    alike = ("country", "amount")
    gap = pl.col("at").diff().over(alike).dt.total_seconds()
    other = pl.any_horizontal(
        pl.col(name) != pl.col(name).shift(1).over(alike) for name in ("card", "secure")
    )
    soon = frame.with_columns(gap=gap, other=other).filter(
        pl.col("gap") <= MINUTE, pl.col("number") == 0
    )
    return {
        "after a success": soon.filter(~pl.col("other")).height,
        "by another card or 3D": soon.filter("other").height,
    }


@dataclass(frozen=True)
class Log:
    """N purchases of up to T tries by A processors.

    start [N] in microseconds since 1970 and day [N] of the month; amount [N] in EUR, told [N] what
    is known of each; taken, success [N, T] and action [N, T], 0 where there was no try.
    """

    start: np.ndarray
    day: np.ndarray
    amount: np.ndarray
    told: tuple[dict[str, Any], ...]
    taken: np.ndarray
    success: np.ndarray
    action: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Log":
        first = frame.filter(pl.col("number") == 0).sort("purchase")
        shape = (first.height, int(frame["number"].max()) + 1)
        place = (frame["purchase"].to_numpy(), frame["number"].to_numpy())
        taken, success, action = np.zeros(shape, bool), np.zeros(shape), np.zeros(shape, np.int32)
        taken[place] = True
        success[place] = frame["success"].to_numpy()
        action[place] = PROCESSORS.encode(frame["processor"])
        start = first["at"].to_numpy().astype("datetime64[us]").astype(np.int64)
        told = first.select("country", "amount", "card", pl.col("secure") == 1).to_dicts()
        amount = first["amount"].to_numpy().astype(float)
        return cls(
            start, first["at"].dt.day().to_numpy(), amount, tuple(told), taken, success, action
        )

    def __len__(self) -> int:
        return len(self.start)

    def between(self, first: int, last: int) -> np.ndarray:
        """Which purchases began on these days [N]."""
        return (self.day >= first) & (self.day <= last)

    def where(self, keep: np.ndarray) -> "Log":
        rows = np.flatnonzero(keep)
        told = tuple(self.told[row] for row in rows.tolist())
        parts = (self.taken[rows], self.success[rows], self.action[rows])
        return Log(self.start[rows], self.day[rows], self.amount[rows], told, *parts)

    @property
    def fees(self) -> np.ndarray:
        """Of each try [N, T]."""
        return FEES[self.action, 1 - self.success.astype(int)]

    @property
    def net(self) -> np.ndarray:
        """Amount recovered less fees, of each try [N, T]."""
        return self.success * self.amount[:, None] - self.fees

    def context(self, rows: np.ndarray, numbers: np.ndarray) -> Context:
        """What is known of these tries [M] of these purchases [M], at their purchase's start."""
        told = tuple(
            {**self.told[row], "number": min(number, NUMBERS - 1)}
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True)
        )
        nobody = Histories.of([[]] * len(told))
        return Context(nobody, self.start[rows], (), told)

    def shares(self) -> np.ndarray:
        """How often each processor was chosen for first tries, and for later ones [2, A]."""
        counts = [
            np.bincount(self.action[:, part][self.taken[:, part]], minlength=len(PROCESSORS))
            for part in (slice(0, 1), slice(1, None))
        ]
        return np.array([count / count.sum() for count in counts])

    def rates(self) -> np.ndarray:
        """How often a try succeeded, by processor [A]."""
        own = [self.taken & (self.action == one) for one in range(len(PROCESSORS))]
        return np.array([self.success[tries].mean() for tries in own])

    def retried(self) -> np.ndarray:
        """How often one that failed was tried again, by processor [A]."""
        failed = self.taken & (self.success == 0)
        again = np.pad(self.taken[:, 1:], ((0, 0), (0, 1)))
        return np.array(
            [again[failed & (self.action == one)].mean() for one in range(len(PROCESSORS))]
        )


def fitted(log: Log, propensity: np.ndarray) -> Boosted:
    """The chance of success by try and processor, learned from these purchases."""
    rows, numbers = np.nonzero(log.taken)
    tried = (rows, numbers)
    chances = np.take_along_axis(propensity, log.action[..., None], 2)[..., 0][tried]
    responses = Responses(
        log.action[tried], log.success[tried], chances, log.context(rows, numbers)
    )
    data = Dataset(PROCESSORS, [], int(log.start.max()) + 1, responses=[InMemory(responses)])
    return Boosted(BY).fit(data)


def chances(model: Boosted, log: Log) -> np.ndarray:
    """q [N, T, A], of success of each try by each processor."""
    size, tries = log.taken.shape
    told_apart = min(NUMBERS, tries)
    rows, numbers = np.divmod(np.arange(size * told_apart), told_apart)
    q = model.believe(log.context(rows, numbers)).mean.reshape(size, told_apart, -1)
    return q[:, np.minimum(np.arange(tries), told_apart - 1)]


def propensities(log: Log, shares: np.ndarray) -> np.ndarray:
    """pi_0 [N, T, A]: the shares of first tries, then those of later ones."""
    size, tries = log.taken.shape
    by_try = shares[np.minimum(np.arange(tries), 1)]
    return np.broadcast_to(by_try, (size, tries, len(PROCESSORS)))


def independent(frame: pl.DataFrame, one: str, other: str, given: str = "") -> float:
    """The p-value of Pearson's chi-square of two columns, summed over the strata of a third."""
    total, freedom = 0.0, 0
    for stratum in frame.partition_by(given) if given else [frame]:
        counts = stratum.group_by(one, other).len().pivot(other, index=one, values="len")
        table = counts.drop(one).fill_null(0).to_numpy()
        if min(table.shape) > 1:
            found = chi2_contingency(table, correction=False)
            total, freedom = total + found.statistic, freedom + found.dof
    return float(chi2.sf(total, freedom)) if freedom else 1.0


def hanging(frame: pl.DataFrame) -> list[tuple[str, str, str, float]]:
    """(what, on what, given what, p): of choices, and of the success of tries by one processor.

    Most are asked of first tries, which are of different purchases each.
    """
    named = frame.with_columns(
        first=pl.col("number") == 0,
        number=pl.col("number").clip(0, NUMBERS - 1),
        quarter=pl.col("amount").rank("ordinal") * 4 // (pl.len() + 1),
        hours=pl.col("at").dt.hour() // 4,
        weekday=pl.col("at").dt.weekday(),
        day=pl.col("at").dt.day(),
        before=pl.col("processor").shift(1).over("purchase"),
    )
    parts = {
        "all tries": named,
        "first tries": named.filter("first"),
        "later tries": named.filter(~pl.col("first")),
    }
    asked = [("all tries", "first"), *(("first tries", name) for name in KNOWN)]
    asked += [("later tries", name) for name in (*KNOWN, "number")]
    found = [
        ("choice", name, part, independent(parts[part], name, "processor"))
        for part, name in (*asked, ("later tries", "before"))
    ]
    return found + [
        ("success", name, part, independent(parts[part], name, "success", "processor"))
        for part, name in asked
    ]
