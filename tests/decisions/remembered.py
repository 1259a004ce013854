"""A log and histories in memory."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision
from matinee.surfaces import History

AT = datetime(2026, 3, 1, 20, tzinfo=UTC)


class MemoryLog:
    """Keeps the first record of each key, as the lake does."""

    def __init__(self):
        self.rows = {}
        self.puts = []

    def put(self, records):
        self.puts.append(list(records))
        return [self._put(record) for record in records]

    def _put(self, record):
        decision = isinstance(record, Decision)
        key = (record.member_id, record.decision_id) if decision else record.eligible
        duplicate = key in self.rows
        stands = self.rows.setdefault(key, record)
        return Receipt(list(self.rows).index(key), duplicate, stands)

    def decisions(self):
        return [record for record in self.rows.values() if isinstance(record, Decision)]


@dataclass
class MemoryHistories:
    """Histories in a dictionary; an unknown member has none."""

    members: dict = field(default_factory=dict)

    def history(self, member_id):
        return self.members.get(member_id, History())

    def generation(self, member_id):
        return self.history(member_id).generation

    def watch(self, member_id, *titles):
        old = self.history(member_id)
        seen = (*old.titles, *titles)
        self.members[member_id] = History(seen, tuple(range(len(seen))), old.generation + 1)
