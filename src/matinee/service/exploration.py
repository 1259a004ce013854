"""What exploring costs a surface, and what it buys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import log, log1p, sqrt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.evaluation.intervals.base import Interval
from matinee.evaluation.off_policy.moments import Moments
from matinee.evaluation.off_policy.weights import Weights
from matinee.experiments.sequential import BURN_IN, sharpness
from matinee.lake.table import collect
from matinee.policies import Policy
from matinee.registry import Approvals, Change
from matinee.registry.approvals import Judged
from matinee.service.attributing import numbers
from matinee.service.comparing import WORTH
from matinee.service.folder import Service
from matinee.service.health import policy_of, sets_of
from matinee.service.outcomes import counted

MOST = 20_000
"""Decisions that are looked at, the latest."""
DRAWS = 8
"""Slates that are simulated for each decision of several slots."""
CELLS = 80_000_000
"""Chances that simulating takes at most; of more, fewer decisions are looked at."""
LACKING = "insufficient support"

Floats = NDArray[np.float64]


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


@dataclass(frozen=True)
class Promotion:
    """A version that followed another, and what it had been measured to bring more."""

    version: str
    at: datetime
    gain: Interval | None
    unit: str


@dataclass(frozen=True)
class Bought:
    """What a log that explores made possible.

    judged : candidates; passed, failed, lacking : verdicts. uniform : the share of the log that is
    left to judge a candidate by that draws evenly from what could be shown. latest : the version
    that was judged last, with the same share for it, `left`. promotions : those since the first.
    """

    judged: int
    passed: int
    failed: int
    lacking: int
    uniform: float
    latest: str | None
    left: float
    promotions: tuple[Promotion, ...]


@dataclass(frozen=True)
class Explored:
    """Both, of a surface."""

    surface: str
    spent: Spent
    bought: Bought


def explored(service: Service, at: datetime) -> tuple[Explored, ...]:
    """What exploring cost and bought, as of a time, on each surface that has a champion; but for
    one whose policy cannot be read.
    """
    found = []
    for surface in service.surfaces:
        with suppress(MatineeError):
            cost, left = _spent(service, surface, at)
            if cost is not None:
                found.append(Explored(surface, cost, bought(service, surface, left)))
    return tuple(found)


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
    below the slate that was logged and below `DRAWS` others drawn alike: all being alike, the mean
    of w is 1 but for actions that stood higher in every one.

    The interval holds at every look: the asymptotic confidence sequence of
    :class:`~matinee.experiments.sequential.AsymptoticSequence` for one mean, clustered by member.
    Where the weights are worth fewer than 100 decisions, or there are fewer members, there is no
    number. The latest 20,000 closed decisions count, fewer of them where slates are long.

    Raises `MatineeError` where the champion's policy cannot be read.
    """
    return _spent(service, surface, at)[0]


def bought(service: Service, surface: str, uniform: float = float("nan")) -> Bought:
    """What the log of a surface made possible; `uniform` is the share left for even draws."""
    verdicts = Approvals(service.registry).verdicts(surface)
    said = Counter(one.outcome for one in verdicts)
    last = verdicts[-1] if verdicts else None
    return Bought(
        len({one.candidate for one in verdicts}),
        said["passes"],
        said["fails"],
        said["insufficient support"],
        uniform,
        last.candidate if last else None,
        _left(last),
        tuple(_promotions(service, surface, verdicts)),
    )


def _left(last: Judged | None) -> float:
    """The share of the log that was left to judge the latest candidate by."""
    if last is None or not last.evidence.get("decisions"):
        return float("nan")
    return float(last.evidence["effective"] or 0.0) / float(last.evidence["decisions"])


def _promotions(service: Service, surface: str, verdicts: list[Judged]) -> Iterator[Promotion]:
    """Each version that followed a champion because it was proved better."""
    for change in service.registry.history(surface):
        if change.action == "approve" and change.old:
            passes = [
                one
                for one in verdicts
                if one.outcome == "passes"
                and (one.candidate, one.champion) == (change.new, change.old)
                and one.at <= change.at
            ]
            yield _gain(passes[-1], change) if passes else _won(service, change)


