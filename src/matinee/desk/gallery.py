"""Titles and the shares of their pictures, as pages show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from matinee.desk.cards import POSTER, STILL, colours, detail, source
from matinee.desk.choosers import Choosers
from matinee.desk.numbers import Read, moment, percent, share_read
from matinee.insights.notes import link
from matinee.insights.shares import Measured, Share, Subject
from matinee.lake.records import Picture
from matinee.surfaces import Artwork

ALL = "/desk/artwork"
PAGE = 24
"""Titles on a page."""
NONE = Share(0, 0.0, 0, 0.0)
NEVER = Measured(0, 0.0, None)

Shares = Mapping[str, Mapping[str, Share]]


@dataclass(frozen=True)
class Sheet:
    """One page of titles: which of how many, and the addresses of those beside it."""

    titles: list[dict[str, Any]]
    total: int
    number: int
    pages: int
    earlier: str | None
    later: str | None


def sheet(artwork: Artwork, shares: Shares, q: str, page: str) -> Sheet:
    """The titles that have pictures and whose name or id holds `q`, the most drawn first."""
    drawn = {title: sum(one.drawn for one in shares[title].values()) for title in shares}
    names = {one: name_of(artwork, one) for one in _pictured(artwork)}
    found = [one for one, name in names.items() if q.casefold() in f"{name}\n{one}".casefold()]
    found.sort(key=lambda one: (-drawn.get(one, 0), names[one], one))
    pages = max(1, ceil(len(found) / PAGE))
    number = min(max(int(page), 1), pages) if _is_number(page) else 1
    shown = found[(number - 1) * PAGE : number * PAGE]
    return Sheet(
        [_title(artwork, one, shares.get(one, {})) for one in shown],
        len(found),
        number,
        pages,
        link(ALL, {"q": q, "page": number - 1}) if number > 1 else None,
        link(ALL, {"q": q, "page": number + 1}) if number < pages else None,
    )


def knows(artwork: Artwork, title_id: str) -> bool:
    """Whether there is a title of that id, or a picture of one."""
    return title_id in artwork.catalogue or bool(artwork.of(title_id))


def name_of(artwork: Artwork, title_id: str) -> str:
    """The title's name, or its id where the catalogue does not have it."""
    title = artwork.catalogue.get(title_id)
    return title_id if title is None else title.name


def detail_of(artwork: Artwork, title_id: str, genres: int | None = None) -> str:
    """Its year and genres, the first ones or all."""
    return detail(artwork.catalogue.get(title_id), genres)


def pictures_of(
    artwork: Artwork, title_id: str, found: Subject, choosers: Choosers
) -> list[dict[str, Any]]:
    """All there is to say of each picture of a title, the most drawn first."""
    drawn = {picture_id: one.drawn for picture_id, one in found.together.items()}
    return [_large(artwork, one, found, choosers) for one in _ordered(artwork, title_id, drawn)]


def _large(
    artwork: Artwork, picture: Picture, found: Subject, choosers: Choosers
) -> dict[str, Any]:
    picture_id, wide = picture.picture_id, STILL in picture.files
    return {
        **_picture(artwork, picture, STILL if wide else POSTER),
        "wide": wide,
        **_measured(found.together.get(picture_id, NEVER)),
        "features": _features(picture.features),
        "limits": list(_limits(picture)),
        "arms": [
            {"name": name, "about": choosers.about(name), **_measured(of.get(picture_id, NEVER))}
            for name, of in found.arms.items()
        ],
    }


def _measured(one: Measured) -> dict[str, Any]:
    return {**_drawn(one), "taken": share_read(one.reward) if one.drawn else Read("")}


def _drawn(one: Share | Measured) -> dict[str, str]:
    return {
        "drawn": f"{one.drawn:,}",
        "share": percent(one.share),
        "percent": f"{100 * one.share:.1f}",
    }


def _title(artwork: Artwork, title_id: str, shares: Mapping[str, Share]) -> dict[str, Any]:
    drawn = {picture_id: one.drawn for picture_id, one in shares.items()}
    return {
        "name": name_of(artwork, title_id),
        "detail": detail_of(artwork, title_id, genres=2),
        "address": link("/desk/title", {"id": title_id}),
        "drawn": sum(drawn.values()),
        "pictures": [
            {**_picture(artwork, one), **_shared(shares.get(one.picture_id, NONE))}
            for one in _ordered(artwork, title_id, drawn)
        ],
    }


def _ordered(artwork: Artwork, title_id: str, drawn: Mapping[str, int]) -> list[Picture]:
    """The pictures of a title, the most drawn first, what is barred last."""

    def rank(one: Picture) -> tuple[bool, int, str]:
        return one.barred is not None, -drawn.get(one.picture_id, 0), one.picture_id

    return sorted(artwork.of(title_id), key=rank)


def _picture(artwork: Artwork, picture: Picture, ratio: str = POSTER) -> dict[str, Any]:
    title = artwork.catalogue.get(picture.title_id)
    main = title.genres[0] if title and title.genres else picture.title_id
    return {
        "id": picture.picture_id,
        "source": source(picture, ratio),
        "fixed": picture.fixed,
        "barred": picture.barred,
        **colours(picture.title_id, main),
    }


def _shared(one: Share) -> dict[str, str]:
    return {**_drawn(one), "taken": "" if one.rate is None else percent(one.rate)}


def _features(features: Mapping[str, float]) -> list[tuple[str, str]]:
    """What is in a picture, the most of it first, with how much where it is not all."""
    ordered = sorted(features.items(), key=lambda one: (-one[1], one[0]))
    return [(name, "" if weight == 1 else f"{weight:.2f}") for name, weight in ordered]


def _limits(picture: Picture) -> Iterable[str]:
    """Who may see it, and when."""
    if picture.countries:
        yield f"only in {', '.join(picture.countries)}"
    if picture.min_age:
        yield f"from {picture.min_age} years of age"
    if picture.starts_at:
        yield f"from {_time(picture.starts_at)}"
    if picture.ends_at:
        yield f"until {_time(picture.ends_at)}"


def _time(time: datetime) -> str:
    return f"{moment(time)} UTC"


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _pictured(artwork: Artwork) -> set[str]:
    return {picture.title_id for picture in artwork.pictures.values()}
