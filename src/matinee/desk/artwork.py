"""The pages of the surface `artwork`: what pictures bring, and how often each one is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from matinee.desk import gallery, headline
from matinee.desk.choosers import Choosers
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.desk.views import NotFoundError, Query, View, anew
from matinee.errors import MatineeError
from matinee.insights.ahead import BROUGHT, SHARES
from matinee.insights.attributing import Attributed
from matinee.insights.shares import Subject, shares_of
from matinee.service.pictures import artwork_of
from matinee.service.runtime import Runtime
from matinee.surfaces import Artwork


@dataclass(frozen=True)
class Brought:
    """What is asked for, how often each picture of each title was drawn, and what personal pictures
    brought, or why nobody knows; `None` is what is being read still.
    """

    q: str
    page: str
    drawn: gallery.Shares | None
    found: Attributed | None
    problem: str | None
    at: datetime | None


@dataclass(frozen=True)
class Pictured:
    """A title, and what came of each of its pictures, by who drew it."""

    title_id: str
    name: str
    detail: str
    drawn: int
    pictures: Subject


def artwork_views(runtime: Runtime) -> tuple[View[Brought], View[Pictured]]:
    """All titles, and one."""
    pages = _ArtworkPages(runtime)
    return (
        View("/desk/artwork", "artwork.html", pages.titles, pages.show_titles, pages.ahead),
        View("/desk/title", "title.html", anew(pages.title), pages.show_title),
    )


class _ArtworkPages:
    """What one runtime shows of the log, as it was read ahead."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._shares = Kept.of(runtime.service, SHARES)
        self._brought = Kept.of(runtime.service, BROUGHT)
        self.ahead = (self._brought,)  # shares may be many, and are taken when they are asked for

    async def titles(self, query: Query) -> Brought:
        """What there is to say of all titles."""
        await asyncio.to_thread(self._surface)
        drawn, (found, problem) = await asyncio.gather(self._shares.get(PATIENCE), self._headline())
        q, page = query.get("q", "").strip(), query.get("page", "")
        return Brought(q, page, drawn, found, problem, self._brought.at)

    async def _headline(self) -> tuple[Attributed | None, str | None]:
        try:
            self.runtime.assigner(Artwork.name)
            return await self._brought.get(PATIENCE), None
        except MatineeError as error:
            return None, str(error)

    def show_titles(self, found: Brought) -> Mapping[str, Any]:
        """What the template of all titles shows."""
        known = found.found
        reading = found.drawn is None or (known is None and found.problem is None)
        return {
            "again": LOOK_AGAIN if reading else None,
            "problem": found.problem,
            "found": known,
            "readings": headline.readings(known) if known else [],
            "arms": headline.arms(known, self._choosers()) if known else [],
            "at": found.at,
            "q": found.q,
            "counted": found.drawn is not None,
            "sheet": gallery.sheet(self._surface(), found.drawn or {}, found.q, found.page),
        }

    def title(self, query: Query) -> Pictured:
        """What there is to say of one."""
        artwork, title_id = self._surface(), query.get("id", "")
        if not gallery.knows(artwork, title_id):
            raise NotFoundError("there is no such title", next_step="look for it by its name")
        found = shares_of(self.runtime.service, Artwork.name, title_id)
        return Pictured(
            title_id,
            gallery.name_of(artwork, title_id),
            gallery.detail_of(artwork, title_id),
            sum(one.drawn for one in found.together.values()),
            found,
        )

    def show_title(self, found: Pictured) -> Mapping[str, Any]:
        """What the template of one shows."""
        pictures = gallery.pictures_of(
            self._surface(), found.title_id, found.pictures, self._choosers()
        )
        return {
            "name": found.name,
            "detail": found.detail,
            "drawn": found.drawn,
            "pictures": pictures,
        }

    def _surface(self) -> Artwork:
        return artwork_of(self.runtime.service)

    def _choosers(self) -> Choosers:
        return Choosers.of(self.runtime.service, Artwork.name)
