"""Setting words in a box without knowing the font: widths are those of a wide bold one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NARROW, MEDIUM, CAPITAL, WIDE, BLANK = 0.42, 0.7, 0.82, 1.12, 0.36
"""Widths of characters in units of the font's size, at least those of common bold fonts."""

LEADING = 1.1
"""From one line to the next, in units of the font's size."""


@dataclass(frozen=True)
class Lines:
    """Text set in lines, at a font size in pixels."""

    size: int
    lines: list[str]


def width(text: str, spacing: float = 0.0) -> float:
    """How wide a text is at most, in units of the font's size; `spacing` follows each character.

    >>> width("Il") < width("an") < width("MW")
    True
    """
    return sum(_width(character) + spacing for character in text)


def _width(character: str) -> float:
    if character == " ":
        return BLANK
    if character in "iljItf.,:;'!|()[]’-":
        return NARROW
    if character in "mwMW@%&—…" or ord(character) > 0x2000:
        return WIDE
    return CAPITAL if character.isupper() or ord(character) > 0x24F else MEDIUM


def wrap(text: str, room: float, spacing: float = 0.0) -> list[str]:
    """The words in lines of at most `room` times the font's size; longer words are broken.

    >>> wrap("The Lord of the Rings", 6)
    ['The Lord', 'of the', 'Rings']
    """
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and width(joined, spacing) <= room:
            lines[-1] = joined
        else:
            lines += _broken(word, room, spacing)
    return lines


def _broken(word: str, room: float, spacing: float) -> list[str]:
    parts = [""]
    for character in word:
        if parts[-1] and width(parts[-1] + character, spacing) > room:
            parts.append("")
        parts[-1] += character
    return parts


def fit(text: str, room: tuple[float, float], sizes: Sequence[int], spacing: float = 0.0) -> Lines:
    """The text at the largest of `sizes` (descending) that fits in `room`, (width, height) pixels.

    Words are broken only at the smallest size, where what does not fit ends in an ellipsis.

    >>> fit("Heat", (300, 80), (60, 40))
    Lines(size=60, lines=['Heat'])
    >>> fit("so very " * 90, (300, 80), (60, 30)).lines
    ['so very so very', 'so very so ver…']
    """
    for size in sizes:
        across = room[0] / size
        lines, most = wrap(text, across, spacing), int(room[1] / size / LEADING)
        whole = all(width(word, spacing) <= across for word in text.split())
        if whole and len(lines) <= most:
            return Lines(size, lines)
    if len(lines) > most:
        lines = lines[: max(most, 1)]
        lines[-1] = _broken(lines[-1], across - WIDE - spacing, spacing)[0] + "…"
    return Lines(size, lines)
