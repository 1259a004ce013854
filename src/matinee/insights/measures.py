"""What decisions brought in other units than their reward: minutes watched, and money."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from matinee.lake.table import collect
from matinee.payments.facts import FACTS
from matinee.service.folder import Service
from matinee.service.outcomes import GRACE
from matinee.surfaces import Payments, Surface, Titles
from matinee.surfaces.titles import answers

MEASURES: Mapping[str, tuple[str, ...]] = {
    Titles.name: ("minutes", "reward"),
    Payments.name: ("money", "reward"),
}
"""By what built-in surfaces are measured, the first one foremost; others by their reward alone."""


def measures_of(surface: Surface) -> tuple[str, ...]:
    """By what a surface is measured."""
    return MEASURES.get(surface.name, ("reward",))


def is_share(surface: Surface, measure: str) -> bool:
    """Whether a measure of a decision lies in 0 to 1: minutes, money and sums over slots do not."""
    return measure == "reward" and surface.reward_range == (0.0, 1.0) and surface.slots == 1


def currency(service: Service) -> str | None:
    """The money of the service: the currency with the rate 1, or the only one there is."""
    rates = service.settings.surfaces.payments.rates
    service.ledger.follow()
    known = {one.currency for one in service.ledger.processors.values()}
    found = {name for name, rate in rates.items() if rate == 1.0} if rates else known
    return found.pop() if len(found) == 1 else None


def with_measures(
    service: Service, surface: Surface, mine: pl.LazyFrame, rewards: pl.LazyFrame
) -> pl.LazyFrame:
    """`rewards` of the decisions `mine`, with a column for each measure of the surface."""
    if surface.name == Titles.name:
        watched = rewards.join(_minutes(service, surface, mine), on="decision_id", how="left")
        return watched.with_columns(pl.col("minutes").fill_null(0.0))
    if isinstance(surface, Payments):
        later = rewards.join(_later(service, surface, mine), on="decision_id", how="left")
        whole = later.join(_whole(service, surface, mine), on="decision_id", how="left")
        money = pl.col("reward") - pl.col("later").fill_null(0.0)
        return whole.with_columns(money=pl.coalesce("money", money))
    return rewards


def _minutes(service: Service, surface: Surface, mine: pl.LazyFrame) -> pl.LazyFrame:
    """Minutes of plays that answer to a slot of a decision, as its reward asks, in its window."""
    plays = (
        service.lake.scan("events")
        .filter(pl.col("kind") == "play", pl.col("decision_id").is_not_null())
        .select(
            *("member_id", "decision_id", "title_id", "ts", "known_at"),
            minutes="value",
            echoed="position",
        )
    )
    slots = pl.int_ranges(pl.col("actions").list.len(), dtype=pl.Int64)
    made = mine.select("member_id", "decision_id", "at", action="actions", position=slots)
    return (
        plays.join(made, on=["member_id", "decision_id"])
        .explode("action", "position", empty_as_null=False)
        .filter(_in_time(surface, pl.col("ts")), answers())
        .group_by("decision_id")
        .agg(pl.col("minutes").sum())
    )


def _later(service: Service, surface: Surface, mine: pl.LazyFrame) -> pl.LazyFrame:
    """What members whose invoice was paid are expected to bring later, which is part of the reward
    and is no money yet.
    """
    told = pl.col("context").str.json_path_match
    worth = told(f"$.features.{FACTS}.worth").cast(pl.Float64)
    unit = told(f"$.features.{FACTS}.unit").cast(pl.Float64).fill_null(0.01)
    approved = (
        service.lake.scan("attempts")
        .filter(pl.col("status") == "approved")
        .select("member_id", "known_at", subject="invoice_id", ts="at")
    )
    made = mine.select("member_id", "decision_id", "subject", "at", later=worth * unit)
    return (
        approved.join(made, on=["member_id", "subject"])
        .filter(_in_time(surface, pl.col("ts")))
        .group_by("decision_id")
        .agg(pl.col("later").first())
    )


def _whole(service: Service, surface: Payments, mine: pl.LazyFrame) -> pl.LazyFrame:
    """The money of decisions whose rewards were cut at the limit of the surface: what is to come
    later cannot be taken off these.
    """
    end = surface.reward_range[1]
    cut = service.lake.scan("outcomes").filter(
        pl.col("surface") == surface.name, pl.col("reward").abs() >= end
    )
    made = collect(mine.join(cut, on=["member_id", "decision_id"], how="semi"), "decisions")
    about = made.lazy().select("member_id", "at", answers_to="decision_id", invoice_id="subject")
    attempts = service.lake.scan("attempts").rename({"at": "ts"})
    tried = attempts.join(about, on=["member_id", "invoice_id"]).filter(
        _in_time(surface, pl.col("ts"))
    )
    return surface.brought(made, collect(tried, "attempts")).lazy().drop("net")


def _in_time(surface: Surface, ts: pl.Expr) -> pl.Expr:
    """Whether something came in a decision's window, and was known soon enough to count."""
    end = pl.col("at") + surface.window
    return ts.is_between(pl.col("at"), end, closed="left") & (pl.col("known_at") <= end + GRACE)
