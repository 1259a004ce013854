"""Who decides for a member: the champion, an arm of an experiment, or what a holdout gets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from matinee.experiments.plan import RULE, Allocator, Holdout
from matinee.service.folder import Service
from matinee.surfaces import Request


class Serves(NamedTuple):
    """What decides: a version or, where that is `None`, the champion; or the surface's `rule`. And
    the arm that decisions say they were made in.
    """

    version: str | None = None
    arm: str | None = None
    rule: bool = False


THE_CHAMPION = Serves()


def arm_name(experiment: str, arm: str) -> str:
    """How decisions name an arm of an experiment.

    >>> arm_name("fresh", "control")
    'fresh:control'
    """
    return f"{experiment}:{arm}"


class Arms:
    """The plan of a service as it was when this was made.

    >>> import tempfile; from pathlib import Path
    >>> from datetime import UTC, datetime
    >>> with Service.create(Path(tempfile.mkdtemp()) / "shows") as service:
    ...     asked = Request(request_id="r1", member_id="m1", at=datetime.now(UTC))
    ...     Arms(service).of("titles", asked)
    Serves(version=None, arm=None, rule=False)
    """

    def __init__(self, service: Service) -> None:
        self._plan = service.trials.plan()
        self._allocator = Allocator(self._plan, service.salt())

    def of(self, surface: str, request: Request) -> Serves:
        """What decides for the member of a request, at its time."""
        found = self._allocator.of(
            request.member_id, surface, request.at, request.country, request.device
        )
        if found is None:
            return THE_CHAMPION
        if isinstance(found, Holdout):
            return _held(found)
        return Serves(found.serves, arm_name(found.experiment, found.arm))

    def holds(self, surface: str, member: str, at: datetime) -> bool:
        """Whether a member is held out of the experiments of a surface."""
        return isinstance(self._allocator.of(member, surface, at), Holdout)

    def groups(self, surface: str) -> Iterator[list[Serves]]:
        """What may come on a surface beside the champion: what a holdout gives, and all arms of
        each experiment.
        """
        for one in self._plan.holdouts:
            if one.surface in {None, surface}:
                yield [_held(one)]
        for each in self._plan.experiments:
            if each.surface == surface and not each.halted:
                yield [Serves(arm.serves, arm_name(each.name, arm.name)) for arm in each.arms]


def _held(holdout: Holdout) -> Serves:
    if holdout.serves == RULE:
        return Serves(None, holdout.name, rule=True)
    return Serves(holdout.serves, holdout.name)
