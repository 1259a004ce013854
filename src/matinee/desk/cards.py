"""The rows of a home page as they are drawn: a card for each title, with its picture and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import quote, urlencode

from matinee.decisions import Assigner, Home, HomePage, HomeRow, ShownTitle
from matinee.lake.records import Picture, Title
from matinee.surfaces import Artwork, Choice, Request, Titles

POSTER, STILL = "2:3", "16:9"


def rows(
    home: Home, asked: Request, page: HomePage, versions: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The rows of a page that was made for `asked`. Only what one of the `versions` of `artwork`
    chose is explained by what a model knows of the member.
    """
    artwork = home.artwork
    pictures = {} if artwork is None else dict(_pictures(artwork, asked, page, versions))
    return [_row(row, home.titles, pictures) for row in page.rows]


def address(**query: str | int | None) -> str:
    """The address of the page of pictures with a query.

    >>> address(title="a/b & c"), address(q="", page=2)
    ('/artwork?title=a%2Fb+%26+c', '/artwork?page=2')
    """
    asked = urlencode({name: value for name, value in query.items() if value})
    return f"/artwork?{asked}" if asked else "/artwork"


def source(picture: Picture, ratio: str = POSTER) -> str | None:
    """The address of a picture's crop, `None` where the picture has no file or nobody may see it.

    >>> source(Picture(picture_id="a/b 1", title_id="a", files={"2:3": "one.svg"}))
    '/v1/pictures/a%2Fb%201?ratio=2:3'
    """
    if not picture.files or picture.barred is not None:
        return None
    return f"/v1/pictures/{quote(picture.picture_id, safe='')}?ratio={ratio}"


def detail(title: Title | None, genres: int | None = None) -> str:
    """A title's year and genres, the first ones or all; nothing of one that is not known."""
    if title is None:
        return ""
    return " · ".join([*([str(title.year)] if title.year else []), *title.genres[:genres]])


def number(text: str, below: int) -> int:
    """A number from 0 that is always the same for a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") % below


def colours(title_id: str, main: str) -> dict[str, int]:
    """How a title without a picture is painted: by `main`, its genre, and by its id."""
    hue = number(main, 360)
    return {
        "hue": hue,
        "hue2": (hue + 20 + number(title_id, 50)) % 360,
        "tilt": 20 + number(title_id, 130),
    }


def _pictures(
    artwork: Assigner[Artwork], asked: Request, page: HomePage, versions: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """By title where its picture is, and why it is this one."""
    shown = [title for row in page.rows for title in row.titles]
    choices = [choice for title in shown for choice in _choices(title)]
    leading = artwork.leading(asked, [one for one in choices if one.policy in versions])
    for choice in choices:
        title_id, known = str(choice.subject), artwork.surface.pictures.get(choice.action)
        yield (
            title_id,
            {
                "source": source(known) if known else None,
                "why": artwork.surface.why(choice, leading.get(title_id)),
            },
        )


def _choices(title: ShownTitle) -> Iterator[Choice]:
    """The choice of a title's picture, if it has one."""
    if (one := title.picture) is not None:
        yield Choice(
            at=0,
            action=one.picture_id,
            subject=title.title_id,
            decision_id=one.decision_id or "",
            policy=one.policy,
            propensity=one.propensity,
        )


def _row(row: HomeRow, titles: Titles, pictures: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": row.name,
        "why": row.why,
        "cards": [_card(title, titles, pictures.get(title.title_id)) for title in row.titles],
    }


def _card(shown: ShownTitle, titles: Titles, picture: dict[str, Any] | None) -> dict[str, Any]:
    """What a card shows. Its colours come from the genre and the id, so they stay the same."""
    title_id, odds = shown.title_id, shown.propensity
    title = titles.catalogue.get(title_id)
    genres = title.genres if title else []
    return {
        "id": title_id,
        "name": shown.name,
        "detail": detail(title, 2),
        **colours(title_id, genres[0] if genres else title_id),
        "because": shown.because,
        "percent": f"{100 * odds:.1f}",
        "odds": f"{odds:.0%}" if odds >= 0.1 else f"{odds:.1%}",
        "address": address(title=title_id),
        "source": picture["source"] if picture else None,
        "picture": picture["why"] if picture else None,
    }
