"""Recovery: the value of each route and of each slot, in the money of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from matinee.features.attempted import (
    CATEGORIES,
    NUMBERS,
    Calendar,
    calendar,
    described,
    slot_calendar,
)
from matinee.models.base import Floats, Model, checked
from matinee.models.boosted import Boosted
from matinee.models.data import (
    Context,
    Dataset,
    Histories,
    Indices,
    Responses,
    ResponseShard,
    Vocabulary,
)
from matinee.models.recovery.actions import Actions, processors_of
from matinee.models.recovery.hazard import CYCLES, SINCE, WORDS, Ahead, Hazard
from matinee.models.recovery.plan import Slots, Stakes
from matinee.models.run import Run
from matinee.payments.facts import FACTS, HOURS, Facts, Price

DAY = 24
FREE = Price()
LEAST = 1e-6
"""What trees may hold for impossible happens so often."""


class Recovery(Model):
    r"""What an attempt on an invoice is worth, beside none.

    A route: with p the chance of approval (:class:`~matinee.models.Boosted` trees on the invoice,
    the instrument, the time and what was tried, by processor; after a first attempt the mean, as
    log odds, of what they and the hazard below say), a the amount, s and f the
    processor's share and fee, w what the member is worth on service beyond off it, d the expected
    `dispute` as a share of the amount, c the fee of a decline, and e the network's penalty and
    `effort`, a share of the amount that any attempt costs beside fees,

    .. math:: v = p\,(a (1 - s) - f + w - d a) - (1 - p)\,c - e

    A slot: the same with the chance of a :class:`~matinee.models.recovery.Hazard`, and what may
    still come if it fails, planned by dynamic programming over at most `most` attempts in all. A
    day of waiting costs the share `fading` of all that (the member may leave, and the rest of the
    month is lost), and a decline ends it with the chance `annoyed`. Of what is planned for later
    the share `trust` is believed: the best of many estimates is too high (Smith and Winkler).
    To stop is worth 0. Values are in the money of the service (`Facts.unit`), at most `limit` from
    0 either way. An instrument that there is not, or a processor without a price, is worth
    ``-limit``; a processor that was never met what the others are on average.

    It learns from attempts: the facts of each, by which route, and whether it was approved.
    Without facts in the context an action is worth what it brought members of the same country.
    """

    name: ClassVar[str] = "recovery"
    learns_from: ClassVar[Literal["histories", "responses"]] = "responses"
    references: ClassVar[tuple[str, ...]] = (
        *Boosted.references,
        "J. E. Smith, R. L. Winkler: The optimizer's curse. "
        "Management Science 52(3), 2006, 311-322. doi:10.1287/mnsc.1050.0451",
        "R. Bellman: Dynamic Programming. Princeton University Press, 1957.",
        "J. D. Singer, J. B. Willett: It's about time: using discrete-time survival analysis to "
        "study duration and the timing of events. Journal of Educational Statistics 18(2), 1993, "
        "155-195. doi:10.3102/10769986018002155",
    )

    def __init__(
        self,
        *,
        dispute: float = 0.002,
        most: int = 8,
        effort: float = 0.12,
        trust: float = 0.8,
        fading: float = 0.01,
        annoyed: float = 0.005,
        strength: float = 30.0,
        limit: float = 10_000.0,
        trees: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= dispute < 1:
            raise ValueError(f"dispute is {dispute}; give the share of money that is disputed")
        if not 0 <= fading <= 1 or not 0 <= annoyed < 1:
            raise ValueError("fading and annoyed are shares, of a day and of a decline")
        if most < 1 or not strength > 0 or not limit > 0:
            raise ValueError("most, strength and limit must be above 0")
        if not 0 <= trust <= 1 or not 0 <= effort < 1:
            raise ValueError("trust and effort are shares, of what is planned and of an amount")
        self.fading, self.annoyed = fading, annoyed
        self.dispute, self.most, self.strength, self.limit = dispute, most, strength, limit
        self.effort, self.trust = effort, trust
        self.trees = dict(trees or {})
        self.approval = Boosted(by=(*CATEGORIES, *NUMBERS), **self.trees)

    def settings(self) -> dict[str, Any]:
        return {
            "dispute": self.dispute,
            "most": self.most,
            "effort": self.effort,
            "trust": self.trust,
            "fading": self.fading,
            "annoyed": self.annoyed,
            "strength": self.strength,
            "limit": self.limit,
            "trees": self.trees,
        }

    def _fit(self, dataset: Dataset, run: Run) -> None:
        processors = processors_of(dataset.titles.ids)
        self._actions = Actions.of(dataset.titles.ids, processors)
        attempts = _Attempts(self._actions, processors.ids)
        shards = [_Shard(shard, attempts) for shard in dataset.responses]
        self.approval.fit(Dataset(processors, [], dataset.as_of, dataset.executor, shards), run)
        rows = dataset.reduce_responses(_attempted, _Rows.__add__, attempts) or _Rows.none()
        self.hazard = Hazard.fitted(rows.columns(), rows.approved, self.strength)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        asked = self._actions.take(candidates)
        told = context.values(FACTS)
        scores = np.zeros((len(context), len(asked.ranks)), np.float64)
        plain = np.array([one is None for one in told], bool)
        if plain.any():
            scores[plain] = self._plainly(context.take(np.flatnonzero(plain)), asked)
        for row in np.flatnonzero(~plain).tolist():
            facts = Facts.read(told[row])
            worth = self._routes if facts.step == "route" else self._slots
            scores[row] = facts.unit * worth(facts, asked)
        return np.minimum(np.maximum(scores, -self.limit), self.limit)

    def _plainly(self, context: Context, asked: Actions) -> NDArray[np.float64]:
        """What actions brought before, as far as the context tells."""
        found = self.approval.believe(context, asked.processors).mean
        return np.asarray(found, np.float64)

    def _routes(self, facts: Facts, asked: Actions) -> NDArray[np.float64]:
        """What each route brings if it is charged now, in minor units [A]."""
        names, ranks = self.approval.titles.ids, len(facts.means)
        worth = np.full((ranks + 1, len(names) + 1), -np.inf)  # the last ones for what is not there
        if ranks and names:
            known = np.array([name in facts.prices for name in names], bool)
            for rank, chances in enumerate(self.approvals(facts), start=1):
                brings = self._stakes(facts, rank, names).worth(chances)
                worth[rank - 1, :-1] = np.where(known, brings, -np.inf)
        there = asked.ranks <= ranks
        found: NDArray[np.float64] = worth[np.where(there, asked.ranks - 1, -1), asked.processors]
        return found

    def approvals(self, facts: Facts) -> NDArray[np.float64]:
        """The chance of approval of each instrument [R] by each known processor [P], now."""
        now, names = calendar(facts, np.array([facts.at], np.int64)), self.approval.titles.ids
        flat = [_flattened(facts, rank, now) for rank in range(1, len(facts.means) + 1)]
        times, countries = np.full(len(flat), facts.at), [facts.country] * len(flat)
        asked = Context(Histories.of([[]] * len(flat), countries=countries), times, (), tuple(flat))
        trees = np.asarray(self.approval.believe(asked).mean, np.float64)
        if not facts.number:
            return trees
        again = [self.hazard.now(one, names) for one in flat]
        found: NDArray[np.float64] = expit((logit(np.clip(trees, LEAST, 1 - LEAST)) + again) / 2)
        return found

    def _slots(self, facts: Facts, asked: Actions) -> NDArray[np.float64]:
        """What each slot is worth [A], with whichever instrument is best there, in minor units; 0
        for what is none.
        """
        plans, left = list(self._plans(facts)), self.most - facts.number
        after = [self.trust * slots.after(ahead.chances, left - 1) for slots, ahead in plans]
        begun = []
        if len(plans) > 1 and left > 1:  # an attempt with another one, and what follows that
            then = [self.trust * slots.after(ahead.chances, left - 2) for slots, ahead in plans]
            begun = [self.trust * plan[0].begun(v) for plan, v in zip(plans, then, strict=True)]
        worth = [
            slots.worth(reduce(np.maximum, begun[:number] + begun[number + 1 :], after[number]))
            for number, (slots, _) in enumerate(plans)
        ]
        found = reduce(np.maximum, worth, np.full(len(HOURS), -np.inf))
        return np.concatenate([found, [0.0, 0.0]])[asked.slots]

    def _plans(self, facts: Facts) -> Iterator[tuple[Slots, Ahead]]:
        """For each instrument that may be charged again its slots, with the processor that is best
        there, and what is to come.
        """
        now, fades = slot_calendar(facts), np.exp(-self.fading / DAY * HOURS)
        for rank in range(1, len(facts.means) + 1) if facts.number < self.most else ():
            allowed = facts.allowed(rank)
            if not allowed.any():
                continue
            known = {**described(facts, rank), **now.known, **now.since(facts, rank)}
            reached = facts.reached.get(str(rank), facts.prices)
            names = [name for name in reached if name in facts.prices] or [""]
            ahead, added = self.hazard.ahead(known), self.hazard.processors(known, names)
            stakes = self._stakes(facts, rank, names)
            best = int(stakes.worth(expit(ahead.next[allowed].max() + added)).argmax())
            ahead = ahead.plus(float(added[best]))
            here = Stakes(stakes.gain[best] * fades, stakes.cost[best] * fades, self.annoyed)
            slots = Slots(HOURS, allowed, expit(ahead.next), here)
            yield slots, ahead

    def _stakes(self, facts: Facts, rank: int, names: Sequence[str]) -> Stakes:
        """What an attempt with an instrument by each processor [P] brings and costs now, in minor
        units of the invoice.
        """
        prices = [facts.prices.get(name, FREE) for name in names]
        share, approved, declined = np.array([(p.share, p.approved, p.declined) for p in prices]).T
        fine = facts.penalties[rank - 1] if rank <= len(facts.penalties) else 0.0
        costs = fine + self.effort * facts.amount
        kept = facts.amount * (1 - share - self.dispute) - approved + facts.worth
        return Stakes(kept - costs, declined + costs)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        inner = {f"approval_{name}": array for name, array in self.approval._arrays().items()}
        words = {f"words_{name}": np.array(self.hazard.words[name], np.str_) for name in WORDS}
        known = np.array(self.approval.titles.ids, np.str_)
        return {"processors": known, "hazard": self.hazard.weights, **words, **inner}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        words = {name: tuple(map(str, arrays[f"words_{name}"].tolist())) for name in WORDS}
        empty = Hazard(words, np.zeros(0))
        weights = checked(arrays["hazard"], (1 + empty.size,), np.float64)
        self.hazard = Hazard(words, weights)
        self.approval.titles = Vocabulary(map(str, arrays["processors"].tolist()))
        self._actions = Actions.of(self.titles.ids, self.approval.titles)
        inner = {name: array for name, array in arrays.items() if name.startswith("approval_")}
        self.approval._restore({name.removeprefix("approval_"): a for name, a in inner.items()})


def _flattened(facts: Facts, rank: int, at: Calendar) -> dict[str, Any]:
    """All that may tell of an attempt at one time, by name."""
    moments = {**at.known, **at.since(facts, rank)}
    return {**described(facts, rank), **{name: float(one[0]) for name, one in moments.items()}}


class _Attempts(NamedTuple):
    """In which vocabularies attempts are read."""

    actions: Actions
    names: tuple[str, ...]

    def read(self, shard: ResponseShard) -> Responses:
        """The attempts of a shard: by processor, with all that is known of each by name."""
        responses = shard.load()
        context, mine = responses.context, self.actions.take(responses.actions)
        flat = tuple(
            _known(told, features, rank, at)
            for told, features, rank, at in zip(
                context.values(FACTS),
                context.features or ({},) * len(context),
                mine.ranks.tolist(),
                context.at.tolist(),
                strict=True,
            )
        )
        asked = Context(context.histories, context.at, context.devices, flat)
        return Responses(mine.processors, responses.rewards, responses.propensities, asked)


def _known(told: Any, features: Mapping[str, Any], rank: int, at: int) -> Mapping[str, Any]:
    if told is None:
        return features
    facts = Facts.read(told)
    return _flattened(facts, max(rank, 1), calendar(facts, np.array([at], np.int64)))


class _Shard(NamedTuple):
    """A shard of attempts as `Boosted` reads it."""

    shard: ResponseShard
    attempts: _Attempts

    def load(self) -> Responses:
        return self.attempts.read(self.shard)


class _Rows(NamedTuple):
    """Attempts as the hazard reads them: what is known of each, and whether it was approved."""

    known: tuple[Mapping[str, Any], ...]
    approved: NDArray[np.bool_]

    @classmethod
    def none(cls) -> _Rows:
        return cls((), np.zeros(0, bool))

    def __add__(self, other: Any) -> _Rows:
        return _Rows(self.known + other.known, np.concatenate([self.approved, other.approved]))

    def columns(self) -> dict[str, Any]:
        """By name, the values of all rows."""
        names = (*WORDS, *CYCLES, *SINCE, "date")
        return {
            name: [row.get(name) if name in WORDS else row.get(name, 0.0) for row in self.known]
            for name in names
        }


def _attempted(shard: ResponseShard, attempts: _Attempts) -> _Rows:
    """Those after the first on an invoice: whether to try again is asked of them alone."""
    responses = attempts.read(shard)
    known = responses.context.features
    again = np.array([row.get("number", 0.0) > 0 for row in known], bool)
    later = np.flatnonzero(again & (responses.actions >= 0))
    names = [attempts.names[one] for one in responses.actions[later].tolist()]
    rows = ({**known[row], "processor": name} for row, name in zip(later, names, strict=True))
    return _Rows(tuple(rows), responses.rewards[later] > 0.5)
