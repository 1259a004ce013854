"""How a service does today: what it earned, what waits for a person, and what is unwell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import numpy as np
import polars as pl

from matinee.errors import MatineeError
from matinee.evaluation.attribution import mean_of
from matinee.evaluation.intervals.base import Interval
from matinee.experiments.arms import Arm
from matinee.experiments.effects import compare
from matinee.experiments.sequential import AsymptoticSequence
from matinee.lake.records import from_micros, micros
from matinee.lake.table import collect
from matinee.payments.lessons import is_out
from matinee.registry import Approvals
from matinee.registry.changes import Change
from matinee.service.attributing import numbers
from matinee.service.exploration import Explored
from matinee.service.folder import Service
from matinee.service.health import Moved, drift, own, propensities
from matinee.service.leases import Leases
from matinee.service.outcomes import GRACE, Progress, counted
from matinee.surfaces import Payments, Surface, Titles

WEEK = timedelta(days=7)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
STALE = timedelta(days=30)
"""Age of what a champion learned from, after which it is called stale."""
CROWNED = {"promote", "approve", "override", "roll_back"}
LOOKS = 30
"""Ends of days at which a difference is looked at, at most, evenly spaced."""
ARMS = 8
"""Of how many of those who decided the values are told, at most: those who decided most."""
ALPHA = 0.05
FALLBACK, ENOUGH = 0.05, 20
"""The share of a day's decisions, of so many at least, from which on the fallback is told of."""
USUAL = 4
"""On how many of seven days a surface decides for which a day without a decision is unusual."""


@dataclass(frozen=True)
class Beside:
    """What a decision brought those for whom the service chooses, less what it did a holdout.

    Since the holdout began: of members who are in no holdout, against those who are in this one.
    `held` is a holdout's own mean, of `members`. `difference` is of one decision, `total` what it
    comes to over the `decisions` of the others. Both hold at every look.
    """

    holdout: str
    members: int
    held: float
    decisions: int
    difference: Interval
    total: Interval


@dataclass(frozen=True)
class Earned:
    """What closed decisions brought: how many there were, the mean of one, and all together."""

    decisions: int
    value: float
    total: float
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True)
class Valued:
    """What one of those who decided earned: a version, or an arm of an experiment."""

    name: str
    decisions: int
    value: Interval


@dataclass(frozen=True)
class Measured:
    """One measure of a surface: its "reward", or the "minutes" watched that answered.

    week : of decisions that closed today or on the six days before (UTC). looks : the difference
    beside the first holdout since it began, at ends of days, and now.
    """

    measure: str
    week: Earned
    ever: Earned
    looks: tuple[tuple[datetime, Interval], ...] = ()
    arms: tuple[Valued, ...] = ()


@dataclass(frozen=True)
class Standing:
    """A surface: who decides and since when, and what it earned, by each measure."""

    surface: str
    champion: str | None
    since: datetime | None
    measures: tuple[Measured, ...]


@dataclass(frozen=True)
class Note:
    """Something that a person should know: about what, what it is, and what to type.

    `link` is the address of its page. `change` is what may be done about it here: the action and
    what it is about, such as ("approve", "titles@2").
    """

    about: str
    what: str
    step: str = ""
    link: str = ""
    change: tuple[str, str] | None = None


@dataclass(frozen=True)
class Today:
    """All of it, as it was known at a time. `currency` is the money of the service, where known;
    `explored` is what exploring cost and bought, once it is worked out.
    """

    at: datetime
    currency: str | None
    standings: tuple[Standing, ...]
    waiting: tuple[Note, ...]
    unwell: tuple[Note, ...]
    explored: tuple[Explored, ...] | None = None


def today(service: Service, now: datetime | None = None) -> Today:
    """Read it from the log, the registry, the experiments and the jobs; all but what exploring cost
    and bought, which takes longer.
    """
    at = now or datetime.now(UTC)
    return Today(
        at,
        currency(service),
        tuple(_standing(service, surface, at) for surface in service.surfaces.values()),
        tuple(_waiting(service)),
        tuple(_unwell(service, at)),
    )


