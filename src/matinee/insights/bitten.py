"""Which rules of payments took actions away, how often, and what was left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from matinee.lake.billing import NetworkRule
from matinee.lake.lake import Lake
from matinee.lake.records import micros
from matinee.payments.actions import SLOTS, STOP
from matinee.payments.reasons import Reasons
from matinee.payments.rules import RuleBook

MONTH = timedelta(days=30)
WORDED = 3
"""So many of the reasons that a rule gave, the most frequent."""
HARD = "hard_reason"
"""The name of the bar for what no network but our own mapping of codes calls final."""


@dataclass(frozen=True)
class Bite:
    """In how many decisions a rule took actions away, and how many actions in all."""

    decisions: int
    actions: int


@dataclass(frozen=True)
class Rule:
    """A rule that took actions away: what it said, of the last 30 days and ever.

    `kind`, `source` and the dates are those of the rule book; all are empty where the rule is not
    in it. `said` are the reasons in the records, the most frequent first.
    """

    name: str
    said: tuple[str, ...]
    kind: str
    source: str
    since: datetime | None
    until: datetime | None
    month: Bite
    ever: Bite


@dataclass(frozen=True)
class Decided:
    """How many decisions there are on payments, how many of them had nothing left to choose, and
    how many nothing but to stop.
    """

    decisions: int
    nothing: int
    stopped: int


@dataclass(frozen=True)
class Rules:
    """What rules did to decisions of the last 30 days, and ever; `others` are in force and never
    took anything away.
    """

    month: Decided
    ever: Decided
    bit: tuple[Rule, ...]
    others: int


def rules(lake: Lake, made: pl.DataFrame, at: datetime) -> Rules:
    late = made.filter(pl.col("at") > at - MONTH)
    book = RuleBook.built_in().extended(lake.records("rules"))
    named = {one.rule_id: one for one in book.rules}
    bit = tuple(_bit(made, at, named))
    seen = {one.name for one in bit}
    others = [one for one in book.in_force(micros(at)) if one.kind != "fee"]
    others = [one for one in others if one.rule_id not in seen]
    return Rules(_decided(late), _decided(made), bit, len(others))


def _decided(made: pl.DataFrame) -> Decided:
    stopped = (pl.col("chosen") == STOP) & (pl.col("removed") == len(SLOTS))
    return Decided(
        made.height, made["chosen"].null_count(), made.filter(stopped.fill_null(value=False)).height
    )


_MASKS = pl.List(pl.Struct({"name": pl.String, "reason": pl.String, "count": pl.Int64}))


def _bit(made: pl.DataFrame, at: datetime, named: Mapping[str, NetworkRule]) -> Iterator[Rule]:
    """The rules that took something away, those of the most decisions first."""
    alike = made.group_by("masks").agg(ever=pl.len(), month=(pl.col("at") > at - MONTH).sum())
    each = (
        alike.with_columns(mask=pl.col("masks").str.json_decode(_MASKS))
        .explode("mask")
        .drop_nulls("mask")
        .unnest("mask")
        .group_by("masks", "name", "reason", "ever", "month")
        .agg(pl.col("count").sum())
    )
    reasons = each.group_by("name", "reason").agg(
        *(pl.col(when).sum() for when in ("ever", "month")),
        *((pl.col("count") * pl.col(when)).sum().alias(f"actions_{when}") for when in _WHEN),
    )
    ordered = reasons.sort("ever", "reason", descending=[True, False])
    whole = ordered.group_by("name").agg(
        pl.col("reason"), pl.exclude("name", "reason").sum(), pl.col("ever").sum().alias("order")
    )
    for row in whole.sort("order", "name", descending=[True, False]).iter_rows(named=True):
        month, ever = (Bite(row[when], row[f"actions_{when}"]) for when in ("month", "ever"))
        yield _rule(row["name"], row["reason"], named.get(row["name"]), month, ever)


_WHEN = ("ever", "month")


def _rule(name: str, said: list[str], known: NetworkRule | None, month: Bite, ever: Bite) -> Rule:
    words = tuple(said[:WORDED])
    if known is None:
        source = _source(said) if name == HARD else ""
        return Rule(name, words, "", source, None, None, month, ever)
    return Rule(name, words, known.kind, known.source, known.starts_at, known.ends_at, month, ever)


def _source(said: Iterable[str]) -> str:
    """Who says that the reasons that were named are final."""
    words = {word for one in said for word in one.partition(":")[0].split(" and ")}
    found = Counter(
        signal.source for signal in Reasons.built_in().signals.values() if signal.reason in words
    )
    return "; ".join(source for source, _ in found.most_common(WORDED))
