"""Sequence: a transformer over what a member watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from hashlib import blake2b
from itertools import compress
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from matinee.models.attribute_map import AttributeMap
from matinee.models.base import Floats, Model, checked, on_candidates
from matinee.models.data import (
    DAY,
    SECOND,
    Content,
    Context,
    Dataset,
    Histories,
    HistoryShard,
    Indices,
    Vocabulary,
)
from matinee.models.run import Run
from matinee.models.sequence import cold, start
from matinee.models.sequence.config import Config
from matinee.models.sequence.encoder import Params
from matinee.models.sequence.serving import Encoder
from matinee.models.sequence.validation import ndcg
from matinee.models.sequence.windows import Events, opening

OLDEST = 20.0
"""Half-lives after which a target is as old as it gets: it still counts for a millionth."""
VALIDATED = 2_000
"""Members that a fit is validated on, at most."""
NONE: Indices = np.zeros(0, np.int32)


class Sequence(Model):
    r"""A transformer that reads a member's history and says what comes next.

    Each event is a token: its title, the time to its neighbour, what kinds of signal it was. Blocks
    of causal attention with a bias for distance, gates and SwiGLU (:mod:`.encoder`) turn the tokens
    into a vector :math:`h` of what is wanted, to which the country and the device of the request
    are added, and the score of a title is

    .. math:: s(j) = h^\top w_j + b_j

    close to the logarithm of its probability to be next. Vectors start from how titles follow one
    another (:mod:`.start`) and are learned by sampled softmax (:mod:`.step`), in each pass on one
    window of every member's history: on its events as much as `Histories.weights` say, an hour
    watched for more than a minute, and a search click only informs. With `query_time` the time that
    passed since the last event, known when the request comes, is part of what is read.

    A member without any known title gets what is watched in first windows, by country and device:
    close to popularity. A title that nobody watched is known by its content, where the data set has
    any, and it is read by the vector that it is scored with; one that is unknown (-1) scores as low
    as any does. A window looks at `window` events at most, and at four fifths of that at least.

    Fitting takes time in proportion to events times width squared, on all cores, or on the GPUs
    there are; memory for the events, the weights and one batch. Scoring one member takes one pass
    over their window, or over their new events alone when they come back.

    >>> from matinee.models.data import Vocabulary
    >>> titles = Vocabulary(["heat", "ronin", "up", "coco"])
    >>> seen = Histories.of([[0, 1, 0, 1], [2, 3, 2, 3]] * 8)
    >>> model = Sequence(width=8, blocks=1, window=8, epochs=8).fit(Dataset.of(titles, seen))
    >>> asked = Context(Histories.of([[0], [2]]), np.zeros(2, np.int64))
    >>> unseen = np.array([1, 3], np.int32)
    >>> titles.ids[1], titles.ids[3], model.believe(asked, unseen).mean.argmax(axis=1).tolist()
    ('ronin', 'coco', [0, 1])
    """

    name: ClassVar[str] = "sequence"
    references: ClassVar[tuple[str, ...]] = (
        "W.-C. Kang, J. McAuley: Self-attentive sequential recommendation. ICDM 2018, 197-206. "
        "doi:10.1109/ICDM.2018.00035",
        "J. Zhai et al.: Actions speak louder than words: trillion-parameter sequential "
        "transducers for generative recommendations. ICML 2024 (gated attention, time).",
        "A. Klenitskiy, A. Vasilev: Turning dross into gold loss: is BERT4Rec really better than "
        "SASRec? RecSys 2023, 1120-1125 (softmax over sampled negatives). "
        "doi:10.1145/3604915.3610644",
        "N. Shazeer: GLU variants improve transformer. 2020. arXiv:2002.05202",
        "O. Levy, Y. Goldberg: Neural word embedding as implicit matrix factorization. NeurIPS "
        "2014 (the start).",
    )

    def __init__(self, **settings: Any) -> None:
        """A model with these settings of :class:`.Config`; the rest are its defaults."""
        self.config = Config(**settings)
        self._about: AttributeMap | None = None
        self._guessed = NONE

    def settings(self) -> dict[str, Any]:
        return self.config.settings()

    def vectors(self) -> Floats:
        """The vectors [V, D] that titles are read by and scored with."""
        self._require_fitted()
        vectors: Floats = self._params["titles"][:-1]
        return vectors

    def _fit(self, dataset: Dataset, run: Run) -> None:
        from matinee.models.sequence.training import Task, train  # noqa: PLC0415  (JAX loads slowly)

        histories = _together(dataset)
        countries = sorted({one for one in histories.countries if one is not None})
        self._countries, self._devices = Vocabulary(countries), dataset.devices
        found = start.follows(histories, len(self.titles))
        task = Task(
            self._weighed(Events.of(histories, len(self.titles)), dataset.as_of),
            _codes(self._countries, histories.countries),
            found.counts,
        )
        sizes = (len(self._countries), len(self._devices))
        begun = start.weights(self.config, found, *sizes)
        key = _fingerprint(dataset, histories, self.config)
        learned = train(
            self.config, begun, task, run, validate=self._validate(dataset), fingerprint=key
        )
        self._about, self._guessed = None, NONE
        if dataset.content is not None and found.counts.any():
            self._about = cold.attributes(dataset.content, self.titles, learned, found.counts)
            self._guessed = np.flatnonzero(found.counts == 0).astype(np.int32)
            learned = self._guess(learned, dataset.content, self._guessed)
        self._keep(learned)

    def _weighed(self, events: Events, as_of: int) -> Events:
        """The events, each of less weight as a target the older it is, targets of 1 on average."""
        weights = events.weights
        if self.config.half_life:
            ages = np.maximum(as_of - events.times * SECOND, 0) / (self.config.half_life * DAY)
            weights = weights * np.exp2(-np.minimum(ages, OLDEST))
        targets = weights[weights > 0]
        scale = 1 / targets.mean() if len(targets) else 1.0
        return replace(events, weights=(weights * scale).astype(np.float32))

    def _guess(self, params: Params, content: Content, places: Indices) -> Params:
        """The weights with what `content` says of the titles at these places."""
        assert self._about is not None  # noqa: S101
        titles = Vocabulary(self.titles.ids[place] for place in places.tolist())
        return cold.filled(params, places, cold.predicted(self._about, content, titles))

    def adopt(self, content: Content) -> Self:
        """The same model with the titles of `content` that nobody had watched when it learned.

        Their vectors and their popularity are predicted from what `content` says they are about
        (:class:`.AttributeMap`), and a title that nothing is known of gets the mean. Of titles that
        `content` does not have nothing changes.
        """
        self._require_fitted()
        ids = content.titles.ids
        known = self.titles.encode(ids)
        guessed = np.intersect1d(known, self._guessed)
        fresh = tuple(compress(ids, (known < 0).tolist()))
        if self._about is None or not (len(guessed) or fresh):
            return self
        model, size = copy(self), len(self.titles)
        model.titles = Vocabulary((*self.titles.ids, *fresh))
        new = np.arange(size, size + len(fresh), dtype=np.int32)
        model._guessed = np.concatenate([self._guessed, new])
        wider = cold.grown(self._params, len(fresh))
        model._keep(model._guess(wider, content, np.concatenate([guessed, new])))
        return model

    def _validate(self, dataset: Dataset) -> Callable[[Params], float] | None:
        if dataset.validation is None or not dataset.validation.members:
            return None
        asked = dataset.validation.some(VALIDATED)

        def validate(params: Params) -> float:
            self._keep(params)
            return ndcg(self._scores, asked)

        return validate

    def _keep(self, params: Params) -> None:
        config = self.config
        self._params = params
        self._encoder = Encoder(params, config.window, config.heads, query_time=config.query_time)

    def _scores(
        self,
        context: Context,
        candidates: Indices | None,
        begin: list[int] | None = None,
    ) -> Floats:
        """Scores of windows that begin where they do, or at `begin` [B]."""
        added = self._context(context)
        wanted = self._encoder.wanted(context.histories, context.at, added, begin)
        scores: Floats = wanted @ self.vectors().T + self._params["bias"]
        if candidates is None:
            return scores
        least = scores.min(axis=1, keepdims=True, initial=0.0) if candidates.min(initial=0) else 0.0
        return on_candidates(scores, candidates, least)

    def _without(self, context: Context, events: Indices, candidates: Indices | None) -> Floats:
        """The same window without each event: older ones, which a shorter history would bring back
        into it, stay out.
        """
        places = np.cumsum(context.histories.titles >= 0)  # of events among the tokens
        begin = opening(int(places[-1]) + 1, self.config.window)
        held = (begin - (places[events] < begin)).tolist()
        return self._scores(context.without(events), candidates, held)

    def _context(self, context: Context) -> NDArray[np.float32]:
        """What country and device add [B, D]."""
        countries = _codes(self._countries, context.values("country"))
        devices = _codes(self._devices, context.values("device"))
        added: NDArray[np.float32] = (
            self._params["countries"][countries] + self._params["devices"][devices]
        )
        return added

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "countries known": np.array(self._countries.ids, np.str_),
            "devices known": np.array(self._devices.ids, np.str_),
            **dict(_flat(self._params)),
            **(self._about.arrays() | {"guessed": self._guessed} if self._about else {}),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._countries = Vocabulary(arrays["countries known"].tolist())
        self._devices = Vocabulary(arrays["devices known"].tolist())
        nothing = start.nothing(len(self.titles))
        like = start.weights(self.config, nothing, len(self._countries), len(self._devices))
        for name, expected in _flat(like):
            checked(arrays[name], expected.shape, np.float32)
        if "content matrix" in arrays:
            self._about, self._guessed = AttributeMap.restore(arrays), arrays["guessed"]
            checked(self._about.mean, (self.config.width + 1,), np.float32)
            checked(self._guessed, self._guessed.shape, np.int32)
            if not (self._guessed < len(self.titles)).all() or (self._guessed < 0).any():
                raise ValueError("a title is named that there is not")
        self._keep(_nested(like, arrays))


def _together(dataset: Dataset) -> Histories:
    """The histories of all shards in one."""
    return Histories.concatenated(dataset.executor.map(_load, dataset.shards, None))


def _load(shard: HistoryShard, _: None) -> Histories:
    return shard.load()


def _codes(names: Vocabulary, values: Iterable[str | None]) -> Indices:
    """Indices of the values, -1 where unknown: the last row, which is learned for those."""
    return names.encode("" if value is None else value for value in values)


def _fingerprint(dataset: Dataset, histories: Histories, config: Config) -> str:
    """What a checkpoint must agree with: the settings, and all that is learned from or asked."""
    asked = dataset.validation
    ids = (dataset.titles.ids, dataset.devices.ids, histories.countries)
    said: list[Any] = [config.settings(), *ids]
    said.append(dataset.as_of if config.half_life else 0)
    if asked:
        said += [asked.context.values(name) for name in ("country", "device")]
        said.append(asked.context.at.tolist())
    digest = blake2b(msgspec.json.encode(said), digest_size=16)
    for one in (histories, *((asked.context.histories, asked.targets) if asked else ())):
        for array in (one.offsets, one.titles, one.times, one.weights, one.signals, one.devices):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _flat(params: Params, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array of the weights by a name such as ``blocks.0.kv``."""
    for name, value in params.items():
        if isinstance(value, list):
            for number, block in enumerate(value):
                yield from _flat(block, f"{prefix}{name}.{number}.")
        else:
            yield prefix + name, value


def _nested(like: Params, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Params:
    """Weights of the same structure, from named arrays."""
    return {
        name: [
            _nested(block, arrays, f"{prefix}{name}.{number}.")
            for number, block in enumerate(value)
        ]
        if isinstance(value, list)
        else arrays[prefix + name]
        for name, value in like.items()
    }
