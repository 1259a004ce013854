"""A candidate picture, and what came of an extraction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RATIOS: Mapping[str, float] = {"16:9": 16 / 9, "2:3": 2 / 3, "1:1": 1.0}
"""The crops of each picture: width over height."""


NAME = re.compile(r"\d{2,6}-\d{1,2}x\d{1,2}\.jpg")
"""What a file of a candidate is called; any other name is refused."""


@dataclass(frozen=True)
class Candidate:
    """One picture that a person may approve.

    number : from 1. time : in seconds from the start of the film; None where a person brought the
    picture. files : by ratio ("16:9", "2:3", "1:1"), the name of the crop in the folder. scores :
    named measures in [0, 1], higher is better; "overall" sums them up. features : in [0, 1], what
    the picture shows, for a model to learn from.

    >>> Candidate(3, 61.5, {"1:1": "03-1x1.jpg"}, {"overall": 0.7}, {"dark": 0.1}).name
    '03'
    """

    number: int
    time: float | None
    files: dict[str, str]
    scores: dict[str, float]
    features: dict[str, float]

    @property
    def name(self) -> str:
        """How its files begin."""
        return f"{self.number:02}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Candidate:
        """The inverse of `as_json`. KeyError, TypeError or ValueError where it is none.

        >>> one = Candidate(1, None, {}, {}, {})
        >>> Candidate.from_json(one.as_json()) == one
        True
        """
        time, files = found["time"], dict(found["files"])
        if not (files.keys() <= RATIOS.keys() and all(map(NAME.fullmatch, files.values()))):
            raise ValueError(f"files are {files}")
        return cls(
            int(found["number"]),
            None if time is None else float(time),
            files,
            {str(name): float(value) for name, value in found["scores"].items()},
            {str(name): float(value) for name, value in found["features"].items()},
        )


@dataclass(frozen=True)
class Extracted:
    """What came of an extraction.

    candidates : the best first. seconds : how long the film is. shots : that were seen. dropped :
    reasons with the number of frames, of those looked at, that were dropped for them.
    """

    candidates: tuple[Candidate, ...]
    seconds: float
    shots: int
    dropped: dict[str, int]
