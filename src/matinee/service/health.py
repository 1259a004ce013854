"""Whether a log is well: propensities that are what they say, and nothing that moves unnoticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.decisions import generator
from matinee.decisions.ids import luck_of
from matinee.decisions.rebuild import preference_of
from matinee.errors import MatineeError
from matinee.lake.records import Decision
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.policies import Policy, Preference, Slate
from matinee.registry import Version
from matinee.registry.files import read_policy
from matinee.service.folder import Service
from matinee.service.outcomes import counted
from matinee.surfaces import Surface

REBUILT, TESTED = 50, 2_000
"""How many of the latest decisions are rebuilt, and how many draws are held against chances."""
APART = 1e-6
"""A propensity that is rebuilt may differ by so much."""
LEVEL = 0.001
"""The chance that honest propensities are called broken by their draws."""
BETS = np.array([0.02, 0.1, 0.4, 0.8])
"""Shares of what may be staked on each decision."""
LATE, EARLY, LEAST_EARLY = timedelta(days=7), timedelta(days=28), timedelta(days=14)
"""What moved is seen in the last week beside the four before; two of these have to be there."""
FAR: Mapping[str, float] = {"country": 0.05, "device": 0.05, "action": 0.25}
"""The share of decisions that have to be elsewhere, for each of what has shares."""
MEAN, FACTOR, ERRORS = 0.2, 1.5, 4.0
"""By which share a mean has to move, by which factor a volume, and both by how many errors."""
DAY = timedelta(days=1)
FLIPS, FEW, VALUES, GROUPS = 400, 100, 200, 1_000
"""Draws of chance that a move has to pass; members below which nothing is said; values of a kind
that are told apart; and groups that members are put into, at most."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Propensities:
    """How the propensities of a version's latest decisions do.

    `wrong` are the ids of those, of `rebuilt`, that their records do not lead to again. `evidence`
    is what one unit of money has become in bets against the draws of `tested` decisions.
    """

    version: str
    rebuilt: int
    wrong: tuple[str, ...]
    tested: int
    evidence: float

    @property
    def broken(self) -> bool:
        """Whether they are not what they say."""
        return bool(self.wrong) or self.evidence >= 1 / LEVEL


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


def propensities(service: Service, surface: str, at: datetime | None = None) -> Propensities | None:
    r"""How the propensities of the champion's latest decisions do, until a time or now; `None`
    without a champion.

    From the log and the champion's policy alone, in two ways.

    *Exactly*: of the latest 50 decisions each is drawn again from the logits and the seed of its
    record. It is wrong where other actions come out, or propensities that differ by more than 1e-6.

    *By draws*: of the latest 2,000 the first slot, which chose A with the propensity p among S, of
    which the best has the chance c. Were p true, both of these would have mean 0 given all before,

    .. math:: \frac{1}{S p} - 1, \qquad [A \text{ is the best}] - c,

    the first for 1 / p has the mean S, the number of actions that could be chosen (Horvitz and
    Thompson, 1952, "A generalization of sampling without replacement from a finite universe",
    JASA 47). With x one of these, in [-l, h], fortunes prod (1 + b x / l) and prod (1 - b x / h)
    are martingales from 1 for stakes b in [0, 1), and so is their mean over stakes, signs and both
    x. It ever reaches 1 / `LEVEL` with a chance of at most `LEVEL` (Ville, 1939, "Etude critique de
    la notion de collectif"; Waudby-Smith and Ramdas, 2024, "Estimating means of bounded random
    variables by betting", JRSS B 86, arXiv 2010.09686). Nothing about it is asymptotic.

    Rebuilding finds propensities that were changed or mixed up, and actions that were exchanged.
    Bets find draws that were not by chance, though each can be rebuilt.

    Raises `MatineeError` where the champion's policy cannot be read.
    """
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        return None
    policy = policy_of(service, champion)
    rows = _latest(service, surface, champion.id, at or datetime.now(UTC))
    sets = sets_of(service, rows["eligible"].unique())
    records: list[Decision] = records_of(rows.tail(REBUILT), SCHEMAS["decisions"])
    wrong = tuple(one.decision_id for one in records if _wrong(one, policy, sets))
    tested = rows.filter(pl.col("segment").list.len() > 0)
    evidence = _evidence(tested, policy, sets)
    return Propensities(champion.id, len(records), wrong, tested.height, evidence)


