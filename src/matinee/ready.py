"""Structs that several threads read."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Kind = TypeVar("Kind", bound=msgspec.Struct)


def ready(kind: type[Kind]) -> type[Kind]:
    """A struct that threads may decode or convert to: what it is made of is looked at here, once.

    msgspec does that when a type is first used, and two threads that are the first at the same
    moment crash the process (seen with 0.22: a null pointer in `convert`).

    >>> @ready
    ... class Point(msgspec.Struct):
    ...     x: int
    >>> msgspec.convert({"x": 1}, Point)
    Point(x=1)
    """
    msgspec.json.Decoder(kind)
    return kind
