"""Two versions side by side: the pages that both would draw for a member, and how far apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from matinee.insights.previewing import Line, Preview
from matinee.service.folder import Service
from matinee.service.trying import state_of
from matinee.surfaces import Titles

Because = Literal["asked", "challenger", "experiment", "champion"]
"""Why a version stands beside another."""


@dataclass(frozen=True)
class Other:
    """A version to put beside one, and why it; `experiment` names the one that it is tried in."""

    version: str
    because: Because
    experiment: str | None = None


@dataclass(frozen=True)
class Placed:
    """A title in a row, and its chance there; `alone` says that the other page has it nowhere."""

    title_id: str
    name: str
    propensity: float
    alone: bool


@dataclass(frozen=True)
class Shelf:
    """A row of one version."""

    name: str
    why: str
    titles: tuple[Placed, ...]


@dataclass(frozen=True)
class Pair:
    """The same row of both; `None` where one leaves it empty.

    `common` counts the titles that both have in it, `share` is that of the longer row, and `moved`
    by how many places those stand apart, on the mean; `None` where there are none.
    """

    slot: str
    left: Shelf | None
    right: Shelf | None
    common: int
    share: float
    moved: float | None


@dataclass(frozen=True)
class Beside:
    """The pages of two versions, row by row, from the top."""

    left: str
    right: str
    because: Because
    experiment: str | None
    rows: tuple[Pair, ...]


def other(service: Service, left: str, asked: str | None, at: datetime) -> Other | None:
    """What to put beside a version: what is asked for, else the challenger, the treatment of an
    experiment on titles that runs, or the champion; the first that is not this version itself.
    """
    if asked is not None:
        return Other(asked, "asked")
    return next((one for one in _others(service, at) if one.version != left), None)


def beside(left: Preview, right: Preview, why: Other) -> Beside:
    """Two pages, row by row."""
    lines = tuple({row.slot: row for row in page.rows} for page in (left, right))
    slots = dict.fromkeys([*lines[0], *lines[1]])
    shown = tuple(_titles(page.rows) for page in (left, right))
    return Beside(
        left.version,
        right.version,
        why.because,
        why.experiment,
        tuple(
            _pair(
                slot,
                _shelf(lines[0].get(slot), shown[1]),
                _shelf(lines[1].get(slot), shown[0]),
            )
            for slot in slots
        ),
    )


def _others(service: Service, at: datetime) -> Iterator[Other]:
    if challenger := service.registry.alias(Titles.name, "challenger"):
        yield Other(challenger.id, "challenger")
    for one in service.trials.plan().experiments:
        if one.surface == Titles.name and state_of(one, at) == "runs":
            for arm in one.arms[1:]:
                yield Other(arm.serves, "experiment", one.name)
    if champion := service.registry.alias(Titles.name, "champion"):
        yield Other(champion.id, "champion")


def _titles(rows: Sequence[Line]) -> frozenset[str]:
    """Everything on a page."""
    return frozenset(title.title_id for row in rows for title in row.titles)


def _shelf(row: Line | None, others: frozenset[str]) -> Shelf | None:
    if row is None:
        return None
    titles = (
        Placed(one.title_id, one.name, one.propensity, one.title_id not in others)
        for one in row.titles
    )
    return Shelf(row.name, row.why, tuple(titles))


def _pair(slot: str, left: Shelf | None, right: Shelf | None) -> Pair:
    here, there = (
        {one.title_id: place for place, one in enumerate(shelf.titles)} if shelf else {}
        for shelf in (left, right)
    )
    common = here.keys() & there.keys()
    longer = max(len(here), len(there))
    moves = [abs(here[title] - there[title]) for title in common]
    return Pair(
        slot,
        left,
        right,
        len(common),
        len(common) / longer if longer else 0.0,
        sum(moves) / len(moves) if moves else None,
    )
