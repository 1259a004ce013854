"""The contract of a model, and the data that goes in and out of one.

Shapes: B members in a batch, A candidate titles, V titles in a model's vocabulary, N events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from matinee.engine import Executor, Serial
from matinee.models.files import damaged, read, write

Floats = NDArray[np.float32] | NDArray[np.float64]
Indices = NDArray[np.int32]
P = TypeVar("P")
B = TypeVar("B")
S = TypeVar("S")


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
    unknown) at ``times`` (microseconds since 1970) with positive `weights` (1 by default).

    >>> two = Histories.of([[3, 1], []])
    >>> len(two), two.titles_of(0)
    (2, array([3, 1], dtype=int32))
    """

    offsets: NDArray[np.int64]
    titles: Indices
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    countries: tuple[str | None, ...]

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
        return type(self)(
            offsets - offsets[0],
            self.titles[events],
            self.times[events],
            self.weights[events],
            self.countries[start:stop],
        )

    def where(self, keep: NDArray[np.bool_]) -> Self:
        """The same members with only the events [N] to keep."""
        if keep.all():
            return self
        offsets = np.concatenate([[0], np.cumsum(keep)])[self.offsets].astype(np.int64)
        return type(self)(
            offsets, self.titles[keep], self.times[keep], self.weights[keep], self.countries
        )

    def known(self) -> Self:
        """The same members without the events on unknown titles."""
        return self.where(self.titles >= 0)

    def matrix(self, vocabulary_size: int) -> csr_array:
        """Sparse float32 [B, V]: 1 where a member has the title; unknown titles left out."""
        known = self.known()
        cells = csr_array(
            (np.ones(len(known.titles), np.float32), known.titles, known.offsets),
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

    def values(self, name: str) -> tuple[Any, ...]:
        """What each of the B has under "country", "device" or the name of a feature, or None."""
        if name == "country":
            return self.histories.countries
        if name == "device":
            return self.devices or (None,) * len(self)
        return tuple(one.get(name) for one in self.features) or (None,) * len(self)


@dataclass(frozen=True, slots=True)
class Belief:
    """What a model expects of A candidates for B members: `mean` [B, A], higher is better.

    `std` [B, A] is its uncertainty where the model has one; `samples` [M, B, A] are draws from
    its posterior.
    """

    mean: Floats
    std: Floats | None = None
    samples: Floats | None = None


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
    """

    titles: Vocabulary
    shards: Sequence[HistoryShard]
    as_of: int
    executor: Executor = field(default_factory=Serial)
    responses: Sequence[ResponseShard] = ()

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


class Model(ABC):
    """Learns from a `Dataset`, then believes something of every candidate.

    A subclass sets `name` and `references`, says what it learns from, and writes `_fit`, `_scores`,
    `_arrays` and `_restore`. One that learns from responses can be fitted before there are any.
    Hyper-parameters are the arguments of its ``__init__``, kept under the same names and plain
    JSON values, so that ``settings()`` can save them.
    """

    name: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    learns_from: ClassVar[Literal["histories", "responses"]] = "histories"
    titles: Vocabulary

    def fit(self, dataset: Dataset) -> Self:
        """Learn from `dataset` and return self. Deterministic: same data, same weights."""
        self.titles = dataset.titles
        self._fit(dataset)
        return self

    def believe(self, context: Context, candidates: Indices | None = None) -> Belief:
        """Beliefs [B, A] on `candidates` (indices into `self.titles`; all of them by default).

        A candidate of -1 (a title imported after training) and a member without history each get
        the sensible answer that the model's docstring names; no score is ever NaN or infinite.
        """
        self._require_fitted()
        return Belief(self._scores(context, candidates))

    @abstractmethod
    def _fit(self, dataset: Dataset) -> None: ...

    @abstractmethod
    def _scores(self, context: Context, candidates: Indices | None) -> Floats: ...

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What was learned, as named arrays without objects."""

    @abstractmethod
    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None: ...

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The hyper-parameters, as arguments of ``__init__``."""

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file, whole or not at all: a crash leaves the old file or the new one.

        The file holds the learned arrays and a JSON header with the format version, the model's
        name, its settings and its titles.
        """
        self._require_fitted()
        header = {"name": self.name, "settings": self.settings(), "titles": self.titles.ids}
        write(Path(path), header, self._arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, without pickle.

        Raises `ValueError`, saying what is wrong and what to do, where the file is damaged, of
        another format, or of another model.
        """
        path = Path(path)
        header, arrays = read(path)
        if header["name"] != cls.name:
            raise ValueError(
                f"{path} holds a model named {header['name']!r}, not {cls.name!r}; "
                "load it with matinee.models.load_model, which picks the class by that name"
            )
        try:
            model = cls(**header["settings"])
            model.titles = Vocabulary(header["titles"])
            model._restore(arrays)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, error) from error
        return model

    def _require_fitted(self) -> None:
        if not hasattr(self, "titles"):
            raise ValueError(
                f"this {self.name} model has learned nothing yet; "
                "call fit(dataset) first, or load a saved one"
            )


def on_candidates(scores: Floats, candidates: Indices | None) -> Floats:
    """Scores [B, A] on `candidates` out of scores [B, V] on all titles; 0 for an unknown title.

    >>> on_candidates(np.array([[0.5, 2.0]]), np.array([1, -1], np.int32))
    array([[2., 0.]])
    """
    if candidates is None:
        return scores
    if not scores.shape[1]:
        return np.zeros((len(scores), len(candidates)), scores.dtype)
    return np.where(candidates >= 0, scores[:, candidates], scores.dtype.type(0))


def checked(array: NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """`array` itself, or a `ValueError` where its shape or dtype is not the one that was saved."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"an array is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
        )
    return array