def currency(service: Service) -> str | None:
    """The money of the service: the currency with the rate 1, or the only one there is."""
    rates = service.settings.surfaces.payments.rates
    service.ledger.follow()
    known = {one.currency for one in service.ledger.processors.values()}
    found = {name for name, rate in rates.items() if rate == 1.0} if rates else known
    return found.pop() if len(found) == 1 else None


def page(path: str, **asked: str) -> str:
    """The address of a page.

    >>> page("surface", name="titles")
    '/desk/surface?name=titles'
    """
    return f"/desk/{path}?{urlencode(asked)}" if asked else f"/desk/{path}"


def _standing(service: Service, surface: Surface, at: datetime) -> Standing:
    champion = service.registry.alias(surface.name, "champion")
    crowned = [one for one in service.registry.history(surface.name) if one.action in CROWNED]
    return Standing(
        surface.name,
        champion.id if champion else None,
        _since(crowned),
        _measures(service, surface, at),
    )


def _since(crowned: Sequence[Change]) -> datetime | None:
    return crowned[-1].at if crowned else None


def _measures(service: Service, surface: Surface, at: datetime) -> tuple[Measured, ...]:
    """Each measure of a surface; where there is a holdout, all its intervals share `ALPHA`."""
    rows = _closed(service, surface, at)
    names = [*(["minutes"] if surface.name == Titles.name else []), "reward"]
    holdouts = [name for name in _holdouts(service, surface) if (rows["arm"] == name).any()]
    rows = _grouped(rows, [*holdouts, *_released(service)])
    tightest = service.settings.experiments.tightest_at
    share = ALPHA / max(len(names) * len(holdouts), 1)
    sequence = AsymptoticSequence(tightest_at=tightest, alpha=share)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    week = rows.filter(pl.col("closed_at") >= midnight - WEEK + DAY)

    def earned(some: pl.DataFrame, name: str) -> Earned:
        beside = (_beside(some, holdout, name, sequence) for holdout in holdouts)
        return _earned(some, name, tuple(one for one in beside if one is not None))

    found = [Measured(name, earned(week, name), earned(rows, name)) for name in names]
    looks = _looks(rows, holdouts[0], names[0], sequence) if holdouts else ()
    found[0] = replace(found[0], looks=looks, arms=_arms(rows, names[0]))
    return tuple(found)


def _closed(service: Service, surface: Surface, at: datetime) -> pl.DataFrame:
    """member_id, arm, policy, decided_at, closed_at, reward and minutes of each decision that is
    closed; those of others, from a log that was imported say, aside.
    """
    outcomes = (
        service.lake.scan("outcomes")
        .filter(pl.col("surface") == surface.name, pl.col("closed_at") <= at)
        .group_by("decision_id")
        .agg(
            pl.col("reward").sum(),
            pl.col("closed_at").max(),
            pl.col("decided_at", "member_id").first(),
        )
    )
    mine = service.lake.scan("decisions").filter(
        pl.col("surface") == surface.name, pl.col("policy").is_in(own(service, surface))
    )
    decisions = counted(mine, surface).select("decision_id", "arm", "policy")
    both = outcomes.join(decisions, on="decision_id")
    if surface.name == Titles.name:
        both = both.join(_minutes(service, surface, mine), on="decision_id", how="left")
    return collect(both, "outcomes").with_columns(pl.col("^minutes$").fill_null(0.0))


