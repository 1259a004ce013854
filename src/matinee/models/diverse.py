"""Diverse: another model's best titles in an order that repeats itself less."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from matinee import models
from matinee.models.base import Floats, Model, checked
from matinee.models.data import Content, Context, Dataset, HistoryShard, Indices
from matinee.models.run import Run

DIMENSIONS, SPARE, POWERS = 64, 16, 2
"""Of the vectors of co-watching: how many, how many more on the way, and how often multiplied."""

LAST = np.float32(-1e30)
"""What a title is worth that stays where it is, below any that is placed."""

Vectors = NDArray[np.float32]


class Diverse(Model):
    r"""Any model of titles, its best ones re-ordered so that like titles do not follow each other.

    Of the candidates that the member has not watched, the `segment` best are placed one after the
    other by maximal marginal relevance. With z_i the model's score, brought to mean 0 and standard
    deviation 1 over the segment, and P the titles already placed, the next one is

    .. math:: \arg\max_{i \notin P} \; z_i - \mathrm{strength} \cdot
              \max\Bigl(0, \max_{j \in P} \cos(v_i, v_j)\Bigr)

    so `strength` (0 to 1000) is what a copy of a placed title loses, in standard deviations, the
    unit of a policy's temperature; Carbonell and Goldstein's lambda is 1 / (1 + strength). The
    title at place k then gets the k-th largest score of the segment: the scores are the same ones,
    differently dealt, and a temperature and the propensities mean what they did. At 0 the scores
    are the model's own. Equal gains go to the better title.

    *What takes no part.* Titles already watched, and candidates that are unknown (-1), keep their
    score and push nothing down; so do titles below the segment, which stay below. What a mask takes
    away later did take part: a title that stands higher on the page pushes its like down.

    *A list, not columns.* The answer on `candidates` is an order of these alone, so that what
    cannot be shown in a country, or is not of a row's genre, pushes nothing down. A title's score
    depends on what it stands among.

    `model` is the name of the model and `settings` are its own. The vectors v are the model's
    :meth:`~matinee.models.Model.vectors` where it has any; else the first 64 principal axes of
    who watched what: of the correlation of titles over members, found by subspace iteration in four
    passes over the histories. A title that nobody watched has none then, and is like no other.

    It adds O(segment^2 d) to scoring a member, with vectors of d numbers.

    >>> from matinee.models.data import Histories, Vocabulary
    >>> titles = Vocabulary(["alien", "aliens", "amelie"])
    >>> seen = Histories.of([[0, 1]] * 4 + [[0, 1], [2], [2], [2], [0]])
    >>> model = Diverse("popularity", strength=3.0).fit(Dataset.of(titles, seen))
    >>> model.believe(Context(Histories.of([[]]), np.zeros(1, np.int64))).mean.round(2)
    array([[0.43, 0.21, 0.36]], dtype=float32)
    """

    name: ClassVar[str] = "diverse"
    references: ClassVar[tuple[str, ...]] = (
        "J. Carbonell, J. Goldstein: The use of MMR, diversity-based reranking for reordering "
        "documents and producing summaries. SIGIR 1998, 335-336. doi:10.1145/290941.291025",
        "N. Halko, P. G. Martinsson, J. A. Tropp: Finding structure with randomness. SIAM Review "
        "53(2), 2011, 217-288 (subspace iteration). doi:10.1137/090771806",
    )

    def __init__(
        self,
        model: str = "ease",
        settings: Mapping[str, Any] | None = None,
        strength: float = 2.0,
        segment: int = 100,
    ) -> None:
        if not 0 <= strength <= 1000:
            raise ValueError(
                f"strength is {strength}; give a number from 0 to 1000, usually 0.5 to 3"
            )
        if segment < 1:
            raise ValueError(f"segment is {segment}; give at least 1 title")
        kind = models.model_class(model)
        if kind is Diverse or kind.learns_from != "histories":
            raise ValueError(f"{model} does not rank titles by itself; name a model that does")
        self.model = kind(**(settings or {}))
        self.strength = strength
        self.segment = segment

    def settings(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "settings": self.model.settings(),
            "strength": self.strength,
            "segment": self.segment,
        }

    def adopt(self, content: Content) -> Self:
        """The same over the inner model's adopted titles; without its vectors they have none."""
        wider = self.model.adopt(content)
        if wider is self.model:
            return self
        adopted = copy(self)
        adopted.model, adopted.titles = wider, wider.titles
        own = wider.vectors()
        adopted._vectors = _unit(own) if own is not None else self._known(len(wider.titles))
        return adopted

    def effects(
        self, context: Context, candidates: Indices | None = None, latest: int = 5
    ) -> tuple[Indices, Floats]:
        """Those of the inner model: re-dealt scores would say where a title stands, not why."""
        return self.model.effects(context, candidates, latest)

    def vectors(self) -> Floats:
        """Of all titles [V, d], each of length 1, or 0 where it has none."""
        self._require_fitted()
        return self._vectors

    def _known(self, size: int) -> Vectors:
        known = np.zeros((size, self._vectors.shape[1]), np.float32)
        known[: len(self._vectors)] = self._vectors
        return known

    def _fit(self, dataset: Dataset, run: Run) -> None:
        self.model.fit(dataset, run)
        own = self.model.vectors()
        self._vectors = _unit(_watched_together(dataset) if own is None else own)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        scores = self.model.believe(context, candidates).mean
        if not self.strength or not scores.size:
            return scores
        if candidates is None:
            return self._dealt(scores, context)
        known = candidates >= 0
        whole = np.full((len(scores), len(self.titles)), -np.inf, scores.dtype)
        whole[:, candidates[known]] = scores[:, known]
        scores[:, known] = self._dealt(whole, context)[:, candidates[known]]
        return scores

    def _dealt(self, scores: Floats, context: Context) -> Floats:
        """Scores [B, V] with those of each member's segment dealt anew; -inf is no candidate."""
        members = np.arange(len(scores))[:, None]
        unwatched = scores.copy()
        watched = context.histories.watched()
        unwatched[watched.members(), watched.titles] = -np.inf
        segment = _best(unwatched, self.segment)
        order = self._order(unwatched[members, segment], segment)
        dealt = scores.copy()
        dealt[members, segment[members, order]] = scores[members, segment]
        return dealt

    def _order(self, scores: Floats, segment: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in the segment [B, S] in the order of maximal marginal relevance.

        What is -inf stands at the end and stays there.
        """
        worth = _standardised(scores)
        vectors = self._vectors[segment]
        members = np.arange(len(segment))
        nearest = np.zeros_like(worth)
        order = np.empty(segment.shape, np.int64)
        for place in range(segment.shape[1]):
            placed = (worth - self.strength * nearest).argmax(axis=1)
            order[:, place] = placed
            worth[members, placed] = -np.inf
            near = vectors @ vectors[members, placed, :, None]
            np.maximum(nearest, near[..., 0], out=nearest)
        return order

    def _arrays(self) -> dict[str, NDArray[Any]]:
        inner = {f"model_{name}": array for name, array in self.model._arrays().items()}
        return {"vectors": self._vectors, **inner}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        shape = (len(self.titles), *arrays["vectors"].shape[1:])
        self._vectors = checked(arrays["vectors"], shape, np.float32)
        self.model.titles = self.titles
        inner = {name: array for name, array in arrays.items() if name.startswith("model_")}
        self.model._restore({name.removeprefix("model_"): a for name, a in inner.items()})


def _best(scores: Floats, length: int) -> NDArray[np.int64]:
    """The titles of the `length` largest scores [B, S], best first, equals by index."""
    size, rising = scores.shape[1], np.negative(scores)
    if length < size:
        bar = np.partition(rising, length - 1, axis=1)[:, length - 1, None]
        above, equal = rising < bar, rising == bar
        room = length - above.sum(axis=1, keepdims=True)
        first = above | (equal & (np.cumsum(equal, axis=1) <= room))
        some = np.nonzero(first)[1].reshape(len(scores), length)
    else:
        some = np.tile(np.arange(size), (len(scores), 1))
    falling = np.argsort(np.take_along_axis(rising, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, falling, axis=1)


def _standardised(scores: Floats) -> Vectors:
    """Mean 0 and standard deviation 1 over what is finite in each row; `LAST` where it is not."""
    some = np.isfinite(scores)
    number = np.maximum(some.sum(axis=1, keepdims=True), 1)
    finite = np.where(some, scores, 0.0).astype(np.float64)
    centred = np.where(some, finite - finite.sum(axis=1, keepdims=True) / number, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / number)
    unit = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 0)
    return np.where(some, unit, LAST).astype(np.float32)


def _unit(vectors: Floats) -> Vectors:
    """Rows of length 1; those without a direction stay 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)
    return np.asarray(unit, np.float32)


