"""A candidate and the champion on the same decisions: the difference, what it rests on, and values.

Decisions of one slot are compared doubly robustly, slates of several slots by marginal ratios.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.intervals.difference import PairedDifference
from matinee.evaluation.intervals.normal import normal
from matinee.evaluation.intervals.slate_difference import SlateDifference
from matinee.evaluation.off_policy import (
    DR,
    IPS,
    SNIPS,
    Batch,
    Estimator,
    IndependentIPS,
    RewardInteractionIPS,
    SelfNormalisedRewardInteractionIPS,
    SlateIPS,
    Slates,
)
from matinee.evaluation.off_policy.outcome_models import ActionMean, doubling, predictable
from matinee.evaluation.off_policy.weights import Support, Weights
from matinee.service.chances import Floats
from matinee.service.weighed import Weighed, Wholes

LOOKS = 40
"""At how many sizes of the log the interval is kept, to draw it."""

K = 0.5
"""`k` of the doubly robust difference: on 36 simulated logs of one slot (3 to 50 actions, weights
up to 160, 5,000 and 50,000 decisions) every interval was 2 to 36 % shorter than without
predictions, and where no reward closes in time to predict by, at most 1 % longer."""

WORTH = 100.0
"""Effective slates below which estimates by the weights of whole slates would mislead."""

SequenceT = TypeVar("SequenceT", bound=PairedDifference)
Named = Sequence[tuple[str, Estimator[Any]]]


@dataclass(frozen=True)
class Comparison(ABC, Generic[SequenceT]):
    """N decisions in order of time, as a candidate and the champion see them.

    `reward_range` is that of one position; `outside` [N] the candidate's share of what the log
    could not show.
    """

    unit: ClassVar[str]
    """Of what the weights are."""

    reward_range: tuple[float, float]
    outside: Floats

    def __len__(self) -> int:
        return len(self.outside)

    @property
    @abstractmethod
    def slots(self) -> int:
        """Of a decision, at most."""

    @property
    @abstractmethod
    def total(self) -> Floats:
        """What each decision earned [N]."""

    @property
    @abstractmethod
    def weights(self) -> Floats:
        """The candidate's importance weights [M], one for each slot."""

    @abstractmethod
    def support(self) -> Support:
        """What they come to, in decisions."""

    @abstractmethod
    def values(self) -> dict[str, Interval]:
        """The champion's own mean reward and the candidate's by several estimators, by name."""

    @abstractmethod
    def begin(self, alpha: float) -> SequenceT:
        """The sequence of the difference, before any decision; both ends share alpha."""

    @abstractmethod
    def extended(self, sequence: SequenceT, rows: Any) -> SequenceT:
        """A sequence with the decisions at `rows` too."""

    def interval(self, alpha: float, rows: Any) -> Interval:
        """The difference in the decisions at `rows`, a slice or indices in order of time."""
        return self.extended(self.begin(alpha), rows).interval()

    def looks(self, alpha: float) -> Iterator[tuple[int, Interval]]:
        """The difference after so many decisions, from 0 on by a logarithmic scale to all."""
        sequence, done = self.begin(alpha), 0
        yield 0, sequence.interval()
        for look in np.unique(np.geomspace(1, len(self), LOOKS).astype(int)) if len(self) else ():
            sequence = self.extended(sequence, slice(done, int(look)))
            done = int(look)
            yield done, sequence.interval()


@dataclass(frozen=True)
class OfSlates(Comparison[SlateDifference]):
    """Slates of several slots; the candidate's ratios are marginal."""

    unit = "slots"

    candidate: Slates
    champion: Slates

    @property
    def slots(self) -> int:
        return self.candidate.slots

    @property
    def total(self) -> Floats:
        return self.champion.total

    @property
    def weights(self) -> Floats:
        ratios: Floats = self.candidate.marginal_ratio[self.candidate.shown]
        return ratios

    def support(self) -> Support:
        """Kish's size over slots, brought down to decisions; the error knows of members."""
        lengths = self.candidate.shown.sum(axis=1)
        outside, cluster = (
            np.repeat(column, lengths) for column in (self.outside, self.candidate.cluster)
        )
        found = Weights.none().add(self.weights, outside, cluster).result()
        each = len(self) / max(found.decisions, 1)
        return replace(found, decisions=len(self), effective=each * found.effective)

    def values(self) -> dict[str, Interval]:
        """By slots apart; and where whole slates are worth something, by their weights too."""
        apart: Named = (("slots apart (independent IPS)", IndependentIPS()),)
        together: Named = (
            ("slots given those above (RIPS)", RewardInteractionIPS()),
            (
                "the same, self-normalised (SNRIPS)",
                SelfNormalisedRewardInteractionIPS(slots=self.slots),
            ),
            ("whole slates (IPS)", SlateIPS()),
        )
        whole = Weights.none().add(
            self.candidate.weight[:, -1], self.outside, self.candidate.cluster
        )
        return {
            **_values([("champion, its own mean", IndependentIPS())], self.champion),
            **_values(apart, self.candidate),
            **_values(together if whole.result().effective >= WORTH else (), self.candidate),
        }

    def begin(self, alpha: float) -> SlateDifference:
        low, high = self.reward_range
        whole = (self.slots * low, self.slots * high)
        return SlateDifference(alpha=alpha, slots=self.slots, reward_range=whole, bound=1.0)

    def extended(self, sequence: SlateDifference, rows: Any) -> SlateDifference:
        return sequence.add_slates(self.candidate.rows(rows), self.champion.rows(rows))


