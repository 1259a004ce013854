"""The data that goes in and out of a model.

Shapes: B members in a batch, A candidate titles, V titles in a vocabulary, N events, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from matinee.engine import Executor, Serial

Indices = NDArray[np.int32]
SECOND = 1_000_000
"""In microseconds, as all times are."""
DAY = 86_400 * SECOND
P = TypeVar("P")
B = TypeVar("B")
S = TypeVar("S")


def _picked(values: tuple[S, ...], places: NDArray[np.int64]) -> tuple[S, ...]:
    """The values at these places; nothing where there are none at all."""
    return tuple(values[place] for place in places.tolist()) if values else ()


class Vocabulary:
    """Title ids in a fixed order; index -1 is a title that is not in it.

    >>> titles = Vocabulary(["heat", "alien"])
    >>> titles.encode(["alien", "unknown", "heat"])
    array([ 1, -1,  0], dtype=int32)
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids: tuple[str, ...] = tuple(ids)
        self._index = {title: index for index, title in enumerate(self.ids)}
        if len(self._index) != len(self.ids):
            raise ValueError("a vocabulary holds each title once; give distinct ids")

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.ids == other.ids

    def __hash__(self) -> int:
        return hash(self.ids)

    def encode(self, ids: Iterable[str]) -> Indices:
        """Indices [N] of `ids`, -1 where unknown."""
        return np.fromiter((self._index.get(title, -1) for title in ids), np.int32)


