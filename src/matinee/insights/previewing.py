"""A home page that is looked at and not decided: every title and picture with what could have stood
in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from matinee.decisions import Assigner, Home, NoChoices, ShownTitle, choices_of
from matinee.decisions.rebuild import preference_of
from matinee.lake.records import Decision, Eligible
from matinee.policies import Policy, Preference
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork, Choice, Request, Titles

LIKELIEST = 5
"""Titles that are told of each slot besides the one that stands there."""
AGREE = 1e-6
"""How far chances that were worked out the quick way may lie from those on record."""

Sets = Mapping[str, Sequence[str]]
"""The candidates of each content hash that decisions name, ascending by id."""


@dataclass(frozen=True)
class Likely:
    """A title that could have stood in a slot, and its chance there, given the slots before it."""

    title_id: str
    name: str
    chance: float


@dataclass(frozen=True)
class Odds:
    """A picture and its chance for its title; `seen`: whether there is a file to look at."""

    picture_id: str
    chance: float
    seen: bool


@dataclass(frozen=True)
class Pictured:
    """The picture that stands for a title, and why.

    `propensity` is its chance when it was drawn, by the version or holdout `policy`; `stands` says
    that this was before, and that it is kept. `odds` are those of all pictures of the title, the
    likeliest first, where one is drawn now.
    """

    picture_id: str
    seen: bool
    policy: str
    propensity: float
    stands: bool
    why: str
    odds: tuple[Odds, ...]


@dataclass(frozen=True)
class Slot:
    """A title in its slot: its chance there, given the slots before it, the watched title `because`
    of which it is there, its picture, and what was likeliest to stand there `instead`.
    """

    title_id: str
    name: str
    year: int | None
    genres: tuple[str, ...]
    propensity: float
    because: str | None
    picture: Pictured | None
    instead: tuple[Likely, ...]


@dataclass(frozen=True)
class Line:
    """A row of a page: the name of its slot, what members read, and its titles."""

    slot: str
    name: str
    why: str
    titles: tuple[Slot, ...]


@dataclass(frozen=True)
class Preview:
    """The page that a version would draw; nothing of it is logged."""

    version: str
    rows: tuple[Line, ...]


def preview(runtime: Runtime, asked: Request, version: str | None = None) -> Preview:
    """The page of a version of `titles`, or of what decides for the member, with alternatives.

    Raises `NoChampionError` where neither there is, `MatineeError` for a version that there is not
    or that is of another surface.
    """
    home, policy = _home(runtime, asked, version)
    decisions, sets = _drawn(home, asked)
    pictures = {}
    if home.artwork is not None:
        known = frozenset(one.id for one in runtime.service.registry.versions(Artwork.name))
        pictures = dict(_pictures(runtime, home.artwork, asked, home.shown(decisions), known))
    return Preview(home.version, tuple(_rows(home, asked, decisions, pictures, (policy, sets))))


def bare(runtime: Runtime, asked: Request, version: str) -> Preview:
    """The same page without pictures and alternatives."""
    home, _ = _home(runtime, asked, version)
    return Preview(home.version, tuple(_rows(home, asked, home.propose(asked), {}, None)))


def likeliest(
    policy: Policy, decision: Decision, candidates: Sequence[str], most: int = LIKELIEST
) -> list[list[tuple[str, float]]]:
    """For each slot of a decision what else could have stood there, likeliest first, of equals what
    the policy likes better: ids and chances above 0, given the slots before it.

    >>> from datetime import UTC, datetime
    >>> from matinee.policies import EpsilonGreedy
    >>> record = Decision(
    ...     decision_id="d", request_id="r", surface="titles", member_id="m", policy="titles@1",
    ...     at=datetime(2026, 1, 1, tzinfo=UTC), actions=["up", "heat"], propensities=[0.1, 0.85],
    ...     propensity_kind="conditional", eligible="", removed=[], segment=[1, 2, 0],
    ...     scores=[3.0, 2.0, 1.0], seed=1)
    >>> found = likeliest(EpsilonGreedy(epsilon=0.3), record, ["coco", "heat", "up"])
    >>> [[(title, round(chance, 3)) for title, chance in slot] for slot in found]
    [[('heat', 0.8), ('coco', 0.1)], [('coco', 0.15)]]
    """
    preference = preference_of(decision)
    ids = [candidates[place] for place in decision.segment]
    left = list(range(len(ids)))
    shown = [ids.index(action) for action in decision.actions]
    found = []
    for slot, place in enumerate(shown):
        chances = _given(policy, preference, left, shown[:slot])
        at = left.index(place)
        if abs(chances[at] - decision.propensities[slot]) > AGREE:
            chances = _asked(policy, preference, left, shown[:slot])
        chances[at] = 0.0
        best = np.argsort(-chances, kind="stable")[:most].tolist()
        found.append([(ids[left[one]], float(chances[one])) for one in best if chances[one] > 0])
        left.remove(place)
    return found


def _given(
    policy: Policy, preference: Preference, left: Sequence[int], above: Sequence[int]
) -> NDArray[np.float64]:
    """The chances [L] of what is `left` of a segment, as if nothing else had ever been in it: so it
    is with every policy of this package, whatever stands `above` (Luce's axiom, of slots).
    """
    chances: NDArray[np.float64] = policy.chances(preference.logits[left][None])[0]
    return chances.copy()


def _asked(
    policy: Policy, preference: Preference, left: Sequence[int], above: Sequence[int]
) -> NDArray[np.float64]:
    """The same of any policy, one by one."""
    slates = (preference.segment[[*above, place]] for place in left)
    return np.array([policy.propensities(preference, slate)[-1] for slate in slates])


def _home(runtime: Runtime, asked: Request, version: str | None) -> tuple[Home, Policy]:
    """What draws the page, and its policy.

    A version is asked by a decider of its own, which never logs: so it knows all its sets.
    """
    if version is not None:
        runtime.service.registry.number(Titles.name, version)
        return runtime.home(asked, version), runtime.decider(version).policy
    decides = runtime.deciding(Titles.name, asked)
    if decides.version == f"{Titles.name}@fallback":
        return runtime.home(asked), decides.policy
    return runtime.home(asked, decides.version), decides.policy


def _drawn(home: Home, asked: Request) -> tuple[list[Decision], Sets]:
    """The decisions of a page, and the candidates that they were made from."""
    records = home.records(asked)
    sets = {one.eligible: one.candidates for one in records if isinstance(one, Eligible)}
    return [one for one in records if isinstance(one, Decision)], sets


def _rows(
    home: Home,
    asked: Request,
    decisions: Sequence[Decision],
    pictures: Mapping[str, Pictured],
    known: tuple[Policy, Sets] | None,
) -> Iterator[Line]:
    """The rows that have titles; with alternatives where a policy and its sets are `known`."""
    page = home.page(asked, decisions, {}, preview=True)
    filled = (decision for decision in decisions if decision.actions)
    for row, decision in zip(page.rows, filled, strict=True):
        others = _alternatives(home.titles, decision, known)
        titles = (
            _slot(home.titles, title, pictures.get(title.title_id), instead)
            for title, instead in zip(row.titles, others, strict=True)
        )
        yield Line(row.slot, row.name, row.why, tuple(titles))


def _alternatives(
    titles: Titles, decision: Decision, known: tuple[Policy, Sets] | None
) -> list[tuple[Likely, ...]]:
    """What else could have stood in each slot; nothing where nobody can say."""
    candidates = known[1].get(decision.eligible) if known else None
    if known is None or candidates is None or decision.propensity_kind != "conditional":
        return [()] * len(decision.actions)
    return [
        tuple(Likely(one, titles.name_of(one), chance) for one, chance in slot)
        for slot in likeliest(known[0], decision, candidates)
    ]


def _slot(
    titles: Titles, shown: ShownTitle, picture: Pictured | None, instead: tuple[Likely, ...]
) -> Slot:
    title = titles.catalogue.get(shown.title_id)
    return Slot(
        shown.title_id,
        shown.name,
        title.year if title else None,
        tuple(title.genres) if title else (),
        shown.propensity,
        shown.because,
        picture,
        instead,
    )


def _pictures(
    runtime: Runtime,
    artwork: Assigner[Artwork],
    asked: Request,
    titles: Sequence[str],
    versions: frozenset[str],
) -> Iterator[tuple[str, Pictured]]:
    """By title its picture. Only what one of the `versions` chose is explained by what a model
    knows of the member.
    """
    standing, drawn = artwork.propose(asked, titles)
    choices = {**standing, **{str(one.subject): choices_of(one)[0] for one in drawn}}
    leading = artwork.leading(asked, [one for one in choices.values() if one.policy in versions])
    _, anew = _afresh(runtime, artwork).propose(asked, standing)
    odds = {str(one.subject): _odds(artwork, asked, one) for one in (*drawn, *anew)}
    for title, choice in choices.items():
        why = artwork.surface.why(choice, leading.get(title))
        yield title, _pictured(artwork, choice, why, odds.get(title, ()), stands=title in standing)


def _afresh(runtime: Runtime, artwork: Assigner[Artwork]) -> Assigner[Artwork]:
    """What draws pictures as if no one had been drawn before."""
    return Assigner(
        artwork.surface,
        artwork.model,
        artwork.policy,
        version=artwork.version,
        histories=artwork.histories,
        choices=NoChoices(),
        salt=runtime.service.salt(),
    )


def _odds(artwork: Assigner[Artwork], asked: Request, decision: Decision) -> tuple[Odds, ...]:
    """The chances of all pictures that were eligible, those that could not come among them."""
    surface, policy = artwork.surface, artwork.policy
    for name, holdout in surface.holdouts().items():
        if decision.policy == f"{surface.name}@{name}":
            policy = holdout.policy
    ids = surface.eligible(replace(asked, subject=decision.subject)).ids
    chances = np.zeros(len(ids))
    chances[decision.segment] = policy.chances(preference_of(decision).logits[None])[0]
    return tuple(
        Odds(ids[place], float(chances[place]), _seen(surface, ids[place]))
        for place in np.argsort(-chances, kind="stable").tolist()
    )


def _pictured(
    artwork: Assigner[Artwork], choice: Choice, why: str, odds: tuple[Odds, ...], *, stands: bool
) -> Pictured:
    seen = _seen(artwork.surface, choice.action)
    return Pictured(choice.action, seen, choice.policy, choice.propensity, stands, why, odds)


def _seen(artwork: Artwork, picture_id: str) -> bool:
    """Whether a picture has a file that may be looked at."""
    known = artwork.pictures.get(picture_id)
    return known is not None and bool(known.files) and known.barred is None
