"""A small service with pictures, whose log of them is written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from matinee.lake.records import Decision, Outcome, Picture, Title
from matinee.service import training
from matinee.service.folder import Service
from matinee.surfaces import Artwork
from visits import append

AT = datetime.now(UTC) - timedelta(days=2)
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 3"><path d="M0 0h2v3H0z"/></svg>'
ODD = 'a/b "c" <i>é🎬</i> & d?e#f%20\'..'
"""The id of a title and, with a number, of its pictures."""
BARRED = "consent <b>ended</b>"


def titles() -> list[Title]:
    many = [Title(title_id=f"t{n:02d}", name=f"Number {n:02d}") for n in range(27)]
    heat = Title(title_id="heat", name="Heat", year=1995, genres=["Crime", "Drama"])
    bare = Title(title_id="bare", name="No Picture")
    return [heat, Title(title_id=ODD, name=f"Odd {ODD}"), bare, *many]


def pictures() -> list[Picture]:
    limits = {"countries": ["NL"], "min_age": 16, "starts_at": datetime(2026, 1, 1, tzinfo=UTC)}
    crops = {"2:3": "one.svg", "16:9": "one.svg"}
    return [
        Picture(picture_id="heat.1", title_id="heat", features={"Crime": 0.9}, files=crops),
        Picture(picture_id="heat.2", title_id="heat", files={"2:3": "one.svg"}, fixed=True),
        Picture(picture_id="heat.3", title_id="heat", files=crops, barred=BARRED),
        Picture(picture_id="heat.4", title_id="heat", **limits),
        Picture(picture_id=f"{ODD}1", title_id=ODD, features={ODD: 1.0}, files=crops),
        *(Picture(picture_id=f"t{n:02d}.1", title_id=f"t{n:02d}", files=crops) for n in range(27)),
    ]


def chosen(number: int, picture: str, title: str, policy: str, reward: float | None) -> list:
    """A decision, and its outcome if it has one."""
    ids = {"decision_id": f"{picture}-{number}", "member_id": f"secret-{number}"}
    decision = Decision(
        **ids,
        request_id="r",
        surface="artwork",
        at=AT,
        policy=policy,
        actions=[picture],
        propensities=[0.5],
        propensity_kind="conditional",
        eligible="all",
        removed=[],
        segment=[],
        scores=[],
        seed=1,
        subject=title,
    )
    if reward is None:
        return [decision]
    closed = {"decided_at": AT, "closed_at": AT + timedelta(days=1), "surface": "artwork"}
    return [decision, Outcome(**ids, **closed, position=0, action=picture, reward=reward)]


def fill(service: Service) -> None:
    """Of Heat 80 choices: 60 of picture 1, 15 of them taken, 20 of picture 2, none taken yet."""
    (service.folder / "artwork").mkdir()
    (service.folder / "artwork" / "one.svg").write_text(SVG)
    known = AT - timedelta(days=1)
    append(service, "titles", titles(), known)
    append(service, "pictures", pictures(), known)
    records = [
        *(chosen(n, "heat.1", "heat", "artwork@1", float(n < 15)) for n in range(60)),
        *(chosen(n, "heat.2", "heat", "artwork@fixed", 0.0) for n in range(60, 80)),
        *(chosen(n, f"{ODD}1", ODD, "artwork@world", None) for n in range(3)),
    ]
    flat = [one for several in records for one in several]
    append(service, "decisions", [one for one in flat if isinstance(one, Decision)], AT)
    append(service, "outcomes", [one for one in flat if isinstance(one, Outcome)], AT)


def promote(service: Service) -> None:
    """Give `artwork` a champion, made before anything was chosen."""
    (made,) = training.train(service, surface=Artwork.name, as_of=AT - timedelta(hours=1), by="t")
    service.registry.promote(Artwork.name, made.id, by="t", reason="")
