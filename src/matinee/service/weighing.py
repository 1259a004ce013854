"""Logged decisions weighed by how much likelier versions would have made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import numpy as np

from matinee.decisions import Counterfactual
from matinee.errors import MatineeError
from matinee.evaluation.off_policy.calibration import Calibration
from matinee.evaluation.off_policy.closed import closed
from matinee.lake.records import Decision, micros
from matinee.models import Vocabulary
from matinee.policies import Policy
from matinee.service.chances import Floats, Shown, chances, own_chances
from matinee.service.content import Contents
from matinee.service.folder import Service
from matinee.service.logged import Logged, eligible_sets, logged, single_choices
from matinee.service.outcomes import GRACE
from matinee.service.weighed import Kept, Numbers, Weighed, country
from matinee.surfaces import Request, Surface

TIMED = 200
"""How many decisions a version is asked about one at a time, to see how long it takes."""

ASKINGS = 2
"""How often about each: the fastest counts, so that the machine's pauses are not taken for its."""


@dataclass(frozen=True)
class Weighings:
    """What the log holds to judge versions by: one `Weighed` each, of the same decisions.

    `calibration` is of the first slots, by country; `renewed` says whether any action was new. Not
    in here are `waiting` decisions, whose windows are still open, `unwritten` ones, which have no
    whole reward though theirs is over (`gaps` of either are earlier than the last that is in
    here), `unlike` ones, whose record tells of another history than the log, and `foreign` ones,
    which others made than was asked for.
    """

    weighed: Mapping[str, Weighed]
    calibration: Calibration
    renewed: bool
    waiting: int
    unwritten: int
    gaps: int
    unlike: int
    foreign: int


