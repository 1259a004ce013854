"""The colours of posters: a palette for each genre, and what the look of a picture does to it."""

from __future__ import annotations

from collections.abc import Mapping

from matinee.world.shapes import Palette

ACTION = Palette("#5a1020", "#f0642c", "#ffb02e", "#fff1c9", "#22060b")
COMEDY = Palette("#0f9d9a", "#ffd766", "#ff6250", "#fff7df", "#12323a")
DRAMA = Palette("#2b4a70", "#f0b08a", "#d9775a", "#ffe6c7", "#111d30")
ROMANCE = Palette("#8a2c5a", "#f6ad9f", "#e83d6b", "#ffdcd5", "#45122f")
MUSIC = Palette("#2a1266", "#d9488f", "#ffb13d", "#ffe3f2", "#150830")
NOIR = Palette("#0d202b", "#35616a", "#e0a13c", "#ffe2a1", "#050c12")
HORROR = Palette("#0b0f18", "#6a1424", "#a3152c", "#ece4cd", "#060507")
SPACE = Palette("#120a3c", "#6a2fb8", "#22cfe0", "#e6f7ff", "#07041c")
FANTASY = Palette("#123252", "#5fb5a6", "#2f7f86", "#fbf3d0", "#0a1c2c")
FAMILY = Palette("#2b8be0", "#c4ebff", "#ff5a5f", "#ffd23f", "#1f3f7a")
FACTS = Palette("#5f6f66", "#e6d6b2", "#c08a45", "#fff6e0", "#2b2013")
WAR = Palette("#3c4034", "#d99a55", "#75603a", "#ffe7b0", "#191811")
WESTERN = Palette("#b5482a", "#ffc56b", "#a33b22", "#fff0bf", "#3a140c")
SPORT = Palette("#0f4f8f", "#8fd3f0", "#d8572f", "#ffffff", "#0b2238")

PALETTES: dict[str, Palette] = {
    "Action": ACTION,
    "Adventure": ACTION,
    "Comedy": COMEDY,
    "Drama": DRAMA,
    "Romance": ROMANCE,
    "Musical": MUSIC,
    "Music": MUSIC,
    "Crime": NOIR,
    "Thriller": NOIR,
    "Mystery": NOIR,
    "Horror": HORROR,
    "Sci-Fi": SPACE,
    "Fantasy": FANTASY,
    "Family": FAMILY,
    "Animation": FAMILY,
    "Documentary": FACTS,
    "Biography": FACTS,
    "History": FACTS,
    "War": WAR,
    "Western": WESTERN,
    "Sport": SPORT,
}
"""The colours of a genre."""

MIXES: dict[str, tuple[str, float]] = {
    "dark": ("#04060c", 0.5),
    "bright": ("#fffdf5", 0.4),
    "warm": ("#ff8a2a", 0.26),
    "cool": ("#2a7dff", 0.26),
}
"""The colour that a look mixes in, and how much of it at weight 1."""


def mixed(colour: str, other: str, share: float) -> str:
    """A colour with a share of another one.

    >>> mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    both = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in both)


def toned(palette: Palette, features: Mapping[str, float]) -> Palette:
    """The palette as the look of a picture has it; what is light or dark changes least."""
    found = palette
    for look, (other, most) in MIXES.items():
        share = most * features.get(look, 0.0)
        found = Palette(
            mixed(found.sky, other, share),
            mixed(found.glow, other, share),
            mixed(found.accent, other, 0.6 * share),
            mixed(found.light, other, 0.3 * share),
            mixed(found.ink, other, 0.25 * share),
        )
    return found
