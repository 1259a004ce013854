"""The one error that Matinee raises for people: what happened, why, and what to type next."""

from __future__ import annotations


class MatineeError(Exception):
    """Something a person can put right.

    >>> print(MatineeError("shows/ is not a service folder", why="it has no matinee.toml",
    ...                    next_step="matinee init shows"))
    shows/ is not a service folder: it has no matinee.toml. Next: matinee init shows
    """

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        self.what, self.why, self.next_step = what, why, next_step
        sentence = f"{what}: {why}" if why else what
        super().__init__(f"{sentence}. Next: {next_step}" if next_step else sentence)