class _Shares(NamedTuple):
    """The share of M members who watched each title [V], and its standard deviation [V]."""

    members: int
    share: NDArray[np.float64]
    deviation: NDArray[np.float64]


def _watched_together(dataset: Dataset) -> NDArray[np.float64]:
    """The principal axes [V, d] of the correlation of titles over members, each by its weight."""
    size = len(dataset.titles)
    counts, members = dataset.watchers()
    share = counts / max(members, 1)
    shares = _Shares(max(members, 1), share, np.sqrt(share * (1 - share)))
    width = min(DIMENSIONS + SPARE, size)
    axes = np.random.default_rng(0).standard_normal((size, width))
    for _ in range(POWERS):
        axes = np.linalg.qr(_correlated(dataset, shares, axes))[0]
    values, turn = np.linalg.eigh(axes.T @ _correlated(dataset, shares, axes))
    kept = slice(max(width - DIMENSIONS, 0), None)
    found: NDArray[np.float64] = axes @ turn[:, kept] * np.sqrt(np.maximum(values[kept], 0.0))
    return found


def _correlated(
    dataset: Dataset, shares: _Shares, axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The correlation [V, V] times `axes` [V, K], without making it."""
    deviation = shares.deviation[:, None]
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scaled = axes * inverse
    together = dataset.reduce(_together, np.add, scaled) / shares.members
    result: NDArray[np.float64] = inverse * (
        together - np.outer(shares.share, shares.share @ scaled)
    )
    return result


def _together(shard: HistoryShard, axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """X^T X [V, V] of one shard times `axes` [V, K]."""
    watched = shard.load().matrix(len(axes))
    found: NDArray[np.float64] = watched.T @ (watched @ axes)
    return found
