"""The surface artwork through its contract: who may see which picture, and what it earned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from matinee.features.pictured import pictured, taste
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, Event, Picture, Title, micros
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.surfaces import Artwork, Choice, History, Request, Situation
from matinee.testing import SurfaceConformance

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HEAT = [
    Picture(picture_id="heat.1", title_id="heat", features={"Crime": 1.0}, fixed=True),
    Picture(picture_id="heat.2", title_id="heat", features={"cast: Al Pacino": 1.0}),
    Picture(picture_id="heat.3", title_id="heat", features={"dark": 1.0}),
]
TITLES = [
    Title(title_id="heat", name="Heat", genres=["Crime"], cast=["Al Pacino", "Val Kilmer"]),
    Title(title_id="up", name="Up", genres=["Family"]),
]


def about(subject: str | None = "heat", **fields: object) -> Request:
    return Request(request_id="r", member_id="m", **{"at": AT, "subject": subject, **fields})


def eligible(*pictures: Picture, **fields: object) -> tuple[str, ...]:
    return Artwork(pictures).eligible(about(**fields)).ids


class TestArtwork(SurfaceConformance):
    def make(self) -> Artwork:
        return Artwork(HEAT, TITLES)

    def subject(self) -> str:
        return "heat"

    def succeed(self, decision: Decision) -> list[Event]:
        return [
            Event(
                event_id=f"e{decision.member_id}",
                member_id=decision.member_id,
                kind="play",
                title_id=decision.subject,
                ts=decision.at,
                value=30.0,
                decision_id=decision.decision_id,
            )
        ]


def test_only_pictures_of_the_title() -> None:
    other = Picture(picture_id="up.1", title_id="up")
    assert eligible(*HEAT, other) == ("heat.1", "heat.2", "heat.3")
    assert eligible(*HEAT, subject="unknown") == ()


def test_a_request_without_a_subject_is_told_so() -> None:
    with pytest.raises(ValueError, match="name it as the subject"):
        Artwork(HEAT).eligible(about(None))


def test_what_is_barred_is_out() -> None:
    barred = Picture(picture_id="heat.4", title_id="heat", barred="the actor's consent ended")
    assert eligible(*HEAT, barred) == ("heat.1", "heat.2", "heat.3")


def test_countries() -> None:
    dutch = Picture(picture_id="heat.4", title_id="heat", countries=["NL", "BE"])
    assert eligible(*HEAT, dutch, country="NL")[-1] == "heat.4"
    for country in ("US", None):
        assert "heat.4" not in eligible(*HEAT, dutch, country=country)


def test_from_and_until() -> None:
    """From the moment on, and no longer at the moment itself."""
    timed = Picture(
        picture_id="heat.4", title_id="heat", starts_at=AT, ends_at=AT + timedelta(hours=1)
    )
    surface = Artwork([*HEAT, timed])
    moments = {
        AT - timedelta(microseconds=1): False,
        AT: True,
        AT + timedelta(minutes=59): True,
        AT + timedelta(hours=1): False,
    }
    for at, expected in moments.items():
        assert ("heat.4" in surface.eligible(about(at=at))) is expected, at


def test_age() -> None:
    adult = Picture(picture_id="heat.4", title_id="heat", min_age=16)
    surface = Artwork([*HEAT, adult], most=9)
    for features, expected in (({}, True), ({"age_limit": 16}, True), ({"age_limit": 12}, False)):
        asked = about(features=features)
        candidates = surface.eligible(asked)
        allowed = np.ones(len(candidates), bool)
        for mask in surface.masks(Situation(asked)):
            allowed &= mask.allowed(Situation(asked), candidates)
        assert allowed[-1] == expected, features
        assert allowed[:-1].all()


def test_no_more_than_three_different_ones() -> None:
    fourth = Picture(picture_id="heat.4", title_id="heat")
    surface = Artwork([*HEAT, fourth])
    candidates = surface.eligible(about())
    before = tuple(Choice(n, f"heat.{n}") for n in (1, 2, 3))
    (mask,) = surface.masks(Situation(about(), choices=before))
    assert mask.allowed(Situation(about(), choices=before), candidates).tolist() == [
        True,
        True,
        True,
        False,
    ]
    twice = (Choice(1, "heat.1"), Choice(2, "heat.2"), Choice(3, "heat.1"))
    (mask,) = surface.masks(Situation(about(), choices=twice))
    assert mask.allowed(Situation(about(), choices=twice), candidates).all()


def test_where_all_that_were_seen_are_gone_any_other_may_be_shown() -> None:
    """Three pictures were shown and barred: the title is not to go without any."""
    surface = Artwork([Picture(picture_id=f"heat.{n}", title_id="heat") for n in (4, 5)])
    before = tuple(Choice(n, f"heat.{n}") for n in (1, 2, 3))
    (mask,) = surface.masks(Situation(about(), choices=before))
    candidates = surface.eligible(about())
    assert mask.allowed(Situation(about(), choices=before), candidates).all()
    one_left = tuple(Choice(n, f"heat.{n}") for n in (1, 2, 4))
    allowed = mask.allowed(Situation(about(), choices=one_left), candidates)
    assert allowed.tolist() == [True, False]


@pytest.mark.parametrize("limit", ["7", [7], True, None, float("nan"), -3])
def test_an_age_limit_that_is_none_is_the_strictest(limit: object) -> None:
    adult = Picture(picture_id="heat.4", title_id="heat", min_age=1)
    surface = Artwork([*HEAT, adult])
    asked = about(features={"age_limit": limit})
    (mask,) = surface.masks(Situation(asked))
    assert mask.allowed(Situation(asked), surface.eligible(asked)).tolist() == [True] * 3 + [False]


def test_a_huge_age_limit_is_no_limit() -> None:
    adult = Picture(picture_id="heat.4", title_id="heat", min_age=21)
    surface = Artwork([*HEAT, adult])
    asked = about(features={"age_limit": 10**400})
    (mask,) = surface.masks(Situation(asked))
    assert mask.allowed(Situation(asked), surface.eligible(asked)).all()


def test_a_watch_that_a_clock_ahead_of_ours_tells_of_ends_nothing_yet() -> None:
    surface = Artwork(HEAT)
    drawn = (Choice(micros(AT), "heat.2"),)
    ahead = micros(AT + timedelta(minutes=4))
    soon, later = (about(at=AT + timedelta(minutes=minutes)) for minutes in (1, 5))
    assert surface.stands(Situation(soon, History(), drawn, ahead))
    assert not surface.stands(Situation(later, History(), drawn, ahead))


def test_it_stands_for_a_fortnight_or_until_the_title_is_watched() -> None:
    surface = Artwork(HEAT)
    drawn = (Choice(micros(AT), "heat.2"),)

    def stands(later: timedelta, watched: datetime | None = None) -> bool:
        seen = None if watched is None else micros(watched)
        return surface.stands(Situation(about(at=AT + later), History(), drawn, seen))

    assert stands(timedelta(0))
    assert stands(14 * DAY - timedelta(seconds=1))
    assert not stands(14 * DAY)
    assert not stands(2 * DAY, AT + DAY)
    assert stands(2 * DAY, AT - DAY), "it was watched before the picture was drawn"


def test_changing_costs() -> None:
    before = (Choice(1, "heat.1"), Choice(2, "heat.2"))
    surface = Artwork(HEAT, change=0.01)
    assert surface.bonus(Situation(about(), choices=before)) == {"heat.2": 0.01}
    assert not surface.bonus(Situation(about()))
    assert not Artwork(HEAT, change=0.0).bonus(Situation(about(), choices=before))


def test_the_fixed_arm_shows_the_fixed_picture_or_the_first() -> None:
    surface = Artwork(HEAT[::-1])
    holdouts = surface.holdouts()
    assert list(holdouts) == ["fixed", "uniform"]
    candidates = surface.eligible(about())
    assert holdouts["fixed"].scores(candidates).argmax() == 0
    assert holdouts["fixed"].policy.chances(np.zeros((1, 1), np.float32)).tolist() == [[1.0]]


def test_taste_is_of_what_was_watched() -> None:
    told = Artwork(HEAT, TITLES).told(
        Situation(about(), History(("heat", "up", "gone"), (1, 2, 3)))
    )
    shares = {"Crime": round(1 / 7, 3), "cast: Al Pacino": round(1 / 7, 3)}
    assert told == {"taste": shares}, "no picture shows Val Kilmer, or a family"


def test_a_taste_is_of_the_latest_two_hundred() -> None:
    long_ago = [["Horror"]] * 100
    assert "Horror" not in taste([*long_ago, *[["Crime"]] * 200])


def test_what_pictures_show_is_told_beside_the_others_of_the_title() -> None:
    found = pictured(HEAT, {title.title_id: title for title in TITLES})
    assert found["heat.1"]["picture=Crime"] == pytest.approx(2 / 3)
    assert found["heat.2"]["picture=Crime"] == pytest.approx(-1 / 3)
    for name in ("picture=Crime", "picture=dark", "picture=cast: Al Pacino"):
        assert sum(found[f"heat.{n}"].get(name, 0.0) for n in (1, 2, 3)) == pytest.approx(0)
    assert all(row["genre=Crime"] == row["title=heat"] == 1 for row in found.values())


@pytest.mark.parametrize(
    ("kind", "value", "earned"),
    [
        ("play", 4.9, 0),
        ("play", 5.0, 1),
        ("complete", 0.1, 1),
        ("click", None, 0),
        ("play", None, 0),
    ],
)
def test_what_counts(kind: str, value: float | None, earned: float) -> None:
    decisions = pl.DataFrame({"decision_id": ["d", "other"]})
    event = Event(
        event_id="e", member_id="m", kind=kind, title_id="heat", ts=AT, value=value, decision_id="d"
    )
    events = frame_of_records([event], SCHEMAS["events"], AT)
    rewards = Artwork(HEAT).reward(decisions, events)
    assert rewards["reward"].to_list() == [earned, 0]


def test_settings_that_cannot_be() -> None:
    for wrong in (timedelta(0), timedelta(days=91)):
        with pytest.raises(ValueError, match="stays"):
            Artwork(HEAT, stay=wrong)


def test_it_opens_from_a_lake(tmp_path: Path) -> None:
    with Lake.create(tmp_path / "lake") as lake:
        lake.put([*HEAT, *TITLES])
        surface = Artwork.open(lake)
        assert surface.pictures == {picture.picture_id: picture for picture in HEAT}
        assert [one.picture_id for one in surface.of("heat")] == ["heat.1", "heat.2", "heat.3"]
        content = Artwork.about(lake)
        assert content == pictured(HEAT, surface.catalogue)
        lake.put([Picture(picture_id="heat.1", title_id="heat", barred="rights")])
        assert Artwork.open(lake).eligible(about()).ids == ("heat.2", "heat.3")
        assert not Artwork.about(lake, AT), "nothing was known then"


@pytest.mark.parametrize(
    ("action", "policy", "leading", "says"),
    [
        ("heat.1", "artwork@1", "taste.Crime", "You often watch Crime, and this picture shows it."),
        ("heat.3", "artwork@1", "taste.Crime", "who often watch Crime, as you do"),
        ("heat.2", "artwork@1", "taste.cast: Al Pacino", "Al Pacino, who is in this picture"),
        ("heat.1", "artwork@1", "taste.cast: Al Pacino", "Al Pacino, who draws others"),
        ("heat.1", "artwork@1", "", "like it best"),
        ("heat.1", "artwork@1", None, "a chance of 4%"),
        ("gone", "artwork@1", "taste.Crime", "who often watch Crime"),
        ("heat.1", "artwork@fixed", "taste.Crime", "The fixed picture"),
        ("heat.1", "artwork@uniform", None, "at random"),
    ],
)
def test_why_a_picture_is_shown(action: str, policy: str, leading: str | None, says: str) -> None:
    choice = Choice(0, action, "heat", "d", policy, 0.04)
    assert says in Artwork(HEAT, TITLES).why(choice, leading)