@dataclass(frozen=True, slots=True)
class Histories:
    """What B members watched, oldest first, in compressed rows.

    Member b's titles are ``titles[offsets[b]:offsets[b + 1]]`` (indices into a vocabulary, -1
    unknown) at ``times`` (microseconds since 1970). `weights` say how much of a watch each is: 1 by
    default, 0 where the title was met and not watched (a search click, a thumb down). `signals` are
    bits, one for each of `matinee.features.watched.SIGNALS` that is known of the member and the
    title, and `devices` indices into a vocabulary of them, -1 unknown; both are empty where nothing
    is known.

    >>> two = Histories.of([[3, 1], []])
    >>> len(two), two.titles_of(0)
    (2, array([3, 1], dtype=int32))
    """

    offsets: NDArray[np.int64]
    titles: Indices
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    countries: tuple[str | None, ...]
    signals: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    devices: Indices = field(default_factory=lambda: np.zeros(0, np.int32))

    @classmethod
    def of(
        cls,
        titles: Sequence[Sequence[int]],
        times: Sequence[Sequence[int]] | None = None,
        countries: Sequence[str | None] | None = None,
    ) -> Self:
        """Histories from plain lists; times default to 0, 1, 2, ... microseconds."""
        times = times or [range(len(row)) for row in titles]
        lengths = [len(row) for row in titles]
        total = sum(lengths)
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.fromiter((title for row in titles for title in row), np.int32, total),
            np.fromiter((time for row in times for time in row), np.int64, total),
            np.ones(total, np.float32),
            tuple(countries) if countries is not None else (None,) * len(titles),
        )

    @classmethod
    def concatenated(cls, parts: Iterable[Self]) -> Self:
        """The members of all parts, one part after the other.

        >>> len(Histories.concatenated([Histories.of([[1]]), Histories.of([[], [2]])]))
        3
        """
        listed = [cls.of([]), *parts]
        counts = np.concatenate([np.diff(part.offsets) for part in listed])

        def joined(name: str, missing: int) -> Any:
            arrays = [getattr(part, name) for part in listed]
            if not any(len(array) for array in arrays):
                return arrays[0]
            return np.concatenate(
                [
                    array if len(array) else np.full(len(part.titles), missing, array.dtype)
                    for array, part in zip(arrays, listed, strict=True)
                ]
            )

        return cls(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            joined("titles", 0),
            joined("times", 0),
            joined("weights", 0),
            tuple(country for part in listed for country in part.countries),
            joined("signals", 0),
            joined("devices", -1),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def titles_of(self, member: int) -> Indices:
        return self.titles[self.offsets[member] : self.offsets[member + 1]]

    def times_of(self, member: int) -> NDArray[np.int64]:
        return self.times[self.offsets[member] : self.offsets[member + 1]]

    def members(self) -> NDArray[np.int64]:
        """The row [N] that each event belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def rows(self, start: int, stop: int) -> Self:
        """The histories of members `start` to `stop`, sharing memory with these."""
        offsets = self.offsets[start : stop + 1]
        events = slice(offsets[0], offsets[-1])
        return self._of_events(events, offsets - offsets[0], self.countries[start:stop])

    def take(self, members: NDArray[np.int64]) -> Self:
        """The histories of these members, in their order.

        >>> Histories.of([[1], [2, 3], []]).take(np.array([1, 0])).titles
        array([2, 3, 1], dtype=int32)
        """
        counts = np.diff(self.offsets)[members]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        events = np.repeat(self.offsets[members] - offsets[:-1], counts) + np.arange(offsets[-1])
        return self._of_events(events, offsets, _picked(self.countries, members))

    def where(self, keep: NDArray[np.bool_]) -> Self:
        """The same members with only the events [N] to keep."""
        if keep.all():
            return self
        offsets = np.concatenate([[0], np.cumsum(keep)])[self.offsets].astype(np.int64)
        return self._of_events(keep, offsets, self.countries)

    def _of_events(
        self,
        events: slice | NDArray[np.int64] | NDArray[np.bool_],
        offsets: NDArray[np.int64],
        countries: tuple[str | None, ...],
    ) -> Self:
        """Histories of some of these events, for members with these offsets into them."""
        return type(self)(
            offsets,
            self.titles[events],
            self.times[events],
            self.weights[events],
            countries,
            self.signals[events] if len(self.signals) else self.signals,
            self.devices[events] if len(self.devices) else self.devices,
        )

    def watched(self) -> Self:
        """The same members with the watches of known titles alone."""
        return self.where((self.titles >= 0) & (self.weights > 0))

    def pairs(self, lag: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Events [N] of a member and those of the same one `lag` places later, of another title.

        >>> first, second = Histories.of([[5, 6, 5], [7]]).pairs(1)
        >>> first.tolist(), second.tolist()
        ([0, 1], [1, 2])
        """
        members, titles = self.members(), self.titles
        if lag >= len(titles):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        alike = (members[lag:] == members[:-lag]) & (titles[lag:] != titles[:-lag])
        first = np.flatnonzero(alike)
        return first, first + lag

    def lacking(self, events: Indices) -> Self:
        """The history of a single member, once for each of `events` and without it.

        >>> less = Histories.of([[5, 6, 7]]).lacking(np.array([0, 2]))
        >>> [less.titles_of(0).tolist(), less.titles_of(1).tolist()]
        [[6, 7], [5, 6]]
        """
        if len(self) != 1:
            raise ValueError(f"these are the histories of {len(self)} members; give one at a time")
        again = type(self).concatenated([self] * len(events))
        size = len(self.titles)
        keep = np.ones(len(events) * size, bool)
        keep[np.arange(len(events)) * size + events] = False
        return again.where(keep)

    def matrix(self, vocabulary_size: int) -> csr_array:
        """Sparse float32 [B, V]: 1 where a member watched the title; unknown titles left out."""
        watched = self.watched()
        cells = csr_array(
            (np.ones(len(watched.titles), np.float32), watched.titles, watched.offsets),
            shape=(len(self), vocabulary_size),
            copy=True,
        )
        cells.sum_duplicates()
        cells.data[:] = 1.0
        return cells


@dataclass(frozen=True, slots=True)
class Context:
    """Whom to score, and when and where.

    histories : of B members, with their countries. at : the time of each decision, microseconds
    since 1970 [B]. devices, features : what the app said of each of them [B]; nothing, if empty.

    >>> asked = Context(Histories.of([[]]), np.zeros(1, np.int64), ("tv",), ({"plan": "basic"},))
    >>> [asked.values(name) for name in ("country", "device", "plan", "age")]
    [(None,), ('tv',), ('basic',), (None,)]
    """

    histories: Histories
    at: NDArray[np.int64]
    devices: tuple[str | None, ...] = ()
    features: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.histories)

    def rows(self, start: int, stop: int) -> Self:
        """The questions from `start` to `stop`."""
        return type(self)(
            self.histories.rows(start, stop),
            self.at[start:stop],
            self.devices[start:stop],
            self.features[start:stop],
        )

    def take(self, places: NDArray[np.int64]) -> Self:
        """The questions at these places, in their order."""
        return type(self)(
            self.histories.take(places),
            self.at[places],
            _picked(self.devices, places),
            _picked(self.features, places),
        )

    def without(self, events: Indices) -> Self:
        """The same question of a single member, once for each of `events` as if it had not been."""
        times = len(events)
        return type(self)(
            self.histories.lacking(events),
            np.repeat(self.at, times),
            self.devices * times,
            self.features * times,
        )

    def values(self, name: str) -> tuple[Any, ...]:
        """What each of the B has under "country", "device" or the name of a feature, or None."""
        if name == "country":
            return self.histories.countries
        if name == "device":
            return self.devices or (None,) * len(self)
        return tuple(one.get(name) for one in self.features) or (None,) * len(self)


@dataclass(frozen=True)
class Holdout:
    """Questions to B members: what was known of them, and what they watched afterwards.

    `targets` has one row a member with at least one title; no target is in the member's context,
    and none stands twice.
    """

    members: tuple[str, ...]
    context: Context
    targets: Histories

    def some(self, most: int) -> Self:
        """The questions to at most so many members, spread evenly over them."""
        if len(self.members) <= most:
            return self
        chosen = np.linspace(0, len(self.members) - 1, most).astype(np.int64)
        return type(self)(
            _picked(self.members, chosen), self.context.take(chosen), self.targets.take(chosen)
        )

    def batches(self, size: int) -> Iterator[tuple[Context, Histories]]:
        """The contexts and the targets of at most `size` members at a time, in order."""
        for start in range(0, len(self.members), size):
            stop = min(start + size, len(self.members))
            yield self.context.rows(start, stop), self.targets.rows(start, stop)


