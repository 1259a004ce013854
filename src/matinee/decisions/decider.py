"""decide: eligible set, masks, scores, preference, draw, record."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from matinee.decisions.contracts import ChoiceSource, DecisionLog, HistorySource
from matinee.decisions.ids import context_hash, decision_id, generator, seed_of
from matinee.decisions.recent import Recent
from matinee.decisions.sequences import brief, sequences
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Eligible, Masked, micros
from matinee.models import Context, Model
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
MICROS_AN_HOUR = 3_600_000_000
PREPARED, SCORED, SETS = 8_192, 128, 512
NOTHING = Masked("eligible", "there is nothing to choose from here and now", 0)


@dataclass(frozen=True)
class Row:
    """What is particular to one row of a page: a slot of its own name, and how it is chosen.

    `only` narrows the eligible set; `history` is what the model sees in place of the member's own,
    made of it (`History.only`).
    """

    slot: str
    name: str
    why: str
    only: Only | None = None
    history: History | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All of a decision but the draw, as the record wants it."""

    preference: Preference
    segment: list[int]
    scores: list[float]
    removed: list[int]
    masks: list[Masked]
    context: dict[str, Any]
    context_hash: str


class Decider(Generic[SurfaceT]):
    """One version on one surface. It never changes; a new champion is a new decider.

    `version` is its id (``titles@3``), `salt` the service's own (at most 64 bytes). What precedes
    the draw is kept while the member's history, the eligible set and the hour stay the same, so a
    repeated decision costs its draw.
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
    ) -> None:
        self.surface = surface
        self.model = model
        self.policy = policy
        self.version = version
        self.histories = histories
        self.choices = choices if surface.memory else None
        self._salt = salt
        self._prepared = Recent[_Prepared](PREPARED)
        self._scored = Recent[NDArray[np.floating[Any]]](SCORED)
        self._encoded = Recent[NDArray[np.int32]](SETS)
        self._narrowed = Recent[Candidates](SETS)
        self._logged: set[str] = set()
        self._unlogged: dict[str, Candidates] = {}

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
        candidates = self._eligible(request, row)
        prepared = self._prepare(request, candidates, row, above)
        slot = row.slot if row else None
        identity = decision_id(self.surface.name, request.member_id, request.request_id, slot)
        seed = seed_of(self._salt, identity)
        slots = request.slots or self.surface.slots
        slate = self.policy.draw(prepared.preference, slots, generator(seed))
        return Decision(
            decision_id=identity,
            request_id=request.request_id,
            surface=self.surface.name,
            member_id=request.member_id,
            at=request.at,
            policy=self.version,
            actions=[candidates.ids[position] for position in slate.actions.tolist()],
            propensities=slate.propensities.tolist(),
            propensity_kind=slate.kind,
            eligible=candidates.hash,
            removed=prepared.removed,
            segment=prepared.segment,
            scores=prepared.scores,
            seed=seed,
            row=slot,
            context=prepared.context,
            context_hash=prepared.context_hash,
            masks=prepared.masks,
        )

    def records(self, decisions: Sequence[Decision]) -> list[msgspec.Struct]:
        """What to put into the log for `decisions`: they, and eligible sets it may not have yet."""
        names = dict.fromkeys(decision.eligible for decision in decisions)
        sets = map(self._unlogged.get, names)
        return [*(found.record() for found in sets if found is not None), *decisions]

    def standing(self, receipts: Sequence[Receipt]) -> list[Decision]:
        """The decisions that stand, from the log's answer to `records`."""
        for receipt in receipts:
            if isinstance(receipt.record, Eligible):
                self._logged.add(receipt.record.eligible)
                self._unlogged.pop(receipt.record.eligible, None)
        decisions = [one.record for one in receipts if isinstance(one.record, Decision)]
        if self.choices:
            for decision in decisions:
                self.choices.note(decision)
        return decisions

    def _eligible(self, request: Request, row: Row | None) -> Candidates:
        candidates = self.surface.eligible(request)
        if row and row.only:
            candidates = self._narrow(candidates, row.only, Situation(request))
        if candidates.hash not in self._logged:
            self._unlogged[candidates.hash] = candidates
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
        if row or above:
            return self._make(request, candidates, row, above, chosen)
        key = (
            request.member_id,
            self.histories.generation(request.member_id),
            candidates.hash,
            request.country,
            request.device,
            _text(request.features),
            micros(request.at) // MICROS_AN_HOUR,
            chosen,
        )
        return self._prepared.get(key, lambda: self._make(request, candidates, None, (), chosen))

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
        allowed, lines = _apply(masks, situation, candidates)
        preference = self._prefer(request, history, candidates, row, np.flatnonzero(allowed))
        context = _context(request, history, row)
        return _Prepared(
            preference,
            preference.segment.tolist(),
            preference.logits.tolist(),
            np.flatnonzero(~allowed).tolist(),
            [*candidates.masked, *lines] or ([] if allowed.any() else [NOTHING]),
            context,
            context_hash(context),
        )

    def _prefer(
        self,
        request: Request,
        history: History,
        candidates: Candidates,
        row: Row | None,
        allowed: NDArray[np.int64],
    ) -> Preference:
        """The policy's preference over the allowed, in positions of the eligible set."""
        if not len(allowed):
            return Preference(np.zeros(0, np.int32), np.zeros(0, np.float32))
        scores = self._scores(request, history, candidates, row)
        preference = self.policy.prefer(scores[allowed])
        segment = allowed[preference.segment].astype(np.int32)
        return Preference(segment, preference.logits)

    def _scores(
        self, request: Request, history: History, candidates: Candidates, row: Row | None
    ) -> NDArray[np.floating[Any]]:
        """Scores [A] of the candidates."""
        whose: Any = (request.member_id, history.generation)
        if row and row.history is not None:
            history, whose = row.history, row.history
        hour = micros(request.at) // MICROS_AN_HOUR
        said = (request.country, request.device, _text(request.features))
        return self._scored.get(
            (whose, candidates.hash, said, hour),
            lambda: self._believe(request, history, candidates),
        )

    def _believe(
        self, request: Request, history: History, candidates: Candidates
    ) -> NDArray[np.floating[Any]]:
        titles = self.model.titles
        encoded = self._encoded.get(candidates.hash, lambda: titles.encode(candidates.ids))
        context = Context(
            sequences([history], [request.country], titles),
            np.array([micros(request.at)]),
            (request.device,),
            (request.features,),
        )
        scores: NDArray[np.floating[Any]] = self.model.believe(context, encoded).mean[0]
        return scores


def _text(features: dict[str, Any]) -> bytes:
    return msgspec.json.encode(features, order="deterministic") if features else b""


def _apply(
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


def _context(request: Request, history: History, row: Row | None) -> dict[str, Any]:
    """What was known: enough to find the same history in the lake again."""
    context: dict[str, Any] = {
        "country": request.country,
        "device": request.device,
        "features": request.features,
        "history": brief(history),
    }
    if row:
        context["row"] = {"name": row.name, "why": row.why}
        if row.history is not None:
            context["row"]["history"] = list(row.history.titles)
    return context