def _gain(passed: Judged, change: Change) -> Promotion:
    gain = _interval(passed.evidence.get("estimate"))
    return Promotion(change.new, change.at, gain, "decision")


def _won(service: Service, change: Change) -> Promotion:
    """One that won an experiment: the latest reading of it, by what its treatment served."""
    for one in service.trials.all():
        reading = service.trials.latest(one.name)
        if reading and reading.reason == "better" and one.arms[1].serves == change.new:
            metrics = reading.body.get("metrics") or [{}]
            gain = _interval(metrics[0].get("difference"))
            return Promotion(change.new, change.at, gain, "member")
    return Promotion(change.new, change.at, None, "decision")


def _interval(told: Mapping[str, Any] | None) -> Interval | None:
    """An interval as it stands on record; `None` where an end of it is none."""
    if not told or any(told.get(end) is None for end in ("value", "low", "high")):
        return None
    value, low, high, level = (float(told[name]) for name in ("value", "low", "high", "level"))
    return Interval(value, low, high, level, str(told["method"]))


def _spent(service: Service, surface: str, at: datetime) -> tuple[Spent | None, float]:
    """What was spent, and the share of the log that is left for even draws."""
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        return None, float("nan")
    rows, made = _closed(service, surface, champion.id, at)
    if not rows.height:
        none = Spent(champion.id, made, 0, 0.0, None, None, "no decision of it is closed yet")
        return none, float("nan")
    log_ = _Log.of(rows, sets_of(service, rows["eligible"].unique()), policy_of(service, champion))
    size = service.settings.experiments.tightest_at
    support = Weights.none().add(log_.weights[log_.shown]).result()
    effective = support.effective * len(log_.member) / max(int(log_.shown.sum()), 1)
    members = int(np.unique(log_.member).size)
    why = _lacking(effective, members)
    each = None if why else anytime(log_.differences(), log_.member, size)
    total = each and Interval(
        made * each.value, made * each.low, made * each.high, each.level, each.method
    )
    told = Spent(champion.id, made, rows.height, effective, each, total, why)
    even = Weights.none().add(log_.even).result()
    return told, even.effective / rows.height


def _lacking(effective: float, members: int) -> str:
    if effective < WORTH:
        return f"{LACKING}: the draws are worth {effective:,.0f} decisions of the best first"
    return f"{LACKING}: {members:,} members" if members < BURN_IN else ""


def anytime(
    values: Floats, member: NDArray[np.int64], size: float, alpha: float = 0.05
) -> Interval:
    """The mean of values [N] with an interval that holds at every look, clustered by member [N]; it
    is tightest at so many members.

    >>> values = np.tile([0.0, 1.0], 500)
    >>> one = anytime(values, np.arange(1_000), size=1_000)
    >>> round(one.value, 2), round(one.low, 3), round(one.high, 3)
    (0.5, 0.452, 0.548)
    """
    moments = Moments.of(values[:, None], member)
    x = sharpness(alpha) * moments.clusters / size
    z = sqrt((1 + x) / x * (log1p(x) - 2 * log(alpha)))
    value, reach = float(moments.means[0]), z * moments.error(np.ones(1))
    method = "anytime-valid, asymptotic, Gaussian mixture"
    return Interval(value, value - reach, value + reach, 1 - alpha, method)


