"""Boosted: gradient-boosted trees of the reward of each action in its context."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.models.base import Floats, Model, checked, several
from matinee.models.boosted.calibration import Calibration, enough
from matinee.models.boosted.columns import Columns
from matinee.models.boosted.rows import Plan, Rows, rows_of
from matinee.models.boosted.text import LONGEST, check_text, trees_of
from matinee.models.data import Context, Dataset, Indices
from matinee.models.run import Run

if TYPE_CHECKING:
    from lightgbm import Booster

Doubles = NDArray[np.float64]

PATIENCE = 20
"""Rounds without a gain on later rows, after which no more trees are grown."""
TYPICAL = 64
"""Actions, the most frequent ones, that stand for one that was never chosen."""
BLOCK = 2**17
"""Rows that the trees are asked about at a time."""
THREADS = 1
"""With one, LightGBM keeps no pool of threads for which a forked process would wait for ever."""


class Boosted(Model):
    r"""Trees that each mend what those before them left over, and a calibration of their sum.

    A decision is a row: its action, one class among all, and what `by` names: the country, the
    device, or what the app says under a feature's name. A number counts as a number and a text or
    a truth value as a class, in one column even both; lists and mappings are not read. "hour",
    "weekday" (Monday 0) and "day" (of the month) that nobody tells are those of the decision, UTC.
    With F the sum of at most `rounds` trees of at most `leaves` leaves, each of `min_rows` rows or
    more and shrunk by `learning_rate`,

    .. math:: E[r \mid x, a] = g(\alpha F(x, a) + \beta)

    with g the logistic function for a `probability` (rewards from 0 to 1, the log loss), and
    nothing for the mean of any other reward (the squared error).

    *Calibrated in time.* Trees learn from the first rows, and the last share `held_out` of them
    says when to stop and what scores are worth: alpha >= 0 and beta (Platt), or with 2,000
    successes and as many failures there (2,000 rows, for a mean) isotonic regression in place of a
    line. Rows held out at random would share their days, and their members, with what was learned,
    and so hide that both move. The trees are kept as they are: fitted once more on all rows they
    would not be those that were calibrated. With fewer than 10 successes or 10 failures later
    than all else, trees learn from everything and their scores stand.

    *Choices are not weighed* by their propensities unless `weighted`: where `by` names what the
    logging policy looked at, the mean given all that is the same under any logger, and weights
    would only add noise. Set it where the logger looked at more than `by` can name.

    Of more than `most` rows a sample is taken, by moments and the seed. *What is missing*: a
    missing class is a class; a number that is missing where it never was in training counts as the
    median; a class that was not met falls with those that splits leave aside; an action that was
    never chosen where trees learn, or is unknown (-1), gets the mean of the others, by how often
    they were chosen (the 64 most frequent); before anything was chosen all is 0. Histories play no
    part.
    Deterministic: one thread, and nothing else is drawn.

    LightGBM, whose library needs ``libgomp.so.1`` (``apt-get install libgomp1``), is imported when
    trees are grown or loaded; `MatineeError` where it cannot be.

    >>> from matinee.models.data import Histories, InMemory, Responses, Vocabulary
    >>> rng = np.random.default_rng(0)
    >>> amounts, actions = rng.choice([30, 70], 4000), rng.integers(0, 2, 4000).astype(np.int32)
    >>> paid = rng.random(4000) < np.where((actions == 1) & (amounts > 50), 0.9, 0.3)
    >>> told = tuple({"amount": amount} for amount in amounts.tolist())
    >>> seen = Context(Histories.of([[]] * 4000), np.arange(4000), (), told)
    >>> rows = Responses(actions, paid.astype(float), np.full(4000, 0.5), seen)
    >>> data = Dataset(Vocabulary(["one", "two"]), [], 4000, responses=[InMemory(rows)])
    >>> low_high = ({"amount": 30}, {"amount": 70})
    >>> asked = Context(Histories.of([[]] * 2), np.full(2, 4000), (), low_high)
    >>> Boosted(by=["amount"]).fit(data).believe(asked).mean.round(1)
    array([[0.3, 0.3],
           [0.3, 0.9]])
    """

    name: ClassVar[str] = "boosted"
    learns_from: ClassVar[Literal["histories", "responses"]] = "responses"
    references: ClassVar[tuple[str, ...]] = (
        "J. H. Friedman: Greedy function approximation: a gradient boosting machine. Annals of "
        "Statistics 29(5), 2001, 1189-1232. doi:10.1214/aos/1013203451",
        "G. Ke, Q. Meng, T. Finley, T. Wang, W. Chen, W. Ma, Q. Ye, T.-Y. Liu: LightGBM: a highly "
        "efficient gradient boosting decision tree. NIPS 2017, 3146-3154.",
        "J. C. Platt: Probabilistic outputs for support vector machines. In Advances in Large "
        "Margin Classifiers, 1999, 61-74 (the line).",
        "B. Zadrozny, C. Elkan: Transforming classifier scores into accurate multiclass "
        "probability estimates. KDD 2002, 694-699 (the steps). doi:10.1145/775047.775151",
        "A. Niculescu-Mizil, R. Caruana: Predicting good probabilities with supervised learning. "
        "ICML 2005, 625-632 (which of them when). doi:10.1145/1102351.1102430",
    )

    def __init__(
        self,
        by: Sequence[str] = ("country",),
        *,
        probability: bool = True,
        weighted: bool = False,
        rounds: int = 300,
        learning_rate: float = 0.05,
        leaves: int = 15,
        min_rows: int = 50,
        held_out: float = 0.2,
        most: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        self.by = several("by", by)
        for name, value, least, limit in (
            ("rounds", rounds, 1, 10_000),
            ("leaves", leaves, 2, 1_024),
            ("min_rows", min_rows, 1, 1_000_000),
            ("most", most, 1, 100_000_000),
            ("seed", seed, 0, 2**31 - 1),
        ):
            if value != int(value) or not least <= value <= limit:
                raise ValueError(f"{name} is {value}; give a whole number from {least} to {limit}")
        if not 0 < learning_rate <= 1:
            raise ValueError(f"learning_rate is {learning_rate}; give a number above 0, up to 1")
        if not 0 <= held_out <= 0.5:
            raise ValueError(f"held_out is {held_out}; give a share up to a half, or 0 for none")
        self.probability, self.weighted = bool(probability), bool(weighted)
        self.rounds, self.leaves, self.min_rows = rounds, leaves, min_rows
        self.learning_rate, self.held_out = learning_rate, held_out
        self.most, self.seed = most, seed

    def settings(self) -> dict[str, Any]:
        return {
            "by": list(self.by),
            "probability": self.probability,
            "weighted": self.weighted,
            "rounds": self.rounds,
            "learning_rate": self.learning_rate,
            "leaves": self.leaves,
            "min_rows": self.min_rows,
            "held_out": self.held_out,
            "most": self.most,
            "seed": self.seed,
        }

    def _fit(self, dataset: Dataset, run: Run) -> None:
        plan = Plan(self.by, self.most, self.seed, self.probability)
        found = dataset.reduce_responses(rows_of, Rows.__add__, plan) or Rows.none(plan)
        rows = found.in_order()
        cut = rows.held_out(self.held_out)
        if not (cut and enough(rows.rewards[cut:], self.probability)):
            cut = len(rows)
        earlier = rows.take(np.arange(cut))
        columns, text = Columns.of(self.by, earlier.columns), ""
        calibration = Calibration(self.probability)
        if len(rows):
            text, calibration = self._grown(rows, cut, columns)
        counts = np.bincount(earlier.actions, minlength=len(dataset.titles))
        self._keep(columns, calibration, counts.astype(np.int64), text)

    def _grown(self, rows: Rows, cut: int, columns: Columns) -> tuple[str, Calibration]:
        """The text of trees of rows before the cut, and what later ones make of their scores."""
        lightgbm, settings = _lightgbm(), self._parameters()
        table = np.column_stack([rows.actions, columns.rows(rows.columns, len(rows))])
        weights = 1 / rows.propensities if self.weighted else np.ones(len(rows))
        weights /= weights.mean()
        classes = [0, *range(1 + len(self.by), 1 + 2 * len(self.by))]
        first, last, held = slice(0, cut), slice(cut, None), cut < len(rows)
        earlier = lightgbm.Dataset(
            table[first],
            rows.rewards[first],
            weight=weights[first],
            categorical_feature=classes,
            params=settings,
        )
        later = earlier.create_valid(table[last], rows.rewards[last], weight=weights[last])
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(
            settings,
            earlier,
            self.rounds,
            valid_sets=[later] if held else [],
            callbacks=[stop] if held else [],
        )
        text = trees_of(booster.model_to_string(num_iteration=booster.best_iteration))
        if not held:
            return text, Calibration(self.probability)
        scores = booster.predict(table[last], raw_score=True, num_threads=THREADS)
        known = (rows.rewards[last], weights[last])
        return text, Calibration.fitted(scores, *known, probability=self.probability)

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": self._objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows,
            "min_data_per_group": self.min_rows,
            "cat_smooth": min(10, self.min_rows),  # rarer classes are not told apart
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": THREADS,
            "verbosity": -1,
        }

    @property
    def _objective(self) -> str:
        return "cross_entropy" if self.probability else "regression"

    def _keep(
        self, columns: Columns, calibration: Calibration, counts: NDArray[np.int64], text: str
    ) -> None:
        self._columns, self._calibration, self._counts = columns, calibration, counts
        self._text = text
        self._trees: Booster | None = _lightgbm().Booster(model_str=text) if text else None
        frequent = np.argsort(-counts, kind="stable")[:TYPICAL]
        self._typical = frequent[counts[frequent] > 0]

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        asked = np.arange(len(self.titles)) if candidates is None else candidates
        chosen = np.zeros(len(asked), bool)
        chosen[asked >= 0] = self._counts[asked[asked >= 0]] > 0
        told = self._columns.encode(context)
        scores = np.zeros((len(context), len(asked)))
        scores[:, chosen] = self._expected(told, asked[chosen])
        if len(self._typical) and not chosen.all():
            shares = self._counts[self._typical] / self._counts[self._typical].sum()
            scores[:, ~chosen] = (self._expected(told, self._typical) @ shares)[:, None]
        return scores

    def _expected(self, told: Doubles, actions: NDArray[Any]) -> Doubles:
        """Rewards [B, A] of actions that were chosen before, for rows [B, 2 P]."""
        found, step = np.zeros((len(told), len(actions))), max(1, BLOCK // max(len(actions), 1))
        if not found.size or self._trees is None:
            return found
        for first in range(0, len(told), step):
            part = told[first : first + step]
            table = np.column_stack(
                [np.tile(actions, len(part)), np.repeat(part, len(actions), axis=0)]
            )
            scores = self._trees.predict(table, raw_score=True, num_threads=THREADS)
            found[first : first + step] = np.asarray(scores).reshape(len(part), -1)
        return self._calibration(found)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "trees": np.array([self._text.encode()]),
            "counts": self._counts,
            **self._columns.arrays(),
            **self._calibration.arrays(),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        counts = checked(arrays["counts"], (len(self.titles),), np.int64)
        columns = Columns.restored(self.by, arrays)
        calibration = Calibration.restored(arrays, probability=self.probability)
        trees = arrays["trees"]
        if trees.shape != (1,) or trees.dtype.kind != "S" or trees.itemsize > LONGEST:
            raise ValueError(f"its trees are {trees.dtype} {trees.shape}, expected one text")
        text = trees[0].decode("ascii")
        if text:
            check_text(text, 1 + 2 * len(self.by), self._objective)
        if (counts < 0).any() or bool(text) != bool(counts.any()):
            raise ValueError("its trees and its counts of actions do not fit together")
        self._keep(columns, calibration, counts, text)


def _lightgbm() -> ModuleType:
    try:
        import lightgbm  # noqa: PLC0415 - a second to import, and only here
    except (ImportError, OSError) as missing:
        raise MatineeError(
            "LightGBM, which grows and reads the trees of this model, cannot be loaded",
            why=str(missing),
            next_step="pip install lightgbm, or apt-get install libgomp1 if that is missing",
        ) from missing
    module: ModuleType = lightgbm
    return module
