"""What is known of members and of actions, as numbers by the name of each feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Content, Context, Vocabulary

Doubles = NDArray[np.float64]

LIMIT = 10.0
"""A number that says something of a member is cut to this: it should be of the size of 1."""
ALWAYS = ""
"""The name of what is 1 for everybody."""


def told_of(context: Context, by: Sequence[str]) -> Iterator[dict[str, float]]:
    """What is known of each member, a number by the name of each feature."""
    columns = [context.values(name) for name in by]
    for row in range(len(context)):
        told = {ALWAYS: 1.0}
        for name, column in zip(by, columns, strict=True):
            told.update(_features(name, column[row]))
        yield told


def _features(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, (str, bool)):
        yield f"{name}={value}", 1.0
    elif isinstance(value, (int, float)):
        yield name, min(max(float(value), -LIMIT), LIMIT) if isfinite(value) else 0.0
    elif isinstance(value, (Mapping, list, tuple)):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, number in inner:
            if not isinstance(number, (Mapping, list, tuple)):
                yield from _features(f"{name}.{key}", number)


def common(content: Content | None, titles: Vocabulary, most: int) -> tuple[str, ...]:
    """The features that most of these titles have in the content, in order of name."""
    if content is None:
        return ()
    places = content.titles.encode(titles.ids)
    counts = np.bincount(
        content.matrix[places[places >= 0]].indices, minlength=len(content.features)
    )
    found = zip((-counts).tolist(), content.features.ids, strict=True)
    return tuple(sorted(name for count, name in sorted(found)[:most] if count))


def about_of(content: Content | None, titles: Vocabulary, facets: Sequence[str]) -> Doubles:
    """What these titles are about [V, F], 0 where nothing is known."""
    about = np.zeros((len(titles), len(facets)))
    if content is not None:
        rows, columns = content.titles.encode(titles.ids), content.features.encode(facets)
        found = content.matrix[rows[rows >= 0]][:, columns[columns >= 0]].toarray()
        about[np.ix_(rows >= 0, columns >= 0)] = found
    return about