@dataclass(frozen=True)
class Content:
    """What V titles are about: `matrix` sparse float32 [V, F], the weight of each feature.

    `features` names them, such as "genre=Drama" or "word=heist"; a feature means the same in every
    content that has it, whatever its place.

    >>> about = Content.of({"heat": ["genre=crime", "word=heist"], "up": ["genre=family"]})
    >>> about.titles.ids, about.matrix.toarray()
    (('heat', 'up'), array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32))
    """

    titles: Vocabulary
    features: Vocabulary
    matrix: csr_array

    @classmethod
    def of(cls, about: Mapping[str, Iterable[str] | Mapping[str, float]]) -> Self:
        """Each title's features, with their weights, or 1."""
        features = Vocabulary(sorted({name for names in about.values() for name in names}))
        weighed = [
            names if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
            for names in about.values()
        ]
        rows = [features.encode(row) for row in weighed]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        columns = np.concatenate([np.zeros(0, np.int32), *rows])
        weights = np.array([weight for row in weighed for weight in row.values()], np.float32)
        cells = (weights, columns, offsets)
        return cls(Vocabulary(about), features, csr_array(cells, (len(about), len(features))))


@dataclass(frozen=True, slots=True)
class Responses:
    """N choices of a surface and what came of each, known to the end of its window.

    actions : int32 [N], indices into a vocabulary, -1 unknown. rewards : float64 [N].
    propensities : float64 [N] in (0, 1], the chance of each choice when it was made.
    context : of N; its histories are empty but for the countries.
    """

    actions: Indices
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64]
    context: Context

    def __len__(self) -> int:
        return len(self.actions)


class HistoryShard(Protocol):
    """The histories of one bucket of members, read when asked."""

    def load(self) -> Histories: ...


class ResponseShard(Protocol):
    """The responses of one bucket of members, read when asked."""

    def load(self) -> Responses: ...


@dataclass(frozen=True)
class InMemory(Generic[S]):
    """A shard that is already loaded."""

    loaded: S

    def load(self) -> S:
        return self.loaded


@dataclass(frozen=True)
class Dataset:
    """Training data in shards, one vocabulary of titles or actions, as known at `as_of`
    (microseconds): what members watched, and how they responded to the surface's own choices.

    devices : what the histories' `devices` mean. content : what the titles are about, where that is
    known; it may know fewer titles or more. validation : questions that nothing is learned from,
    for a model that stops when it gets no better.
    """

    titles: Vocabulary
    shards: Sequence[HistoryShard]
    as_of: int
    executor: Executor = field(default_factory=Serial)
    responses: Sequence[ResponseShard] = ()
    devices: Vocabulary = field(default_factory=lambda: Vocabulary(()))
    content: Content | None = None
    validation: Holdout | None = None

    @classmethod
    def of(cls, titles: Vocabulary, histories: Histories, as_of: int | None = None) -> Self:
        """A data set of one loaded shard, as of just after its last event by default."""
        if as_of is None:
            as_of = int(histories.times.max()) + 1 if len(histories.times) else 0
        return cls(titles, [InMemory(histories)], as_of)

    def reduce(
        self,
        kernel: Callable[[HistoryShard, B], P],
        merge: Callable[[P, P], P],
        broadcast: B,
    ) -> P:
        """Fold `kernel` over the histories' shards with this data set's executor."""
        return self.executor.map_reduce(kernel, self.shards, merge, broadcast)

    def watchers(self) -> tuple[NDArray[np.float64], int]:
        """How many members watched each title [V], and how many members there are.

        >>> Dataset.of(Vocabulary("abc"), Histories.of([[0, 1], [1, 1], []])).watchers()
        (array([1., 2., 0.]), 3)
        """
        return self.reduce(_watchers, _sums, len(self.titles))

    def reduce_responses(
        self,
        kernel: Callable[[ResponseShard, B], P],
        merge: Callable[[P, P], P],
        broadcast: B,
    ) -> P | None:
        """The same over the responses' shards; `None` where there are none."""
        if not self.responses:
            return None
        return self.executor.map_reduce(kernel, self.responses, merge, broadcast)


def _watchers(shard: HistoryShard, size: int) -> tuple[NDArray[np.float64], int]:
    histories = shard.load()
    counts: NDArray[np.float64] = histories.matrix(size).sum(axis=0, dtype=np.float64)
    return counts, len(histories)


def _sums(
    left: tuple[NDArray[np.float64], int], right: tuple[NDArray[np.float64], int]
) -> tuple[NDArray[np.float64], int]:
    return left[0] + right[0], left[1] + right[1]
