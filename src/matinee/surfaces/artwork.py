"""The surface `artwork`: which picture of a title a member sees."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.features.pictured import common_labels, labels_of, pictured, taste
from matinee.lake.lake import Lake
from matinee.lake.records import MICRO, Picture, Title, micros
from matinee.models import Linear, Model
from matinee.policies import EpsilonGreedy, InverseGap, Policy, Thompson
from matinee.surfaces.base import Candidates, Choice, Holdout, Mask, Request, Situation, Surface
from matinee.surfaces.masks import Age, FewDifferent

TASTES = 24
"""What members like that models are told of, at most: what the most pictures show."""
FACETS = 64
"""What pictures show and titles are about that is learned of, at most."""
KEPT = 200_000
"""How many sets are kept in memory: one a title, and one more where countries or times differ."""
EXPLORE = InverseGap(gamma=1_000.0, epsilon=0.05)
ARMS = {
    "fixed": "The fixed picture: a share of members always see these.",
    "uniform": "Drawn at random: for a share of members all pictures are.",
}
"""Why members of a holdout see what they see."""
AGE_LIMIT = "age_limit"
"""The feature of a request by which the app says up to which age its profile may see, in years."""


def bandit(strength: float = 200.0, half_life: float = 0.0) -> Linear:
    """What is usually learned: the member's taste times what the picture shows."""
    return Linear(
        by=("taste",), strength=strength, half_life=half_life, facets=FACETS, within="title"
    )