def _closed(service: Service, surface: str, version: str, at: datetime) -> tuple[pl.DataFrame, int]:
    """The latest closed decisions of a version with their rewards, and how many it made in all."""
    mine = service.lake.scan("decisions").filter(
        pl.col("surface") == surface,
        pl.col("policy") == version,
        pl.col("at") <= at,
        pl.col("propensity_kind") == "conditional",
    )
    decisions = counted(mine, service.surface(surface))
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
    return max(1, CELLS // (DRAWS * slots * size)) if slots > 1 else MOST


@dataclass(frozen=True)
class _Log:
    """N decisions of at most K slots, in order of time.

    rewards, weights : float64 [N, K], the weights those of the best first. shown : bool [N, K].
    even : float64 [N], the weights in the first slot of what draws evenly. member : int64 [N].
    """

    rewards: Floats
    weights: Floats
    shown: NDArray[np.bool_]
    even: Floats
    member: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pl.DataFrame, sets: Mapping[str, list[str]], policy: Policy) -> _Log:
        """From decisions with their rewards."""
        lengths = rows["actions"].list.len().to_numpy()
        shown = np.arange(int(lengths.max())) < lengths[:, None]
        rewards, chances, first = np.zeros(shown.shape), np.ones(shown.shape), list[bool]()
        rewards[shown] = np.concatenate(rows["rewards"].to_list())
        chances[shown] = np.concatenate(rows["propensities"].to_list())
        best = np.zeros(shown.shape, bool)
        columns = rows.select("actions", "segment", "eligible")
        for row, (actions, segment, eligible) in enumerate(columns.iter_rows()):
            ids = sets.get(eligible, [])
            own = [
                place < len(ids) and ids[place] == one
                for place, one in zip(segment, actions, strict=False)
            ]
            best[row, : len(own)] = own
            first.append(bool(own[0]))
        sizes = rows["segment"].list.len().to_numpy()
        marginal = _marginals(rows["scores"], sizes, best, chances, policy)
        return cls(
            rewards,
            np.where(best, 1 / marginal, 0.0),
            shown,
            1 / (sizes * chances[:, 0]),
            numbers(rows["member_id"]),
        )

    def differences(self) -> Floats:
        """What each decision tells of the best first less the champion [N]."""
        usual = self.rewards.sum(axis=0) / np.maximum(self.shown.sum(axis=0), 1)
        terms = (self.weights - 1) * (self.rewards - usual)
        told: Floats = np.where(self.shown, terms, 0.0).sum(axis=1)
        return told


def _marginals(
    scores: pl.Series,
    sizes: NDArray[np.integer[Any]],
    best: NDArray[np.bool_],
    chances: Floats,
    policy: Policy,
) -> Floats:
    """The chance of the best first in each slot where it stood [N, K]."""
    found = chances.copy()
    if best.shape[1] == 1:
        return found
    rng = np.random.default_rng(0)
    for size in np.unique(sizes[best[:, 1:].any(axis=1)]).tolist():
        rows = np.flatnonzero((sizes == size) & best[:, 1:].any(axis=1))
        logits = np.array(scores.gather(rows).to_list(), np.float32)
        slots = min(best.shape[1], size)
        for part in np.array_split(np.arange(len(rows)), max(1, len(rows) // 512)):
            drawn = sum(_in_own_slot(policy, logits[part], slots, rng) for _ in range(DRAWS))
            mine = rows[part]
            found[mine, :slots] = (found[mine, :slots] + drawn) / (DRAWS + 1)
    found[:, 0] = chances[:, 0]
    return found


def _in_own_slot(
    policy: Policy, logits: NDArray[np.float32], slots: int, rng: np.random.Generator
) -> Floats:
    """The chance of the k-th best in slot k [N, slots], below one simulated slate for each of N
    decisions with logits [N, S], the best first.
    """
    count = len(logits)
    left, found = np.tile(np.arange(logits.shape[1]), (count, 1)), np.zeros((count, slots))
    for slot in range(slots):
        chances = policy.chances(logits)
        head = slice(0, slot + 1)
        found[:, slot] = np.where(left[:, head] == slot, chances[:, head], 0.0).sum(axis=1)
        up_to = np.cumsum(chances, axis=1)
        drawn = (up_to <= rng.random((count, 1)) * up_to[:, -1:]).sum(axis=1)
        stays = np.arange(logits.shape[1]) != drawn[:, None]
        left, logits = left[stays].reshape(count, -1), logits[stays].reshape(count, -1)
        if not logits.shape[1]:
            break
    return found
