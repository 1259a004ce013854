"""Ranking metrics over the full catalogue, with intervals.

Every title that the member has not watched is ranked; no negatives are sampled (Krichene and
Rendle, "On sampled metrics for item recommendation", KDD 2020, tell why). Among equal scores a
target comes last and other titles stand in the order of the vocabulary, so no model gains by ties.

Shapes: B members in a batch, M members in all, V titles, K places in a list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from matinee.evaluation.diversity import diversity
from matinee.evaluation.protocols import Split
from matinee.evaluation.report import Estimate, Report, Row
from matinee.models.base import Floats, Model
from matinee.models.data import Context, Dataset, Holdout
from matinee.models.popularity import Popularity
from matinee.models.run import Progress, Run

METRICS = ("hr@10", "hr@50", "ndcg@10", "coverage@10", "diversity@10", "novelty@10")
SHORT, LONG = 10, 50
BATCH = 256
"""Members scored at once: memory is about 25 bytes times BATCH times V."""

Values = NDArray[np.float64]


def evaluate(
    models: Iterable[Model],
    split: Split,
    *,
    holdout: Literal["test", "validation"] = "test",
    seed: int = 0,
    resamples: int = 1000,
    told: Callable[[str, Progress], None] = lambda _model, _progress: None,
) -> Report:
    r"""Fit each model on the training part and rank the catalogue for every member asked.

    With T the targets of a member, and h_k = 1 where place k of the list holds a target:

    - **hr@K**: the share of members with a target among the first K;
    - **ndcg@10**: :math:`\sum_{k \le 10} h_k / \log_2(k + 1)` over its greatest value,
      :math:`\sum_{k \le \min(10, |T|)} 1 / \log_2(k + 1)`;
    - **coverage@10**: the share of the vocabulary that stands in the first ten of anyone;
    - **diversity@10**: the mean over members of how much the titles of a list differ by who watched
      them (:func:`~matinee.evaluation.diversity.diversity`), from 0 to 1;
    - **novelty@10**: the mean over members of the mean of :math:`-\log_2(n_j / M)` over the list,
      in bits, with n_j of the M training members having watched title j (an unseen title counts as
      seen by one). Vargas and Castells, RecSys 2011.

    Popularity is always among the rows. Intervals are percentile bootstrap at 95 %, members
    resampled whole with `seed`, all models on the same resamples; coverage is no mean over members
    and has none. `fit` is called on the models given, and `told` hears how far a long one is. One
    that stops early by validation does not where the validation itself is asked for.

    >>> import polars as pl
    >>> from matinee.evaluation import leave_one_out
    >>> frame = pl.DataFrame({"member_id": ["a"] * 3 + ["b"] * 3, "title_id": list("xyzzyx"),
    ...                       "ts": [1, 2, 3] * 2, "seq": range(6)})
    >>> report = evaluate([], leave_one_out(frame), resamples=10)
    >>> report.rows[0].model, report.rows[0].metrics["hr@10"].value
    ('popularity', 1.0)
    """
    asked = split.test if holdout == "test" else split.validation
    if asked is None or not asked.members:
        raise ValueError(
            f"the {holdout} part of this {split.protocol['name']} split asks no member; "
            "give it more interactions, or another cut"
        )
    chosen = list(models)
    if not any(isinstance(model, Popularity) for model in chosen):
        chosen.insert(0, Popularity())
    train = split.train if holdout == "test" else replace(split.train, validation=None)
    trials = _Trials(train, asked, self_information(train), seed, resamples, told)
    return Report(
        rows=tuple(_judge(model, trials) for model in chosen),
        protocol={**split.protocol, "holdout": holdout, "seen_titles": "masked"},
        data={**split.data, "members_asked": len(asked.members)},
        seed=seed,
        resamples=resamples,
    )


def ranked(
    scores: Floats, seen: NDArray[np.bool_], targets: NDArray[np.bool_], length: int
) -> NDArray[np.int64]:
    """The first `length` unseen titles [B, K], best first; -1 where fewer are unseen.

    All arguments are [B, V]. Equal scores: targets last, then by index.

    >>> nothing = np.zeros((1, 3), bool)
    >>> ranked(np.array([[1.0, 2.0, 2.0]]), nothing, np.array([[False, True, False]]), 2)
    array([[2, 1]])
    """
    members, size = scores.shape
    length = min(length, size)
    open_scores = np.where(seen, -np.inf, scores)
    bar = np.partition(open_scores, size - length, axis=1)[:, size - length, None]
    rows, titles = np.nonzero((open_scores >= bar) & ~seen)
    order = np.lexsort((titles, targets[rows, titles], -scores[rows, titles], rows))
    rows, titles = rows[order], titles[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, np.arange(members))[rows]
    first = places < length
    lists = np.full((members, length), -1)
    lists[rows[first], places[first]] = titles[first]
    return lists


def best_lists(
    scores: Callable[[Context], Floats], asked: Holdout, length: int = LONG
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first `length` unseen titles of each member asked [M, K], best first, -1 where there are
    fewer, and which of them are targets.

    `scores` [B, V] of all titles are asked for in batches of members, in order.

    >>> from matinee.models import Histories
    >>> asked = Holdout(("a",), Context(Histories.of([[0]]), np.zeros(1)), Histories.of([[2]]))
    >>> best_lists(lambda context: np.array([[3.0, 2.0, 1.0]]), asked, 2)
    (array([[1, 2]]), array([[False,  True]]))
    """
    shown, hits = [], []
    for context, targets in asked.batches(BATCH):
        found = scores(context)
        wanted, seen = (
            rows.matrix(found.shape[1]).toarray() > 0 for rows in (targets, context.histories)
        )
        shown.append(ranked(found, seen, wanted, length))
        hits.append(np.take_along_axis(wanted, shown[-1], axis=1) & (shown[-1] >= 0))
    return np.concatenate(shown), np.concatenate(hits)


