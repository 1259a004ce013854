"""decide: eligible set, masks, scores, preference, draw, record."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from matinee.decisions.contracts import ChoiceSource, DecisionLog, HistorySource
from matinee.decisions.eligible_sets import EligibleSets
from matinee.decisions.ids import context_hash, decision_id, generator, seed_of
from matinee.decisions.preferring import prefer
from matinee.decisions.reasons import LATEST, Reasons
from matinee.decisions.recent import Recent
from matinee.decisions.row import Row
from matinee.decisions.sequences import asked_of, brief, moment
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Masked, micros
from matinee.models import Belief, Model
from matinee.policies import Policy, Preference
from matinee.surfaces import (
    Candidates,
    Choice,
    History,
    Mask,
    Only,
    OnPage,
    Request,
    Situation,
    Surface,
)

SurfaceT = TypeVar("SurfaceT", bound=Surface)
PREPARED, SCORED, DRAWN, SETS = 8_192, 128, 4, 512
"""How many of each are kept; beliefs with draws are large."""
NOTHING = Masked("eligible", "there is nothing to choose from here and now", 0)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All of a decision but the draw, as the record wants it."""

    preference: Preference
    segment: list[int]
    scores: list[float]
    removed: list[int]
    masks: list[Masked]
    context: dict[str, Any]


