"""Histories of members as a model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from matinee.models import Histories, Vocabulary
from matinee.surfaces import History


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


def brief(history: History) -> dict[str, Any]:
    """What a record says of a history: enough to tell whether another is the same.

    How many titles were watched, when last (microseconds since 1970), and how many were met.

    >>> brief(History(("heat",), (5,)))
    {'titles': 1, 'last': 5, 'met': 1}
    """
    last = max(history.times, default=None)
    return {"titles": len(history.titles), "last": last, "met": len(history.seen().titles)}
