"""Eligible sets on their way into the log: each is written once, with the first that names it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision, Eligible
from matinee.surfaces import Candidates


class EligibleSets:
    """Which sets decisions were made from, and which of them the log has for certain."""

    def __init__(self) -> None:
        self._logged: set[str] = set()
        self._unlogged: dict[str, Candidates] = {}

    def note(self, candidates: Candidates) -> None:
        """A decision is being made from these."""
        if candidates.hash not in self._logged:
            self._unlogged[candidates.hash] = candidates

    def records(self, decisions: Sequence[Decision]) -> list[msgspec.Struct]:
        """What to put into the log for `decisions`: they, and sets that it may not have yet."""
        names = dict.fromkeys(decision.eligible for decision in decisions)
        sets = map(self._unlogged.get, names)
        return [*(found.record() for found in sets if found is not None), *decisions]

    def standing(self, receipts: Sequence[Receipt], surface: str) -> list[Decision]:
        """The decisions of a surface that stand, from the log's answer to `records`."""
        for receipt in receipts:
            if isinstance(receipt.record, Eligible):
                self._logged.add(receipt.record.eligible)
                self._unlogged.pop(receipt.record.eligible, None)
        decisions = [one.record for one in receipts if isinstance(one.record, Decision)]
        return [decision for decision in decisions if decision.surface == surface]