@dataclass(frozen=True)
class OfChoices(Comparison[PairedDifference]):
    """Decisions of one slot, with predictions that knew earlier rewards only.

    `largest` [N] is the largest weight that any action could have had; `predicts` says whether
    there are predictions.
    """

    unit = "decisions"

    candidate: Batch
    champion: Batch
    largest: Floats
    predicts: bool

    @property
    def slots(self) -> int:
        return 1

    @property
    def total(self) -> Floats:
        return self.champion.reward

    @property
    def weights(self) -> Floats:
        return self.candidate.weight

    def support(self) -> Support:
        return Weights.none().add(self.weights, self.outside, self.candidate.cluster).result()

    def values(self) -> dict[str, Interval]:
        candidate: Named = (
            ("inverse propensities (IPS)", IPS()),
            ("the same, self-normalised (SNIPS)", SNIPS()),
            ("doubly robust (DR)", DR()),
        )
        return {
            **_values([("champion, its own mean", IPS())], self.champion),
            **_values(candidate if self.predicts else candidate[:-1], self.candidate),
        }

    def begin(self, alpha: float) -> PairedDifference:
        k = K if self.predicts else 0.0
        return PairedDifference(alpha=alpha, reward_range=self.reward_range, k=k, bound=1.0)

    def extended(self, sequence: PairedDifference, rows: Any) -> PairedDifference:
        both = self.candidate.rows(rows), self.champion.rows(rows)
        return sequence.add(*both, self.largest[rows])


def compare(
    candidate: Weighed, champion: Weighed, reward_range: tuple[float, float]
) -> OfSlates | OfChoices:
    """The comparison that fits these decisions."""
    mine, theirs = candidate.wholes, champion.wholes
    if mine is None or theirs is None:
        return OfSlates(reward_range, candidate.outside, candidate.slates, champion.slates)
    q = _predictions(candidate, mine, reward_range[0])
    ours, own = (_batch(*one, q) for one in ((candidate, mine), (champion, theirs)))
    # Where logged propensities are not those of the policy, which calibration is to find, a weight
    # may be above what it could have been.
    largest = np.maximum(mine.largest, ours.weight)
    return OfChoices(reward_range, candidate.outside, ours, own, largest, q is not None)


def _predictions(weighed: Weighed, wholes: Wholes, prior: float) -> Floats | None:
    """Mean rewards of actions as far as they were known at each decision; before any, `prior`.

    q [N, B + 1] of the B actions that are shown, and last of all others; `None` where these are
    too many.
    """
    if wholes.chance is None:
        return None
    return predictable(
        ActionMean(wholes.chance.shape[1]),
        np.empty((len(wholes.shown), 0)),
        wholes.shown,
        weighed.slates.reward[:, 0],
        at=weighed.at,
        closed_at=weighed.closed_at,
        refits=doubling(weighed.closed_at),
        prior=prior,
    )


def _batch(weighed: Weighed, wholes: Wholes, q: Floats | None) -> Batch:
    """Decisions of one slot, with what was predicted of them."""
    slates = weighed.slates
    columns: dict[str, Any] = {"outside": weighed.outside, "cluster": slates.cluster}
    if q is not None and wholes.chance is not None:
        columns["expected"] = np.einsum("nb,nb->n", wholes.chance, q)
        columns["predicted"] = q[np.arange(len(q)), wholes.shown]
    return Batch.of(slates.reward[:, 0], slates.propensity[:, 0], slates.target[:, 0], **columns)


def _values(named: Named, logged: Any) -> dict[str, Interval]:
    with np.errstate(over="ignore", invalid="ignore"):
        return {name: normal(estimator.add(logged).result()) for name, estimator in named}
