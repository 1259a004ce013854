"""Popularity: what everyone watches, here and lately."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from matinee.models.base import Floats, Model, checked, on_candidates
from matinee.models.data import DAY, Context, Dataset, HistoryShard, Indices
from matinee.models.run import Run

Counts = dict[str | None, NDArray[np.float64]]


class Popularity(Model):
    r"""The share of a country's watches that a title has, shrunk towards its share everywhere.

    With :math:`n_c(i)` the members of country c who watched title i in the last `days` before the
    data's as-of time (each member once), N_c their sum and m the `shrinkage`,

    .. math:: p_c(i) = \frac{n_c(i) + m\,p(i)}{N_c + m}, \qquad
              p(i) = \frac{n(i) + m\,q(i)}{N + m}

    where n counts all countries in the window and q is the share over all time. Scores lie in
    [0, 1] and sum to one over titles. A member without a country, or from one never seen, gets
    p. History plays no part, so a cold member is nothing special. A title that nobody watched, or
    that is unknown (-1), gets 0, below every title that somebody watched.

    `days` is the window (all time by default); `shrinkage` is in watches and positive.

    >>> from matinee.models.data import Histories, Vocabulary
    >>> seen = Histories.of([[0, 1], [0]], countries=["NL", "US"])
    >>> model = Popularity(shrinkage=1.0).fit(Dataset.of(Vocabulary(["heat", "alien"]), seen))
    >>> members = Context(Histories.of([[], []], countries=["NL", "FR"]), np.zeros(2, np.int64))
    >>> model.believe(members).mean.round(3)
    array([[0.556, 0.444],
           [0.667, 0.333]], dtype=float32)
    """

    name: ClassVar[str] = "popularity"
    references: ClassVar[tuple[str, ...]] = (
        "P. Cremonesi, Y. Koren, R. Turrin: Performance of recommender algorithms on top-N "
        "recommendation tasks. RecSys 2010, 39-46. doi:10.1145/1864708.1864721",
        "C. Zhai, J. Lafferty: A study of smoothing methods for language models applied to "
        "information retrieval. ACM TOIS 22(2), 2004, 179-214 (Dirichlet prior smoothing). "
        "doi:10.1145/984321.984322",
    )

    def __init__(self, days: float | None = None, shrinkage: float = 100.0) -> None:
        if days is not None and not 0 < days < float("inf"):
            raise ValueError(f"days is {days}; give a positive number, or None for all time")
        if not 0 < shrinkage < float("inf"):
            raise ValueError(f"shrinkage is {shrinkage}; give a positive number of watches")
        self.days = days
        self.shrinkage = shrinkage

    def settings(self) -> dict[str, Any]:
        return {"days": self.days, "shrinkage": self.shrinkage}

    def shares(self, countries: tuple[str | None, ...]) -> NDArray[np.float32]:
        """The scores [B, V] of all titles for members of these countries."""
        return self._shares[[self._rows.get(country, 0) for country in countries]]

    def _fit(self, dataset: Dataset, run: Run) -> None:
        start = None if self.days is None else dataset.as_of - int(self.days * DAY)
        counts = dataset.reduce(_count, _add, _Plan(len(dataset.titles), start))
        recent, ever = np.sum(list(counts.values()), axis=0)
        everywhere = self._shrink(recent, ever / max(ever.sum(), 1.0))
        countries = sorted(country for country in counts if country is not None)
        local = [self._shrink(counts[country][0], everywhere) for country in countries]
        self._keep(countries, np.array([everywhere, *local], np.float32))

    def _shrink(self, counts: NDArray[np.float64], prior: NDArray[np.float64]) -> Any:
        return (counts + self.shrinkage * prior) / (counts.sum() + self.shrinkage)

    def _keep(self, countries: list[str], shares: NDArray[np.float32]) -> None:
        self._rows: dict[str | None, int] = {
            country: row for row, country in enumerate(countries, start=1)
        }
        self._shares = shares

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        return on_candidates(self.shares(context.histories.countries), candidates)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"countries": np.array(list(self._rows), np.str_), "shares": self._shares}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        countries = [str(country) for country in arrays["countries"]]
        shape = (1 + len(countries), len(self.titles))
        self._keep(countries, checked(arrays["shares"], shape, np.float32))


class _Plan(NamedTuple):
    size: int
    start: int | None


def _count(shard: HistoryShard, plan: _Plan) -> Counts:
    """By country, how many members watched each title [2, V]: in the window, and ever."""
    histories = shard.load()
    codes = {country: code for code, country in enumerate(dict.fromkeys(histories.countries))}
    rows = np.fromiter((codes[country] for country in histories.countries), np.int64)
    by_country = csr_array(
        (np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(codes), len(rows))
    )
    recent = histories if plan.start is None else histories.where(histories.times >= plan.start)
    counts = np.stack(
        [(by_country @ part.matrix(plan.size)).toarray() for part in (recent, histories)], axis=1
    )
    return {None: np.zeros((2, plan.size))} | dict(zip(codes, counts, strict=True))


def _add(left: Counts, right: Counts) -> Counts:
    merged = dict(left)
    for country, counts in right.items():
        merged[country] = merged[country] + counts if country in merged else counts
    return merged
