"""Histories as windows of tokens: what the encoder reads, and the batches that it learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.data import SECOND, Histories, Indices
from matinee.models.sequence.encoder import Floats, Tokens, knots

SHORTEST = 32
"""No window is padded to less than this, unless none is longer."""
UNTOLD = 0.1
"""Share of windows that are learned from without country and device."""


@dataclass(frozen=True)
class Events:
    """Events of known titles of M members in order, each member's history begun by a start token.

    Rows are compressed as in `Histories`: titles (V is the start), times in seconds, signals,
    weights (0 at the start) and the device on which each was watched.
    """

    offsets: NDArray[np.int64]
    titles: Indices
    times: NDArray[np.float64]
    signals: NDArray[np.uint8]
    weights: Floats
    devices: Indices

    @classmethod
    def of(cls, histories: Histories, size: int) -> Events:
        """The events of histories in a vocabulary of `size`; a start has its first event's time."""
        known = histories.where(histories.titles >= 0)
        counts = np.diff(known.offsets)
        offsets = np.concatenate([[0], np.cumsum(counts + 1)])
        starts = offsets[:-1]
        place = np.ones(int(offsets[-1]), bool)
        place[starts] = False
        times = _spread(place, known.times / SECOND, 0.0)
        first = starts[counts > 0]
        times[first] = times[first + 1]
        nothing = np.zeros(0)
        return cls(
            offsets,
            _spread(place, known.titles, size),
            times,
            _spread(place, known.signals if len(known.signals) else nothing, 0, np.uint8),
            _spread(place, known.weights, 0),
            _spread(place, known.devices if len(known.devices) else nothing, -1, np.int32),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each member, the start included."""
        return np.diff(self.offsets)

    @cached_property
    def unwatched(self) -> Indices:
        """The titles [N] of what was met and not watched, -1 for the others and the starts; [0]
        where nobody has any.
        """
        met = self.weights == 0
        met[self.offsets[:-1]] = False
        found = np.where(met, self.titles, -1) if met.any() else np.zeros(0)
        return found.astype(np.int32)


def _spread(
    place: NDArray[np.bool_], values: NDArray[Any], start: float, dtype: Any = None
) -> NDArray[Any]:
    """`values` at the places that are true and `start` at the others; all `start` without any."""
    spread = np.full(len(place), start, dtype or values.dtype)
    if len(values):
        spread[place] = values
    return spread


def opening(length: int, window: int) -> int:
    """Where the window on a history of so many tokens begins.

    It moves on by a fifth of the window at a time, so that what was worked out for a member can be
    kept while their history grows, and holds at least four fifths of the window.

    >>> [opening(length, 200) for length in (3, 200, 201, 240, 241)]
    [0, 0, 40, 40, 80]
    """
    step = max(1, window // 5)
    return max(0, -((window - length) // step) * step)


def latest(known: Histories, begin: int, *, size: int, query_time: bool, now: int) -> Tokens:
    """The window [1, L] of a single member from `begin` to the end, at `now` in microseconds: what
    `gather` makes of it, sooner.

    `known` holds titles of a vocabulary of `size` alone.
    """
    started, first = not begin, max(begin - 1, 0)
    shape = (1, len(known.titles) - first + started)
    titles, gaps = np.full(shape, size, np.int32), np.zeros(shape, np.float32)
    signals = np.zeros(shape, np.uint8)
    if len(known.titles) > first:
        titles[0, started:] = known.titles[first:]
        times = np.empty(len(known.times) - first + 1)  # a gap is from one to the next
        if query_time:
            times[:-1], times[-1] = known.times[first:], now
        else:
            times[1:], times[0] = known.times[first:], known.times[max(first - 1, 0)]
        gaps[0, started:] = knots((times[1:] - times[:-1]) / SECOND)
        if len(known.signals):
            signals[0, started:] = known.signals[first:]
    return Tokens(titles, gaps, signals)


class Batch(NamedTuple):
    """B windows of L tokens that end in padding, and what followed each token.

    targets, weights : of an event that followed [B, L]; weight 0 where there is none. devices
    [B, L] and countries [B] : codes of the context, -1 unknown. unwatched : titles of the window
    that were met and not watched [B, L], -1 for the others; [B, 0] where nobody has any.
    """

    tokens: Tokens
    targets: Indices
    weights: Floats
    devices: Indices
    countries: Indices
    unwatched: Indices


def gather(
    events: Events,
    members: NDArray[np.int64],
    begin: NDArray[np.int64],
    length: int,
    *,
    query_time: bool,
    now: NDArray[np.float64] | None = None,
) -> Tokens:
    """Windows [B, length] of these members from `begin` on; padding repeats the last token.

    The gap of a token is the time since the one before, or with `query_time` until the one after:
    of the last token of a history until `now` (seconds), 0 if that is not given. A start has none.
    """
    here, stop = _places(events, members, begin, length)
    times = events.times
    if not query_time:
        first = events.offsets[members][:, None]
        gaps = times[here] - times[np.maximum(here - 1, first)]
    else:
        gaps = times[np.minimum(here + 1, stop)] - times[here]
        if now is not None:
            last = (here == stop) & (here > events.offsets[members][:, None])
            gaps = np.where(last, now[:, None] - times[here], gaps)
    return Tokens(events.titles[here], knots(gaps), events.signals[here])


def _places(
    events: Events, members: NDArray[np.int64], begin: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the tokens of each window stand [B, length], and the last of each history [B, 1]."""
    stop = events.offsets[members + 1][:, None] - 1
    place = (events.offsets[members] + begin)[:, None] + np.arange(length)
    return np.minimum(place, stop), stop


def learning(
    events: Events,
    members: NDArray[np.int64],
    begin: NDArray[np.int64],
    length: int,
    *,
    query_time: bool,
    countries: Indices,
    horizon: int,
    luck: NDArray[np.float64],
) -> Batch:
    """Windows with one of the `horizon` events that followed each token: the first by `luck` 0 and
    the last by one close to 1 [B, length]. A start is followed by all of its window.
    """
    here, stop = _places(events, members, begin, length)
    starts = here == events.offsets[members][:, None]
    reach = np.minimum(stop - here, np.where(starts, length, horizon))
    after = here + np.minimum(reach, 1 + (luck * reach).astype(np.int64))
    followed = after > here
    unwatched = events.unwatched[here] if len(events.unwatched) else events.titles[here[:, :0]]
    return Batch(
        gather(events, members, begin, length, query_time=query_time),
        np.where(followed, events.titles[after], 0).astype(np.int32),
        np.where(followed, events.weights[after], 0).astype(np.float32),
        np.where(followed, events.devices[after], -1).astype(np.int32),
        countries[members],
        unwatched,
    )


@dataclass(frozen=True)
class Buckets:
    """How an epoch is cut into batches: members of like length together, as many tokens in each.

    window : tokens at most. batch : members at full length. multiple : what each batch's number of
    members is a multiple of.
    """

    window: int
    batch: int
    multiple: int = 1

    def lengths(self) -> tuple[int, ...]:
        """The lengths that windows are padded to, each half of the next down to `SHORTEST`; those
        that occur are compiled for.

        >>> Buckets(window=200, batch=8).lengths()
        (50, 100, 200)
        """
        lengths = [self.window]
        while lengths[-1] // 2 >= SHORTEST:
            lengths.append(lengths[-1] // 2)
        return tuple(reversed(lengths))

    @property
    def tokens(self) -> int:
        """Tokens in a batch, at most."""
        return max(self.rows(length) * length for length in self.lengths())

    def steps(self, lengths: NDArray[np.int64]) -> int:
        """Batches in an epoch."""
        return len(self.epoch(lengths, np.random.default_rng(0)))

    def rows(self, length: int) -> int:
        """Members in a batch of windows of this length."""
        rows = max(1, self.batch * self.window // length)
        return -(-rows // self.multiple) * self.multiple

    def epoch(
        self, lengths: NDArray[np.int64], rng: np.random.Generator
    ) -> list[tuple[int, NDArray[np.int64]]]:
        """Every member with something to learn from once, as (padded length, members), shuffled.

        `lengths` counts the tokens that are followed by an event, `Events.lengths` less one.
        """
        batches, low = [], 0
        for high in self.lengths():
            most = np.inf if high == self.window else high
            members = rng.permutation(np.flatnonzero((lengths > low) & (lengths <= most)))
            rows = self.rows(high)
            batches += [(high, members[at : at + rows]) for at in range(0, len(members), rows)]
            low = high
        return [batches[place] for place in rng.permutation(len(batches))]

    def windows(
        self, events: Events, members: NDArray[np.int64], length: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Where each member's window begins: half the time at the end, half the time anywhere.

        A history that fits is taken whole.
        """
        spare = np.maximum(events.lengths[members] - 1 - length, 0)
        anywhere = rng.integers(0, spare + 1)
        return np.where(rng.random(len(members)) < 0.5, anywhere, spare)


def reticent(batch: Batch, rng: np.random.Generator) -> Batch:
    """The batch with some members' country and device untold: what is wanted of who tells nothing
    is learned too where in the log everybody does.
    """
    told = rng.random(len(batch.countries)) >= UNTOLD
    return batch._replace(
        devices=np.where(told[:, None], batch.devices, -1).astype(np.int32),
        countries=np.where(told, batch.countries, -1).astype(np.int32),
    )


def padded(batch: Batch, rows: int) -> Batch:
    """The batch with as many rows, those that were missing of weight 0."""
    missing = rows - len(batch.targets)
    if not missing:
        return batch

    def wider(array: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])

    tokens = Tokens(*map(wider, batch.tokens))
    return Batch(tokens, *map(wider, batch[1:]))


def batches(
    events: Events,
    buckets: Buckets,
    rng: np.random.Generator,
    *,
    query_time: bool,
    countries: Indices,
    horizon: int,
) -> Iterator[Batch]:
    """The batches of one epoch, all chance taken from `rng` in a fixed order."""
    other = rng.spawn(1)[0]
    for length, members in buckets.epoch(events.lengths - 1, rng):
        begin = buckets.windows(events, members, length, rng)
        batch = learning(
            events,
            members,
            begin,
            length,
            query_time=query_time,
            countries=countries,
            horizon=horizon,
            luck=rng.random((len(members), length)),
        )
        yield padded(reticent(batch, other), buckets.rows(length))
