"""Durations as people write them: 90s, 30m, 12h, 7d, 2w."""

from __future__ import annotations

import re
from datetime import timedelta

SECONDS: dict[str, int] = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"([0-9]{1,6})([smhdw])")


class Duration:
    """A whole number of seconds, minutes, hours, days or weeks; `text` says it as it was written.

    >>> Duration("30m").seconds
    1800
    >>> Duration("7d").delta
    datetime.timedelta(days=7)

    Raises `ValueError` for any other text.
    """

    __slots__ = ("seconds", "text")

    def __init__(self, text: str) -> None:
        if not _FORM.fullmatch(text):
            raise ValueError(
                f"{text!r} is no duration: write a number and s, m, h, d or w, as in 30m"
            )
        self.text = text
        self.seconds = int(text[:-1]) * SECONDS[text[-1]]

    @property
    def delta(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.seconds == other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)