def _minutes(service: Service, surface: Surface, mine: pl.LazyFrame) -> pl.LazyFrame:
    """Minutes of plays of what a decision showed, that name it and came in its window."""
    plays = (
        service.lake.scan("events")
        .filter(pl.col("kind") == "play", pl.col("decision_id").is_not_null())
        .select("member_id", "decision_id", "title_id", "ts", "known_at", minutes="value")
    )
    end = pl.col("at") + surface.window
    return (
        plays.join(
            mine.select("member_id", "decision_id", "at", "actions"),
            on=["member_id", "decision_id"],
        )
        .filter(
            pl.col("ts").is_between(pl.col("at"), end, closed="left"),
            pl.col("known_at") <= end + GRACE,
            pl.col("actions").list.contains(pl.col("title_id")),
        )
        .group_by("decision_id")
        .agg(pl.col("minutes").sum())
    )


def _holdouts(service: Service, surface: Surface) -> list[str]:
    """The holdouts of a surface: its own, and those that are held of it or of all."""
    held = service.trials.plan().holdouts
    named = (one.name for one in held if one.surface in {None, surface.name})
    return list(dict.fromkeys([*surface.holdouts(), *named]))


def _released(service: Service) -> list[str]:
    """Every holdout that ever was."""
    return [step.name for step in service.trials.history() if step.kind == "holdout"]


def _grouped(rows: pl.DataFrame, holdouts: Sequence[str]) -> pl.DataFrame:
    """The rows with the `group` whose they are: a holdout, or "" of members who were in none;
    what was decided otherwise for members of one is of no group.
    """
    held = pl.col("arm").is_in(list(set(holdouts))).fill_null(value=False)
    free = ~held.any().over("member_id")
    group = pl.when(held).then("arm").when(free).then(pl.lit(""))
    return rows.with_columns(group=group)


def _earned(rows: pl.DataFrame, name: str, beside: tuple[Beside, ...]) -> Earned:
    value = rows[name].mean()
    mean = float(value) if isinstance(value, float) else float("nan")
    return Earned(rows.height, mean, float(rows[name].sum()), beside)


def _beside(
    rows: pl.DataFrame, holdout: str, name: str, sequence: AsymptoticSequence
) -> Beside | None:
    """The others beside a holdout, of what was decided since it began; `None` where it has none."""
    held = rows.filter(pl.col("group") == holdout)
    if not held.height:
        return None
    others = rows.filter(pl.col("group") == "", pl.col("decided_at") >= held["decided_at"].min())
    ours, theirs = _arm(others, name), _arm(held, name)
    found, _ = sequence.read(compare(ours, theirs, column=0, per=1))
    size = others.height
    value, low, high = (size * end if size else 0.0 for end in (found.value, found.low, found.high))
    total = replace(found, value=value, low=low, high=high)
    own_mean = float(held[name].sum()) / held.height
    return Beside(holdout, theirs.units, own_mean, size, found, total)


def _arm(rows: pl.DataFrame, name: str) -> Arm:
    """Members with what their decisions brought, and how many these were."""
    members = rows.group_by("member_id").agg(pl.col(name).sum(), decisions=pl.len())
    return Arm.of(members.select(name, "decisions").to_numpy())


def _looks(
    rows: pl.DataFrame, holdout: str, name: str, sequence: AsymptoticSequence
) -> tuple[tuple[datetime, Interval], ...]:
    """The difference beside a holdout at ends of days, as far as it could be told."""
    ends = rows.filter(pl.col("group") == holdout)["closed_at"].dt.date().unique().sort()
    picked = sorted(set(np.linspace(0, max(len(ends) - 1, 0), LOOKS).astype(int).tolist()))
    found = []
    for day in ends.gather(picked).to_list():
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
        beside = _beside(rows.filter(pl.col("closed_at") < end), holdout, name, sequence)
        if beside is not None and np.isfinite(beside.difference.low):
            found.append((end, beside.difference))
    return tuple(found)


def _arms(rows: pl.DataFrame, name: str) -> tuple[Valued, ...]:
    """What each of those who decided earned, by an interval of one look."""
    named = rows.with_columns(who=pl.coalesce("arm", "policy"))
    parts = named.partition_by("who", as_dict=True)
    most = sorted(parts.items(), key=lambda part: (-part[1].height, str(part[0])))[:ARMS]
    return tuple(
        Valued(str(who), part.height, mean_of(part[name].to_numpy(), numbers(part["member_id"])))
        for (who,), part in most
    )


