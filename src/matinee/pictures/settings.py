"""What may be set about an extraction, with the limits on what is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from matinee.errors import MatineeError


@dataclass(frozen=True)
class Limits:
    """Limits on a film or picture that may be broken or made to do harm.

    size : bytes of a film's file. picture_size : of a picture's. hours : of a film, declared or
    found. pixels : width times height. frames : of a film. memory : bytes of address space of the
    process that decodes. seconds : of its life; its processors get that much each.

    >>> Limits(hours=0)
    Traceback (most recent call last):
    matinee.errors.MatineeError: hours is 0: limits are numbers above 0. Next: give another
    """

    size: int = 64 * 2**30
    picture_size: int = 64 * 2**20
    hours: float = 6.0
    pixels: int = 4096 * 2304
    frames: int = 1_500_000
    memory: int = 4 * 2**30
    seconds: float = 3_600.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isfinite(value) and value > 0):
                raise _refused(name, value, "limits are numbers above 0")


@dataclass(frozen=True)
class Extraction:
    """How pictures are taken from a film.

    count : the most pictures to return, 1..99. until : the share of the film that may be shown, in
    (0, 1]; what comes later would spoil it. skip : seconds at the start that are left out.
    per_shot : the most frames of one shot that are weighed, 1..9. diversity in [0, 1] : how much a
    picture must differ from those chosen, against how good it is. width : of the widest file in
    pixels, 64..4096; nothing is enlarged. quality : of the JPEG files, 1..100.

    >>> Extraction(count=6, until=0.5).count
    6
    >>> Extraction(until=80)
    Traceback (most recent call last):
    matinee.errors.MatineeError: until is 80: it is a share of the film in (0, 1]. Next: ...
    """

    count: int = 12
    until: float = 0.8
    skip: float = 0.0
    per_shot: int = 3
    diversity: float = 0.5
    width: int = 1280
    quality: int = 90
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, right, rule in (
            ("count", 1 <= self.count <= 99, "it is a number of pictures in 1..99"),
            ("until", 0 < self.until <= 1, "it is a share of the film in (0, 1]"),
            ("skip", isfinite(self.skip) and self.skip >= 0, "it is a number of seconds from 0"),
            ("per_shot", 1 <= self.per_shot <= 9, "it is a number of frames in 1..9"),
            ("diversity", 0 <= self.diversity <= 1, "it is a number in [0, 1]"),
            ("width", 64 <= self.width <= 4096, "it is a number of pixels in 64..4096"),
            ("quality", 1 <= self.quality <= 100, "it is a number in 1..100"),
        ):
            if not right:
                raise _refused(name, getattr(self, name), rule)


def _refused(name: str, value: float, rule: str) -> MatineeError:
    return MatineeError(f"{name} is {value}", why=rule, next_step="give another")
