"""The surface `titles`: which titles a member sees."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Self

import polars as pl

from matinee.features.content import about
from matinee.lake.lake import Lake
from matinee.lake.records import Title, Window, micros
from matinee.models import EASE, CoVisitation, Model, Popularity
from matinee.policies import EpsilonGreedy, PlackettLuce, Policy
from matinee.surfaces.base import Candidates, Mask, Request, Situation, Surface
from matinee.surfaces.masks import MICROS_A_DAY, Availability, Watched

KEPT = 128
"""How many countries' sets are kept in memory."""
BEFORE_ALL = -(2**62)
RECENT_DAYS = 31
"""How long a title counts as newly arrived, its first day included."""
EXPLORE = PlackettLuce(temperature=0.3, epsilon=0.05, segment=100)


class Titles(Surface):
    """A catalogue with its windows; the latest row of a title counts.

    The reward of a position is 1 if its title was played for at least `minutes`, or watched to its
    end, from the decision that showed it, else 0. `policy` is the usual one, `models` makes those
    that are trained.

    >>> from datetime import UTC, datetime
    >>> titles = Titles([Title(title_id=id, name=id.title()) for id in ("heat", "alien")])
    >>> request = Request(request_id="r", member_id="m", at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> titles.eligible(request).ids
    ('alien', 'heat')
    """

    name: ClassVar[str] = "titles"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(
        self,
        catalogue: Iterable[Title],
        windows: Iterable[Window] = (),
        *,
        minutes: float = 5.0,
        window: timedelta = timedelta(hours=24),
        slots: int = 20,
        policy: Policy = EXPLORE,
        models: Callable[[], Sequence[Model]] = lambda: (Popularity(), CoVisitation(), EASE()),
    ) -> None:
        self.catalogue = {title.title_id: title for title in catalogue}
        self.minutes = minutes
        self.window, self.slots = window, slots
        self._policy, self._models = policy, models
        self._all = Candidates.of(self.catalogue)
        self._availability = Availability(windows)
        self._boundaries = lru_cache(maxsize=KEPT)(self._availability.boundaries)
        self._available = lru_cache(maxsize=KEPT)(self._eligible_since)
        self._arrived = lru_cache(maxsize=KEPT)(self._arrived_by)
        self._titles_of_genre = _by_genre(self.catalogue.values())

    @classmethod
    def open(cls, lake: Lake, **settings: Any) -> Self:
        """The titles and windows of the lake as they are known now."""
        return cls(lake.records("titles"), lake.records("windows"), **settings)

    @classmethod
    def about(cls, lake: Lake, as_of: datetime | None = None) -> Mapping[str, Mapping[str, float]]:
        found = about(lake.current("titles", as_of=as_of))
        return {title: dict.fromkeys(names, 1.0) for title, names in found.items()}

    def eligible(self, request: Request) -> Candidates:
        """What is available in that country; worked out once for the time between two windows."""
        country = self._availability.country(request.country)
        boundaries = self._boundaries(country)
        passed = bisect_right(boundaries, micros(request.at))
        return self._available(country, boundaries[passed - 1] if passed else BEFORE_ALL)

    def masks(self, situation: Situation) -> Sequence[Mask]:
        return (Watched(),)

    def fresh(self, request: Request) -> frozenset[str]:
        return self.arrived(request)

    def reward(self, decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        shown = decisions.select(
            "decision_id",
            pl.col("actions").alias("action"),
            pl.int_ranges(pl.col("actions").list.len(), dtype=pl.Int64).alias("position"),
        ).explode("action", "position", empty_as_null=False)
        watched = events.filter((pl.col("kind") == "complete") | self._is_long_play())
        credited = (
            shown.join(
                watched.select("decision_id", "title_id", pl.col("position").alias("echoed")),
                on="decision_id",
            )
            .filter(answers())
            .select("decision_id", "position")
            .unique()
            .with_columns(pl.lit(1.0).alias("reward"))
        )
        return (
            shown.select("decision_id", "position")
            .join(credited, on=["decision_id", "position"], how="left", maintain_order="left")
            .with_columns(pl.col("reward").fill_null(0.0))
        )

    def policies(self) -> Mapping[str, Policy]:
        return {
            "explore the top": self._policy,
            "best first": EpsilonGreedy(epsilon=0.02, segment=100),
        }

    def models(self) -> Sequence[Model]:
        return self._models()

    def name_of(self, title_id: str) -> str:
        """The title's name, or its id where the catalogue does not have it."""
        title = self.catalogue.get(title_id)
        return title_id if title is None else title.name

    def of_genre(self, genre: str) -> frozenset[str]:
        """The titles of a genre."""
        return self._titles_of_genre.get(genre, frozenset())

    def genres_of(self, titles: Iterable[str]) -> list[str]:
        """The genres of `titles`, the most frequent first, equals in the order of the alphabet."""
        counts: dict[str, int] = defaultdict(int)
        for title_id in titles:
            if title := self.catalogue.get(title_id):
                for genre in title.genres:
                    counts[genre] += 1
        return sorted(counts, key=lambda genre: (-counts[genre], genre))

    def arrived(self, request: Request) -> frozenset[str]:
        """Titles that came to the member's country on this day (UTC) or the 30 days before it."""
        country = self._availability.country(request.country)
        return self._arrived(country, micros(request.at) // MICROS_A_DAY)

    @cached_property
    def newest(self) -> frozenset[str]:
        """The releases of the last two years that the catalogue knows."""
        years = {title.title_id: title.year for title in self.catalogue.values() if title.year}
        latest = max(years.values(), default=0)
        return frozenset(title_id for title_id, year in years.items() if year >= latest - 1)

    def _eligible_since(self, country: str, since: int) -> Candidates:
        allowed = self._all.without(self._availability.closed(country, since))
        return self._all.keep(allowed, self._availability)

    def _arrived_by(self, country: str, day: int) -> frozenset[str]:
        until = (day + 1) * MICROS_A_DAY - 1
        return frozenset(
            self._availability.opened(country, until - RECENT_DAYS * MICROS_A_DAY, until)
        )

    def _is_long_play(self) -> pl.Expr:
        return (pl.col("kind") == "play") & (pl.col("value") >= self.minutes)


def answers() -> pl.Expr:
    """Whether an event names the `action` of this `position`, or has `echoed` its position, or
    both.
    """
    title = pl.col("title_id") == pl.col("action")
    position = pl.col("echoed") == pl.col("position")
    return (
        title.fill_null(value=True)
        & position.fill_null(value=True)
        & ~(pl.col("title_id").is_null() & pl.col("echoed").is_null())
    )


def _by_genre(catalogue: Iterable[Title]) -> dict[str, frozenset[str]]:
    titles: dict[str, set[str]] = defaultdict(set)
    for title in catalogue:
        for genre in title.genres:
            titles[genre].add(title.title_id)
    return {genre: frozenset(ids) for genre, ids in titles.items()}