def _waiting(service: Service) -> Iterator[Note]:
    """What a person may approve."""
    approvals = Approvals(service.registry)
    for surface in service.surfaces:
        link = page("surface", name=surface)
        champion = service.registry.alias(surface, "champion")
        if champion is None:
            made = service.registry.versions(surface)
            if made:
                last = made[-1].id
                said = f"{last} waits to be the first"
                yield Note(surface, said, f"matinee promote {last}", link, ("promote", last))
            continue
        for passed in approvals.passed(surface):
            name = passed.candidate
            step = f"matinee approve {name} --reason '...'"
            yield Note(name, passed.reasons[0], step, link, ("approve", name))
    for reading in service.trials.won():
        step = f"matinee experiments win {reading.name} --reason '...'"
        link = page("experiment", name=reading.name)
        yield Note(reading.name, reading.body["reasons"][0], step, link, ("win", reading.name))


def _unwell(service: Service, at: datetime) -> Iterator[Note]:
    """What is not as it should be."""
    for job in Leases(service.store).statuses():
        if job.failures:
            said = f"failed {job.failures} times: {job.result}"
            yield Note(f"job {job.name}", said, "matinee work", page("data"))
    for surface in service.surfaces.values():
        yield from _of_surface(service, surface, at)
    yield from _experiments(service)
    if Payments.name in service.surfaces:
        yield from _processors(service, at)
    yield from _inbox(service, at)
    rows = service.lake.quarantine().height
    if rows:
        yield Note("quarantine", f"{rows:,} rows were refused", "matinee quarantine", page("data"))


def _of_surface(service: Service, surface: Surface, at: datetime) -> Iterator[Note]:
    """What is unwell of one surface: its champion, its propensities, its log."""
    name, link = surface.name, page("surface", name=surface.name)
    champion = service.registry.alias(name, "champion")
    if champion is not None and at - champion.data_as_of > STALE:
        days = (at - champion.data_as_of).days
        said = f"learned from what is {days} days old"
        yield Note(champion.id, said, f"matinee train {name}", link)
    try:
        yield from _propensities(service, name, at)
    except MatineeError as error:
        yield Note(name, error.what, error.next_step or "", link)
    for moved in drift(service, name, at):
        yield Note(name, moved_words(moved), "", link)
    yield from _silence(service, surface, at)


def _propensities(service: Service, surface: str, at: datetime) -> Iterator[Note]:
    found = propensities(service, surface, at)
    if found is None or not found.broken:
        return
    step = f"look at them: no verdict on {surface} can be trusted until that is mended"
    if found.wrong:
        said = (
            f"propensities of {len(found.wrong)} of the latest {found.rebuilt} decisions cannot be "
            f"rebuilt: {', '.join(found.wrong[:3])}"
        )
        yield Note(found.version, said, step, page("decision", id=found.wrong[0]))
    else:
        said = f"the latest {found.tested:,} choices were not drawn as their propensities say"
        yield Note(found.version, said, step, page("log", policy=found.version))


def moved_words(moved: Moved) -> str:
    """What moved, from what to what.

    >>> from matinee.service.health import Value
    >>> moved_words(Moved("country", (Value("NL", 0.1, 0.2),), 0.1))
    'country in the last week, beside the four before: NL from 10.0% to 20.0%'
    >>> moved_words(Moved("volume", (Value("volume", 200.0, 100.0),), 0.5))
    'decisions a day in the last week, beside the four before: from 200 to 100'
    """
    when = "in the last week, beside the four before"
    if moved.what in {"reward", "volume"}:
        what = {"reward": "the mean reward of a decision", "volume": "decisions a day"}[moved.what]
        (one,) = moved.values
        return f"{what} {when}: from {one.before:.4g} to {one.now:.4g}"
    what = "what is shown" if moved.what == "action" else moved.what
    told = (f"{one.name} from {one.before:.1%} to {one.now:.1%}" for one in moved.values)
    return f"{what} {when}: {', '.join(told)}"


