"""assign: one action for a member and each of many subjects, drawn once and then standing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from matinee.decisions.chosen import choices_of
from matinee.decisions.contracts import ChoiceSource, DecisionLog, HistorySource
from matinee.decisions.decider import apply_masks, context_of, informed
from matinee.decisions.eligible_sets import EligibleSets
from matinee.decisions.ids import assignment_id, context_hash, luck_of, seed_of
from matinee.decisions.recent import Recent
from matinee.decisions.sequences import asked_of
from matinee.decisions.units import Floats, Picked, pick
from matinee.experiments import allocation
from matinee.lake.inbox import Receipt
from matinee.lake.records import MICRO, Decision, Masked, micros
from matinee.models import Model
from matinee.policies import Policy
from matinee.surfaces import Candidates, Choice, Request, Situation, Surface

SurfaceT = TypeVar("SurfaceT", bound=Surface)
TRIES = 3
"""How often it is drawn again where others were first with what may not be seen here."""
SETS = 200_000
"""Eligible sets whose places in the model's vocabulary are kept."""


class _Unit(msgspec.Struct, frozen=True):
    """A member and a subject, and what may be chosen: positions among the candidates, or all."""

    subject: str
    candidates: Candidates
    situation: Situation
    allowed: list[int] | None = None
    masks: list[Masked] = []

    def __len__(self) -> int:
        return len(self.candidates) if self.allowed is None else len(self.allowed)

    def may(self, action: str) -> bool:
        """Whether an action may be chosen."""
        place = self.candidates.place(action)
        return place is not None and (self.allowed is None or place in self.allowed)

    def places(self) -> Sequence[int]:
        """Positions of what may be chosen."""
        return range(len(self.candidates)) if self.allowed is None else self.allowed

    def positions(self, places: list[int]) -> list[int]:
        """Positions among what may be chosen as positions among the candidates."""
        return places if self.allowed is None else [self.allowed[place] for place in places]

    def removed(self) -> list[int]:
        """Positions of what may not be chosen."""
        if self.allowed is None:
            return []
        return sorted(set(range(len(self.candidates))) - set(self.allowed))


@dataclass(frozen=True, slots=True)
class _Chooser:
    """Who draws for a member: a version, or the rule of a holdout."""

    surface: str
    policy: Policy
    name: str
    arm: str | None = None
    rule: Callable[[Candidates], Floats] | None = None


class _Named(NamedTuple):
    """What tells the decision of a unit from others, and what was known."""

    decision_id: str
    seed: int
    context: dict[str, Any]
    context_hash: str