def member_metrics(hits: NDArray[np.bool_], targets: NDArray[np.int64]) -> dict[str, Values]:
    """HR and NDCG of each member [M] from `hits` [M, K] and the number of `targets` [M].

    >>> member_metrics(np.array([[False, True]]), np.array([1]))["ndcg@10"].round(3)
    array([0.631])
    """
    short = hits[:, :SHORT]
    discounts = 1.0 / np.log2(np.arange(SHORT) + 2.0)
    ideal = np.cumsum(discounts)[np.minimum(targets, SHORT) - 1]
    return {
        f"hr@{SHORT}": short.any(axis=1).astype(float),
        f"hr@{LONG}": hits[:, :LONG].any(axis=1).astype(float),
        f"ndcg@{SHORT}": short @ discounts[: short.shape[1]] / ideal,
    }


def self_information(train: Dataset) -> Values:
    """-log2 of the share of training members who watched each title [V], in bits."""
    counts, members = train.watchers()
    bits: Values = -np.log2(np.maximum(counts, 1.0) / max(members, 1))
    return bits


def bootstrap(values: Values, seed: int, resamples: int) -> tuple[Values, Values]:
    """95 % percentile interval (low [Q], high [Q]) of the mean of each column of values [M, Q].

    Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13. One row is one
    member, so resampling rows resamples clusters.

    >>> low, high = bootstrap(np.array([[0.0], [1.0]] * 50), seed=0, resamples=200)
    >>> bool(low[0] < 0.5 < high[0])
    True
    """
    rng = np.random.default_rng(seed)
    size = len(values)
    means = np.array(
        [
            np.bincount(rng.integers(0, size, size), minlength=size) @ values / size
            for _ in range(resamples)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


@dataclass(frozen=True)
class _Trials:
    """What is the same for every model that is judged."""

    train: Dataset
    asked: Holdout
    information: Values
    seed: int
    resamples: int
    told: Callable[[str, Progress], None]


def _judge(model: Model, trials: _Trials) -> Row:
    start = time.perf_counter()
    model.fit(trials.train, Run(partial(trials.told, model.name)))
    fitted = time.perf_counter()
    shown, hits = best_lists(partial(_scores, model), trials.asked)
    scored = time.perf_counter()
    return Row(
        model=model.name,
        settings=model.settings(),
        metrics=_estimates(shown, hits, trials),
        fit_seconds=fitted - start,
        score_seconds=scored - fitted,
    )


def _estimates(
    shown: NDArray[np.int64], hits: NDArray[np.bool_], trials: _Trials
) -> dict[str, Estimate]:
    each = member_metrics(hits, np.diff(trials.asked.targets.offsets))
    each[f"diversity@{SHORT}"] = diversity(shown[:, :SHORT], trials.train)
    each[f"novelty@{SHORT}"] = _novelty(shown[:, :SHORT], trials.information)
    values = np.stack(list(each.values()), axis=1)
    low, high = bootstrap(values, trials.seed, trials.resamples)
    found = {
        name: Estimate(float(mean), float(bottom), float(top))
        for name, mean, bottom, top in zip(each, values.mean(axis=0), low, high, strict=True)
    }
    recommended = np.unique(shown[:, :SHORT])
    share = np.count_nonzero(recommended >= 0) / len(trials.information)
    found[f"coverage@{SHORT}"] = Estimate(share, None, None)
    return {name: found[name] for name in METRICS}


def _scores(model: Model, context: Context) -> Floats:
    scores: Floats = model.believe(context).mean
    if not np.isfinite(scores).all():
        raise ValueError(
            f"the {model.name} model gave a score that is NaN or infinite; "
            "run matinee.testing.ModelConformance on it to find where"
        )
    return scores


def _novelty(lists: NDArray[np.int64], information: Values) -> Values:
    """Mean self-information of each list [M]; every list holds at least one title."""
    filled = lists >= 0
    bits: Values = np.where(filled, information[lists], 0.0).sum(axis=1) / filled.sum(axis=1)
    return bits
