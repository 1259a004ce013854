"""What another version would have preferred where a decision was logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.decisions.preferring import prefer
from matinee.decisions.sequences import asked
from matinee.lake.records import Decision
from matinee.models import Context, Model
from matinee.policies import Policy, Preference
from matinee.surfaces import History

BATCH, NUMBERS = 256, 20_000_000
"""Decisions that are scored at once, at most, and numbers that draws for them may take."""


class Counterfactual:
    """A version asked about decisions of the past: its model scores, its policy prefers.

    It sees what the decider saw: the eligible set of the record without what masks took away, and
    the history that the caller found as it was known then.
    """

    def __init__(self, model: Model, policy: Policy) -> None:
        self.model, self.policy = model, policy

    def preferences(
        self,
        records: Sequence[Decision],
        eligible: Mapping[str, Sequence[str]],
        histories: Sequence[History],
    ) -> list[Preference]:
        """The preference of each record, in positions of its eligible set.

        `eligible` gives the candidates of each content hash that records name, ascending by id.
        Where nothing was allowed the preference is empty.
        """
        found: dict[int, Preference] = {}
        for name in dict.fromkeys(record.eligible for record in records):
            rows = [row for row, record in enumerate(records) if record.eligible == name]
            codes = self.model.titles.encode(eligible[name])
            each = max(1, self.policy.draws * len(codes))
            size = max(1, min(BATCH, NUMBERS // each))
            for first in range(0, len(rows), size):
                part = rows[first : first + size]
                context = self._context([records[i] for i in part], [histories[i] for i in part])
                belief = self.model.believe(context, codes, draws=self.policy.draws)
                for place, row in enumerate(part):
                    allowed = np.delete(np.arange(len(codes)), records[row].removed)
                    bonus = _bonus(records[row], eligible[name], allowed)
                    found[row] = prefer(self.policy, belief, place, allowed, bonus)
        return [found[row] for row in range(len(records))]

    def _context(self, records: Sequence[Decision], histories: Sequence[History]) -> Context:
        return asked(
            self.model.titles,
            [record.at for record in records],
            list(map(_seen, records, histories)),
            [record.context.get("country") for record in records],
            devices=[record.context.get("device") for record in records],
            features=[record.context.get("features", {}) for record in records],
        )


def _bonus(
    record: Decision, candidates: Sequence[str], allowed: NDArray[np.int64]
) -> NDArray[np.float64] | float:
    """What the candidates that were allowed were worth besides what a model expects."""
    bonus = record.context.get("bonus")
    if not bonus:
        return 0.0
    return np.array([bonus.get(candidates[place], 0.0) for place in allowed.tolist()])


def _seen(record: Decision, history: History) -> History:
    """What the model was shown: a row of a page may stand on another history than the member's."""
    row = record.context.get("row") or {}
    return history.only(row["history"]) if "history" in row else history
