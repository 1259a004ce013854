"""What is known of members and of actions, as numbers by the name of each feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Content, Context, Vocabulary

Doubles = NDArray[np.float64]

LIMIT = 10.0
"""A number that says something of a member is cut to this: it should be of the size of 1."""
ALWAYS = ""
"""The name of what is 1 for everybody."""
MOST_NAMES = 3_000
"""Features of members, at most."""


class Told(NamedTuple):
    """What is known of N members: the names [P], ascending, and numbers [N, P] of features."""

    names: tuple[str, ...]
    rows: Doubles

    def under(self, places: Mapping[str, int]) -> Doubles:
        """The numbers of the features that have a place [N, len(places)], 0 where not told."""
        rows = np.zeros((len(self.rows), len(places)))
        known = [at for at, name in enumerate(self.names) if name in places]
        rows[:, [places[self.names[at]] for at in known]] = self.rows[:, known]
        return rows


def told_of(context: Context, by: Sequence[str]) -> Told:
    """What a context tells under these names, and what is 1 for everybody."""
    size = len(context)
    parts = [Told((ALWAYS,), np.ones((size, 1)))]
    parts += [_column(name, context.values(name)) for name in dict.fromkeys(by)]
    places = {name: 0 for part in parts for name in part.names}
    names = tuple(sorted(places))
    places.update({name: place for place, name in enumerate(names)})
    rows = np.zeros((size, len(names)))
    for part in parts:
        rows[:, [places[name] for name in part.names]] += part.rows
    return Told(names, rows)


def _column(name: str, values: Sequence[Any]) -> Told:
    """One name's features; numbers, and lists of as many, quickly."""
    kinds = set(map(type, values))
    if kinds and kinds <= {int, float}:
        return Told((name,), _cut(np.array(values, float)[:, None]))
    if kinds and kinds <= {list, tuple} and len(lengths := set(map(len, values))) == 1:
        inside = {type(each) for value in values for each in value}
        if inside <= {int, float}:
            names = tuple(f"{name}.{place}" for place in range(lengths.pop()))
            return Told(names, _cut(np.array(values, float).reshape(len(values), len(names))))
    found = [dict(_features(name, value)) for value in values]
    names = tuple(dict.fromkeys(name for told in found for name in told))
    check_few(names)
    places = {name: place for place, name in enumerate(names)}
    rows = np.zeros((len(values), len(names)))
    for row, told in zip(rows, found, strict=True):
        row[[places[name] for name in told]] = list(told.values())
    return Told(names, _cut(rows))


def _cut(numbers: Doubles) -> Doubles:
    """What is not finite says nothing."""
    return np.clip(np.where(np.isfinite(numbers), numbers, 0.0), -LIMIT, LIMIT)


def _features(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, (str, bool)):
        yield f"{name}={value}", 1.0
    elif isinstance(value, (int, float)):
        yield name, min(max(value, -LIMIT), LIMIT) if isfinite(value) else 0.0
    elif isinstance(value, (Mapping, list, tuple)):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, number in inner:
            if not isinstance(number, (Mapping, list, tuple)):
                yield from _features(f"{name}.{key}", number)


def check_few(names: Sequence[str], most: int = MOST_NAMES) -> None:
    """Raise `ValueError` where there are more features than can be learned of."""
    if len(names) > most:
        raise ValueError(
            f"members have {len(names):,} features, such as {names[-1]!r}, more than {most:,} that "
            "can be learned of; leave out of `by` what is an id, or let the app send a few classes "
            "of it"
        )


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
