"""Response: the mean reward of each action, for those alike and for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.base import Floats, Model, checked, on_candidates, several
from matinee.models.data import Context, Dataset, Indices, ResponseShard
from matinee.models.run import Run

Sums = dict[str, NDArray[np.float64]]
"""Of each cell and every action [5, V]: the sums of w = 1 / p, w^2, w r, 1 and r."""

MOST_CELLS, MOST_MEANS = 10_000, 20_000_000
"""Cells, and cells times actions, that are told apart at most."""


class Response(Model):
    r"""What an action earned, weighed so that how often it was chosen does not matter.

    A cell c holds the members whose values of `by` are equal: their country, device, or what the
    app says under a feature's name. With w_i = 1 / p_i of the logged choices of action a, their
    mean (Hajek's ratio estimator) and effective number (Kish) are

    .. math:: m = \frac{\sum_i w_i r_i}{\sum_i w_i}, \qquad
              n = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    and each mean is drawn towards the next wider one, worth `strength` > 0 choices, a rare action
    or cell more than a frequent one:

    .. math:: q(a) = \frac{n_a m_a + s\,m_0}{n_a + s}, \qquad
              q(c, a) = \frac{n_{ca} m_{ca} + s\,q(a)}{n_{ca} + s}

    where m_0 is the mean reward of all choices, 0 before there are any. An action that was never
    chosen, or is unknown (-1), gets m_0; members of a cell that was never met get q(a). Histories
    play no part.

    >>> from matinee.models.data import Histories, InMemory, Responses, Vocabulary
    >>> seen = Context(Histories.of([[]] * 4, countries=["NL", "NL", "US", "US"]), np.zeros(4))
    >>> rows = Responses(np.array([0, 1, 0, 1]), np.array([1.0, 0, 0, 1]), np.full(4, 0.5), seen)
    >>> data = Dataset(Vocabulary(["a", "b"]), [], 0, responses=[InMemory(rows)])
    >>> model = Response(strength=1.0).fit(data)
    >>> asked = Context(Histories.of([[], []], countries=["NL", "FR"]), np.zeros(2))
    >>> model.believe(asked).mean
    array([[0.75, 0.25],
           [0.5 , 0.5 ]], dtype=float32)
    """

    name: ClassVar[str] = "response"
    learns_from: ClassVar[Literal["histories", "responses"]] = "responses"
    references: ClassVar[tuple[str, ...]] = (
        "J. Hajek: Comment on a paper by D. Basu. In Foundations of Statistical Inference, 1971, "
        "236 (the weighted ratio).",
        "L. Kish: Survey sampling. Wiley, 1965 (the effective number).",
        "B. Efron, C. Morris: Data analysis using Stein's estimator and its generalizations. "
        "JASA 70, 1975, 311-319 (shrinkage). doi:10.1080/01621459.1975.10479864",
    )

    def __init__(self, by: Sequence[str] = ("country",), strength: float = 50.0) -> None:
        self.by = several("by", by)
        if not 0 < strength < float("inf"):
            raise ValueError(f"strength is {strength}; give a positive number of choices")
        self.strength = strength

    def settings(self) -> dict[str, Any]:
        return {"by": list(self.by), "strength": self.strength}

    def _fit(self, dataset: Dataset, run: Run) -> None:
        size = len(dataset.titles)
        sums = dataset.reduce_responses(_sums, _add, _Plan(size, self.by)) or {}
        _check_few(len(sums), _Plan(size, self.by))
        whole = np.sum([np.zeros((5, size)), *sums.values()], axis=0)
        prior = whole[4].sum() / max(whole[3].sum(), 1.0)
        everyone = self._shrink(whole, prior)
        cells = sorted(sums) if self.by else []
        local = [self._shrink(sums[cell], everyone) for cell in cells]
        self._keep(cells, np.array([everyone, *local], np.float32), np.float32(prior))

    def _shrink(self, sums: NDArray[np.float64], wider: Any) -> Any:
        weight, squares, reward, _, _ = sums
        some = weight > 0
        mean = np.divide(reward, weight, out=np.zeros_like(weight), where=some)
        number = np.divide(weight**2, squares, out=np.zeros_like(weight), where=some)
        return (number * mean + self.strength * wider) / (number + self.strength)

    def _keep(self, cells: list[str], means: NDArray[np.float32], prior: np.float32) -> None:
        self._rows = {cell: row for row, cell in enumerate(cells, start=1)}
        self._means, self._prior = means, prior

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        rows = [self._rows.get(cell, 0) for cell in _cells(context, self.by)]
        return on_candidates(self._means[rows], candidates, float(self._prior))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "cells": np.array(list(self._rows), np.str_),
            "means": self._means,
            "prior": np.array([self._prior]),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        cells = [str(cell) for cell in arrays["cells"]]
        means = checked(arrays["means"], (1 + len(cells), len(self.titles)), np.float32)
        (prior,) = checked(arrays["prior"], (1,), np.float32)
        self._keep(cells, means, prior)


class _Plan(NamedTuple):
    size: int
    by: tuple[str, ...]


def _cells(context: Context, by: Sequence[str]) -> list[str]:
    """The cell of each row: its values as JSON text."""
    columns = [context.values(name) for name in by]
    rows = zip(*columns, strict=True) if columns else ((),) * len(context)
    return [json.dumps(row, sort_keys=True) for row in rows]


def _check_few(cells: int, plan: _Plan) -> None:
    most = min(MOST_CELLS, MOST_MEANS // max(plan.size, 1))
    if cells > most:
        raise ValueError(
            f"{' x '.join(plan.by)} have {cells:,} values, more than {most:,}; leave out what is a "
            "number or an id, or let the app send a few classes of it"
        )


def _sums(shard: ResponseShard, plan: _Plan) -> Sums:
    responses = shard.load()
    known = responses.actions >= 0
    names, cells = np.unique(
        np.array(_cells(responses.context, plan.by), np.str_)[known], return_inverse=True
    )
    _check_few(len(names), plan)
    weight, reward = 1 / responses.propensities[known], responses.rewards[known]
    places = cells * plan.size + responses.actions[known]
    shape = (len(names), plan.size)
    columns = [
        np.bincount(places, weights=column, minlength=shape[0] * shape[1]).reshape(shape)
        for column in (weight, weight**2, weight * reward, np.ones_like(weight), reward)
    ]
    return dict(zip(names.tolist(), np.stack(columns, axis=1), strict=True))


def _add(left: Sums, right: Sums) -> Sums:
    merged = dict(left)
    for cell, sums in right.items():
        merged[cell] = merged[cell] + sums if cell in merged else sums
    return merged
