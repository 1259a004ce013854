r"""Lettering burnt into a picture: titles, credits, captions, logos.

Letters are strokes of one width and one colour, of like height, side by side on one line. Strokes
are what a top-hat (light on dark) or a black-hat (dark on light) leaves at three sizes of the
picture; connected strokes are letters; letters that fit each other are chained to lines. Big
letters that touch each other are no strokes: they are flat masses of one colour with a sharp and
winding edge. Chains after X. Chen, A. L. Yuille: Detecting and reading text in natural scenes, CVPR
2004, and B. Epshtein et al.: Detecting text in natural scenes with stroke width transform, CVPR
2010; the thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.pictures.logos import has_masses
from matinee.pictures.opencv import cv2

Grey = NDArray[np.uint8]
WIDTH, NARROWEST = 640, 160
"""In pixels, with 320 between them: strokes of 1 to 14 at each, so of up to a twelfth of the
picture's width.
"""
STROKE = 15
FAINTEST = 18
"""The least contrast of a stroke, of 255."""
WEIGHTS = (-14.34, 0.7, 1.87, 4.36, 6.76, -4.65, -6.97, 0.61, 3.29, -1.86, -0.54, 2.56, 3.4)
"""Of what describes a line: a logistic regression on captions written over frames of three films
and over plain grounds, ``python -m benchmarks.video --fit``.
"""
LIKELY, SURE, NOTHING = 0.0, 2.0, -9.0
"""Log odds of lettering: the least that is likely and sure, and that of no chain at all."""
SHORTEST = 3
"""Letters of a line."""
WORDS = 1.2
"""The widest gap between letters, over their height: that between words."""
MOST = 400
"""The most letters of one size that are looked at: those with the most contrast."""


@dataclass(frozen=True)
class Letters:
    """What may be letters, from left to right [N]: boxes in pixels, area, mean and standard
    deviation of grey, width of the stroke.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    area: NDArray[np.float64]
    grey: NDArray[np.float64]
    spread: NDArray[np.float64]
    stroke: NDArray[np.float64]

    def at(self, places: NDArray[np.intp]) -> Letters:
        return Letters(*(getattr(self, field.name)[places] for field in fields(self)))


class Line(NamedTuple):
    """A line of letters. size : how many. clean : the share of all strokes in its box that are
    its letters. alone : the same of the box that is a letter wider on each side. share : of all
    strokes of the picture. uneven : standard deviation of the letters' heights over their median.
    high, long : the box over the median height. crisp : the mean standard deviation of grey inside
    a letter, which is large where little strokes have much contrast. alike : the standard deviation
    of the letters' greys. coloured : 1 where it was seen in a colour, not in grey.
    """

    size: int
    clean: float
    alone: float
    share: float
    uneven: float
    high: float
    long: float
    crisp: float
    alike: float
    coloured: float

    def described(self) -> tuple[float, ...]:
        """What the evidence is a weighted sum of, `WEIGHTS` in this order."""
        letters = log(self.size)
        shape = (self.uneven, log(self.high), log(self.long))
        light = (log(self.crisp + 1), log(self.alike + 1), self.coloured)
        alone = (self.clean, self.alone, self.share)
        return (1.0, letters, *alone, *shape, *light, self.clean * letters, self.alone * letters)


def lettering(picture: NDArray[np.uint8]) -> float:
    """The log odds that letters are written across a picture [H, W, 3]: above 0, likely so; from
    2, surely. It is no higher where it is sure.

    >>> plain = np.full((360, 640, 3), 90, np.uint8)
    >>> lettering(plain) < 0
    True
    >>> lettering(cv2.putText(plain, "The end", (200, 200), 0, 2, (255, 255, 255), 3)) >= SURE
    True
    """
    page, most = paged(picture), NOTHING
    for line in lines(page):
        most = max(most, evidence(line))
        if most >= SURE:
            return most
    return SURE if has_masses(page[::2, ::2]) else most


def evidence(line: Line) -> float:
    """The log odds that a chain is a line of text and no row of leaves."""
    return sum(weight * of for weight, of in zip(WEIGHTS, line.described(), strict=True))