class Decider(Generic[SurfaceT]):
    """One version on one surface. It never changes; a new champion is a new decider.

    `version` is its id (``titles@3``), `salt` the service's own (at most 64 bytes), and `arm` the
    one of an experiment in which it decides, if any. What precedes
    the draw is kept while the member's history, the eligible set and the `moment` stay the same, so
    a repeated decision costs its draw.
    """

    def __init__(
        self,
        surface: SurfaceT,
        model: Model,
        policy: Policy,
        *,
        version: str,
        histories: HistorySource,
        choices: ChoiceSource | None = None,
        salt: bytes,
        arm: str | None = None,
    ) -> None:
        self.surface = surface
        self.model = model
        self.policy = policy
        self.version, self.arm = version, arm
        self.histories = histories
        self.choices = choices if surface.memory else None
        self._salt = salt
        self._prepared = Recent[_Prepared](PREPARED)
        self._reasons = Recent[Reasons](PREPARED)
        self._lasts = Recent[int | None](PREPARED)
        self._believed = Recent[Belief](DRAWN if policy.draws else SCORED)
        self._encoded = Recent[NDArray[np.int32]](SETS)
        self._narrowed = Recent[Candidates](SETS)
        self._sets = EligibleSets()
        self._tells = type(surface).told is not Surface.told
        if surface.unit == "subject":
            raise ValueError(f"{surface.name} chooses for subjects: an Assigner does that")

    def decide(self, request: Request, log: DecisionLog) -> Decision:
        """The decision that stands for this request, durable; the same again for a repeat."""
        (decision,) = self.standing(log.put(self.records([self.propose(request)])))
        return decision

    def propose(
        self, request: Request, row: Row | None = None, above: Collection[str] = ()
    ) -> Decision:
        """A decision that is not in the log yet; `above` is what rows above it show.

        Without anything to choose from it has no actions, and its masks say why.
        """
        request = self._informed(request)
        candidates = self._eligible(request, row)
        prepared = self._prepare(request, candidates, row, above)
        slot = row.slot if row else None
        identity = decision_id(self.surface.name, request.member_id, request.request_id, slot)
        seed = seed_of(self._salt, identity)
        slots = request.slots or self.surface.slots
        slate = self.policy.draw(prepared.preference, slots, generator(seed))
        actions = [candidates.ids[position] for position in slate.actions.tolist()]
        context = prepared.context
        if row:
            context = {**context, "row": row.told(actions)}
        return Decision(
            decision_id=identity,
            request_id=request.request_id,
            surface=self.surface.name,
            member_id=request.member_id,
            at=request.at,
            policy=self.version,
            actions=actions,
            propensities=slate.propensities.tolist(),
            propensity_kind=slate.kind,
            eligible=candidates.hash,
            removed=prepared.removed,
            segment=prepared.segment,
            scores=prepared.scores,
            seed=seed,
            row=slot,
            arm=self.arm,
            subject=request.subject,
            context=context,
            context_hash=context_hash(context),
            masks=prepared.masks,
        )

    def reasons(self, request: Request) -> Reasons:
        """Which of the member's latest watches raised what may be chosen for them now.

        The `LATEST` latest watches are left out, one at a time, and the model is asked again
        (`Model.effects`); nothing is drawn.

        >>> from datetime import UTC, datetime
        >>> from matinee.lake.records import Title
        >>> from matinee.models import CoVisitation, Dataset, Histories, Vocabulary
        >>> from matinee.policies import EpsilonGreedy
        >>> from matinee.surfaces import Titles
        >>> class Watched:
        ...     def history(self, member_id):
        ...         return History(("heat", "up"), (1, 2))
        ...
        ...     def generation(self, member_id):
        ...         return 0
        >>> ids = ("coco", "heat", "ronin", "up")
        >>> seen = Dataset.of(Vocabulary(ids), Histories.of([[1, 2]] * 3 + [[3, 0]] * 3))
        >>> titles, model = Titles([Title(title_id=id, name=id) for id in ids]), CoVisitation()
        >>> sources = {"version": "titles@1", "histories": Watched(), "salt": b""}
        >>> decider = Decider(titles, model.fit(seen), EpsilonGreedy(), **sources)
        >>> request = Request(request_id="r", member_id="m", at=datetime(2026, 1, 1, tzinfo=UTC))
        >>> decider.reasons(request).by_title(ids)
        {'coco': 'up', 'ronin': 'heat'}
        """
        request = self._informed(request)
        candidates, chosen = self._eligible(request, None), self._chosen(request)
        return self._reasons.get(
            self._key(request, candidates, chosen), lambda: self._reason(request, candidates)
        )

    def records(self, decisions: Sequence[Decision]) -> list[msgspec.Struct]:
        """What to put into the log for `decisions`: they, and eligible sets it may not have yet."""
        return self._sets.records(decisions)

    def standing(self, receipts: Sequence[Receipt]) -> list[Decision]:
        """The decisions that stand, from the log's answer to `records`."""
        decisions = self._sets.standing(receipts, self.surface.name)
        if self.choices:
            for decision in decisions:
                self.choices.note(decision)
        return decisions

    def _informed(self, request: Request) -> Request:
        """The request with what the surface tells of the member too."""
        if not self._tells:
            return request
        return informed(self.surface, request, self.histories.history(request.member_id))

    def _last(self, member_id: str, generation: int) -> int | None:
        """When the member last met a title, found out once for each generation of the history."""
        key = (member_id, generation)
        return self._lasts.get(key, lambda: self.histories.history(member_id).last())

    def _eligible(self, request: Request, row: Row | None) -> Candidates:
        candidates = self.surface.eligible(request)
        if row and row.only:
            candidates = self._narrow(candidates, row.only, Situation(request))
        self._sets.note(candidates)
        return candidates

    def _narrow(self, candidates: Candidates, only: Only, situation: Situation) -> Candidates:
        return self._narrowed.get(
            (candidates.hash, only.reason, only.ids),
            lambda: candidates.keep(only.allowed(situation, candidates), only),
        )

    def _prepare(
        self, request: Request, candidates: Candidates, row: Row | None, above: Collection[str]
    ) -> _Prepared:
        chosen = self._chosen(request)
        if above or (row and (row.only or row.history is not None)):
            return self._make(request, candidates, row, above, chosen)
        key = self._key(request, candidates, chosen)
        return self._prepared.get(key, lambda: self._make(request, candidates, None, (), chosen))

    def _key(
        self, request: Request, candidates: Candidates, chosen: tuple[Choice, ...]
    ) -> tuple[Any, ...]:
        """All that what precedes a draw depends on, but for the rows of a page."""
        member, generation = request.member_id, self.histories.generation(request.member_id)
        return (
            member,
            generation,
            candidates.hash,
            request.country,
            request.device,
            _text(request.features),
            moment(micros(request.at), self._last(member, generation)),
            chosen,
        )

    def _reason(self, request: Request, candidates: Candidates) -> Reasons:
        history = self.histories.history(request.member_id)
        segment = self._prepare(request, candidates, None, ()).segment
        if not segment or not history.titles:
            return Reasons()
        ids = [candidates.ids[position] for position in segment]
        asked = self.model.titles.encode(ids)
        events, effects = self.model.effects(
            asked_of(self.model.titles, request, history), asked, LATEST
        )
        return Reasons.of(history.seen(), ids, events, effects)

    def _chosen(self, request: Request) -> tuple[Choice, ...]:
        if self.choices is None:
            return ()
        return self.choices.recent(self.surface.name, request.member_id, micros(request.at))

    def _make(
        self,
        request: Request,
        candidates: Candidates,
        row: Row | None,
        above: Collection[str],
        chosen: tuple[Choice, ...],
    ) -> _Prepared:
        history = self.histories.history(request.member_id)
        situation = Situation(request, history, chosen)
        masks = [*self.surface.masks(situation), *([OnPage(above)] if above else [])]
        for mask in masks:
            if mask.memory > self.surface.memory:
                raise ValueError(
                    f"the mask {mask.name} looks back {mask.memory}; give {self.surface.name} a "
                    "memory of as much"
                )
        allowed, lines = apply_masks(masks, situation, candidates)
        preference = Preference.empty()
        if allowed.any():
            belief = self._belief(request, history, candidates, row)
            preference = prefer(self.policy, belief, 0, np.flatnonzero(allowed))
        return _Prepared(
            preference,
            preference.segment.tolist(),
            preference.logits.tolist(),
            np.flatnonzero(~allowed).tolist(),
            [*candidates.masked, *lines] or ([] if allowed.any() else [NOTHING]),
            context_of(request, history),
        )

    def _belief(
        self, request: Request, history: History, candidates: Candidates, row: Row | None
    ) -> Belief:
        """What the model believes of the candidates [1, A]."""
        whose: Any = (request.member_id, history.generation)
        if row and row.history is not None:
            history, whose = row.history, row.history
        at = moment(micros(request.at), history.last())
        said = (request.country, request.device, _text(request.features))
        return self._believed.get(
            (whose, candidates.hash, said, at),
            lambda: self._believe(request, history, candidates),
        )

    def _believe(self, request: Request, history: History, candidates: Candidates) -> Belief:
        titles = self.model.titles
        encoded = self._encoded.get(candidates.hash, lambda: titles.encode(candidates.ids))
        asked = asked_of(titles, request, history)
        return self.model.believe(asked, encoded, draws=self.policy.draws)


