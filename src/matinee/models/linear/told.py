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


def told_of(context: Context, by: Sequence[str], known: Mapping[str, int] | None = None) -> Told:
    """What a context tells under these names, and what is 1 for everybody; where the places of
    `known` names are given, of those alone and there.
    """
    parts = [Told((ALWAYS,), np.ones((len(context), 1)))]
    parts += [_column(name, context.values(name), known) for name in dict.fromkeys(by)]
    told = {name for part in parts for name in part.names}
    places = known or {name: place for place, name in enumerate(sorted(told))}
    rows = np.zeros((len(context), len(places)))
    for part in parts:
        own = [at for at, name in enumerate(part.names) if name in places]
        rows[:, [places[part.names[at]] for at in own]] += part.rows[:, own]
    return Told(tuple(places), np.clip(rows, -LIMIT, LIMIT))


def _column(name: str, values: Sequence[Any], known: Mapping[str, int] | None) -> Told:
    """One name's features: numbers, and lists of as many, quickly."""
    plain = _plain(name, values)
    if plain is not None:
        return plain
    found = [dict(_features(name, value)) for value in values]
    names = dict.fromkeys(each for told in found for each in told)
    if known is not None:
        names = dict.fromkeys(names.keys() & known.keys())
    check_few(tuple(names))
    places = {each: place for place, each in enumerate(names)}
    rows = np.zeros((len(values), len(names)))
    for row, told in zip(rows, found, strict=True):
        for each, number in told.items():
            if each in places:
                row[places[each]] = number
    return Told(tuple(names), rows)


def _plain(name: str, values: Sequence[Any]) -> Told | None:
    """Of a column of numbers, or of lists of as many numbers each."""
    kinds = set(map(type, values))
    names: tuple[str, ...] = (name,)
    if kinds and kinds <= {list, tuple}:
        sizes = set(map(len, values))
        names = tuple(f"{name}.{place}" for place in range(max(sizes)))
        check_few(names)
        kinds = {type(each) for value in values for each in value} if len(sizes) == 1 else {str}
    if not kinds or not kinds <= {int, float}:
        return None
    try:
        numbers = np.array(values, float).reshape(len(values), len(names))
    except OverflowError:  # of whole numbers that no float has
        return None
    finite = np.where(np.isfinite(numbers), numbers, 0.0)
    return Told(names, np.clip(finite, -LIMIT, LIMIT))


def _features(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, (str, bool)):
        yield f"{name}={value}", 1.0
    elif isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        yield name, float(min(max(value, -LIMIT), LIMIT))
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
            "can be learned of here; leave out of `by` what is an id, let the app send a few "
            "classes of it, or set `facets`, those of actions, lower"
        )


def common(content: Content | None, most: int, within: str = "") -> tuple[str, ...]:
    """The features that most titles have in the content, in order of name; none of the kind that
    says which group they are in.
    """
    if content is None:
        return ()
    counts = np.bincount(content.matrix.indices, minlength=len(content.features))
    listed = zip((-counts).tolist(), content.features.ids, strict=True)
    found = [each for each in listed if not (within and each[1].startswith(f"{within}="))]
    return tuple(sorted(name for count, name in sorted(found)[:most] if count))


def groups_of(content: Content | None, titles: Vocabulary, within: str) -> tuple[str, ...]:
    """The group that each of these titles is in: its feature of the kind `within`; "" in none."""
    groups = [""] * len(titles)
    if content is None or not within:
        return tuple(groups)
    names = content.features.ids
    kind = np.array([name.startswith(f"{within}=") for name in names], bool)
    rows = content.titles.encode(titles.ids)
    known = np.flatnonzero(rows >= 0)
    cells = content.matrix[rows[known]].tocoo()
    own = kind[cells.col]
    for row, column in zip(cells.row[own].tolist(), cells.col[own].tolist(), strict=True):
        groups[known[row]] = names[column]
    return tuple(groups)


def about_of(content: Content | None, titles: Vocabulary, facets: Sequence[str]) -> Doubles:
    """What these titles are about [V, F], 0 where nothing is known."""
    about = np.zeros((len(titles), len(facets)))
    if content is not None:
        rows, columns = content.titles.encode(titles.ids), content.features.encode(facets)
        found = content.matrix[rows[rows >= 0]][:, columns[columns >= 0]].toarray()
        about[np.ix_(rows >= 0, columns >= 0)] = found
    return about
