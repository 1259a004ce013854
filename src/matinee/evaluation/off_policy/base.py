"""The contract of an off-policy point estimator: a monoid over batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from matinee.evaluation.off_policy.batch import Batch
from matinee.evaluation.off_policy.columns import Floats, Integers
from matinee.evaluation.off_policy.moments import Moments
from matinee.evaluation.off_policy.slates import Slates


class Logged(Protocol):
    """Logged decisions of any shape that say whose each is."""

    @property
    def cluster(self) -> Integers: ...


LoggedT = TypeVar("LoggedT", bound=Logged)


@dataclass(frozen=True, slots=True)
class Value:
    """An estimated value: the mean reward of a decision, its standard error, and from how much.

    `error` is of clusters, by the delta method; NaN below two of them, infinite where weights are
    too large to square. `value` is NaN without rows.
    """

    value: float
    error: float
    decisions: int
    clusters: int


@dataclass(frozen=True)
class Estimator(ABC, Generic[LoggedT]):
    """Estimates a candidate's value as a smooth function of the means of `count` terms a row.

    ``a.add(batch)`` gives a new estimator that has seen the batch too; ``a + b`` one that has seen
    what both have; ``result()`` what it comes to. Settings are fields, and only equal ones add up.
    A subclass writes ``terms`` and, unless its value is the mean of one term, `count`, ``value``
    and ``gradient``.

    >>> from matinee.evaluation.off_policy import IPS
    >>> one, two = Batch.of([1.0], [0.5], [0.25]), Batch.of([1.0], [0.5], [0.75])
    >>> (IPS().add(one) + IPS().add(two)).result().value
    1.0
    """

    name: ClassVar[str]
    references: ClassVar[tuple[str, ...]]
    takes: ClassVar[type[Any]] = object
    """What ``add`` is given: `Batch`, `Slates` or `Sequences`."""

    moments: Moments = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "moments", Moments.none(self.count))

    @property
    def count(self) -> int:
        """How many terms a row has."""
        return 1

    @abstractmethod
    def terms(self, batch: LoggedT) -> Floats:
        """What is averaged, [N, count]."""

    def value(self, means: Floats) -> float:
        """The value from the means of the terms [count]."""
        return float(means[0])

    def gradient(self, means: Floats) -> Floats:
        """The derivatives [count] of ``value`` at `means`."""
        return np.ones(1)

    def add(self, batch: LoggedT) -> Self:
        """This with another batch. Raises `TypeError` for one of another kind."""
        return self._with(self.moments + Moments.of(self.checked_terms(batch), batch.cluster))

    def __add__(self, other: Self) -> Self:
        if self != other:
            raise ValueError(f"{self} and {other} are not the same estimator and do not add up")
        return self._with(self.moments + other.moments)

    def __radd__(self, other: object) -> Self:
        """0 and this is this, so that ``sum`` adds up shards."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def checked_terms(self, batch: LoggedT) -> Floats:
        """The terms [N, count] of a batch of the kind that the estimator takes."""
        if not isinstance(batch, self.takes):
            got, wanted = (_one_of(kind) for kind in (type(batch), self.takes))
            raise TypeError(f"{self.name} was given {got}; give {wanted}")
        with np.errstate(over="ignore", invalid="ignore"):
            return self.terms(batch)

    def result(self) -> Value:
        """The value and its error, from all that was added."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            means = self.moments.means
            error = self.moments.error(self.gradient(means))
            return Value(self.value(means), error, self.moments.rows, self.moments.clusters)

    def _with(self, moments: Moments) -> Self:
        copy = replace(self)
        object.__setattr__(copy, "moments", moments)
        return copy


class ActionEstimator(Estimator[Batch]):
    """An estimator of decisions of one action."""

    takes: ClassVar[type[Any]] = Batch


class SlateEstimator(Estimator[Slates]):
    """An estimator of slates."""

    takes: ClassVar[type[Any]] = Slates


def check_number(
    name: str, value: object, *, above: float | None = None, least: float | None = None
) -> None:
    """Raise unless a setting is a number (`TypeError`) above or of at least another (`ValueError`).

    ``IPS(batch)`` is meant as an ``add``.
    """
    if not isinstance(value, Real):
        raise TypeError(
            f"{name} must be a number, got {_one_of(type(value))}; what was logged goes to add"
        )
    if above is not None and not float(value) > above:
        raise ValueError(f"{name} must be above {above:g}, got {value}")
    if least is not None and not float(value) >= least:
        raise ValueError(f"{name} must be at least {least:g}, got {value}")


def _one_of(kind: type) -> str:
    return kind.__name__ if kind.__name__.endswith("s") else f"a {kind.__name__}"