def weigh(
    service: Service,
    surface: str,
    versions: Sequence[str],
    since: datetime,
    *,
    by: str | None = None,
    now: datetime | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Weighings:
    """Weigh the decisions made on a surface after `since` for each of `versions`.

    Only those that the version `by` made, or any version of the registry where it is `None`.
    Titles that were imported after a version learned are known to it by their content, as they are
    where it serves. Nothing is drawn that is not seeded: the same log gives the same numbers, but
    for how long versions take. `advance` is told of each bucket of members that is done. Raises
    `MatineeError` where the log holds what cannot be: a reward outside the surface's range, a
    propensity of 0.
    """
    known = [version.id for version in service.registry.versions(surface)]
    deciders = [name for name in known if by in {None, name}]
    where, contents = service.surfaces[surface], Contents(service.lake)
    loaded = {name: service.registry.load(name) for name in dict.fromkeys([*versions, *deciders])}
    log = _Log(where, service, {name: loaded[name][1] for name in deciders})
    numbers = Numbers(single_choices(service.lake, surface, since, deciders), log.sets)
    asked = [
        _Asked(name, Counterfactual(contents.informed(model, where), policy), log.sets, numbers)
        for name, (model, policy) in ((name, loaded[name]) for name in versions)
    ]
    unwritten, unlike, foreign = list[int](), 0, 0
    minutes = service.settings.surfaces.titles.min_minutes
    for part in logged(service.lake, surface, since, minutes, advance):
        own = part.keep([record.policy in deciders for record in part.records])
        unwritten += [at for policy, at in part.unwritten if policy in deciders]
        unlike += part.unlike
        foreign += len(part.records) - len(own.records)
        shown = log.shown(own)
        for version in asked:
            version.weigh(own, shown)
    weighed = {version.name: version.weighed() for version in asked}
    times = np.array(unwritten, np.int64)
    last = max((int(found.at.max(initial=0)) for found in weighed.values()), default=0)
    waiting = closed(times, window=where.window, grace=GRACE, now=now or datetime.now(UTC)).open
    return Weighings(
        weighed,
        log.calibration,
        log.renewed,
        waiting,
        len(times) - waiting,
        int((times < last).sum()),
        unlike,
        foreign,
    )


class _Log:
    """What is known of a surface's log, and how its propensities do."""

    def __init__(self, surface: Surface, service: Service, loggers: Mapping[str, Policy]) -> None:
        self.surface, self.loggers = surface, loggers
        self.sets = eligible_sets(service.lake, surface.name)
        self.actions = Vocabulary(sorted({each for ids in self.sets.values() for each in ids}))
        self.codes = {name: self.actions.encode(ids) for name, ids in self.sets.items()}
        self.calibration = Calibration(len(self.actions))
        self.renewed = False
        self._places = {name: Vocabulary(ids) for name, ids in self.sets.items()}

    def shown(self, part: Logged) -> list[Shown]:
        """The decisions of a part, checked, and counted for the calibration."""
        rows = zip(part.records, part.rewards, part.closed_at, strict=True)
        shown = [self._one(*row) for row in rows]
        if shown:
            self._calibrate(shown)
        return shown

    def _one(self, record: Decision, reward: Floats, closed_at: int) -> Shown:
        _check(record, reward, closed_at, self.surface.reward_range)
        fresh = self.surface.fresh(_request(record))
        self.renewed |= bool(fresh)
        return Shown(
            record,
            reward,
            closed_at,
            self.sets[record.eligible],
            fresh,
            self.loggers[record.policy],
            self._places[record.eligible].encode(record.actions),
        )

    def _calibrate(self, shown: Sequence[Shown]) -> None:
        """Count the first slots: what stood there, and how likely what could have was."""
        expected = np.zeros((len(shown), len(self.actions)))
        for row, one in zip(expected, shown, strict=True):
            places, chance = one.likely
            row[self.codes[one.record.eligible][places]] = chance
        records = [one.record for one in shown]
        self.calibration = self.calibration.add(
            self.actions.encode([record.actions[0] for record in records]),
            [record.propensities[0] for record in records],
            weight=expected,
            segment=[country(record) for record in records],
        )


class _Asked:
    """A version that is asked about decisions, and what it said so far."""

    def __init__(
        self,
        name: str,
        version: Counterfactual,
        sets: Mapping[str, Sequence[str]],
        numbers: Numbers,
    ) -> None:
        self.name, self.version, self.sets = name, version, sets
        self.kept = Kept(numbers)
        self.latency: list[float] = []

    def weigh(self, part: Logged, shown: Sequence[Shown]) -> None:
        """Ask about a part; its own decisions hold its preferences already."""
        own = [one.record.policy == self.name for one in shown]
        others = part.keep([not mine for mine in own])
        self._time(others)
        preferred = iter(self.version.preferences(others.records, self.sets, others.histories))
        self.kept.add(
            [
                own_chances(one) if mine else chances(one, self.version.policy, next(preferred))
                for one, mine in zip(shown, own, strict=True)
            ]
        )

    def weighed(self) -> Weighed:
        """All that was said, in order of time."""
        try:
            return self.kept.weighed(self.latency)
        except ValueError as error:
            raise MatineeError(
                f"{self.name} cannot be weighed on this log",
                why=str(error),
                next_step="judge on later decisions, with a version trained after these",
            ) from error

    def _time(self, part: Logged) -> None:
        """Ask about some decisions one at a time."""
        left = TIMED - len(self.latency)
        for record, history in list(zip(part.records, part.histories, strict=True))[:left]:
            took = []
            for _ in range(ASKINGS):
                start = perf_counter()
                self.version.preferences([record], self.sets, [history])
                took.append(perf_counter() - start)
            self.latency.append(1000 * min(took))


def _check(
    record: Decision, reward: Floats, closed_at: int, reward_range: tuple[float, float]
) -> None:
    """Raise `MatineeError` where a logged decision holds what cannot be."""
    low, high = reward_range
    what = f"decision {record.decision_id} of {record.surface} cannot be judged on"
    for position, value in enumerate(reward.tolist()):
        if not low <= value <= high:
            raise MatineeError(
                what,
                why=f"its reward in position {position} is {value}, and the surface says that "
                f"rewards lie in [{low:g}, {high:g}]",
                next_step="mend reward or reward_range of the surface, then judge on later "
                "decisions, with a version trained after this one",
            )
    for position, chance in enumerate(record.propensities):
        if not 0 < chance <= 1 or len(record.propensities) != len(record.actions):
            raise MatineeError(
                what,
                why=f"its propensity in position {position} is {chance}: what was shown had a "
                "chance above 0 and at most 1, and each action has its own",
                next_step="mend how propensities are logged",
            )
    if closed_at < micros(record.at):
        raise MatineeError(what, why="its reward was final before it was made")


def _request(record: Decision) -> Request:
    """What was asked, as far as the record tells."""
    return Request(
        request_id=record.request_id,
        member_id=record.member_id,
        at=record.at,
        slots=len(record.actions),
        country=record.context.get("country"),
        device=record.context.get("device"),
        features=record.context.get("features") or {},
        subject=record.subject,
    )