class Assigner(Generic[SurfaceT]):
    """One version on a surface whose unit is a subject. It never changes.

    What stands for a member and a subject is answered as it is; for all others one action each is
    drawn, a page of them at once. The id of such a decision is made from the one before it, so that
    the log has room for one: of two processes that draw at the same moment the first one counts.
    `version`, `salt`, `histories`, `choices` and `arm` are as those of a `Decider`.
    """

    def __init__(
        self,
        surface: SurfaceT,
        model: Model,
        policy: Policy,
        *,
        version: str,
        histories: HistorySource,
        choices: ChoiceSource,
        salt: bytes,
        arm: str | None = None,
    ) -> None:
        self.surface = surface
        self.model = model
        self.policy = policy
        self.version, self._arm = version, arm
        self.histories = histories
        self.choices = choices
        self._salt = salt
        self._memory = surface.memory // MICRO
        self._holdouts = dict(surface.holdouts())
        self._sets = EligibleSets()
        self._encoded = Recent[NDArray[np.int32]](SETS)

    def assign(
        self, request: Request, subjects: Iterable[str], log: DecisionLog
    ) -> dict[str, Choice]:
        """What stands for each subject, durable; nothing for one that has nothing to show."""
        steps = self.steps(request, subjects)
        try:
            records = next(steps)
            while True:
                records = steps.send(log.put(records))
        except StopIteration as done:
            standing: dict[str, Choice] = done.value
            return standing

    def steps(
        self, request: Request, subjects: Iterable[str]
    ) -> Generator[list[msgspec.Struct], Sequence[Receipt], dict[str, Choice]]:
        """What `assign` does, for whoever writes to the log themselves: it gives records, wants the
        receipts, maybe more than once, and returns what stands.
        """
        wanted = list(dict.fromkeys(subjects))
        standing, drawn = self.propose(request, wanted)
        for _ in range(TRIES):
            if not drawn:
                break
            receipts = yield self.records(drawn)
            standing |= self.standing(receipts)
            request = _not_before(request, receipts)
            more, drawn = self.propose(request, [one for one in wanted if one not in standing])
            standing |= more
        return standing

    def propose(
        self, request: Request, subjects: Iterable[str]
    ) -> tuple[dict[str, Choice], list[Decision]]:
        """What stands already, and decisions for the other subjects that are not in the log yet.

        A subject of whose candidates nothing may be chosen has neither.
        """
        standing: dict[str, Choice] = {}
        fresh: list[_Unit] = []
        for unit in self._units(request, list(dict.fromkeys(subjects))):
            last = unit.situation.choices[-1] if unit.situation.choices else None
            if last and unit.may(last.action) and self.surface.stands(unit.situation):
                standing[unit.subject] = last
            elif len(unit):
                fresh.append(unit)
        return standing, self._drawn(request, fresh) if fresh else []

    def records(self, decisions: Sequence[Decision]) -> list[msgspec.Struct]:
        """What to put into the log for `decisions`: they, and eligible sets it may not have yet."""
        return self._sets.records(decisions)

    def standing(self, receipts: Sequence[Receipt]) -> dict[str, Choice]:
        """What was drawn and stands by subject, from the log's answer to `records`.

        Where another process was first, its choice is noted and not in here, for it may not be one
        that this request may see: propose those subjects again.
        """
        duplicates = {id(one.record) for one in receipts if one.duplicate}
        found = {}
        for decision in self._sets.standing(receipts, self.surface.name):
            self.choices.note(decision)
            if id(decision) not in duplicates:
                found[str(decision.subject)] = choices_of(decision)[0]
        return found

    def leading(self, request: Request, choices: Iterable[Choice]) -> dict[str, str | None]:
        """What of the member speaks most for each choice beside what else there is for its subject,
        by subject: see `Model.leading`.
        """
        found: dict[str, str | None] = {}
        history = self.histories.history(request.member_id)
        context = asked_of(self.model.titles, informed(self.surface, request, history), history)
        for choice in choices:
            candidates = self.surface.eligible(_about(request, str(choice.subject)))
            place = candidates.place(choice.action)
            if place is not None:
                codes = self._codes(candidates)
                found[str(choice.subject)] = self.model.leading(context, codes, place)
        return found

    def arm(self, member_id: str) -> str | None:
        """The holdout that a member is in, if any: the first takes its share from below, the others
        theirs from above, so that two that grow keep their members.
        """
        place, above = allocation(self._salt, self.surface.name, member_id), 1.0
        for number, (name, holdout) in enumerate(self._holdouts.items()):
            if number == 0 and place < holdout.share:
                return name
            if number:
                above -= holdout.share
                if place >= above:
                    return name
        return None

    def _units(self, request: Request, subjects: Sequence[str]) -> Iterator[_Unit]:
        surface, member = self.surface, request.member_id
        history = self.histories.history(member)
        watched = dict(zip(history.titles, history.times, strict=True))
        before = self.choices.recent_of(surface.name, member, subjects, micros(request.at))
        for subject, choices in zip(subjects, before, strict=True):
            about = _about(request, subject)
            candidates = surface.eligible(about)
            situation = Situation(about, history, choices, watched.get(subject))
            masks = surface.masks(situation)
            if not masks:
                yield _Unit(subject, candidates, situation)
                continue
            kept, lines = apply_masks(masks, situation, candidates)
            allowed = None if kept.all() else np.flatnonzero(kept).tolist()
            yield _Unit(subject, candidates, situation, allowed, lines)

    def _drawn(self, request: Request, units: Sequence[_Unit]) -> list[Decision]:
        """A decision for each unit."""
        for unit in units:
            self._sets.note(unit.candidates)
        chooser = self._chooser(request.member_id)
        history = units[0].situation.history
        said = informed(self.surface, request, history)
        bonuses = [self._bonus(unit, chooser) for unit in units]
        named = self._named(units, bonuses, context_of(said, history))
        picked = pick(
            chooser.policy,
            self._scores(said, units, chooser, bonuses),
            list(map(len, units)),
            luck_of(np.array([one.seed for one in named])),
        )
        return list(map(_decision, repeat(chooser), units, picked, named))

    def _named(
        self,
        units: Sequence[_Unit],
        bonuses: Sequence[dict[str, float]],
        context: dict[str, Any],
    ) -> list[_Named]:
        hashed, found = context_hash(context), []
        for unit, bonus in zip(units, bonuses, strict=True):
            name = self._id(unit)
            own = {**context, "bonus": bonus} if bonus else context
            own_hash = context_hash(own) if bonus else hashed
            found.append(_Named(name, seed_of(self._salt, name), own, own_hash))
        return found

    def _chooser(self, member_id: str) -> _Chooser:
        arm = self.arm(member_id)
        if arm is None:
            return _Chooser(self.surface.name, self.policy, self.version, self._arm)
        holdout, name = self._holdouts[arm], f"{self.surface.name}@{arm}"
        return _Chooser(self.surface.name, holdout.policy, name, arm, holdout.scores)

    def _bonus(self, unit: _Unit, chooser: _Chooser) -> dict[str, float]:
        if chooser.rule is not None or not unit.situation.choices:
            return {}
        bonus = self.surface.bonus(unit.situation)
        return {action: float(worth) for action, worth in bonus.items() if unit.may(action)}

    def _id(self, unit: _Unit) -> str:
        request, choices = unit.situation.request, unit.situation.choices
        return assignment_id(
            self.surface.name,
            request.member_id,
            unit.subject,
            choices[-1].decision_id if choices else micros(request.at) // self._memory,
        )

    def _scores(
        self,
        request: Request,
        units: Sequence[_Unit],
        chooser: _Chooser,
        bonuses: Sequence[dict[str, float]],
    ) -> Floats:
        """Scores [M, sum of what may be chosen] of all units, one after the other."""
        if (rule := chooser.rule) is not None:
            scores = [rule(unit.candidates)[unit.allowed or slice(None)] for unit in units]
            return np.concatenate(scores)[None]
        found = self._believed(request, units)
        begins = 0
        for unit, bonus in zip(units, bonuses, strict=True):
            for action, worth in bonus.items():
                places = unit.places()
                found[:, begins + places.index(unit.candidates.place(action))] += worth
            begins += len(unit)
        return found

    def _believed(self, request: Request, units: Sequence[_Unit]) -> Floats:
        """What the model expects [1, ...], or draws of it [M, ...]."""
        codes = np.concatenate(
            [self._codes(unit.candidates)[unit.allowed or slice(None)] for unit in units]
        )
        context = asked_of(self.model.titles, request, units[0].situation.history)
        belief = self.model.believe(context, codes, draws=self.policy.draws)
        if self.policy.draws and belief.samples is not None:
            return belief.samples[:, 0].astype(np.float64)
        return belief.mean.astype(np.float64)

    def _codes(self, candidates: Candidates) -> NDArray[np.int32]:
        return self._encoded.get(candidates.hash, lambda: self.model.titles.encode(candidates.ids))


