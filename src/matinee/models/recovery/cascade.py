"""Cascade: what services do without learning when: a schedule, and who approves most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from matinee.models.base import Floats, Model, checked
from matinee.models.data import Context, Dataset, Indices, ResponseShard, Vocabulary
from matinee.models.recovery.actions import Actions, processors_of
from matinee.models.run import Run
from matinee.payments.actions import HOUR, who
from matinee.payments.facts import FACTS, HOURS, RANKS, Facts

DAY = 24


class Cascade(Model):
    r"""A fixed schedule, and the processor that approved the largest share of late.

    A route is worth the share of approved ones among the last `window` attempts of its processor
    (all of them where it is `None`), drawn towards that of all processors as if by `strength`
    attempts more, less 1 where that processor has declined the invoice already and a little for
    each rank of the instrument: so an invoice goes down the cascade. With `window` 0 processors are
    worth the same, and the first by name is charged.

    Of the slots the one nearest to the schedule's next day is best: `days` after the invoice was
    due, the first for the first retry; after the last of them it is to stop.

    An action that is unknown is worth nothing; without facts in the context one is worth the share
    of successes it had.

    >>> from matinee.models.data import Histories, InMemory, Responses
    >>> seen = Context(Histories.of([[]] * 4), np.arange(4), (), ({},) * 4)
    >>> rows = Responses(np.array([0, 0, 1, 1]), np.array([1.0, 0, 1, 1]), np.ones(4), seen)
    >>> data = Dataset(Vocabulary(["gold/1", "moon/1"]), [], 0, responses=[InMemory(rows)])
    >>> model = Cascade(strength=2.0).fit(data)
    >>> facts = Facts("route", 0, 999, "EUR", 0, 0, ())
    >>> asked = Context(Histories.of([[]]), np.zeros(1), (), ({FACTS: facts.told()},))
    >>> model.believe(asked).mean.round(3)
    array([[0.624, 0.874]])
    """

    name: ClassVar[str] = "cascade"
    learns_from: ClassVar[Literal["histories", "responses"]] = "responses"
    references: ClassVar[tuple[str, ...]] = (
        "B. Efron, C. Morris: Data analysis using Stein's estimator and its generalizations. "
        "JASA 70, 1975, 311-319 (shrinkage). doi:10.1080/01621459.1975.10479864",
    )

    def __init__(
        self,
        days: Sequence[float] = (1, 3, 5, 7),
        window: int | None = None,
        strength: float = 10.0,
    ) -> None:
        self.days = tuple(float(day) for day in days)
        if list(self.days) != sorted(set(self.days)) or not all(0 < d <= 28 for d in self.days):
            raise ValueError(f"days are {days}; give days above 0 and up to 28, ascending")
        if (window is not None and window < 0) or not strength > 0:
            raise ValueError("window is a number of attempts from 0, strength one above 0")
        self.window, self.strength = window, strength

    def settings(self) -> dict[str, Any]:
        return {"days": list(self.days), "window": self.window, "strength": self.strength}

    @classmethod
    def of(cls, actions: Vocabulary, rates: Mapping[str, float], **settings: Any) -> Self:
        """One that takes these shares of approved attempts, by processor, as they are."""
        model = cls(**settings)
        model.titles = actions
        model._know(rates)
        return model

    def _know(self, rates: Mapping[str, float]) -> None:
        self._rates, self._processors = dict(rates), processors_of(self.titles.ids)
        self._actions = Actions.of(self.titles.ids, self._processors)

    def _fit(self, dataset: Dataset, run: Run) -> None:
        asked = (dataset.titles.ids, self.window)
        none = _Answers((), np.zeros(0, np.int64), np.zeros(0))
        found = dataset.reduce_responses(_answers, _Answers.joined, asked) or none
        everyone = found.rewards.mean() if len(found.rewards) else 0.0
        rates = {}
        for processor in processors_of(dataset.titles.ids).ids:
            mine = found.rewards[np.array([one == processor for one in found.who], bool)]
            latest = (
                mine[-self.window :] if self.window else mine[: 0 if self.window == 0 else None]
            )
            total = latest.sum() + self.strength * everyone
            rates[processor] = float(total / (len(latest) + self.strength))
        self._know(rates)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        asked = self._actions.take(candidates)
        rows = [
            self._worth(None if told is None else Facts.read(told), asked)
            for told in context.values(FACTS)
        ]
        return np.array(rows, np.float64).reshape(len(context), len(asked.ranks))

    def _worth(self, facts: Facts | None, asked: Actions) -> NDArray[np.float64]:
        rates = np.array([*(self._rates.get(who, 0.0) for who in self._processors.ids), 0.0])
        if facts is None:
            return rates[asked.processors]
        if facts.step == "when":
            return self._slots(facts)[asked.slots]
        declined = np.zeros((len(rates), RANKS + 1))
        for one in facts.tried:
            if one.rank <= RANKS:
                declined[self._processors.encode([one.processor]), one.rank] = 1.0
        worth = rates[asked.processors] - declined[asked.processors, asked.ranks]
        worth -= 0.001 * asked.ranks
        return np.where(asked.processors >= 0, worth, 0.0)

    def _slots(self, facts: Facts) -> NDArray[np.float64]:
        """Hours off the schedule of each slot, below 0; then of a stop, which is best when no day
        is left, and of what is neither.
        """
        elapsed = (facts.at - facts.due_at) / HOUR
        left = [day for day in self.days[max(facts.number - 1, 0) :] if day * DAY > elapsed]
        if not left:
            return np.array([*np.full(len(HOURS), -1e5), 0.0, -1e6])
        return np.array([*-np.abs(elapsed + HOURS - left[0] * DAY), -1e5, -1e6])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        known = sorted(self._rates)
        return {
            "processors": np.array(known, np.str_),
            "rates": np.array([self._rates[one] for one in known], np.float64),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        known = [str(one) for one in arrays["processors"].tolist()]
        rates = checked(arrays["rates"], (len(known),), np.float64)
        self._know(dict(zip(known, rates.tolist(), strict=True)))


class _Answers(NamedTuple):
    """By whom attempts were made, when, and what came of them; in order of time."""

    who: tuple[str, ...]
    at: NDArray[np.int64]
    rewards: NDArray[np.float64]

    def joined(self, other: _Answers) -> _Answers:
        at = np.concatenate([self.at, other.at])
        order = np.argsort(at, kind="stable")
        names = (*self.who, *other.who)
        rewards = np.concatenate([self.rewards, other.rewards])
        return _Answers(tuple(names[n] for n in order.tolist()), at[order], rewards[order])


def _answers(shard: ResponseShard, asked: tuple[Sequence[str], int | None]) -> _Answers:
    """The latest attempts of a shard by each processor."""
    ids, window = asked
    responses = shard.load()
    known = np.flatnonzero(responses.actions >= 0)
    order = known[np.argsort(responses.context.at[known], kind="stable")]
    names = [who(ids[place]) for place in responses.actions[order].tolist()]
    left = dict.fromkeys(names, len(names) if window is None else window)
    kept = []
    for number in range(len(names) - 1, -1, -1):
        if left[names[number]] > 0:
            left[names[number]] -= 1
            kept.append(number)
    kept.reverse()
    return _Answers(
        tuple(names[n] for n in kept),
        np.asarray(responses.context.at[order][kept], np.int64),
        responses.rewards[order][kept],
    )
