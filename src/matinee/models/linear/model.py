"""Linear: the reward of each action by what is known of the member and what the action is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from matinee.models.base import Floats, Model, checked, several
from matinee.models.data import Content, Context, Dataset, Indices, Vocabulary
from matinee.models.linear.sums import (
    Plan,
    Sums,
    check_size,
    crossed,
    deviation,
    levels,
    most_actions,
    moved,
    sums_of,
    weights_of,
)
from matinee.models.linear.told import Doubles, about_of, common, groups_of, told_of
from matinee.models.run import Run

LEAST = 1e-6
"""Of strength and ridge: with less, sums of many choices are told apart no more."""
SEED = 2_026
"""What beliefs are drawn with: the same question has the same draws."""


class Linear(Model):
    r"""A regression for each action, drawn towards what actions that are about the same share.

    A member is a row x [P]: 1, and what `by` names, the country, the device, or what the app says
    under a feature's name. A text or a truth value is one class among others, a number counts as it
    is (within -10 and 10, so send it on a scale of about 1), and a mapping or a list of numbers is
    as many features. An action a is a row z_a [F]: 1, and its weights in the content, of the
    `facets` features that most have there. Its reward is normal with variance sigma^2 about

    .. math:: x^\top \theta_a, \qquad \theta_a \sim N(M z_a,\ \tfrac{\sigma^2}{\kappa} I), \qquad
              M_{pf} \sim N(0, \tfrac{\sigma^2}{\lambda})

    so `strength` = kappa choices of an action weigh as much as what its content says of it, and an
    action that was never chosen is known by its content alone; `ridge` = lambda holds back what is
    shared; both are 1e-6 at least. With S_a and R_a the sums of x x^T and of x r over the choices
    of a, and K_a = (S_a + kappa I)^{-1}, the posterior is in closed form:

    .. math:: \Lambda = \lambda I + \kappa \sum_a S_a K_a \otimes z_a z_a^\top, \qquad
              \hat M = \Lambda^{-1} \kappa \sum_a K_a R_a \otimes z_a, \qquad
              \hat\theta_a = K_a (R_a + \kappa \hat M z_a)

    The sums are all that is kept of the log: they add up over shards and over time, so what
    `update` comes to is what a fit on everything would be. With `half_life` in days a choice counts
    half as much when it is that much older; 0 forgets nothing.

    With `within` the rewards of actions whose content shares a feature of that kind ("title" for
    features such as "title=heat") are taken less their mean, and it is added to what is expected:
    such actions are held against one another alone, however good what they have in common is. An
    action of a group in which nothing was chosen has the mean of all. Choices need no weights by
    their propensities, as far as rewards are linear in what the logging policy looked at too: name
    that in `by`. An unknown action (-1) gets what is expected of one without content. Histories
    play no part.

    >>> from matinee.models.data import Histories, InMemory, Responses
    >>> seen = Context(Histories.of([[]] * 4, countries=["NL", "NL", "US", "US"]), np.zeros(4))
    >>> rows = Responses(np.array([0, 1, 0, 1]), np.array([1.0, 0, 0, 1]), np.full(4, 0.5), seen)
    >>> data = Dataset(Vocabulary(["a", "b"]), [], 0, responses=[InMemory(rows)])
    >>> model = Linear(strength=0.1, ridge=0.1).fit(data)
    >>> asked = Context(Histories.of([[], []], countries=["NL", "US"]), np.zeros(2))
    >>> model.believe(asked).mean.argmax(axis=1)
    array([0, 1])
    """

    name: ClassVar[str] = "linear"
    learns_from: ClassVar[Literal["histories", "responses"]] = "responses"
    references: ClassVar[tuple[str, ...]] = (
        "D. V. Lindley, A. F. M. Smith: Bayes estimates for the linear model. JRSS B 34, 1972, "
        "1-41 (the hierarchy).",
        "L. Li, W. Chu, J. Langford, R. E. Schapire: A contextual-bandit approach to personalized "
        "news article recommendation. WWW 2010, 661-670 (the hybrid model). "
        "doi:10.1145/1772690.1772758",
        "S. Agrawal, N. Goyal: Thompson sampling for contextual bandits with linear payoffs. "
        "ICML 2013. arXiv:1209.3352 (the draws).",
    )

    _shared: Doubles
    _noise: float
    _kept_draws: dict[tuple[int, int], Doubles]

    def __init__(
        self,
        by: Sequence[str] = ("country",),
        strength: float = 50.0,
        ridge: float = 1.0,
        *,
        half_life: float = 0.0,
        facets: int = 32,
        within: str = "",
    ) -> None:
        self.by = several("by", by)
        if "" in by:
            raise ValueError("by names nothing; give names of features, such as 'country'")
        for name, value in (("strength", strength), ("ridge", ridge)):
            if not LEAST <= value < float("inf"):
                raise ValueError(f"{name} is {value}; give a number from {LEAST:g}")
        if not 0 <= half_life < float("inf"):
            raise ValueError(f"half_life is {half_life}; give days, or 0 to forget nothing")
        if facets < 0:
            raise ValueError(f"facets is {facets}; give a number of features, or 0 for none")
        self.facets, self.within = facets, within
        self.strength, self.ridge, self.half_life = strength, ridge, half_life

    def settings(self) -> dict[str, Any]:
        return {
            "by": list(self.by),
            "strength": self.strength,
            "ridge": self.ridge,
            "half_life": self.half_life,
            "facets": self.facets,
            "within": self.within,
        }

    def update(self, dataset: Dataset) -> Self:
        """A model that has also learned from `dataset`: later choices, none of those before.

        It is what a fit on all of them as of `dataset.as_of` would be, where the content has the
        same features: it reads those that the first fit chose. Of an action that was known before
        what the new content says counts, unless it says nothing.

        Raises `ValueError` where the data is of an earlier time than the model.
        """
        self._require_fitted()
        if dataset.as_of < self._as_of:
            raise ValueError("this data is of an earlier time than what was learned; fit anew")
        model = copy(self)
        model.titles = Vocabulary(dict.fromkeys((*self.titles.ids, *dataset.titles.ids)))
        model._as_of = dataset.as_of
        aged = self._sums.moved(self.titles, model.titles)
        aged = aged.times(weights_of(self.half_life, dataset.as_of, self._as_of))
        fresh = self._learn(dataset).moved(dataset.titles, model.titles)
        model._keep(aged + fresh, *self._said(dataset.content, model.titles))
        return model

    def adopt(self, content: Content) -> Self:
        """The same model with the actions of `content` that it has not met, known by that alone, as
        far as there is room for them; of those that it has met what the content says now counts.
        """
        self._require_fitted()
        known = set(self.titles.ids)
        room = most_actions(len(self._sums.names)) - len(known)
        fresh = [one for one in content.titles.ids if one not in known][: max(room, 0)]
        model = copy(self)
        model.titles = Vocabulary((*self.titles.ids, *fresh))
        about, groups = self._said(content, model.titles)
        if not fresh and np.array_equal(about, self._about) and groups == self._groups:
            return self
        model._keep(self._sums.moved(self.titles, model.titles), about, groups)
        return model

    def _said(self, content: Content | None, titles: Vocabulary) -> tuple[Doubles, tuple[str, ...]]:
        """What is known of titles, all of the model's own among them, and the group of each: what
        the content says, or else what it said before.
        """
        about = moved(self._about, self.titles, titles)
        before = dict(zip(self.titles.ids, self._groups, strict=True))
        said = about_of(content, titles, self._facets)
        some = said.any(axis=1)
        about[some] = said[some]
        found = zip(titles.ids, groups_of(content, titles, self.within), strict=True)
        return about, tuple(group or before.get(title, "") for title, group in found)

    def sample(
        self, context: Context, candidates: Indices | None = None, *, draws: int, seed: int = SEED
    ) -> Doubles:
        """Expected rewards [draws, B, A] under draws of all coefficients from the posterior.

        The draws of an action are the same whichever other candidates there are.
        """
        self._require_fitted()
        chosen = np.arange(len(self.titles)) if candidates is None else candidates
        shared, inverse = self._drawn(draws, seed), self._inverse[chosen]
        drawn = np.einsum("mpf,af->map", shared, self._rows_of[chosen])
        drawn = self._moments[chosen] + self.strength * drawn
        shape = (draws, inverse.shape[1])
        noise = np.array([_noise(shape, seed, action) for action in chosen.tolist()])
        noise = self._noise * noise.reshape(len(chosen), *shape)
        own = np.einsum("apq,maq->map", inverse, drawn)
        own += np.einsum("apq,amq->map", np.linalg.cholesky(inverse), noise)
        rewards: Doubles = np.einsum("bp,map->mba", self._members(context), own)
        return rewards + self._level[chosen]

    def leading(self, context: Context, candidates: Indices, chosen: int) -> str | None:
        self._require_fitted()
        own = self._own[candidates]
        speaks = self._members(context)[0] * (own[chosen] - own.mean(axis=0))
        place = int(speaks.argmax())
        return self._sums.names[place] if speaks[place] > 0 else None

    def _drawn(self, draws: int, seed: int) -> Doubles:
        """Draws of M [draws, P, F], kept for the next question."""
        if (draws, seed) not in self._kept_draws:
            lower = np.linalg.cholesky(self._precision)
            noise = _noise((draws, len(lower)), seed, -2).T
            found = solve_triangular(lower.T, noise, lower=False).T
            shared: Doubles = self._noise * found.reshape(draws, *self._shared.shape)
            self._kept_draws = {(draws, seed): self._shared + shared}
        return self._kept_draws[draws, seed]

    def _samples(self, context: Context, candidates: Indices | None, draws: int) -> Floats:
        return self.sample(context, candidates, draws=draws)

    def _fit(self, dataset: Dataset, run: Run) -> None:
        self._as_of = dataset.as_of
        self._facets = common(dataset.content, self.facets, self.within)
        about = about_of(dataset.content, dataset.titles, self._facets)
        groups = groups_of(dataset.content, dataset.titles, self.within)
        self._keep(self._learn(dataset), about, groups)

    def _learn(self, dataset: Dataset) -> Sums:
        size = len(dataset.titles)
        plan = Plan(size, self.by, self.half_life, dataset.as_of)
        return dataset.reduce_responses(sums_of, Sums.__add__, plan) or Sums.none(size)

    def _keep(self, sums: Sums, about: Doubles, groups: tuple[str, ...]) -> None:
        """Work out the posterior; every last row is of an action that was never chosen."""
        size, facets = len(sums.names), 1 + about.shape[1]
        check_size(sums.names, len(sums.gram), facets)
        self._sums, self._about, self._groups = sums, about, groups
        self._level = np.zeros(len(sums.gram) + 1)
        if self.within:
            self._level[:-1], self._level[-1] = levels(sums, groups)
            sums = sums.less(self._level[:-1])
        self._places = {name: place for place, name in enumerate(sums.names)}
        self._kept_draws = {}
        gram = np.concatenate([sums.gram, np.zeros((1, size, size))])
        self._moments = np.concatenate([sums.moments, np.zeros((1, size))])
        self._inverse = np.linalg.inv(gram + self.strength * np.eye(size))
        self._rows_of = np.zeros((len(gram), facets))
        self._rows_of[:, 0], self._rows_of[:-1, 1:] = 1, about
        weights = self.strength * gram @ self._inverse
        both = crossed(weights, self._rows_of)
        self._precision = (both + both.T) / 2 + self.ridge * np.eye(len(both))
        seen = self.strength * np.einsum("apq,aq->ap", self._inverse, self._moments)
        right = (seen.T @ self._rows_of).ravel()
        self._shared = np.linalg.solve(self._precision, right).reshape(size, facets)
        drawn = self._moments + self.strength * self._rows_of @ self._shared.T
        self._own = np.einsum("apq,aq->ap", self._inverse, drawn)
        self._noise = deviation(sums, self._own[:-1])

    def _scores(self, context: Context, candidates: Indices | None) -> Floats:
        chosen = np.arange(len(self.titles)) if candidates is None else candidates
        scores: Floats = self._members(context) @ self._own[chosen].T + self._level[chosen]
        return scores

    def _members(self, context: Context) -> Doubles:
        """Members as rows [B, P]."""
        return told_of(context, self.by, self._places).rows

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "names": _text(self._sums.names),
            "gram": self._sums.gram,
            "moments": self._sums.moments,
            "squares": self._sums.squares,
            "as of": np.array([self._as_of], np.int64),
            "facets": _text(self._facets),
            "about": self._about,
            "groups": _text(self._groups),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        names = _names(arrays["names"])
        titles, size = len(self.titles), len(names)
        self._facets = _names(arrays["facets"])
        self._as_of = int(arrays["as of"][0])
        sums = Sums(
            names,
            checked(arrays["gram"], (titles, size, size), np.float64),
            checked(arrays["moments"], (titles, size), np.float64),
            checked(arrays["squares"], (titles,), np.float64),
        )
        about = checked(arrays["about"], (titles, len(self._facets)), np.float64)
        groups = _names(arrays["groups"]) if "groups" in arrays else ("",) * titles
        self._keep(sums, about, groups)


def _text(names: Sequence[str]) -> NDArray[np.uint8]:
    """Names as JSON, which keeps every character."""
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def _names(text: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(json.loads(text.tobytes()))


def _noise(shape: tuple[int, int], seed: int, action: int) -> Doubles:
    """Standard normal numbers of an action's own: -1 is one that is unknown, -2 what is shared."""
    return np.random.default_rng([seed, action + 2]).normal(size=shape)