def _silence(service: Service, surface: Surface, at: datetime) -> Iterator[Note]:
    """No decision for a day, none that closes, or too many of the fallback."""
    name, link = surface.name, page("surface", name=surface.name)
    rows = service.lake.scan("decisions").filter(
        pl.col("surface") == name, pl.col("policy").is_in(own(service, surface)), pl.col("at") <= at
    )
    made = collect(rows.select("at", "seq", "policy", "arm"), "decisions")
    last = made["at"].max()
    if not isinstance(last, datetime):
        return
    if at - last > DAY and _daily(made["at"], last):
        yield Note(name, f"no decision for {_for(at - last)}", "matinee serve", link)
    due = made.filter(
        pl.col("seq") > Progress(service.store).of(name),
        pl.col("at") < at - surface.window - GRACE - HOUR,
    )
    if due.height:
        said = f"{due.height:,} decisions are over, and what came of them is not written"
        yield Note(name, said, "matinee work --once", link)
    yield from _fallback(service, surface, made.filter(pl.col("at") > at - DAY))


def _daily(times: pl.Series, last: datetime) -> bool:
    """Whether a surface decided on most days of the week until its last decision."""
    return times.filter(times > last - WEEK).dt.date().n_unique() >= USUAL


def _for(time: timedelta) -> str:
    """
    >>> _for(timedelta(hours=30)), _for(timedelta(days=3, hours=2))
    ('30 hours', '3 days')
    """
    return f"{time // HOUR} hours" if time < 2 * DAY else f"{time.days} days"


def _fallback(service: Service, surface: Surface, made: pl.DataFrame) -> Iterator[Note]:
    """Whether the fallback decides too often where a champion should."""
    if service.registry.alias(surface.name, "champion") is None:
        return
    free = made.filter(~pl.col("arm").is_in(_holdouts(service, surface)).fill_null(value=False))
    often = free.filter(pl.col("policy") == f"{surface.name}@fallback").height
    if free.height >= ENOUGH and often > FALLBACK * free.height:
        said = f"the fallback made {often / free.height:.0%} of the last day's decisions"
        step = "see whether the champion fails, or is too slow"
        yield Note(surface.name, said, step, page("surface", name=surface.name))


def _experiments(service: Service) -> Iterator[Note]:
    """What is halted, or was not run as it was planned."""
    for one in service.trials.plan().experiments:
        latest = service.trials.latest(one.name)
        broken = latest is not None and latest.reason == "broken"
        said = latest.body["reasons"][0] if latest and broken else f"halted: {one.halted}"
        if one.halted or broken:
            step = f"matinee experiments end {one.name} --reason '...'"
            yield Note(one.name, said, step, page("experiment", name=one.name), ("end", one.name))


def _inbox(service: Service, at: datetime) -> Iterator[Note]:
    """Whether rows wait in the inbox longer than they should."""
    for name, table in service.lake.tables.items():
        watermark = table.files.snapshot().watermark
        for row in service.lake.inbox.rows(name, after=watermark, limit=1):
            waits = at - from_micros(row.known_at)
            if waits > HOUR:
                said = f"rows wait to be sealed, the oldest for {_for(waits)}"
                yield Note(name, said, "matinee work", page("data"))


def _processors(service: Service, at: datetime) -> Iterator[Note]:
    ledger = service.ledger
    ledger.follow()
    for name in ledger.processors:
        known = is_out([one for one in ledger.outages if one.processor == name], micros(at))
        if known or ledger.down(name, micros(at)):
            said = "an outage is known" if known else "its latest answers failed"
            said = f"the processor does not work: {said}"
            yield Note(name, said, "matinee payments report", page("payments"))
