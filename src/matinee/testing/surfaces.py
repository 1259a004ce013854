"""What every surface must keep: run it on your own.

from matinee.testing import SurfaceConformance

class TestMine(SurfaceConformance):
    def make(self):
        return Mine()

    def succeed(self, decision):
        return [Event(event_id="e", member_id=decision.member_id, kind="click", ts=decision.at,
                      decision_id=decision.decision_id)]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from matinee.decisions import Assigner, Decider, NoChoices
from matinee.lake.records import Decision, Event, micros
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.models import MODELS, Dataset, Histories, Vocabulary
from matinee.policies import POLICIES
from matinee.surfaces import Choice, History, Request, Situation, Surface, check

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
MEMBERS = ("ann", "ben", "cas")


class SurfaceConformance(ABC):
    """The tests of the surface contract; subclass it as ``Test...`` and return your surface."""

    @abstractmethod
    def make(self) -> Surface:
        """A surface with something to choose from."""

    def subject(self) -> str | None:
        """A subject with something to choose from, where the surface's unit is one."""
        return None

    @abstractmethod
    def succeed(self, decision: Decision) -> list[Event]:
        """What its member does in the window so that its first action earns more than nothing done
        would."""

    def test_it_says_what_it_is(self) -> None:
        surface = self.make()
        assert surface.unit, "unit is empty; say whose draw it is"
        try:
            check(surface)
        except ValueError as wrong:
            raise AssertionError(str(wrong)) from wrong

    def test_what_is_eligible_is_the_same_for_all_and_stored_once(self) -> None:
        surface = self.make()
        first, other = (surface.eligible(self._request(member)) for member in MEMBERS[:2])
        assert len(first), "nothing is eligible; give the suite a surface that can choose"
        assert first.ids == tuple(sorted(set(first.ids))), "make sets with Candidates.of"
        assert other.hash == first.hash, "eligible() looks at the member; that is for masks()"
        assert surface.eligible(self._request(MEMBERS[0])) is first, (
            "eligible() made the same set again; keep it, so that it is hashed once"
        )

    def test_masks_are_rules_with_reasons(self) -> None:
        surface = self.make()
        candidates = surface.eligible(self._request())
        for situation in self._situations(candidates.ids, surface.memory):
            for mask in surface.masks(situation):
                allowed = mask.allowed(situation, candidates)
                assert allowed.shape == (len(candidates),), f"{mask.name} must give one answer each"
                assert allowed.dtype == np.bool_, f"{mask.name} must give true or false"
                again = mask.allowed(situation, candidates)
                assert np.array_equal(again, allowed), f"{mask.name} changes its mind"
                assert mask.name, "a mask has a name"
                assert mask.reason, f"{mask.name} must say why in plain words"

    def test_its_policies_and_models_are_known_by_their_names(self) -> None:
        surface = self.make()
        for policy in surface.policies().values():
            assert POLICIES.get(policy.name) is type(policy), f"POLICIES lacks {policy.name}"
        for model in surface.models():
            assert MODELS.get(model.name) is type(model), f"MODELS lacks {model.name}"

    def test_decisions_are_of_what_is_allowed_with_a_chance(self) -> None:
        surface = self.make()
        allowed = set(surface.eligible(self._request()).ids)
        for decision in self._decisions(surface):
            assert decision.actions, "nothing was chosen for a member without a past"
            assert len(decision.actions) <= surface.slots, "more was chosen than there are slots"
            assert set(decision.actions) <= allowed, "what was chosen is not eligible"
            assert min(decision.propensities) > 0, "what was chosen had no chance"

    def test_every_position_has_a_reward_in_range(self) -> None:
        surface, decisions = self.make(), self._decisions(self.make())
        for events in ([], self._answers(decisions)):
            rewards = _rewards(surface, decisions, events)
            places = {(one.decision_id, k) for one in decisions for k in range(len(one.actions))}
            assert rewards.keys() == places, "give one row (decision_id, position, reward) for each"
            low, high = surface.reward_range
            assert all(low <= reward <= high for reward in rewards.values()), (
                f"a reward is outside reward_range, {low} to {high}: {rewards}"
            )

    def test_success_pays_and_pays_its_own_decision_alone(self) -> None:
        surface, decisions = self.make(), self._decisions(self.make())
        first = (decisions[0].decision_id, 0)
        before = _rewards(surface, decisions, [])
        after = _rewards(surface, decisions, self.succeed(decisions[0]))
        assert after.pop(first, 0.0) > before.pop(first, 0.0), (
            "what succeed() returns earns nothing"
        )
        others = [
            {k: reward for k, reward in one.items() if k[0] != first[0]} for one in (before, after)
        ]
        assert others[0] == others[1], (
            "events that answer to one decision changed the reward of another"
        )

    def test_reports_may_come_twice_and_in_any_order(self) -> None:
        surface, decisions = self.make(), self._decisions(self.make())
        events = self._answers(decisions)
        expected = _rewards(surface, decisions, events)
        twice = [event for event in events for _ in range(2)]
        assert _rewards(surface, decisions, twice) == expected, "an event counts more than once"
        turned = _rewards(surface, decisions[::-1], events[::-1])
        assert turned == expected, "rewards depend on the order of decisions or events"

    def test_no_decisions_have_no_rewards(self) -> None:
        assert not _rewards(self.make(), [], []), "there are rewards without decisions"

    def _answers(self, decisions: Sequence[Decision]) -> list[Event]:
        return [event for decision in decisions for event in self.succeed(decision)]

    def _request(self, member: str = MEMBERS[0], *, whole: bool = True) -> Request:
        subject = self.subject() if whole else None
        return Request(request_id="conformance", member_id=member, at=AT, subject=subject)

    def _situations(self, ids: Sequence[str], memory: timedelta) -> list[Situation]:
        """A member without a past, and one who has seen all and, if there is a memory, got all."""
        before = micros(AT) - 1
        past = History(tuple(ids), (before,) * len(ids), 1)
        chosen = tuple(Choice(before, action) for action in ids) if memory else ()
        return [Situation(self._request()), Situation(self._request(), past, chosen)]

    def _decisions(self, surface: Surface) -> list[Decision]:
        """One of each of three members, by the usual policy on a model that knows little."""
        ids = surface.eligible(self._request()).ids
        model = surface.models()[0].fit(Dataset.of(Vocabulary(ids), Histories.of([[0]])))
        policy = next(iter(surface.policies().values()))
        known: dict[str, Any] = {
            "version": "any@1",
            "histories": _NoHistories(),
            "salt": b"conformance",
        }
        if surface.unit != "subject":
            decider = Decider(surface, model, policy, **known)
            return [decider.propose(self._request(member)) for member in MEMBERS]
        assigner = Assigner(surface, model, policy, choices=NoChoices(), **known)
        subject = self.subject()
        assert subject is not None, "name a subject that can be chosen for: def subject(self)"
        requests = [self._request(member, whole=False) for member in MEMBERS]
        drawn = [assigner.propose(request, [subject])[1] for request in requests]
        return [decision for decisions in drawn for decision in decisions]


class _NoHistories:
    def history(self, member_id: str) -> History:
        return History()

    def generation(self, member_id: str) -> int:
        return 0


def _rewards(
    surface: Surface, decisions: Sequence[Decision], events: Sequence[Event]
) -> dict[tuple[str, int], float]:
    rewards = surface.reward(_frame("decisions", decisions), _frame("events", events))
    rows = rewards.select("decision_id", "position", "reward").rows()
    found = {(decision, position): reward for decision, position, reward in rows}
    assert len(found) == len(rows), "a position has two rewards"
    return found


def _frame(table: str, records: Sequence[msgspec.Struct]) -> pl.DataFrame:
    frame = frame_of_records(records, SCHEMAS[table], AT)
    return frame.with_columns(seq=pl.int_range(pl.len()))