def _not_before(request: Request, receipts: Sequence[Receipt]) -> Request:
    """The request at a time at which what others chose, maybe a moment later, has been chosen."""
    times = [one.record.at for one in receipts if isinstance(one.record, Decision)]
    return msgspec.structs.replace(request, at=max([request.at, *times]))


def _about(request: Request, subject: str) -> Request:
    return Request(
        request_id=request.request_id,
        member_id=request.member_id,
        at=request.at,
        country=request.country,
        device=request.device,
        features=request.features,
        subject=subject,
    )


def _decision(chooser: _Chooser, unit: _Unit, drawn: Picked, named: _Named) -> Decision:
    request, ids = unit.situation.request, unit.candidates.ids
    (action,) = unit.positions([drawn.action])
    return Decision(
        decision_id=named.decision_id,
        request_id=request.request_id,
        surface=chooser.surface,
        member_id=request.member_id,
        at=request.at,
        policy=chooser.name,
        actions=[ids[action]],
        propensities=[drawn.propensity],
        propensity_kind="conditional",
        eligible=unit.candidates.hash,
        removed=unit.removed(),
        segment=unit.positions(drawn.segment),
        scores=drawn.logits,
        seed=named.seed,
        arm=chooser.arm,
        subject=unit.subject,
        context=named.context,
        context_hash=named.context_hash,
        masks=[*unit.candidates.masked, *unit.masks],
    )
