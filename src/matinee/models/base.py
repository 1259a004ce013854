"""The contract of a model.

Shapes: B members in a batch, A candidate titles, V titles in a model's vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import Content, Context, Dataset, Indices, Vocabulary
from matinee.models.files import damaged, read, write
from matinee.models.run import QUIET, Run

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Belief:
    """What a model expects of A candidates for B members: `mean` [B, A], higher is better.

    `std` [B, A] is its uncertainty where the model has one; `samples` [M, B, A] are draws from
    its posterior.
    """

    mean: Floats
    std: Floats | None = None
    samples: Floats | None = None


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

    def fit(self, dataset: Dataset, run: Run = QUIET) -> Self:
        """Learn from `dataset` and return self. Deterministic: same data, same weights.

        A model that takes long tells `run` how far it is, and can be interrupted and resumed.
        """
        self.titles = dataset.titles
        try:
            self._fit(dataset, run)
        except BaseException:
            del self.titles
            raise
        return self

    def adopt(self, content: Content) -> Self:
        """A model that also knows the titles of `content`, by what they are about.

        Those that it learned of keep their place and their score. By default nothing is known of a
        title from its content, and this very model is returned.
        """
        return self

    def update(self, dataset: Dataset) -> Self:
        """A model that has also learned from `dataset`: later choices, none of those before.

        It is what a fit on all of them would be. By default a model learns everything anew
        (`NotImplementedError`).
        """
        raise NotImplementedError(f"{self.name} learns everything anew; fit it on all the data")

    def vectors(self) -> Floats | None:
        """A vector [V, d] of each title, alike where their cosine is high; by default none.

        For what puts titles side by side, such as :class:`~matinee.models.Diverse`.
        """
        return None

    def believe(
        self, context: Context, candidates: Indices | None = None, *, draws: int = 0
    ) -> Belief:
        """Beliefs [B, A] on `candidates` (indices into `self.titles`; all of them by default), with
        so many `draws` from the posterior, the same ones each time.

        A candidate of -1 (a title imported after training) and a member without history each get
        the sensible answer that the model's docstring names; no score is ever NaN or infinite.
        Raises `ValueError` where draws are asked of a model that has no posterior.
        """
        self._require_fitted()
        mean = self._scores(context, candidates)
        return Belief(mean, samples=self._samples(context, candidates, draws) if draws else None)

    @classmethod
    def has_posterior(cls) -> bool:
        """Whether it can be asked for draws."""
        return cls._samples is not Model._samples

    def leading(self, context: Context, candidates: Indices, chosen: int) -> str | None:
        """The feature of the first member that speaks most for one candidate (its place) beside the
        others on average, by the name that the model has for it: "taste.Crime", or "" for what all
        members have in common; `None` where it cannot tell or nothing speaks for it, as by default.
        """
        return None

    def effects(
        self, context: Context, candidates: Indices | None = None, latest: int = 5
    ) -> tuple[Indices, Floats]:
        """How much each of one member's latest watches moved each candidate.

        Returns which events [E] of the history, oldest first, and the scores that candidates have
        less those that they would have had without the event [E, A]. Nothing is approximated: the
        event is left out and the model asked again, of the same window where it reads a window
        only. A candidate of -1, of which nothing is known, was moved by nothing.

        >>> from matinee.models import CoVisitation, Dataset, Histories
        >>> log = Histories.of([[0, 1], [0, 1], [2, 3]])
        >>> model = CoVisitation().fit(Dataset.of(Vocabulary("abcd"), log))
        >>> asked = Context(Histories.of([[0, 2]]), np.zeros(1, np.int64))
        >>> events, moved = model.effects(asked, np.array([1], np.int32))
        >>> events.tolist(), bool(moved[0, 0] > 0), bool(moved[1, 0] > 0)
        ([0, 1], True, False)
        """
        watched = (context.histories.titles >= 0) & (context.histories.weights > 0)
        events = np.flatnonzero(watched)[-latest:].astype(np.int32)
        whole = self.believe(context, candidates).mean
        if not len(events):
            return events, whole[:0]
        moved = whole - self._without(context, events, candidates)
        if candidates is not None:
            moved[:, candidates < 0] = 0
        return events, moved

    @abstractmethod
    def _fit(self, dataset: Dataset, run: Run) -> None: ...

    @abstractmethod
    def _scores(self, context: Context, candidates: Indices | None) -> Floats: ...

    def _samples(self, context: Context, candidates: Indices | None, draws: int) -> Floats:
        """Draws [M, B, A] of expected scores; who else is asked about makes no difference."""
        raise ValueError(f"{self.name} has no posterior to draw from; linear is a model that has")

    def _without(self, context: Context, events: Indices, candidates: Indices | None) -> Floats:
        """Scores [E, A] of one member without each of these events."""
        return self._scores(context.without(events), candidates)

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
            if strange := sorted(arrays.keys() - model._arrays().keys()):
                raise ValueError(f"it has arrays that this version does not know: {strange}")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise damaged(path, error) from error
        return model

    def _require_fitted(self) -> None:
        if not hasattr(self, "titles"):
            raise ValueError(
                f"this {self.name} model has learned nothing yet; "
                "call fit(dataset) first, or load a saved one"
            )


def on_candidates(
    scores: Floats, candidates: Indices | None, unknown: float | Floats = 0.0
) -> Floats:
    """Scores [B, A] on `candidates` out of scores [B, V] on all titles; for one of -1 `unknown`, a
    number or one a member [B, 1].

    >>> on_candidates(np.array([[0.5, 2.0]]), np.array([1, -1], np.int32))
    array([[2., 0.]])
    """
    if candidates is None:
        return scores
    if not scores.shape[1]:
        return np.full((len(scores), len(candidates)), unknown, scores.dtype)
    return np.where(candidates >= 0, scores[:, candidates], np.asarray(unknown, scores.dtype))


def several(setting: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names; a `ValueError` where it is a single text, which is a sequence of letters too."""
    if isinstance(names, str):
        raise ValueError(f"{setting} is {names!r}; give a list of names, such as [{names!r}]")
    return tuple(names)


def checked(array: NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """`array` itself; a `ValueError` where its shape or dtype is not the one that was saved, or a
    value is NaN or infinite.
    """
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"an array is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
        )
    if not np.isfinite(array.sum(dtype=np.float64)):
        raise ValueError("a weight is NaN or infinite")
    return array
