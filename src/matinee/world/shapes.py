"""SVG elements as text, with whole numbers and as few words as they need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Palette:
    """Colours as ``#rrggbb``: the sky, its glow at the horizon, what stands out, light and dark."""

    sky: str
    glow: str
    accent: str
    light: str
    ink: str


@dataclass(frozen=True)
class Scene:
    """What a motif is drawn on: the focus is (0, 0), with a radius of 100, and the canvas goes on.

    The canvas reaches from `left` < 0 to `right` and from `top` < 0 down to `bottom`; `luck`
    decides what may vary from picture to picture.
    """

    left: float
    right: float
    top: float
    bottom: float
    colours: Palette
    luck: np.random.Generator

    def scattered(self, count: int) -> list[tuple[float, float, float]]:
        """Places (x, y) all over the canvas, each with a share in [0, 1)."""
        low, high = (self.left, self.top, 0.0), (self.right, self.bottom, 1.0)
        return [
            (float(x), float(y), float(t)) for x, y, t in self.luck.uniform(low, high, (count, 3))
        ]

    def between(self, low: float, high: float, count: int) -> list[float]:
        """Some numbers by chance."""
        found: list[float] = self.luck.uniform(low, high, count).tolist()
        return found

    def ground(self, level: float) -> str:
        """The path of all that lies below a level."""
        return f"M{self.left:.0f},{level:.0f}H{self.right:.0f}V{self.bottom:.0f}H{self.left:.0f}z"

    def ridge(self, level: float, rough: float, step: float) -> str:
        """The path of all that lies below a jagged skyline about a level."""
        count = int((self.right - self.left) / step) + 2
        heights = self.between(level - rough, level + rough, count)
        tops = " ".join(f"{self.left + i * step:.0f},{y:.0f}" for i, y in enumerate(heights))
        return f"M{self.left:.0f},{self.bottom:.0f}L{tops}V{self.bottom:.0f}z"


def _paint(tint: str, opacity: float) -> str:
    named = f' fill="{tint}"' if tint else ""
    return named if opacity == 1.0 else f'{named} opacity="{opacity:.2g}"'


def circle(x: float, y: float, r: float, tint: str = "", opacity: float = 1.0) -> str:
    """A disc of radius r; without a tint it takes that of the group it stands in.

    >>> circle(10, 20, 3, "#fff")
    '<circle cx="10" cy="20" r="3" fill="#fff"/>'
    """
    return f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.3g}"{_paint(tint, opacity)}/>'


def ellipse(x: float, y: float, rx: float, ry: float, tint: str, *, opacity: float = 1.0) -> str:
    """A filled ellipse about (x, y)."""
    size = f'rx="{rx:.0f}" ry="{ry:.0f}"'
    return f'<ellipse cx="{x:.0f}" cy="{y:.0f}" {size}{_paint(tint, opacity)}/>'


def polygon(points: Iterable[tuple[float, float]]) -> str:
    """The path of a polygon.

    >>> polygon([(0, 0), (9, 0), (0, 9)])
    'M0,0 9,0 0,9z'
    """
    return "M" + " ".join(f"{x:.0f},{y:.0f}" for x, y in points) + "z"


def shape(path: str, tint: str, opacity: float = 1.0, place: str = "") -> str:
    """A filled path, moved or turned by a transform."""
    moved = f' transform="{place}"' if place else ""
    return f'<path d="{path}"{_paint(tint, opacity)}{moved}/>'


def stroke(path: str, tint: str, width: float, opacity: float = 1.0, place: str = "") -> str:
    """A drawn path with round ends."""
    moved = f' transform="{place}"' if place else ""
    pen = f'stroke="{tint}" stroke-width="{width:.3g}" stroke-linecap="round"'
    return f'<path d="{path}"{_paint("none", opacity)} {pen}{moved}/>'