def policy_of(service: Service, version: Version) -> Policy:
    """The policy of a version, without its model."""
    folder = service.registry.folder / version.surface / str(version.number)
    try:
        return read_policy(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MatineeError(
            f"the policy of {version.id} cannot be read",
            why=str(error),
            next_step=f"restore {folder} from a copy, or roll back",
        ) from error


def _latest(service: Service, surface: str, version: str, at: datetime) -> pl.DataFrame:
    """Its latest decisions whose propensities are conditional, in the order in which they came."""
    mine = service.lake.scan("decisions").filter(
        pl.col("surface") == surface,
        pl.col("policy") == version,
        pl.col("at") <= at,
        pl.col("propensity_kind") == "conditional",
        pl.col("actions").list.len() > 0,
    )
    times = collect(mine.select("at").top_k(TESTED, by="at"), "decisions")["at"]
    since = pl.lit(times.min(), times.dtype)
    return collect(mine.filter(pl.col("at") >= since).sort("at", "seq").tail(TESTED), "decisions")


def sets_of(service: Service, names: pl.Series) -> dict[str, list[str]]:
    """The candidates of eligible sets, by name."""
    sets = service.lake.scan("eligible").filter(pl.col("eligible").is_in(names.implode()))
    found = collect(sets.select("eligible", "candidates"), "eligible")
    return dict(found.iter_rows())


def _wrong(record: Decision, policy: Policy, sets: Mapping[str, Sequence[str]]) -> bool:
    """Whether a record does not lead to its actions and propensities again."""
    ids, size = sets.get(record.eligible, ()), len(record.actions)
    if len(record.segment) != len(record.scores) or max(record.segment, default=0) >= len(ids):
        return True
    if not size == len(record.propensities) <= len(record.segment):
        return True
    if not np.isfinite(record.scores).all():
        return True
    slate = _again(record, policy)
    if [ids[place] for place in slate.actions.tolist()] != record.actions:
        return True
    return not np.allclose(slate.propensities, record.propensities, rtol=0, atol=APART)


def _again(record: Decision, policy: Policy) -> Slate:
    """The draw of a record once more, whatever propensities it has."""
    preference = preference_of(record)
    if record.subject is None:
        return policy.draw(preference, len(record.actions), generator(record.seed))
    places, chances = policy.pick(preference.logits[None], luck_of(np.array([record.seed])))
    return Slate(preference.segment[places], chances, policy.kind)


def _evidence(rows: pl.DataFrame, policy: Policy, sets: Mapping[str, Sequence[str]]) -> float:
    """The most that bets against the draws of decisions ever made of one unit."""
    terms = np.array(list(_terms(rows, policy, sets))).reshape(-1, 2, 3)
    if not len(terms):
        return 1.0
    x, low, high = np.moveaxis(terms, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        up, down = (np.where(end > 0, side / end, 0.0) for side, end in ((x, low), (-x, high)))
    gains = 1 + BETS * np.concatenate([up, down], axis=1)[..., None]
    fortunes = np.log(np.maximum(gains, 1e-300)).cumsum(axis=0).reshape(len(x), -1)
    together = np.logaddexp.reduce(fortunes, axis=1) - np.log(fortunes.shape[1])
    return float(np.exp(min(float(together.max()), 700.0)))


def _terms(
    rows: pl.DataFrame, policy: Policy, sets: Mapping[str, Sequence[str]]
) -> Iterator[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """For each decision both x, with how far below and above 0 they may be."""
    columns = rows.select(
        pl.col("propensities").list.first(),
        pl.col("actions").list.first(),
        "segment",
        "scores",
        "eligible",
    )
    for chance, action, segment, scores, eligible in columns.iter_rows():
        size, ids = len(segment), sets.get(eligible, ())
        logits = np.array(scores, np.float32)
        known = len(scores) == size and segment[0] < len(ids) and np.isfinite(logits).all()
        if not (known and chance):  # rebuilding tells of these
            yield (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
            continue
        likely = policy.probabilities(Preference(np.arange(size, dtype=np.int32), logits), size)
        best, least = float(likely[0]), float(likely[likely > 0].min())
        possible = int(np.count_nonzero(likely))
        yield (
            (1 / (possible * chance) - 1, 1.0, 1 / (possible * least) - 1),
            (float(ids[segment[0]] == action) - best, best, 1 - best),
        )


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
    independent in both. Each of the five is falsely told in less than one of 400 readings.

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
        _volume(_split(made, at), at),
    )
    return tuple(one for one in moved if one is not None)


def own(service: Service, surface: Surface) -> list[str]:
    """Who decides for a surface of the service itself, and not in a log that was imported."""
    versions = [version.id for version in service.registry.versions(surface.name)]
    return [*versions, *(f"{surface.name}@{name}" for name in ("fallback", *surface.holdouts()))]


def _decided(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, at, policy, actions, country, device of what it decided itself in that time."""
    rows = service.lake.scan("decisions").filter(
        pl.col("surface") == surface.name,
        pl.col("policy").is_in(own(service, surface)),
        pl.col("at") <= at,
        pl.col("at") > at - LATE - EARLY,
    )
    said = (
        pl.col("context").str.json_path_match(f"$.{name}").fill_null("none").alias(name)
        for name in ("country", "device")
    )
    return collect(rows.select("member_id", "at", "policy", "actions", *said), "decisions")


def _rewards(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, at and reward of decisions, by when they were closed."""
    made = service.lake.scan("decisions").filter(
        pl.col("surface") == surface.name, pl.col("policy").is_in(own(service, surface))
    )
    closed = service.lake.scan("outcomes").filter(
        pl.col("surface") == surface.name,
        pl.col("closed_at") <= at,
        pl.col("closed_at") > at - LATE - EARLY,
    )
    each = closed.group_by("decision_id").agg(
        pl.col("member_id").first(), pl.col("reward").sum(), at=pl.col("closed_at").max()
    )
    mine = counted(made, surface).select("decision_id")
    return collect(each.join(mine, on="decision_id", how="semi"), "outcomes").drop("decision_id")


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
