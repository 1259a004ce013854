"""The contract of a surface: one place where the service chooses.

A surface of one's own, which notification to send or none:

>>> from matinee.policies import EpsilonGreedy
>>> class Notifications(Surface):
...     name = "notifications"
...     reward_range = (0.0, 1.0)
...     window = timedelta(hours=24)
...     choices = Candidates.of(["none", "new-season", "unfinished"])
...
...     def eligible(self, request):
...         return self.choices
...
...     def policies(self):
...         return {"explore": EpsilonGreedy(epsilon=0.2)}
...
...     def reward(self, decisions, events):
...         clicks = events.filter(pl.col("kind") == "click")
...         return decisions.select(
...             "decision_id",
...             pl.lit(0, pl.Int64).alias("position"),
...             pl.col("decision_id").is_in(clicks["decision_id"].implode())
...             .cast(pl.Float64).alias("reward"),
...         )
>>> Notifications().name
'notifications'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from itertools import compress
from math import inf
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray

from matinee.lake.lake import Lake
from matinee.lake.records import Country, Device, Eligible, Id, Masked, MemberId, Time
from matinee.models import Model, Response
from matinee.policies import Policy
from matinee.registry.version import check_surface
from matinee.surfaces.history import History


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the app asks: `slots` actions for a member, now; the surface's usual number by default.

    `request_id` makes it idempotent: the same member and id get the same decision again.
    `features` is free, for what a surface of one's own needs to know. `subject` is what the choice
    is about, a title, where the surface chooses for a member and a subject together.
    """

    request_id: Id
    member_id: MemberId
    at: Time
    slots: Annotated[int, Meta(ge=1, le=1000, description="how many actions are wanted")] | None = (
        None
    )
    country: Country | None = None
    device: Device | None = None
    features: dict[str, Any] = {}
    subject: Id | None = None


class Choice(msgspec.Struct, frozen=True):
    """An action that a surface chose for a member, and when (microseconds since 1970).

    Where it stands for a subject: for which, in which decision, by which version or arm, and how
    likely it was when it was drawn.
    """

    at: int
    action: str
    subject: str | None = None
    decision_id: str = ""
    policy: str = ""
    propensity: float = 1.0


@dataclass(frozen=True)
class Holdout:
    """A share of members, in [0, 1], for whom a surface chooses by a rule and never by a model.

    They stay in it, so that what choosing brings can be read off for ever: against the rule, and on
    choices that depend on nothing. `policy` draws from what `scores` says of the candidates, [A].
    """

    share: float
    policy: Policy
    scores: Callable[[Candidates], NDArray[np.float64]]

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a share of members lies in [0, 1], not {self.share}")


