"""What a log has otherwise than before: shares, mean rewards and volumes that moved unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.insights.days import DAY
from matinee.insights.rewards import own_decisions, rewards
from matinee.lake.table import collect
from matinee.service.folder import Service
from matinee.service.outcomes import counted
from matinee.surfaces import Surface

LATE, EARLY, LEAST_EARLY = timedelta(days=7), timedelta(days=28), timedelta(days=14)
"""What moved is seen in the last week beside the four before; two of these have to be there."""
FAR: Mapping[str, float] = {"country": 0.05, "device": 0.05, "action": 0.25}
"""The share of decisions that have to be elsewhere, for each of what has shares."""
MEAN, FACTOR, ERRORS = 0.2, 1.5, 4.0
"""By which share a mean has to move, by which factor a volume, and both by how many errors."""
FLIPS, FEW, VALUES, GROUPS = 400, 100, 200, 1_000
"""Draws of chance that a move has to pass; members below which nothing is said; values of a kind
that are told apart; and groups that members are put into, at most."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """One of several values, and its share of decisions before and now."""

    name: str
    before: float
    now: float


@dataclass(frozen=True)
class Moved:
    """Something that is not as it was in the four weeks before.

    what : "country", "device" or "action", with the `values` that moved farthest; "reward", a
    decision, or "volume", decisions a day, with one value, its mean before and now. apart : the
    share of decisions that are elsewhere, or the relative change.
    """

    what: str
    values: tuple[Value, ...]
    apart: float


def drift(service: Service, surface: str, at: datetime) -> tuple[Moved, ...]:
    r"""What the last seven days have otherwise than the 28 before them, as of a time.

    *Shares* b before and s now, of countries and devices among the surface's own decisions, and of
    actions among those of the champion, are :math:`d = \frac12 \sum_k |s_k - b_k|` apart (total
    variation), which is the share of decisions that are elsewhere. That counts where d is `FAR` or
    more, and more than all of 400 draws of what chance alone brings about,

    .. math:: \frac12 \sum_k \Big|\sum_m \epsilon_m \Big(\tfrac{n_{mk} - s_k n_m}{N}
        - \tfrac{n'_{mk} - b_k n'_m}{N'}\Big)\Big|, \qquad \epsilon_m = \pm 1,

    with n and n' the decisions of member m now and before, N and N' of all (a multiplier bootstrap:
    Chernozhukov, Chetverikov and Kato, 2013, "Gaussian approximations and multiplier bootstrap for
    maxima of sums of high-dimensional random vectors", Annals of Statistics 41, arXiv 1212.6906).
    So that much that one member does is not taken for the work of many.

    *The mean reward* of a decision, by when its window closed, counts where it moved by a fifth and
    by four of its errors, and the *volume* by a factor of 1.5 and four of its own; members are
    independent in both. Where choices are for subjects they stand for a while, and their volume
    falls by itself: nothing is told of it. Each of the five is falsely told in less than one of 400
    readings.

    Nothing is told of fewer than 100 members in either time, nor before the four weeks have two.
    """
    found = service.surface(surface)
    made = _decided(service, found, at)
    champion = service.registry.alias(surface, "champion")
    theirs = made.filter(pl.col("policy") == (champion.id if champion else ""))
    moved = (
        *(
            _shares(what, _split(made.rename({what: "value"}), at))
            for what in ("country", "device")
        ),
        _shares("action", _split(theirs.rename({"actions": "value"}), at).explode("value")),
        _mean(_split(_rewards(service, found, at), at)),
        _volume(_split(made, at), at) if found.unit == "member" else None,
    )
    return tuple(one for one in moved if one is not None)


def _decided(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, at, policy, actions, country, device of what it decided itself in that time."""
    rows = own_decisions(service, surface).filter(
        pl.col("at") <= at, pl.col("at") > at - LATE - EARLY
    )
    said = (
        pl.col("context").str.json_path_match(f"$.{name}").fill_null("none").alias(name)
        for name in ("country", "device")
    )
    return collect(rows.select("member_id", "at", "policy", "actions", *said), "decisions")


def _rewards(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, at and reward of decisions, by when they were closed."""
    closed = rewards(service, surface, at, pl.col("closed_at") > at - LATE - EARLY)
    mine = counted(own_decisions(service, surface), surface).select("decision_id")
    each = closed.join(mine, on="decision_id", how="semi")
    return collect(each.select("member_id", "reward", at="closed_at"), "outcomes")


def _split(rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The rows with whether they are of the last week, `late`, and their member's `group`; none
    where too few were decided for before to compare with.
    """
    split = rows.with_columns(
        late=pl.col("at") > at - LATE,
        group=(pl.col("member_id").rank("dense") % GROUPS).cast(pl.Int64),
    )
    early = split.filter(~pl.col("late"))
    first = early["at"].min()
    long = isinstance(first, datetime) and at - LATE - first >= LEAST_EARLY
    return split if long and early["member_id"].n_unique() >= FEW else split.clear()


def _telling(rows: pl.DataFrame) -> bool:
    """Whether there are enough members in the last week too."""
    return rows.filter("late")["member_id"].n_unique() >= FEW


def _shares(what: str, rows: pl.DataFrame) -> Moved | None:
    """The shares of `value` that moved."""
    if not _telling(rows):
        return None
    names, early, late = _counts(rows)
    before, now = (each.sum(axis=0) / each.sum() for each in (early, late))
    apart = float(np.abs(now - before).sum() / 2)
    parts = (_pull(late, now), -_pull(early, before))
    if apart < FAR[what] or apart <= _by_chance(sum(parts, np.zeros_like(late))):
        return None
    farthest = np.argsort(-np.abs(now - before), kind="stable")[:3].tolist()
    values = tuple(
        Value(names[one], float(before[one]), float(now[one]))
        for one in farthest
        if now[one] != before[one]
    )
    return Moved(what, values, apart)


def _counts(rows: pl.DataFrame) -> tuple[list[str], Floats, Floats]:
    """The most frequent values, the rest as one, and how often each group had them before and now,
    [groups, values].
    """
    most = rows["value"].value_counts(sort=True)["value"].head(VALUES).to_list()
    names = [*most, "others"]
    number = pl.col("value").replace_strict(most, list(range(len(most))), default=len(most))
    cells = rows.group_by("group", "late", number=number).agg(size=pl.len())
    groups = int(rows["group"].to_numpy().max()) + 1
    found = np.zeros((2, groups, len(names)))
    at = (cells["late"].cast(pl.Int64), cells["group"], cells["number"].cast(pl.Int64))
    found[tuple(column.to_numpy() for column in at)] = cells["size"].to_numpy()
    return names, found[0], found[1]


def _pull(counts: Floats, shares: Floats) -> Floats:
    """What each group adds to how far shares are from what they are in truth."""
    each: Floats = (counts - shares * counts.sum(axis=1, keepdims=True)) / counts.sum()
    return each


def _by_chance(parts: Floats) -> float:
    """The most that shares are apart in draws of chance alone."""
    signs = 2.0 * np.random.default_rng(0).integers(0, 2, (FLIPS, len(parts))) - 1
    return float((np.abs(signs @ parts).sum(axis=1) / 2).max())


def _totals(rows: pl.DataFrame, total: pl.Expr) -> Floats:
    """A sum by group, before and now [groups, 2]."""
    cells = rows.group_by("group", "late").agg(total=total.cast(pl.Float64))
    found = np.zeros((GROUPS, 2))
    at = cells["group"].to_numpy(), cells["late"].cast(pl.Int64).to_numpy()
    found[at] = cells["total"].to_numpy()
    return found


def _mean(rows: pl.DataFrame) -> Moved | None:
    """The mean reward of a decision, where it moved."""
    if not _telling(rows):
        return None
    total, size = _totals(rows, pl.col("reward").sum()), _totals(rows, pl.len())
    means = total.sum(axis=0) / size.sum(axis=0)
    pulls = (total - means * size) / size.sum(axis=0)
    before, now = means.tolist()
    far, error = abs(now - before), float(np.linalg.norm(pulls[:, 1] - pulls[:, 0]))
    if far < MEAN * abs(before) or far <= ERRORS * error:
        return None
    return Moved("reward", (Value("reward", before, now),), far / abs(before) if before else 1.0)


def _volume(rows: pl.DataFrame, at: datetime) -> Moved | None:
    """Decisions a day, where they moved; that there are none at all is told as silence."""
    if not rows["late"].any():
        return None
    first = rows["at"].min()
    days = np.array([(at - LATE - first) / DAY if isinstance(first, datetime) else 1.0, LATE / DAY])
    size = _totals(rows, pl.len())
    both = size.sum(axis=0)
    error = float(np.linalg.norm(np.diff(size / both, axis=1)))
    before, now = (both / days).tolist()
    far = abs(float(np.log(now / before)))
    if far < np.log(FACTOR) or far <= ERRORS * error:
        return None
    return Moved("volume", (Value("volume", before, now),), abs(now / before - 1))
