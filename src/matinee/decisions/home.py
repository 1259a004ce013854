"""A member's home page: rows in order, each a decision given the rows above it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from matinee.decisions.contracts import DecisionLog
from matinee.decisions.decider import Decider, Row
from matinee.lake.records import Decision
from matinee.surfaces import History, Only, Request, Titles

LATEST = 5
"""Among how many of the latest watched titles a "because" row chooses its own."""
GENRES, RECENTLY = 2, 200
"""How many genres get a row, and over how many of the latest watched titles they are counted."""


class ShownTitle(msgspec.Struct, frozen=True):
    """A title in its slot; `propensity` is its chance there, given the slots before it."""

    title_id: str
    name: str
    propensity: float


class HomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row as the member sees it; a preview has no decision to answer to."""

    slot: str
    name: str
    why: str
    policy: str
    decision_id: str | None
    titles: list[ShownTitle]


class HomePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page. `preview` says that nothing was decided: no record, no training, no evaluation."""

    request_id: str
    member_id: str
    preview: bool
    rows: list[HomeRow]


class Home:
    """Pages of one version on the surface `titles`; ``request.slots`` is the length of a row.

    Every page decides the same slots, an empty one too (its mask says why), so that a repeated
    request finds the whole page in the log and gets it back, title for title.
    """

    def __init__(self, decider: Decider[Titles]) -> None:
        self._decider = decider
        self.titles = decider.surface
        self.version = decider.version

    def decide(self, request: Request, log: DecisionLog) -> HomePage:
        """The page that stands for this request, durable."""
        receipts = log.put(self._decider.records(self.propose(request)))
        return self.page(request, self._decider.standing(receipts))

    def preview(self, request: Request) -> HomePage:
        """The page that `decide` would draw, without deciding."""
        return self.page(request, self.propose(request), preview=True)

    def propose(self, request: Request) -> list[Decision]:
        """The decisions of a page, one a slot, not in the log yet."""
        decisions: list[Decision] = []
        above: list[str] = []
        for row in self._rows(request):
            decision = self._decider.propose(request, row, above)
            decisions.append(decision)
            above = [*above, *decision.actions]
        return decisions

    def page(
        self, request: Request, decisions: Sequence[Decision], *, preview: bool = False
    ) -> HomePage:
        """Decisions as the member sees them, empty rows left out."""
        return HomePage(
            request_id=request.request_id,
            member_id=request.member_id,
            preview=preview,
            rows=[self._shown(decision, preview) for decision in decisions if decision.actions],
        )

    def _shown(self, decision: Decision, preview: bool) -> HomeRow:
        return HomeRow(
            slot=decision.row or "",
            name=decision.context["row"]["name"],
            why=decision.context["row"]["why"],
            policy=decision.policy,
            decision_id=None if preview else decision.decision_id,
            titles=[
                ShownTitle(action, self.titles.name_of(action), propensity)
                for action, propensity in zip(decision.actions, decision.propensities, strict=True)
            ],
        )

    def _rows(self, request: Request) -> Iterator[Row]:
        history = self._decider.histories.history(request.member_id)
        yield _picks(history)
        yield self._because(request, history)
        yield _popular(request)
        yield self._new(request)
        yield from self._genres(history)

    def _because(self, request: Request, history: History) -> Row:
        """Like one of the titles watched last; which one changes with the history."""
        recent = history.titles[-RECENTLY:]
        latest = [title for title in recent if title in self.titles.catalogue]
        if not latest:
            return _empty("because", "nothing watched yet")
        title = latest[-1 - _turn(request.member_id, history) % min(LATEST, len(latest))]
        name = self.titles.name_of(title)
        return Row(
            "because",
            f"Because you watched {name}",
            f"Members who watched {name} also watched these.",
            history=history.only([title]),
        )

    def _new(self, request: Request) -> Row:
        if arrived := self.titles.arrived(request):
            only = Only(arrived, "arrived in the last month")
            return Row("new", "New this month", "They arrived in the last month.", only)
        only = Only(self.titles.newest, "of the catalogue's last two years")
        return Row("new", "Newest releases", "The latest releases in the catalogue.", only)

    def _genres(self, history: History) -> Iterator[Row]:
        genres = self.titles.genres_of(history.titles[-RECENTLY:])
        for number in range(GENRES):
            slot = f"genre-{number + 1}"
            if number < len(genres):
                genre = genres[number]
                only = Only(self.titles.of_genre(genre), f"only {genre}")
                yield Row(slot, f"{genre} for you", f"You often watch {genre}.", only)
            else:
                yield _empty(slot, "too few genres watched yet")


def _picks(history: History) -> Row:
    why = "Chosen from all you watched." if history.titles else "What other members like best."
    return Row("picks", "Top picks for you", why)


def _popular(request: Request) -> Row:
    where = f"in {request.country}" if request.country else "now"
    why = f"What members {'there' if request.country else 'everywhere'} watch most."
    return Row("popular", f"Popular {where}", why, history=History())


def _empty(slot: str, reason: str) -> Row:
    return Row(slot, "", "", Only(frozenset(), reason))


def _turn(member_id: str, history: History) -> int:
    digest = blake2b(f"{len(history.titles)} {member_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
