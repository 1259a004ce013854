"""Proof of a decision from its record alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

from matinee.decisions.ids import generator, luck_of
from matinee.lake.records import Decision
from matinee.policies import Policy, Preference, Slate


def preference_of(record: Decision) -> Preference:
    """What the policy drew from: positions in the eligible set, and their logits."""
    return Preference(np.array(record.segment, np.int32), np.array(record.scores, np.float32))


def rebuild(
    record: Decision, policy: Policy, unit: Literal["member", "subject"] = "member"
) -> Slate:
    """The draw of `record` once more, bit for bit: no model and no history is needed.

    `policy` is the one of the record's version, `unit` that of its surface. The actions come as
    positions in the eligible set that the record names, with the propensities that it holds.

    Raises `ValueError` where the record does not come from this policy.
    """
    slate = redrawn(record, policy, unit)
    if slate.propensities.tolist() != list(record.propensities):
        raise ValueError(
            f"decision {record.decision_id} was not drawn by this {policy.name} policy; "
            f"load the policy of {record.policy}"
        )
    return slate


def redrawn(record: Decision, policy: Policy, unit: Literal["member", "subject"]) -> Slate:
    """The same draw, whatever propensities the record has."""
    preference = preference_of(record)
    if unit == "member":
        return policy.draw(preference, len(record.actions), generator(record.seed))
    places, propensities = policy.pick(preference.logits[None], luck_of(np.array([record.seed])))
    return Slate(preference.segment[places], propensities, policy.kind)
