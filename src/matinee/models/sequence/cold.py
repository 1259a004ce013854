"""Titles that nobody watched yet, placed among the others by what they are about."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.models.attribute_map import AttributeMap
from matinee.models.data import Content, Indices, Vocabulary
from matinee.models.sequence.encoder import Floats, Params

TRUST = 10.0
"""Watches at which a learned vector counts for half in what is learned from it."""


class Cold(NamedTuple):
    """Vectors of N titles [N, D], and their bias [N]."""

    titles: Floats
    bias: Floats


def attributes(
    content: Content, titles: Vocabulary, params: Params, counts: NDArray[np.int64]
) -> AttributeMap:
    """The map from content onto all that is learned of a title, from the watched ones."""
    every = np.column_stack([params["titles"][: len(titles)], params["bias"]])
    return AttributeMap.fit(content, titles, every, counts / (counts + TRUST))


def predicted(known: AttributeMap, content: Content, titles: Vocabulary) -> Cold:
    """What `titles` would be like, stretched to lie as far from the mean as learned ones do."""
    every = known.predict(content, titles, stretch=known.spread)
    return Cold(every[:, :-1], every[:, -1])


def filled(params: Params, places: Indices, cold: Cold) -> Params:
    """The weights with what is predicted of titles in place of what was never learned."""
    titles, bias = params["titles"].copy(), params["bias"].copy()
    titles[places], bias[places] = cold.titles, cold.bias
    return {**params, "titles": titles, "bias": bias}


def grown(params: Params, more: int) -> Params:
    """The weights with room for more titles, behind those that were known."""
    known, start = params["titles"][:-1], params["titles"][-1:]
    room = np.zeros((more, known.shape[1]), np.float32)
    return {
        **params,
        "titles": np.concatenate([known, room, start]),
        "bias": np.concatenate([params["bias"], room[:, 0]]),
    }