@dataclass(frozen=True)
class Candidates:
    """A distinct set of A ids in ascending order, with the hash of its content.

    `masked` says what was taken away before, for everyone alike (availability, say).

    >>> Candidates.of(["b", "a", "b"]).ids
    ('a', 'b')
    >>> Candidates.of(["b", "a"]).hash == Candidates.of(["a", "b"]).hash
    True
    """

    ids: tuple[str, ...]
    hash: str
    masked: tuple[Masked, ...] = ()

    @classmethod
    def of(cls, ids: Iterable[str], masked: Iterable[Masked] = ()) -> Self:
        ordered = tuple(sorted(set(ids)))
        digest = blake2b(msgspec.msgpack.encode(ordered), digest_size=16)
        return cls(ordered, digest.hexdigest(), tuple(masked))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, candidate: object) -> bool:
        return candidate in self._places

    def place(self, candidate: str) -> int | None:
        """Where a candidate stands; `None` for what is none."""
        return self._places.get(candidate)

    def positions(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Where those of `ids` that are candidates stand, in the order given."""
        places = map(self._places.get, ids)
        return np.array([place for place in places if place is not None], np.int64)

    def without(self, ids: Iterable[str]) -> NDArray[np.bool_]:
        """False [A] at the candidates in `ids`, true elsewhere."""
        allowed = np.ones(len(self), bool)
        allowed[self.positions(ids)] = False
        return allowed

    def keep(self, allowed: NDArray[np.bool_], mask: Mask) -> Self:
        """The allowed ones as a set of their own, which says what `mask` took away."""
        if allowed.all():
            return self
        line = Masked(mask.name, mask.reason, int(np.count_nonzero(~allowed)))
        return self.of(compress(self.ids, allowed.tolist()), (*self.masked, line))

    def record(self) -> Eligible:
        """The row that stands for this set in the lake."""
        return Eligible(eligible=self.hash, candidates=list(self.ids))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {candidate: place for place, candidate in enumerate(self.ids)}


class Situation(msgspec.Struct, frozen=True):
    """What is known when a decision is made: the request, what the member watched, and what the
    surface chose for them within its `memory`, oldest first. Where there is a subject, these are of
    it alone, and `watched` is when the member last watched it (microseconds since 1970), if ever.
    """

    request: Request
    history: History = History()
    choices: tuple[Choice, ...] = ()
    watched: int | None = None


class Mask(ABC):
    """A rule that takes candidates away, with its reason in plain words.

    A mask may look at everything in the situation, of the clock at the hour (UTC) alone: what
    depends on time more finely belongs in `Surface.eligible`, so that a decision can be prepared
    once an hour for an unchanged member. One that looks at earlier choices says how far back:
    `memory`.
    """

    name: ClassVar[str]
    memory: ClassVar[timedelta] = timedelta(0)
    reason: str

    @abstractmethod
    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        """True [A] where a candidate may be chosen."""


class Surface(ABC):
    """One place where the service chooses.

    `unit` names whose draw it is; decisions of one member hang together. `reward_range` bounds the
    reward of one position. Of the class or of one surface: `window` is how long after a decision an
    event may still count for it, `slots` how many actions are chosen where a request does not say,
    `memory` for how long its own choices for a member stand in the situation.

    Where the unit is a "subject", a title say, one action is chosen for a member and each subject.
    It is drawn once and `stands` for a while, and what the member does with the subject in the
    window counts for it, whichever decision that answers to.

    What answers to decisions are `events`, unless the surface `reads` the rows of another table:
    those about the decision's subject, as ``attempts`` are about an invoice.
    """

    name: ClassVar[str]
    reads: ClassVar[str] = "events"
    unit: ClassVar[Literal["member", "subject"]] = "member"
    learns_in: ClassVar[tuple[str, ...]] = ()
    reward_range: ClassVar[tuple[float, float]]
    window: timedelta
    slots: int = 1
    memory: timedelta = timedelta(0)
    within: timedelta = timedelta(seconds=1)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            check_surface(cls.name)

    @classmethod
    def open(cls, lake: Lake) -> Self:
        """The surface of a service, made from what its lake knows now; by default it needs nothing.

        It is made anew when members, titles or windows change.
        """
        return cls()

    @abstractmethod
    def eligible(self, request: Request) -> Candidates:
        """Everything that may be chosen in that country at that time, the same for all members.

        Return the same object while the set stays the same: it is stored once.
        """

    def masks(self, situation: Situation) -> Sequence[Mask]:
        """The rules that take candidates away for this member."""
        return ()

    def fresh(self, request: Request) -> frozenset[str]:
        """The actions that are new in that country at that time; by default none ever is."""
        return frozenset()

    def told(self, situation: Situation) -> Mapping[str, Any]:
        """What models are told of the member besides the request's own features; it goes on record.

        By default nothing. The subject of a situation plays no part: it is asked once a request.
        """
        return {}

    def stands(self, situation: Situation) -> bool:
        """Whether the latest of the choices for a member and a subject, of which there is one, is
        to stay; by default it does for as long as it is remembered.

        It goes all the same when it is no longer eligible, or a mask takes it away.
        """
        return True

    def bonus(self, situation: Situation) -> Mapping[str, float]:
        """What actions are worth for a member and a subject besides the reward that a model
        expects, in its unit; by default nothing.
        """
        return {}

    def holdouts(self) -> Mapping[str, Holdout]:
        """The arms of members for whom a rule chooses, by name; by default there are none."""
        return {}

    def follow(self) -> bool:
        """Take in what the lake has learned since, a few times a second while the service decides;
        whether it is to be opened anew. By default it knows what it knew when it was opened.
        """
        return False

    def fallback(self) -> tuple[Model, Policy] | None:
        """What decides where there is no champion, or it fails or takes longer than `within`:
        fitted, and quick. Decisions name it as their policy (``payments@fallback``).

        By default nothing does, and the request is refused, or waits.
        """
        return None

    @classmethod
    def actions(cls, lake: Lake, as_of: datetime | None = None) -> frozenset[str]:
        """The actions that models are to know besides those that were chosen; by default none."""
        return frozenset()

    @classmethod
    def about(cls, lake: Lake, as_of: datetime | None = None) -> Mapping[str, Mapping[str, float]]:
        """What actions are about: by id the weights of features, as is known now or at a time.

        Models that can know an action by its content read it. By default nothing is known.
        """
        return {}

    @classmethod
    def lessons(cls, tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame | None:
        """What models learn from, where that is not what came of decisions: as by default, `None`.

        `tables` are those named in `learns_in`, of one bucket of members, or whole where they are
        not about members. One row each of action, reward, propensity, at, and context as JSON text,
        as decisions have it; in order of member and time.
        """
        return None

    @abstractmethod
    def reward(self, decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """One row (decision_id, position, reward) for each position of each decision.

        `decisions` and `events` have the columns of those tables in the lake. The events answer to
        one of the decisions: they carry its id, are its member's, and happened within its window;
        where the unit is a subject, they are its member's and about its subject, and carry the id
        of the decision that they count for. Rows of another table that is read come once for each
        decision about their subject that they followed, with its id as `answers_to`. One that is
        reported twice counts once. Rewards are finite and inside `reward_range`.
        """

    @abstractmethod
    def policies(self) -> Mapping[str, Policy]:
        """The policies one would usually try here, by name; the first is the default."""

    def models(self) -> Sequence[Model]:
        """The models, unfitted, that one would usually train here."""
        return (Response(),)


def check(surface: Surface) -> None:
    """Raise `ValueError` for what no surface can be: settings of the wrong kind, nothing to try.

    >>> class Odd(Surface):
    ...     name, reward_range, window = "odd", (1.0, 0.0), timedelta(hours=1)
    ...     eligible = policies = reward = lambda *_: None
    >>> check(Odd())
    Traceback (most recent call last):
    ValueError: reward_range is (1.0, 0.0); give the least and the most that a position may earn
    """
    low, high = surface.reward_range
    if not -inf < low < high < inf:
        raise ValueError(
            f"reward_range is {surface.reward_range}; give the least and the most that a position "
            "may earn"
        )
    for name in ("window", "memory"):
        if not isinstance(getattr(surface, name), timedelta):
            raise ValueError(f"{name} is {getattr(surface, name)!r}; give a timedelta")
    if not surface.window > timedelta(0) <= surface.memory:
        raise ValueError("window must be longer than nothing, and memory no less")
    if not (isinstance(surface.slots, int) and surface.slots >= 1):
        raise ValueError(f"slots is {surface.slots!r}; give a whole number from 1")
    if surface.unit == "subject" and not surface.memory:
        raise ValueError("a choice for a subject stands as long as memory says; it is nothing")
    if sum(holdout.share for holdout in surface.holdouts().values()) > 1:
        raise ValueError("the shares of holdouts() add up to more than 1")
    if not surface.policies():
        raise ValueError("policies() is empty; the first is the default")
    if not surface.models():
        raise ValueError("models() is empty; the default is (Response(),)")
