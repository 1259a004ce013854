"""Posters for the simulated titles: drawn by code, as SVG, from what a picture's features say."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from zlib import crc32

import numpy as np

from matinee.lake.records import Picture, Title
from matinee.world.lettering import LEADING, fit
from matinee.world.motifs import MOTIFS
from matinee.world.palettes import PALETTES, toned
from matinee.world.pictures import CAST
from matinee.world.portraits import portrait
from matinee.world.shapes import Palette, Scene, circle, polygon, shape

Focus = tuple[float, float, float]

SERIF = frozenset(("Drama", "Romance", "Crime", "Mystery", "Horror", "Fantasy", "Biography"))
SERIF |= {"History", "Western", "Documentary"}
"""Genres whose titles are set with serifs."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand on a poster of one ratio, in pixels.

    A motif has its focus (x, y, radius) in the middle or, of two, one each on both sides of what
    divides them; a head has (x, y, scale); the text (x, width, height) and where x is in it.
    """

    size: tuple[int, int]
    focus: Focus
    pair: tuple[Focus, Focus]
    divide: tuple[tuple[float, float], ...]
    head: Focus
    text: tuple[float, float, float]
    anchor: str
    scrim: str
    sizes: tuple[int, ...]


LAYOUTS = {
    "2:3": Layout(
        size=(400, 600),
        focus=(200, 215, 128),
        pair=((135, 140, 92), (262, 345, 92)),
        divide=((400, 150), (400, 600), (0, 600), (0, 350)),
        head=(200, 222, 1.42),
        text=(200, 340, 150),
        anchor="middle",
        scrim='x1="0" y1=".45" x2="0" y2=".95"',
        sizes=(60, 52, 46, 40, 35, 30, 26, 22),
    ),
    "16:9": Layout(
        size=(640, 360),
        focus=(460, 158, 108),
        pair=((262, 120, 74), (525, 170, 84)),
        divide=((450, 0), (640, 0), (640, 360), (330, 360)),
        head=(480, 168, 1.08),
        text=(34, 360, 150),
        anchor="start",
        scrim='x1=".5" y1=".3" x2=".2" y2="1.05"',
        sizes=(54, 48, 42, 37, 32, 28, 24, 20),
    ),
}


def poster(title: Title, picture: Picture, ratio: str = "2:3") -> str:
    """A poster as the text of an SVG file, the same for the same title and picture.

    `ratio` is "2:3" (400 by 600) or "16:9" (640 by 360). The genres of the picture decide what is
    drawn and in which colours, two of them share it; an actor stands before it; "dark", "bright",
    "warm" and "cool" change its colours. It is self-contained: no script, link or font. Raises
    `ValueError` for another ratio.

    >>> heat = Title(title_id="heat", name="Heat", genres=["Crime"])
    >>> poster(heat, Picture(picture_id="heat.1", title_id="heat", features={"Crime": 1.0}))[:4]
    '<svg'
    """
    if ratio not in LAYOUTS:
        raise ValueError(f"there is no poster of ratio {ratio!r}; choose one of {[*LAYOUTS]}")
    layout, key = LAYOUTS[ratio], f"p{crc32(picture.picture_id.encode()):08x}"
    genres = [name for name in picture.features if name in MOTIFS][:2] or ["Drama"]
    looks = [toned(PALETTES[genre], picture.features) for genre in genres]
    width, height = layout.size
    scrim = (
        f'<linearGradient id="{key}s" {layout.scrim}><stop stop-color="{looks[-1].ink}" '
        f'stop-opacity="0"/><stop offset="1" stop-color="{looks[-1].ink}"/></linearGradient>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        f"<defs>{scrim}{_gradients(key, looks)}</defs>"
        f"{_art(layout, key, picture, genres, looks)}"
        f'<path d="M0,0H{width}V{height}H0z" fill="url(#{key}s)"/>'
        f"{_words(layout, title, _actor(picture), genres[0], looks[-1])}</svg>"
    )


def _actor(picture: Picture) -> str:
    named = (name.removeprefix(CAST) for name in picture.features if name.startswith(CAST))
    return next(named, "")


def _gradients(key: str, looks: list[Palette]) -> str:
    """The sky of each part of the poster."""
    return "".join(
        f'<linearGradient id="{key}{part}" x2="0" y2="1"><stop stop-color="{look.sky}"/>'
        f'<stop offset=".62" stop-color="{look.glow}"/></linearGradient>'
        for part, look in enumerate(looks)
    )


def _art(
    layout: Layout, key: str, picture: Picture, genres: list[str], looks: list[Palette]
) -> str:
    actor = _actor(picture)
    if actor:
        x, y, scale = layout.head
        return (
            f'{_sky(layout, key, 0)}<g opacity=".5">'
            f"{_motif(layout, layout.focus, genres[0], looks[0], picture)}</g>"
            f'<g transform="translate({x} {y}) scale({scale})">'
            f"{circle(0, -14, 118, looks[0].glow, 0.75)}{portrait(actor, looks[0])}</g>"
        )
    if len(genres) == 1:
        return _sky(layout, key, 0) + _motif(layout, layout.focus, genres[0], looks[0], picture)
    first, second = (
        _sky(layout, key, part) + _motif(layout, layout.pair[part], genre, looks[part], picture)
        for part, genre in enumerate(genres)
    )
    half = shape(polygon(layout.divide), "#000")
    return f'{first}<clipPath id="{key}c">{half}</clipPath><g clip-path="url(#{key}c)">{second}</g>'


def _sky(layout: Layout, key: str, part: int) -> str:
    return shape(f"M0,0H{layout.size[0]}V{layout.size[1]}H0z", f"url(#{key}{part})")


def _motif(layout: Layout, focus: Focus, genre: str, look: Palette, picture: Picture) -> str:
    (x, y, r), (width, height) = focus, layout.size
    scale = r / 100
    luck = np.random.default_rng(crc32(f"{genre} {picture.picture_id}".encode()))
    scene = Scene(-x / scale, (width - x) / scale, -y / scale, (height - y) / scale, look, luck)
    return f'<g transform="translate({x} {y}) scale({scale:.2f})">{MOTIFS[genre](scene)}</g>'


def _words(layout: Layout, title: Title, actor: str, genre: str, look: Palette) -> str:
    """The title at the foot, with a rule above it and the actor's name above that."""
    x, across, down = layout.text
    family = "serif" if genre in SERIF else "sans-serif"
    name = fit(_printable(title.name), (across, down), layout.sizes)
    step = name.size * LEADING
    last = layout.size[1] - 36
    top = last - step * (len(name.lines) - 1)
    lines = "".join(
        f'<tspan x="{x}" y="{top + i * step:.0f}">{escape(words)}</tspan>'
        for i, words in enumerate(name.lines)
    )
    rule = top - name.size - 4
    left = x - 18 if layout.anchor == "middle" else x
    return (
        f'<path d="M{left:.0f},{rule:.0f}h36v3h-36z" fill="{look.accent}"/>'
        f"{_credit(layout, actor, rule - 12, look)}"
        f'<text font-family="{family}" font-size="{name.size}" font-weight="700" fill="#fff" '
        f'text-anchor="{layout.anchor}">{lines}</text>'
    )


def _credit(layout: Layout, actor: str, y: float, look: Palette) -> str:
    """The actor's name in spaced capitals, on one line."""
    x, across, _ = layout.text
    credit = fit(_printable(actor).upper(), (across, 18), (15, 13, 11, 10, 9), 0.22)
    return "".join(
        f'<text x="{x}" y="{y:.0f}" font-family="sans-serif" font-size="{credit.size}" '
        f'letter-spacing=".2em" fill="{look.light}" text-anchor="{layout.anchor}">'
        f"{escape(line)}</text>"
        for line in credit.lines
    )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
