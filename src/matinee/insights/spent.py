"""What it costs that a version draws, and does not always take what it holds for the best."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.off_policy.weights import Weights
from matinee.experiments.sequential import BURN_IN
from matinee.insights.best_first import SLATES, Draws
from matinee.insights.propensities import policy_of, sets_of
from matinee.insights.rewards import own_decisions
from matinee.lake.table import collect
from matinee.service.comparing import WORTH
from matinee.service.folder import Service
from matinee.service.means import anytime
from matinee.service.outcomes import counted

MOST = 20_000
"""Decisions that are looked at, the latest."""
CELLS = 80_000_000
"""Chances that simulating takes at most; of more, fewer decisions are looked at."""
LACKING = "insufficient support"


@dataclass(frozen=True)
class Spent:
    """What it cost that a version draws, and does not always take what it holds for the best.

    decisions : all that it made. judged : the latest of these, closed, that the estimate stands on,
    and `effective` how many it is worth. each : what the best first would have brought more, a
    decision, in the unit of the reward; total : the same of all decisions. Both are `None` where
    support is insufficient, and `why` says so.
    """

    version: str
    decisions: int
    judged: int
    effective: float
    each: Interval | None
    total: Interval | None
    why: str = ""


def spent(service: Service, surface: str, at: datetime) -> Spent | None:
    r"""What the champion's draws cost as of a time; `None` without a champion.

    The best first is the champion's own policy without chance: in slot k the action that stands
    k-th in its segment. With m_k the chance that the champion shows this action there, and w_k =
    1 / m_k where it did, else 0, each decision tells

    .. math:: \delta = \sum_k (w_k - 1) (r_k - \bar r_k),

    whose mean is what the best first would bring more, if a slot's reward depends on its own action
    alone (inverse propensities, slots apart: Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and
    Wen, 2018, "Offline evaluation of ranking policies with click models", KDD, arXiv 1804.10488).
    The mean reward r of the slot is taken off, which costs no bias but one in 1 / N and most of the
    variance (the first-order term of SNIPS: Swaminathan and Joachims, 2015, NeurIPS).

    Of one slot m is the propensity. Of several it is the mean of the action's chance in its slot
    below the slate that was logged and below `SLATES` others drawn alike: all being alike, the mean
    of w is 1 but for actions that stood higher in every one.

    The interval holds at every look: the asymptotic confidence sequence of
    :class:`~matinee.experiments.sequential.AsymptoticSequence` for one mean, clustered by member.
    Where the weights are worth fewer than 100 decisions, or there are fewer members, there is no
    number. The latest 20,000 closed decisions count, fewer of them where slates are long.

    Raises `MatineeError` where the champion's policy cannot be read.
    """
    return spent_and_left(service, surface, at)[0]


def spent_and_left(service: Service, surface: str, at: datetime) -> tuple[Spent | None, float]:
    """What was `spent`, and the share of the log that is left to judge a version by that draws
    evenly; NaN where nothing is closed.
    """
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        return None, float("nan")
    rows, made = _closed(service, surface, champion.id, at)
    if not rows.height:
        none = Spent(champion.id, made, 0, 0.0, None, None, "no decision of it is closed yet")
        return none, float("nan")
    sets = sets_of(service, rows["eligible"].unique())
    draws = Draws.of(rows, sets, policy_of(service, champion))
    size = service.settings.experiments.tightest_at
    support = Weights.none().add(draws.weights[draws.shown]).result()
    effective = support.effective * len(draws.member) / max(int(draws.shown.sum()), 1)
    members = int(np.unique(draws.member).size)
    why = _lacking(effective, members)
    each = None if why else anytime(draws.differences(), draws.member, size)
    total = each and Interval(
        made * each.value, made * each.low, made * each.high, each.level, each.method
    )
    told = Spent(champion.id, made, rows.height, effective, each, total, why)
    even = Weights.none().add(draws.even).result()
    return told, even.effective / rows.height


def _lacking(effective: float, members: int) -> str:
    if effective < WORTH:
        return f"{LACKING}: the draws are worth {effective:,.0f} decisions of the best first"
    return f"{LACKING}: {members:,} members" if members < BURN_IN else ""


def _closed(service: Service, surface: str, version: str, at: datetime) -> tuple[pl.DataFrame, int]:
    """The latest closed decisions of a version with their rewards, and how many it made in all."""
    mine = service.lake.scan("decisions").filter(
        pl.col("surface") == surface,
        pl.col("policy") == version,
        pl.col("at") <= at,
        pl.col("propensity_kind") == "conditional",
    )
    asked = service.surface(surface)
    first = counted(own_decisions(service, asked), asked).select("decision_id")
    decisions = mine.join(first, on="decision_id", how="semi")
    made = int(collect(decisions.select(pl.len()), "decisions").item())
    closed = service.lake.scan("outcomes").filter(
        pl.col("surface") == surface, pl.col("closed_at") <= at
    )
    known = collect(
        decisions.select("decision_id", "at").join(
            closed.select(pl.col("decision_id").unique()), on="decision_id", how="semi"
        ),
        "decisions or outcomes",
    )
    latest = known.sort("at", "decision_id").tail(MOST).lazy().select("decision_id")
    rewards = (
        closed.join(latest, on="decision_id", how="semi")
        .group_by("decision_id")
        .agg(rewards=pl.col("reward").sort_by("position"))
    )
    columns = ["decision_id", "member_id", "at", "actions", "propensities", "segment", "scores"]
    rows = mine.select(*columns, "eligible").join(rewards, on="decision_id")
    slots = pl.col("actions").list.len()
    whole = rows.filter(
        slots > 0,
        pl.col("rewards").list.len() == slots,
        pl.col("propensities").list.len() == slots,
        pl.col("propensities").list.min() > 0,
        pl.col("segment").list.len() >= slots,
        pl.col("scores").list.len() == pl.col("segment").list.len(),
    )
    found = collect(whole, "decisions or outcomes").sort("at", "decision_id")
    return found.tail(_within(found)), made


def _within(rows: pl.DataFrame) -> int:
    """How many of the decisions may be looked at, so that simulating is quick enough."""
    slots, size = (int(rows[name].list.len().max() or 1) for name in ("actions", "segment"))  # type: ignore[arg-type]
    return max(1, CELLS // (SLATES * slots * size)) if slots > 1 else MOST
