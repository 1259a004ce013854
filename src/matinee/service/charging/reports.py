"""What processors report later: twice, out of order, about what nobody knows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from matinee.lake.billing import Attempt
from matinee.lake.buckets import bucket_of
from matinee.lake.lake import Lake
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.payments.attempts import ORDER
from matinee.payments.reasons import Reasons

SAME = ("invoice_id", "instrument_id", "processor", "amount", "currency")
"""What all reports on an attempt must agree on."""

log = logging.getLogger("matinee.charging")

Id = tuple[str, str]
Known = dict[Id, list[Attempt]]


class Report(NamedTuple):
    """What became of reports, in numbers of them.

    `accepted` are on record now, `duplicates` were before; `refused` say something that cannot be,
    such as another amount than what was sent. Of those accepted: `out_of_order` had been overtaken,
    `unknown_attempt` are about one that nobody had told of, `unknown_decision` name one that the
    member never had.
    """

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    out_of_order: int = 0
    unknown_attempt: int = 0
    unknown_decision: int = 0


def report(lake: Lake, attempts: Sequence[Attempt], reasons: Reasons | None = None) -> Report:
    """Put what processors say on record, each with its reason by the mapping, and count it.

    Whatever their order, the last status of `STATUSES` holds, so that an approval that comes after
    a decline stops what would have been tried next. An attempt of the last days is looked up by its
    key in the inbox; an older one, or one that nobody knows, in the rows of its member's bucket.
    """
    reasons = reasons or Reasons.built_in()
    known = _known(lake, attempts)
    decided = _decided(lake, [one for one in attempts if not known[_id(one)]])
    counts: Counter[str] = Counter()
    accepted: list[Attempt] = []
    for one in attempts:
        before = known[_id(one)]
        if wrong := lake.check(one) or contradiction(one, before):
            counts["refused"] += 1
            log.warning("a report on attempt %s is refused: %s", one.attempt_id, wrong)
            continue
        if any(other.status == one.status for other in before):
            counts["duplicates"] += 1
            continue
        counts["out_of_order"] += any(ORDER[other.status] > ORDER[one.status] for other in before)
        counts["unknown_attempt"] += not before
        counts["unknown_decision"] += not before and _names_none(one, decided)
        row = on_record(one, before, reasons)
        before.append(row)
        accepted.append(row)
    lake.put(accepted)
    return Report(accepted=len(accepted), **counts)


def _id(attempt: Attempt) -> Id:
    return attempt.member_id, attempt.attempt_id


def on_record(one: Attempt, before: Sequence[Attempt], reasons: Reasons) -> Attempt:
    """A report as it is kept: with the decision that earlier ones named, and with its reason."""
    named = one.decision_id or (before[0].decision_id if before else None)
    return reasons.noted(msgspec.structs.replace(one, decision_id=named))


def contradiction(one: Attempt, before: Sequence[Attempt]) -> str | None:
    """What a report says otherwise than an earlier one, or `None`."""
    if not before:
        return None
    names = [name for name in SAME if getattr(one, name) != getattr(before[0], name)]
    if one.decision_id is not None and before[0].decision_id not in {None, one.decision_id}:
        names.append("decision_id")
    return f"another {', '.join(names)} than was reported before" if names else None


def _names_none(one: Attempt, decided: set[Id]) -> bool:
    """Whether a report names a decision that its member never had."""
    return one.decision_id is not None and (one.member_id, one.decision_id) not in decided


def _known(lake: Lake, attempts: Sequence[Attempt]) -> Known:
    """The reports that stand, by attempt."""
    known: Known = {_id(one): [] for one in attempts}
    firsts = {_id(one): one for one in attempts}.values()
    asked = [msgspec.structs.replace(one, status=status) for one in firsts for status in ORDER]
    for row in lake.inbox.held(asked):
        if isinstance(row, Attempt):
            known[_id(row)].append(row)
    missing = {key for key, rows in known.items() if not rows}
    for frame in _rows(lake, "attempts", "attempt_id", missing):
        for row in records_of(frame, SCHEMAS["attempts"]):
            known[_id(row)].append(row)
    return known


def _decided(lake: Lake, attempts: Sequence[Attempt]) -> set[Id]:
    """The decisions that there are, of those that reports name."""
    named = {(one.member_id, one.decision_id) for one in attempts if one.decision_id is not None}
    frames = _rows(lake, "decisions", "decision_id", named)
    return {key for frame in frames for key in frame.select("member_id", "decision_id").iter_rows()}


def _rows(lake: Lake, table: str, column: str, wanted: set[Id]) -> Iterator[pl.DataFrame]:
    """The rows of a table with these members and ids, bucket by bucket."""
    if not wanted:
        return
    keys = pl.DataFrame(sorted(wanted), schema=["member_id", column], orient="row").lazy()
    buckets = lake.tables[table].buckets()
    for number in sorted({bucket_of(member, lake.bucket_count) for member, _ in wanted}):
        found = buckets[number].scan().join(keys, on=["member_id", column], how="semi")
        yield collect(found, table)