def _text(features: dict[str, Any]) -> bytes:
    return msgspec.json.encode(features, order="deterministic") if features else b""


def informed(surface: Surface, request: Request, history: History) -> Request:
    """A request whose features hold what the surface tells of its member, which may not be said
    otherwise.
    """
    told = surface.told(Situation(request, history))
    return msgspec.structs.replace(request, features={**request.features, **told})


def apply_masks(
    masks: Sequence[Mask], situation: Situation, candidates: Candidates
) -> tuple[NDArray[np.bool_], list[Masked]]:
    """What all masks allow [A], and a line for each that took something away from the rest."""
    allowed, lines = np.ones(len(candidates), bool), []
    for mask in masks:
        before = np.count_nonzero(allowed)
        kept = mask.allowed(situation, candidates)
        if kept.shape != allowed.shape or kept.dtype != np.bool_:
            raise ValueError(
                f"the mask {mask.name} gave {kept.dtype} {kept.shape}; give true or false for each "
                f"of the {len(candidates)} candidates"
            )
        allowed &= kept
        if taken := int(before - np.count_nonzero(allowed)):
            lines.append(Masked(mask.name, mask.reason, taken))
    return allowed, lines


def context_of(request: Request, history: History) -> dict[str, Any]:
    """What was known: enough to find the same history in the lake again."""
    return {
        "country": request.country,
        "device": request.device,
        "features": request.features,
        "history": brief(history),
    }
