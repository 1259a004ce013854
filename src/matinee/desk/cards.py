"""The rows of a home page as they are drawn: a card for each title, with its picture and why."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from matinee.insights.notes import link
from matinee.insights.previewing import Line, Pictured, Preview, Slot
from matinee.lake.records import Picture, Title

POSTER, STILL = "2:3", "16:9"


def rows(page: Preview) -> list[dict[str, Any]]:
    """The rows of a page that is looked at."""
    return [
        {
            "name": row.name,
            "why": row.why,
            "cards": [_card(title) for title in row.titles],
            "slots": _slots(row) if any(title.instead for title in row.titles) else [],
        }
        for row in page.rows
    ]


def source(picture: Picture, ratio: str = POSTER) -> str | None:
    """The address of a picture's crop, `None` where the picture has no file or nobody may see it.

    >>> source(Picture(picture_id="a/b 1", title_id="a", files={"2:3": "one.svg"}))
    '/v1/pictures/a%2Fb%201?ratio=2:3'
    """
    seen = bool(picture.files) and picture.barred is None
    return _source(picture.picture_id, ratio, seen=seen)


def detail(title: Title | None, genres: int | None = None) -> str:
    """A title's year and genres, the first ones or all; nothing of one that is not known."""
    if title is None:
        return ""
    return _detail(title.year, title.genres[:genres])


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


def odds(chance: float) -> str:
    """A chance as people read it.

    >>> odds(0.5), odds(0.031), odds(0.0004)
    ('50%', '3.1%', 'below 0.1%')
    """
    if 0 < chance < 0.001:
        return "below 0.1%"
    return f"{chance:.0%}" if chance >= 0.1 else f"{chance:.1%}"


def _slots(row: Line) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """For each slot what stands in it, its chance, and what else could."""
    return [
        (
            title.name,
            odds(title.propensity),
            [(one.name, odds(one.chance)) for one in title.instead],
        )
        for title in row.titles
    ]


def _card(title: Slot) -> dict[str, Any]:
    """What a card shows. Its colours come from the genre and the id, so they stay the same."""
    genres = title.genres
    return {
        "id": title.title_id,
        "name": title.name,
        "detail": _detail(title.year, genres[:2]),
        **colours(title.title_id, genres[0] if genres else title.title_id),
        "because": title.because,
        "percent": f"{100 * title.propensity:.1f}",
        "odds": odds(title.propensity),
        "address": link("/desk/title", {"id": title.title_id}),
        "source": title.picture and _source(title.picture.picture_id, seen=title.picture.seen),
        "picture": title.picture and _picture(title.picture),
    }


def _picture(picture: Pictured) -> dict[str, Any]:
    """Why it is this picture, and the chances of all of them."""
    return {
        "why": picture.why,
        "stands": odds(picture.propensity) if picture.stands else None,
        "odds": [
            {
                "id": one.picture_id,
                "source": _source(one.picture_id, seen=one.seen),
                "percent": f"{100 * one.chance:.1f}",
                "odds": odds(one.chance),
                "shown": one.picture_id == picture.picture_id,
            }
            for one in picture.odds
        ],
    }


def _source(picture_id: str, ratio: str = POSTER, *, seen: bool) -> str | None:
    return f"/v1/pictures/{quote(picture_id, safe='')}?ratio={ratio}" if seen else None


def _detail(year: int | None, genres: Sequence[str]) -> str:
    return " · ".join([*([str(year)] if year else []), *genres])
