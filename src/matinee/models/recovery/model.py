"""Recovery: the value of each route and of each slot, in the money of the service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.features.attempted import CATEGORIES, NUMBERS, described, moments
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
from matinee.models.recovery.hazard import CYCLES, SINCE, WORDS, Hazard
from matinee.models.recovery.plan import Slots, Stakes
from matinee.models.run import Run
from matinee.payments.actions import SLOTS, STOP, hours_of, route_of, who
from matinee.payments.facts import FACTS, HOURS, Facts, Price, slot_times

DAY = 24
PLACE = {hours: place for place, hours in enumerate(SLOTS)}


class Recovery(Model):
    r"""What an attempt on an invoice is worth, beside none.

    A route: with p the chance of approval (:class:`~matinee.models.Boosted` trees on the invoice,
    the instrument, the time and what was tried, by processor), a the amount, s and f the
    processor's share and fee, w what the member is worth on service beyond off it, d the expected
    `dispute` as a share of the amount, and c the fee of a decline and the network's penalty,

    .. math:: v = p\,(a (1 - s) - f + w - d a) - (1 - p)\,c

    A slot: the same with the chance of a :class:`~matinee.models.recovery.Hazard`, and what may
    still come if it fails, planned by dynamic programming over at most `most` attempts in all. A
    day of waiting costs the share `fading` of all that (the member may leave, and the rest of the
    month is lost), and a decline ends it with the chance `annoyed`.
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
        fading: float = 0.01,
        annoyed: float = 0.005,
        strength: float = 2.0,
        limit: float = 10_000.0,
        trees: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= dispute < 1:
            raise ValueError(f"dispute is {dispute}; give the share of money that is disputed")
        if not 0 <= fading <= 1 or not 0 <= annoyed < 1:
            raise ValueError("fading and annoyed are shares, of a day and of a decline")
        if most < 1 or not strength > 0 or not limit > 0:
            raise ValueError("most, strength and limit must be above 0")
        self.fading, self.annoyed = fading, annoyed
        self.dispute, self.most, self.strength, self.limit = dispute, most, strength, limit
        self.trees = dict(trees or {})
        self.approval = Boosted(by=(*CATEGORIES, *NUMBERS), **self.trees)

    def settings(self) -> dict[str, Any]:
        return {
            "dispute": self.dispute,
            "most": self.most,
            "fading": self.fading,
            "annoyed": self.annoyed,
            "strength": self.strength,
            "limit": self.limit,
            "trees": self.trees,
        }

    def _fit(self, dataset: Dataset, run: Run) -> None:
        processors = Vocabulary(sorted({who(action) for action in dataset.titles.ids}))
        attempts = _Attempts(dataset.titles, processors)
        shards = [_Shard(shard, attempts) for shard in dataset.responses]
        self.approval.fit(Dataset(processors, [], dataset.as_of, dataset.executor, shards), run)
        rows = dataset.reduce_responses(_attempted, _Rows.__add__, attempts) or _Rows.none()
        self.hazard = Hazard.fitted(rows.columns(), rows.approved, self.strength)

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        places = np.arange(len(self.titles), dtype=np.int32) if candidates is None else candidates
        ids = [self.titles.ids[place] if place >= 0 else None for place in places.tolist()]
        told = context.values(FACTS)
        scores = np.zeros((len(context), len(ids)), np.float64)
        plain = np.array([one is None for one in told], bool)
        if plain.any():
            scores[plain] = self._plainly(context.take(np.flatnonzero(plain)), ids)
        for row in np.flatnonzero(~plain).tolist():
            scores[row] = self._worth(Facts.read(told[row]), ids)
        return np.clip(scores, -self.limit, self.limit)

    def _plainly(self, context: Context, ids: Sequence[str | None]) -> NDArray[np.float64]:
        """What actions brought before, as far as the context tells."""
        known = self.approval.titles
        places = [-1 if one is None else known.encode([who(one)])[0] for one in ids]
        found = self.approval.believe(context, np.array(places, np.int32)).mean
        return np.asarray(found, np.float64)

    def _worth(self, facts: Facts, ids: Sequence[str | None]) -> NDArray[np.float64]:
        """What each action is worth for one invoice, [A]."""
        if facts.step == "route":
            return facts.unit * self._routes(facts, ids)
        slots = self._slots(facts)
        found = np.zeros(len(ids))
        for number, action in enumerate(ids):
            hours = None if action is None or action == STOP else hours_of(action)
            found[number] = slots[PLACE[hours]] if hours in PLACE else 0.0
        return facts.unit * found

    def _routes(self, facts: Facts, ids: Sequence[str | None]) -> NDArray[np.float64]:
        routes = [None if action is None else route_of(action) for action in ids]
        ranks = range(1, len(facts.means) + 1)
        at = np.array([facts.at], np.int64)
        chances = self._approvals(facts, ranks, at)
        known = self.approval.titles
        found = np.full(len(ids), -np.inf)
        for number, route in enumerate(routes):
            if route is None or route.rank not in ranks or route.processor not in facts.prices:
                continue
            place = int(known.encode([route.processor])[0])
            chance = chances[route.rank - 1]
            p = chance[place] if place >= 0 else chance.mean() if len(chance) else 0.0
            gain, cost = self._stakes(facts, facts.prices[route.processor], route.rank)
            found[number] = p * gain - (1 - p) * cost
        return found

    def _approvals(
        self, facts: Facts, ranks: Iterable[int], at: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The chance of approval of each instrument [R] by each known processor [P]."""
        flat = [flattened(facts, rank, at) for rank in ranks]
        times = np.full(len(flat), at[0])
        countries = [facts.country] * len(flat)
        asked = Context(Histories.of([[]] * len(flat), countries=countries), times, (), tuple(flat))
        return np.asarray(self.approval.believe(asked).mean, np.float64)

    def _stakes(self, facts: Facts, price: Price, rank: int) -> tuple[float, float]:
        """What an attempt brings now if it is approved, and what it costs if it is not, in minor
        units of the invoice.
        """
        penalty = facts.penalties[rank - 1] if rank <= len(facts.penalties) else 0.0
        kept = facts.amount * (1 - price.share - self.dispute) - price.approved + facts.worth
        return kept - penalty, price.declined + penalty

    def _slots(self, facts: Facts) -> NDArray[np.float64]:
        """What each slot is worth [H], with whichever instrument is best there."""
        worth = [self._with(facts, rank) for rank in range(1, len(facts.means) + 1)]
        return np.max(worth, axis=0) if worth else np.full(len(HOURS), -np.inf)

    def _with(self, facts: Facts, rank: int) -> NDArray[np.float64]:
        """What each slot is worth [H] with the instrument of a rank, at the mean price of the
        processors; the least where it may not be charged.
        """
        at = slot_times(facts.at)
        known = {**described(facts, rank), **moments(facts, at, rank)}
        prices = list(facts.prices.values()) or [Price()]
        gain, cost = np.mean([self._stakes(facts, price, rank) for price in prices], axis=0)
        worth_now = np.exp(-self.fading * HOURS / DAY)
        stakes = Stakes(gain * worth_now, cost * worth_now, self.annoyed)
        allowed, again = facts.allowed(rank), self.hazard.repeated(known)
        left = max(self.most - facts.number, 0)
        slots = Slots(HOURS, allowed, self.hazard.chances(known))
        return np.where(allowed, slots.worth(again.chances, stakes, left), -np.inf)

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
        inner = {name: array for name, array in arrays.items() if name.startswith("approval_")}
        self.approval._restore({name.removeprefix("approval_"): a for name, a in inner.items()})


def flattened(facts: Facts, rank: int, at: NDArray[np.int64]) -> dict[str, Any]:
    """All that may tell of an attempt at one time, by name."""
    return {
        **described(facts, rank),
        **{name: float(column[0]) for name, column in moments(facts, at, rank).items()},
    }


class _Attempts(NamedTuple):
    """In which vocabularies attempts are read."""

    actions: Vocabulary
    processors: Vocabulary

    def read(self, shard: ResponseShard) -> Responses:
        """The attempts of a shard: by processor, with all that is known of each by name."""
        responses = shard.load()
        places = np.array([*self.processors.encode(map(who, self.actions.ids)), -1], np.int32)
        context = responses.context
        flat = tuple(
            _known(told, features, action, at)
            for told, features, action, at in zip(
                context.values(FACTS),
                context.features or ({},) * len(context),
                self._ids(responses.actions),
                context.at.tolist(),
                strict=True,
            )
        )
        asked = Context(context.histories, context.at, context.devices, flat)
        return Responses(
            places[responses.actions], responses.rewards, responses.propensities, asked
        )

    def _ids(self, actions: Indices) -> list[str]:
        return [self.actions.ids[one] if one >= 0 else "" for one in actions.tolist()]


def _known(told: Any, features: Mapping[str, Any], action: str, at: int) -> Mapping[str, Any]:
    if told is None:
        return features
    rank = route_of(action).rank if "/" in action else 1
    return flattened(Facts.read(told), rank, np.array([at], np.int64))


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
        names = (*WORDS, *CYCLES, *SINCE)
        return {
            name: [row.get(name) if name in WORDS else row.get(name, 0.0) for row in self.known]
            for name in names
        }


def _attempted(shard: ResponseShard, attempts: _Attempts) -> _Rows:
    """The attempts of a shard after the first: whether to try again is asked of those alone."""
    responses = attempts.read(shard)
    known = responses.context.features
    again = np.array([row.get("number", 0.0) > 0 for row in known], bool)
    return _Rows(
        tuple(row for row, kept in zip(known, again, strict=True) if kept),
        responses.rewards[again] > 0.5,
    )