class Artwork(Surface):
    """The pictures of a catalogue; a member is given one for each title that they are shown.

    It is drawn once and stands for `stay`, or until the title is watched; then another may be
    drawn, if that is worth the `change` it costs (in the unit of the reward), and of no more than
    `most` in 90 days. The reward is 1 if the member watches the title for `minutes`, or to its end,
    within `window` of the draw and before the next, else 0. A share `fixed` of members always get
    the fixed picture of each title, a share `uniform` any one with the same chance.

    >>> from datetime import UTC, datetime
    >>> two = [Picture(picture_id=f"heat.{n}", title_id="heat") for n in (1, 2)]
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> asked = Request(request_id="r", member_id="m", at=at, subject="heat")
    >>> Artwork(two).eligible(asked).ids
    ('heat.1', 'heat.2')
    """

    name: ClassVar[str] = "artwork"
    unit: ClassVar = "subject"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    memory: timedelta = timedelta(days=90)

    def __init__(
        self,
        pictures: Iterable[Picture],
        catalogue: Iterable[Title] = (),
        *,
        minutes: float = 5.0,
        window: timedelta = timedelta(days=14),
        stay: timedelta = timedelta(days=14),
        most: int = 3,
        change: float = 0.005,
        fixed: float = 0.02,
        uniform: float = 0.03,
        policy: Policy = EXPLORE,
        models: Callable[[], Sequence[Model]] = lambda: (bandit(),),
    ) -> None:
        if not timedelta(0) < stay <= self.memory:
            raise ValueError(f"a picture stays for some time, up to {self.memory}, not for {stay}")
        self.pictures = {picture.picture_id: picture for picture in pictures}
        self.catalogue = {title.title_id: title for title in catalogue}
        self.minutes, self.window = minutes, window
        self.most, self.change, self._stay = most, change, stay // MICRO
        self.fixed, self.uniform = fixed, uniform
        self._clock: tuple[datetime | None, int] = None, 0
        self._policy, self._models = policy, models
        self._of_title = _by_title(self.pictures.values())
        self._eligible = lru_cache(maxsize=KEPT)(self._eligible_since)
        known = common_labels(self.pictures.values(), self.catalogue.values(), TASTES)
        labels = {one: labels_of(title) for one, title in self.catalogue.items()}
        self._labels = {
            title: tuple(label for label in shown if label in known)
            for title, shown in labels.items()
        }
        self._ages = {one.picture_id: one.min_age for one in self.pictures.values() if one.min_age}

    @classmethod
    def open(cls, lake: Lake, **settings: Any) -> Self:
        """The pictures and titles of the lake as they are known now."""
        return cls(lake.records("pictures"), lake.records("titles"), **settings)

    @classmethod
    def about(cls, lake: Lake, as_of: datetime | None = None) -> Mapping[str, Mapping[str, float]]:
        pictures, titles = (lake.records(name, as_of=as_of) for name in ("pictures", "titles"))
        return pictured(pictures, {title.title_id: title for title in titles})

    def eligible(self, request: Request) -> Candidates:
        """What may be shown of the subject in that country at that time; nothing of an unknown
        title. `ValueError` where the request names no subject.
        """
        if request.subject is None:
            raise ValueError("a picture is chosen for a title; name it as the subject")
        pictures, country = self._of_title.get(request.subject), request.country
        if pictures is None:
            return NOTHING
        if not pictures.varies:
            return pictures.all
        boundaries = pictures.boundaries
        passed = bisect_right(boundaries, micros(request.at))
        since = boundaries[passed - 1] if passed else None
        return self._eligible(request.subject, country, since)

    def masks(self, situation: Situation) -> Sequence[Mask]:
        masks: list[Mask] = []
        if len(situation.choices) >= self.most:
            masks.append(FewDifferent(self.most))
        if self._ages and AGE_LIMIT in situation.request.features:
            masks.append(Age(_years(situation.request.features[AGE_LIMIT]), self._ages))
        return masks

    def told(self, situation: Situation) -> Mapping[str, Any]:
        watched = [self._labels.get(title, ()) for title in situation.history.titles]
        return {"taste": taste(watched)}

    def stands(self, situation: Situation) -> bool:
        drawn, watched = situation.choices[-1].at, situation.watched
        now = self._now(situation.request.at)
        return now - drawn < self._stay and (watched is None or not drawn <= watched <= now)

    def _now(self, at: datetime) -> int:
        """A time in microseconds, worked out once for all titles of a page."""
        known, now = self._clock
        if known is not at:
            now = micros(at)
            self._clock = at, now
        return now

    def bonus(self, situation: Situation) -> Mapping[str, float]:
        if not (situation.choices and self.change):
            return {}
        return {situation.choices[-1].action: self.change}

    def holdouts(self) -> Mapping[str, Holdout]:
        return {
            "fixed": Holdout(self.fixed, EpsilonGreedy(epsilon=0.0, segment=1), self._fixed),
            "uniform": Holdout(
                self.uniform, EpsilonGreedy(epsilon=1.0), lambda these: np.zeros(len(these))
            ),
        }

    def reward(self, decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        long = (pl.col("kind") == "play") & (pl.col("value") >= self.minutes)
        taken = events.filter((pl.col("kind") == "complete") | long)["decision_id"]
        return decisions.select(
            "decision_id",
            pl.lit(0, pl.Int64).alias("position"),
            pl.col("decision_id").is_in(taken.implode()).cast(pl.Float64).alias("reward"),
        )

    def policies(self) -> Mapping[str, Policy]:
        return {
            "explore by gap": self._policy,
            "best first": EpsilonGreedy(epsilon=0.1),
            "thompson": Thompson(),
        }

    def models(self) -> Sequence[Model]:
        return self._models()

    def why(self, choice: Choice, leading: str | None) -> str:
        """Why a member sees a picture, in words; `leading` is what of them speaks most for it.

        >>> one = Picture(picture_id="heat.1", title_id="heat", features={"Crime": 1.0})
        >>> choice = Choice(0, "heat.1", "heat", "d", "artwork@1", 0.8)
        >>> Artwork([one]).why(choice, "taste.Crime")
        'You often watch Crime, and this picture shows it.'
        """
        arm = choice.policy.removeprefix(f"{self.name}@")
        if arm in ARMS:
            return ARMS[arm]
        if leading is None:
            return f"Tried, to learn who likes it; it had a chance of {choice.propensity:.0%}."
        label = leading.removeprefix("taste.")
        if not label:
            return "Members like it best of this title's pictures."
        actor = label.removeprefix("cast: ")
        shown = self.pictures[choice.action].features if choice.action in self.pictures else {}
        if actor != label:
            who = "is in this picture" if label in shown else "draws others to this picture"
            return f"You have watched {actor}, who {who}."
        if label in shown:
            return f"You often watch {label}, and this picture shows it."
        return f"It does well with members who often watch {label}, as you do."

    def of(self, title_id: str) -> list[Picture]:
        """The pictures of a title, in order of their ids."""
        pictures = self._of_title.get(title_id)
        return [] if pictures is None else pictures.listed

    def _fixed(self, candidates: Candidates) -> NDArray[np.float64]:
        """1 for the fixed picture; the first where it may not be shown."""
        return np.array([self.pictures[one].fixed for one in candidates.ids], np.float64)

    def _eligible_since(self, title_id: str, country: str | None, since: int | None) -> Candidates:
        shown = [one for one in self.of(title_id) if _may(one, country, since)]
        return Candidates.of(picture.picture_id for picture in shown)


NOTHING = Candidates.of(())


class _Pictures:
    """The pictures of a title, and whether who may see them depends on the country or the time."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self.listed = sorted(pictures, key=lambda picture: picture.picture_id)
        times = {time for one in self.listed for time in (one.starts_at, one.ends_at) if time}
        self.boundaries = sorted(map(micros, times))
        self.varies = bool(times) or any(picture.countries for picture in self.listed)
        self.all = Candidates.of(one.picture_id for one in self.listed if one.barred is None)


def _by_title(pictures: Iterable[Picture]) -> dict[str, _Pictures]:
    several: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        several[picture.title_id].append(picture)
    return {title_id: _Pictures(found) for title_id, found in several.items()}


def _years(limit: Any) -> float:
    """An age limit as a number; 0, the strictest, where it is none."""
    if isinstance(limit, bool) or not isinstance(limit, (int, float)):
        return 0.0
    return float(min(max(limit, 0), 200)) if limit == limit else 0.0  # noqa: PLR0124 - NaN


def _may(picture: Picture, country: str | None, since: int | None) -> bool:
    """Whether it may be shown from a boundary on (microseconds), before all of them if `None`."""
    starts = picture.starts_at is None or (since is not None and micros(picture.starts_at) <= since)
    ends = picture.ends_at is not None and since is not None and micros(picture.ends_at) <= since
    here = not picture.countries or country in picture.countries
    return picture.barred is None and here and starts and not ends