def paged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the width at which letters are looked for."""
    shape = (WIDTH, max(16, round(picture.shape[0] * WIDTH / picture.shape[1])))
    page: NDArray[np.uint8] = cv2.resize(picture, shape, interpolation=cv2.INTER_LINEAR)
    return page


def lines(page: NDArray[np.uint8]) -> Iterator[Line]:
    """Chains of three letters or more: in grey at each size, and in the two colours of CIELAB at
    the smaller ones, as films have half as many pixels of colour.
    """
    lightness = cv2.cvtColor(page, cv2.COLOR_BGR2GRAY)
    half = cv2.resize(page, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    green_red, blue_yellow = cv2.split(cv2.cvtColor(half, cv2.COLOR_BGR2LAB))[1:]
    for channel, coloured in ((lightness, 0.0), (green_red, 1.0), (blue_yellow, 1.0)):
        size = channel
        while size.shape[1] >= NARROWEST:
            yield from _lines(size, coloured)
            size = cv2.resize(size, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _lines(channel: Grey, coloured: float) -> Iterator[Line]:
    for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        mask = strokes(channel, hat)
        yield from chained(letters(mask, channel), mask, coloured)


def strokes(grey: Grey, hat: int) -> Grey:
    """1 where there is a stroke, by half of the strongest contrast around."""
    square = np.ones((STROKE, STROKE), np.uint8)
    contrast = cv2.morphologyEx(grey, hat, square)
    least = np.maximum(cv2.dilate(contrast, square) // 2, FAINTEST)
    found: Grey = (contrast >= least).astype(np.uint8)
    return found


def letters(mask: Grey, grey: Grey) -> Letters:
    """The connected strokes that have the shape of letters."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask, None, None, None, 8, cv2.CV_16U
    )
    x, y, width, height, area = stats.T.astype(np.float64)
    high, wide = mask.shape
    right = (height >= 6) & (height <= 0.3 * high) & (width >= 2) & (width <= 3 * height)
    right &= (area >= 12) & (area >= 0.12 * width * height)
    right &= (x > 0) & (y > 0) & (x + width < wide) & (y + height < high)
    right[0] = False
    inside = np.flatnonzero(mask)
    label = labels.ravel()[inside]
    inside, label = inside[right[label]], label[right[label]]
    value = grey.ravel()[inside].astype(np.float64)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3).ravel()[inside]
    area = np.maximum(area, 1)
    mean = np.bincount(label, value, count) / area
    spread = np.sqrt(np.maximum(np.bincount(label, value**2, count) / area - mean**2, 0))
    stroke = 4 * np.bincount(label, depth, count) / area
    places = np.flatnonzero(right)
    places = places[np.argsort(-spread[places], kind="stable")[:MOST]]
    places = places[np.argsort(x[places], kind="stable")]
    return Letters(x, y, width, height, area, mean, spread, stroke).at(places)


def chained(found: Letters, mask: Grey, coloured: float) -> Iterator[Line]:
    """Lines of letters that fit each other from neighbour to neighbour."""
    chains: dict[int, list[int]] = {}
    for left, right in fitting(found):
        one, other = chains.setdefault(left, [left]), chains.setdefault(right, [right])
        if one is not other:
            one += other
            for place in other:
                chains[place] = one
    everything = int(mask.sum())
    for first, chain in chains.items():
        if first == chain[0] and len(chain) >= SHORTEST:
            yield measured(found.at(np.array(chain)), mask, everything, coloured)


def fitting(found: Letters) -> list[tuple[int, int]]:
    """Pairs of letters that may stand beside each other in a word, the left one first."""
    one, other = _near(found)
    high = np.maximum(found.height[one], found.height[other])
    bottoms = np.abs((found.y + found.height)[one] - (found.y + found.height)[other])
    tops = np.abs(found.y[one] - found.y[other])
    fit = np.minimum(bottoms, tops) <= 0.16 * high + 1
    one, other, high = one[fit], other[fit], high[fit]
    a, b = found.at(one), found.at(other)
    gap = b.x - a.x - a.width
    fit = (high <= 1.8 * np.minimum(a.height, b.height)) & (b.x > a.x)
    fit &= (gap <= WORDS * high) & (gap >= -0.25 * high)
    fit &= np.abs(a.grey - b.grey) <= 28
    fit &= np.maximum(a.stroke, b.stroke) <= 1.7 * np.minimum(a.stroke, b.stroke)
    return list(zip(one[fit].tolist(), other[fit].tolist(), strict=True))


def _near(found: Letters) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of letters that are not too far apart across, the left one first."""
    count = len(found.x)
    reach = WORDS * found.height.max(initial=0)
    stop = np.searchsorted(found.x, found.x + found.width + reach)
    start = np.arange(count) + 1
    sizes = np.maximum(stop - start, 0)
    one = np.repeat(np.arange(count), sizes)
    return one, np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + one + 1


def measured(line: Letters, mask: Grey, everything: int, coloured: float) -> Line:
    left, right = int(line.x.min()), int((line.x + line.width).max())
    top, bottom = int(line.y.min()), int((line.y + line.height).max())
    usual = float(np.median(line.height))
    edge = round(usual)
    wider = mask[max(0, top - edge) : bottom + edge, max(0, left - edge) : right + edge]
    inside = float(line.area.sum())
    return Line(
        len(line.x),
        inside / max(1, int(mask[top:bottom, left:right].sum())),
        inside / max(1, int(wider.sum())),
        inside / max(1, everything),
        float(line.height.std()) / usual,
        (bottom - top) / usual,
        (right - left) / usual,
        float(line.spread.mean()),
        float(line.grey.std()),
        coloured,
    )
