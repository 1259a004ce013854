"""Histories of members as a model reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np

from matinee.lake.records import micros
from matinee.models import Context, Histories, Vocabulary
from matinee.models.data import SECOND
from matinee.surfaces import History, Request

HOUR = 3600
"""Seconds."""


def sequences(
    histories: Sequence[History], countries: Sequence[str | None], titles: Vocabulary
) -> Histories:
    """All that B members met, in a model's vocabulary.

    >>> one = sequences([History(("heat", "gone"), (1, 2))], ["NL"], Vocabulary(["heat"]))
    >>> one.titles, one.weights
    (array([ 0, -1], dtype=int32), array([1., 1.], dtype=float32))
    """
    seen = [history.seen() for history in histories]
    lengths = [len(one.titles) for one in seen]
    return Histories(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        titles.encode(chain.from_iterable(one.titles for one in seen)),
        np.fromiter(chain.from_iterable(one.times for one in seen), np.int64),
        np.fromiter(chain.from_iterable(one.weights for one in seen), np.float32),
        tuple(countries),
        np.fromiter(chain.from_iterable(one.signals for one in seen), np.uint8),
    )


def asked(
    titles: Vocabulary,
    at: Sequence[datetime],
    histories: Sequence[History],
    countries: Sequence[str | None],
    *,
    devices: Sequence[str | None] = (),
    features: Sequence[Mapping[str, Any]] = (),
) -> Context:
    """What a model is asked of B members, by deciding, by judging and by scoring in batches alike.

    >>> at = datetime.fromisoformat("2026-01-01T12:34:56Z")
    >>> one = asked(Vocabulary(["heat"]), [at], [History()], ["NL"])
    >>> int(micros(at) - one.at[0]) // SECOND
    2096
    """
    times = [moment(micros(time), one.last()) for time, one in zip(at, histories, strict=True)]
    seen = sequences(histories, countries, titles)
    return Context(seen, np.array(times, np.int64), tuple(devices), tuple(features))


def asked_of(titles: Vocabulary, request: Request, history: History) -> Context:
    """What a model is asked of the one member of a request."""
    return asked(
        titles,
        [request.at],
        [history],
        [request.country],
        devices=[request.device],
        features=[request.features],
    )


def moment(at: int, last: int | None) -> int:
    """The time that a model is told where it decides at `at`, of a member who last met a title at
    `last`; all in microseconds since 1970.

    It is `at` to the hour, so that what was worked out can be used again, but within hours of
    `last` to an eighth of the time since then, for a model may tell a minute from ten. Deciding and
    judging a decision tell the same.

    >>> second, hour = 1_000_000, 3_600_000_000
    >>> [moment(hour + since * second, hour) // second - 3600 for since in (5, 59, 600, 86_399)]
    [5, 56, 560, 82800]
    """
    since = -1 if last is None else (at - last) // SECOND
    if not 0 <= since < 8 * HOUR:
        return at - at % (HOUR * SECOND)
    step: int = 1 << max((since // 8).bit_length() - 1, 0)
    return at - at % (step * SECOND)


def brief(history: History) -> dict[str, Any]:
    """What a record says of a history: enough to tell whether another is the same.

    How many titles were watched, when last (microseconds since 1970), and how many were met.

    >>> brief(History(("heat",), (5,)))
    {'titles': 1, 'last': 5, 'met': 1}
    """
    last = max(history.times, default=None)
    return {"titles": len(history.titles), "last": last, "met": len(history.seen().titles)}
