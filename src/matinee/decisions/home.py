"""A member's home page: rows in order, each a decision given the rows above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from matinee.decisions.assigner import Assigner
from matinee.decisions.chosen import choices_of
from matinee.decisions.contracts import DecisionLog
from matinee.decisions.decider import Decider
from matinee.decisions.reasons import Reasons
from matinee.decisions.row import Row
from matinee.lake.inbox import Receipt
from matinee.lake.records import Decision
from matinee.surfaces import Artwork, Choice, History, Only, Request, Titles

GENRES, RECENTLY = 2, 200
"""How many genres get a row, and over how many of the latest watched titles they are counted."""


class ShownPicture(msgspec.Struct, frozen=True):
    """The picture that stands for a title and a member; `propensity` is its chance when it was
    drawn, by the version or arm `policy`. A preview has no decision.
    """

    picture_id: str
    propensity: float
    policy: str
    decision_id: str | None = None


class ShownTitle(msgspec.Struct, frozen=True):
    """A title in its slot; `propensity` is its chance there, given the slots before it.

    `because` names the watched title that raised the score of this one most, where one did and the
    row says so.
    """

    title_id: str
    name: str
    propensity: float
    because: str | None = None
    picture: ShownPicture | None = None


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

    def __init__(self, decider: Decider[Titles], artwork: Assigner[Artwork] | None = None) -> None:
        self._decider, self.artwork = decider, artwork
        self.titles = decider.surface
        self.version = decider.version

    def decide(self, request: Request, log: DecisionLog) -> HomePage:
        """The page that stands for this request, durable, and then its pictures."""
        decisions = self.standing(log.put(self.records(request)))
        pictures = {}
        if self.artwork is not None:
            pictures = self.artwork.assign(request, self.shown(decisions), log)
        return self.page(request, decisions, pictures)

    def preview(self, request: Request) -> HomePage:
        """The page that `decide` would draw, without deciding."""
        decisions, pictures = self.propose(request), dict[str, Choice]()
        if self.artwork is not None:
            pictures, drawn = self.artwork.propose(request, self.shown(decisions))
            pictures |= {str(one.subject): choices_of(one)[0] for one in drawn}
        return self.page(request, decisions, pictures, preview=True)

    def records(self, request: Request) -> list[msgspec.Struct]:
        """What to put into the log for the titles of a page."""
        return self._decider.records(self.propose(request))

    def standing(self, receipts: Sequence[Receipt]) -> list[Decision]:
        """The decisions of a page that stand, from the log's answer to `records`."""
        return self._decider.standing(receipts)

    def shown(self, decisions: Sequence[Decision]) -> list[str]:
        """The titles of a page, from the top."""
        return [action for decision in decisions for action in decision.actions]

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
        self,
        request: Request,
        decisions: Sequence[Decision],
        pictures: Mapping[str, Choice],
        *,
        preview: bool = False,
    ) -> HomePage:
        """Decisions as the member sees them, with the pictures of titles, empty rows left out."""
        return HomePage(
            request_id=request.request_id,
            member_id=request.member_id,
            preview=preview,
            rows=[
                self._row(decision, pictures, preview=preview)
                for decision in decisions
                if decision.actions
            ],
        )

    def _row(self, decision: Decision, pictures: Mapping[str, Choice], *, preview: bool) -> HomeRow:
        row = decision.context["row"]
        because, name_of = row.get("because", {}), self.titles.name_of
        return HomeRow(
            slot=decision.row or "",
            name=row["name"],
            why=row["why"],
            policy=decision.policy,
            decision_id=None if preview else decision.decision_id,
            titles=[
                ShownTitle(
                    action,
                    name_of(action),
                    propensity,
                    name_of(because[action]) if action in because else None,
                    _picture(pictures.get(action), preview=preview),
                )
                for action, propensity in zip(decision.actions, decision.propensities, strict=True)
            ],
        )

    def _rows(self, request: Request) -> Iterator[Row]:
        history = self._decider.histories.history(request.member_id)
        reasons = self._decider.reasons(request)
        yield _picks(history, reasons.by_title(self.titles.catalogue))
        yield self._because(history, reasons)
        yield _popular(request)
        yield self._new(request)
        yield from self._genres(history)

    def _because(self, history: History, reasons: Reasons) -> Row:
        """What one watched title alone leads to: the one that raised the best picks most."""
        if moved := reasons.most(self.titles.catalogue):
            why = f"Of what you watched lately, {self.titles.name_of(moved)} moved your picks most."
            return self._after(moved, why, history)
        known = (title for title in reversed(history.titles) if title in self.titles.catalogue)
        if last := next(known, None):
            why = f"Chosen from {self.titles.name_of(last)} alone, which you watched last."
            return self._after(last, why, history)
        return _empty("because", "nothing watched yet")

    def _after(self, title: str, why: str, history: History) -> Row:
        name = f"Because you watched {self.titles.name_of(title)}"
        return Row("because", name, why, history=history.only([title]))

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


def _picture(choice: Choice | None, *, preview: bool) -> ShownPicture | None:
    if choice is None:
        return None
    decision = None if preview else choice.decision_id
    return ShownPicture(choice.action, choice.propensity, choice.policy, decision)


def _picks(history: History, because: Mapping[str, str]) -> Row:
    why = "Chosen from all you watched." if history.titles else "What other members like best."
    return Row("picks", "Top picks for you", why, because=because)


def _popular(request: Request) -> Row:
    where = f"in {request.country}" if request.country else "now"
    why = f"What members {'there' if request.country else 'everywhere'} watch most."
    return Row("popular", f"Popular {where}", why, history=History())


def _empty(slot: str, reason: str) -> Row:
    return Row(slot, "", "", Only(frozenset(), reason))
