"""Whether the propensities of a log are what they say: rebuilt exactly, and held against draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import polars as pl

from matinee.decisions.rebuild import redrawn
from matinee.errors import MatineeError
from matinee.lake.records import Decision
from matinee.lake.rows import records_of
from matinee.lake.schemas import SCHEMAS
from matinee.lake.table import collect
from matinee.policies import Policy, Preference
from matinee.registry import Version
from matinee.registry.files import read_policy
from matinee.service.folder import Service

REBUILT, TESTED = 50, 2_000
"""How many of the latest decisions are rebuilt, and how many draws are held against chances."""
APART = 1e-6
"""A propensity that is rebuilt may differ by so much."""
LEVEL = 0.001
"""The chance that honest propensities are called broken by their draws."""
BETS = np.array([0.02, 0.1, 0.4, 0.8])
"""Shares of what may be staked on each decision."""


Unit = Literal["member", "subject"]


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
    unit = service.surface(surface).unit
    wrong = tuple(one.decision_id for one in records if _wrong(one, policy, unit, sets))
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


def _wrong(record: Decision, policy: Policy, unit: Unit, sets: Mapping[str, Sequence[str]]) -> bool:
    """Whether a record does not lead to its actions and propensities again."""
    ids, size = sets.get(record.eligible, ()), len(record.actions)
    if len(record.segment) != len(record.scores) or max(record.segment, default=0) >= len(ids):
        return True
    if not size == len(record.propensities) <= len(record.segment):
        return True
    if not np.isfinite(record.scores).all():
        return True
    slate = redrawn(record, policy, unit)
    if [ids[place] for place in slate.actions.tolist()] != record.actions:
        return True
    return not np.allclose(slate.propensities, record.propensities, rtol=0, atol=APART)


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
