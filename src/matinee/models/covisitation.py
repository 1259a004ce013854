"""Co-visitation: what members watched soon after the titles that this member watched lately."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array

from matinee.models.base import Floats, Model, checked, on_candidates
from matinee.models.data import DAY, Context, Dataset, Histories, HistoryShard, Indices
from matinee.models.popularity import Popularity
from matinee.models.run import Run

TIE_BREAK = np.float32(1e-6)
"""What a share of popularity weighs beside co-visitation."""

OLDEST = 20
"""Events of this many half-lives weigh under one millionth and are left out."""


class CoVisitation(Model):
    r"""Item-to-item neighbours from watches that follow one another closely, recent ones first.

    Over all pairs of events p before q of one member, at most `window` places apart, at times
    t_p and t_q with weights w,

    .. math:: c(i, j) = \sum_{p < q,\ i_p = i,\ i_q = j} w_p w_q\, 2^{-(t_q - t_p) / d}, \qquad
              s(i, j) = \frac{c(i, j)}{n(i)\, n(j)^\alpha}

    where n(i) is the number of members who watched i, d is `gap_days` and i differs from j: the
    conditional-probability similarity of Deshpande and Karypis, with the time decay of Ding and
    Li and the direction of time kept. A member's score for j sums over their events, the last
    being 0 places old,

    .. math:: \mathrm{score}(j) = \sum_{p} w_p\, 2^{-\mathrm{age}(p) / h}\, s(i_p, j)
              + 10^{-6}\, \mathrm{share}(j)

    with h = `half_life` in events (those older than 20 h are left out) and share(j) the title's
    :class:`Popularity` in the member's country. The last term only breaks ties, and is the whole
    answer for a member without any known title. Scores are at least 0. A title that nobody
    watched, or that is unknown (-1), gets 0, below every title that somebody watched.

    `window` is in events, `gap_days` in days, `half_life` in events, `alpha` in [0, 1]: at 0
    popular titles follow everything, at 1 rare ones are favoured. The defaults have the best
    ndcg@10 on the validation targets of MovieLens-1M in the grid of ``benchmarks/ranking.py
    --tune``, with `gap_days` left at 30. Memory is one number a pair of
    titles that was seen together; fitting takes O(N window).

    >>> from matinee.models.data import Vocabulary
    >>> titles = Vocabulary(["heat", "ronin", "up", "coco"])
    >>> seen = Histories.of([[0, 1]] * 5 + [[2, 3]] * 5)
    >>> model = CoVisitation(alpha=0.0).fit(Dataset.of(titles, seen))
    >>> model.believe(Context(Histories.of([[0]]), np.zeros(1, np.int64))).mean.round(3)
    array([[0., 1., 0., 0.]], dtype=float32)
    """

    name: ClassVar[str] = "covisitation"
    references: ClassVar[tuple[str, ...]] = (
        "B. Sarwar, G. Karypis, J. Konstan, J. Riedl: Item-based collaborative filtering "
        "recommendation algorithms. WWW 2001, 285-295. doi:10.1145/371920.372071",
        "G. Linden, B. Smith, J. York: Amazon.com recommendations: item-to-item collaborative "
        "filtering. IEEE Internet Computing 7(1), 2003, 76-80. doi:10.1109/MIC.2003.1167344",
        "M. Deshpande, G. Karypis: Item-based top-N recommendation algorithms. ACM TOIS 22(1), "
        "2004, 143-177. doi:10.1145/963770.963776",
        "Y. Ding, X. Li: Time weight collaborative filtering. CIKM 2005, 485-492. "
        "doi:10.1145/1099554.1099689",
    )

    def __init__(
        self,
        window: int = 5,
        gap_days: float = 30.0,
        half_life: float = 3.0,
        alpha: float = 0.25,
    ) -> None:
        if window < 1:
            raise ValueError(f"window is {window}; give at least 1 event")
        if not (gap_days > 0 and half_life > 0):
            raise ValueError(
                f"gap_days is {gap_days} and half_life is {half_life}; both must be positive"
            )
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; give a number from 0 to 1")
        self.window = window
        self.gap_days = gap_days
        self.half_life = half_life
        self.alpha = alpha

    def settings(self) -> dict[str, Any]:
        return {
            "window": self.window,
            "gap_days": self.gap_days,
            "half_life": self.half_life,
            "alpha": self.alpha,
        }

    def _fit(self, dataset: Dataset, run: Run) -> None:
        plan = _Plan(len(dataset.titles), self.window, self.gap_days * DAY)
        pairs, members = dataset.reduce(_pairs, _add, plan)
        watched = np.maximum(members, 1.0)
        self._similar = csr_array(
            diags_array(1.0 / watched) @ pairs @ diags_array(watched**-self.alpha), dtype=np.float32
        )
        self._popularity = Popularity().fit(dataset)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        recent, weights = self._recent(context.histories)
        scores = TIE_BREAK * self._popularity.shares(recent.countries)
        for member in np.flatnonzero(np.diff(recent.offsets)):
            events = slice(recent.offsets[member], recent.offsets[member + 1])
            neighbours = self._similar[recent.titles[events]]
            scores[member] += neighbours.T @ weights[events]
        return on_candidates(scores, candidates)

    def _recent(self, histories: Histories) -> tuple[Histories, NDArray[np.float32]]:
        """The events on known titles that are not too old to matter, and what each weighs."""
        known = histories.watched()
        ends = np.repeat(known.offsets[1:], np.diff(known.offsets))
        ages = ends - 1 - np.arange(len(known.titles))
        recent = ages < OLDEST * self.half_life
        kept = known.where(recent)
        weights = kept.weights * np.exp2(-ages[recent] / self.half_life)
        return kept, weights.astype(np.float32)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "similarities": self._similar.data,
            "neighbours": self._similar.indices,
            "offsets": self._similar.indptr,
            **self._popularity._arrays(),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        size, neighbours = len(self.titles), arrays["neighbours"]
        similarities = checked(arrays["similarities"], neighbours.shape, np.float32)
        self._similar = csr_array((similarities, neighbours, arrays["offsets"]), shape=(size, size))
        self._similar.check_format(full_check=True)
        self._popularity = Popularity()
        self._popularity.titles = self.titles
        self._popularity._restore(arrays)


class _Plan(NamedTuple):
    size: int
    window: int
    gap: float


Pairs = tuple[csr_array, NDArray[np.float64]]


def _pairs(shard: HistoryShard, plan: _Plan) -> Pairs:
    """c [V, V] and n [V] of one shard."""
    histories = shard.load().watched()
    total = csr_array((plan.size, plan.size))
    for lag in range(1, min(plan.window, len(histories.titles) - 1) + 1):
        total = total + _apart(histories, lag, plan)
    return total, histories.matrix(plan.size).sum(axis=0, dtype=np.float64)


def _apart(histories: Histories, lag: int, plan: _Plan) -> csr_array:
    """The part of c [V, V] that comes from events `lag` places apart."""
    titles, times, weights = histories.titles, histories.times, histories.weights.astype(float)
    before, after = histories.pairs(lag)
    gaps = np.maximum(times[after] - times[before], 0)
    values = weights[after] * weights[before] * np.exp2(-gaps / plan.gap)
    cells = (titles[before], titles[after])
    return coo_array((values, cells), shape=(plan.size, plan.size)).tocsr()


def _add(left: Pairs, right: Pairs) -> Pairs:
    return left[0] + right[0], left[1] + right[1]
