"""Reports of payments: each good row durable before the answer, each bad one told by its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import NamedTuple

import msgspec

from matinee.api.bodies import PaymentError, PaymentsAnswer, PaymentsBody, TableCount
from matinee.api.guard import Metrics, told
from matinee.errors import MatineeError
from matinee.lake.inbox import Receipt
from matinee.lake.lake import Lake
from matinee.lake.schemas import SCHEMAS
from matinee.service.reports import Judged
from matinee.service.runtime import Runtime

TABLES = PaymentsBody.__struct_fields__
ODD = {
    "unknown_decisions": "unknown_decision",
    "unknown_attempts": "unknown_attempt",
    "out_of_order": "out_of_order",
}
"""What the answer calls the oddities of attempts."""


class _Row(NamedTuple):
    table: str
    number: int
    judged: Judged


class _Read(NamedTuple):
    """The rows of a body: those to be written, those that stand, and what is wrong with others."""

    fresh: list[_Row]
    repeated: list[_Row]
    errors: list[PaymentError]


async def report(runtime: Runtime, metrics: Metrics, sent: bytes, most: int) -> PaymentsAnswer:
    """Take in a body of at most `most` rows; `MatineeError` where it has more."""
    read = await asyncio.to_thread(_read, runtime, sent, most)
    receipts: list[Receipt] = []
    if read.fresh:
        records = [row.judged.row for row in read.fresh]
        written = await asyncio.to_thread(runtime.service.lake.submit, records)
        receipts = await asyncio.wrap_future(written)
        await asyncio.to_thread(runtime.reports.follow)  # the next decision knows of them
    answer = _answer(read, receipts)
    _count(metrics, answer)
    return answer


def _read(runtime: Runtime, sent: bytes, most: int) -> _Read:
    body = msgspec.json.decode(sent, type=PaymentsBody)
    raws = [(name, at, raw) for name in TABLES for at, raw in enumerate(getattr(body, name))]
    if len(raws) > most:
        raise MatineeError(
            f"the report has {len(raws)} rows",
            why=f"the limit is {most}",
            next_step="send smaller reports",
        )
    read, places, records = _Read([], [], []), [], []
    for table, number, raw in raws:
        try:
            records.append(_decoded(runtime.service.lake, table, raw))
            places.append((table, number))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            read.errors.append(PaymentError(table, number, told(str(error))))
    for place, judged in zip(places, runtime.reports.judge(records), strict=True):
        if judged.wrong:
            read.errors.append(PaymentError(*place, judged.wrong))
        else:
            (read.repeated if judged.repeated else read.fresh).append(_Row(*place, judged))
    read.errors.sort(key=lambda error: (TABLES.index(error.table), error.row))
    return read


def _decoded(lake: Lake, table: str, raw: msgspec.Raw) -> msgspec.Struct:
    record: msgspec.Struct = msgspec.json.decode(raw, type=SCHEMAS[table].record)
    if wrong := lake.check(record):
        raise msgspec.ValidationError(wrong)
    return record


def _answer(read: _Read, receipts: list[Receipt]) -> PaymentsAnswer:
    accepted: Counter[str] = Counter()
    duplicates = Counter(row.table for row in read.repeated)
    odd: Counter[str] = Counter()
    for row, receipt in zip(read.fresh, receipts, strict=True):
        (duplicates if receipt.duplicate else accepted)[row.table] += 1
        if not receipt.duplicate:
            odd.update(name for name, field in ODD.items() if getattr(row.judged, field))
    tables = {
        name: TableCount(accepted=accepted[name], duplicates=duplicates[name]) for name in TABLES
    }
    return PaymentsAnswer(tables=tables, errors=read.errors, **odd)


def _count(metrics: Metrics, answer: PaymentsAnswer) -> None:
    for table, counts in answer.tables.items():
        metrics.payments.labels(table, "accepted").inc(counts.accepted)
        metrics.payments.labels(table, "duplicate").inc(counts.duplicates)
    for error in answer.errors:
        metrics.payments.labels(error.table, "refused").inc()
    for name, why in ODD.items():
        metrics.odd_attempts.labels(why).inc(getattr(answer, name))
