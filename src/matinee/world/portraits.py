"""A stylised head of an actor in half light: the same person in every picture, and nobody real."""

from __future__ import annotations

from zlib import crc32

from matinee.world.palettes import mixed
from matinee.world.shapes import Palette, circle, shape

BUST = "M-150,310V230C-150,130 -96,112 -36,92V40H36V92C96,112 150,130 150,230V310z"
FACE = "M0,-88C40,-88 58,-58 56,-22C54,24 30,62 0,62C-30,62 -54,24 -56,-22C-58,-58 -40,-88 0,-88z"
LIT = (
    "M2,-88C41,-87 58,-58 56,-22C54,24 30,62 0,62C6,50 -2,46 2,38C8,32 0,28 4,22C-4,18 -16,16 -14,8"
    "C-10,-4 0,-16 0,-30C-2,-54 -6,-70 2,-88z"
)
SHOULDER = "M36,92C96,112 150,130 150,230V310H92L14,118z"
EYE = "M19,-20Q31,-29 44,-21Q31,-16 19,-20z"
BROW = "M15,-34L48,-38Q49,-33 46,-32L16,-28z"
MOUTH = "M2,35L24,33Q14,39 2,38z"

HAIR = (
    "M-62,-20C-74,-112 74,-112 62,-20C52,-58 30,-66 -4,-64C-40,-62 -54,-50 -62,-20z",
    "M-58,-34C-50,-70 -20,-64 0,-74C30,-64 52,-66 58,-34C72,-76 44,-118 0,-112"
    "C-46,-118 -72,-76 -58,-34z",
    "M-60,-8C-78,-122 60,-130 70,-66C74,-46 66,-30 60,-12C60,-40 56,-58 38,-62"
    "C10,-50 -34,-70 -48,-46C-54,-34 -58,-22 -60,-8z",
    "M-60,-2C-88,-6 -84,-40 -80,-52C-92,-84 -66,-100 -54,-100C-44,-128 -6,-124 2,-116"
    "C22,-130 54,-118 56,-100C82,-94 88,-66 78,-50C88,-26 74,-4 60,-4C64,-34 54,-54 36,-58"
    "C10,-66 -20,-64 -38,-56C-54,-46 -60,-24 -60,-2z",
    "M-92,-46Q0,-66 92,-46Q94,-36 84,-36Q0,-54 -84,-36Q-94,-36 -92,-46z"
    "M-58,-50C-58,-118 -30,-112 0,-106C30,-112 58,-118 58,-50Q0,-62 -58,-50z",
    "M-59,-24C-70,-118 70,-118 59,-24C54,-52 44,-70 0,-72C-44,-70 -54,-52 -59,-24z",
)
"""What is on the head: hair of several cuts, or a hat."""


def portrait(actor: str, colours: Palette) -> str:
    """SVG elements of a head about (0, 0), 100 units from the middle of the face to the crown.

    The hair comes of the name alone, so that an actor looks alike wherever one plays.
    """
    mark, lit = colours.ink, mixed(colours.accent, colours.light, 0.35)
    return (
        shape(BUST, mark)
        + shape(SHOULDER, colours.accent)
        + shape(FACE, mark)
        + shape(LIT, lit)
        + shape(EYE + BROW + MOUTH, mark)
        + circle(31, -22, 3, lit)
        + shape(HAIR[crc32(actor.encode()) % len(HAIR)], mark)
    )
