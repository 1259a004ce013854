"""The pages of the surface `artwork`: what pictures bring, and how often each one is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from matinee.desk import gallery, headline
from matinee.desk.choosers import Choosers
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.errors import MatineeError
from matinee.service.attributing import Attributed, attributed
from matinee.service.pictures import artwork_of
from matinee.service.runtime import NoChampionError, Runtime
from matinee.service.shares import shares, shares_of
from matinee.surfaces import Artwork

Brought = Attributed | MatineeError | None
"""What pictures bring, or why nobody knows; `None` while it is being read."""


class ArtworkPages:
    """They read the log of one runtime, at most once a minute; `show` makes pages of templates."""

    def __init__(self, runtime: Runtime, show: Callable[..., Response]) -> None:
        self.runtime, self._show = runtime, show
        self._shares = Kept(lambda: shares(runtime.service, Artwork.name))
        self._brought = Kept(self._attributed)

    async def artwork(self, request: Request) -> Response:
        """All titles, or the one that `title` names."""
        asked = request.query_params
        try:
            if title_id := asked.get("title"):
                return await asyncio.to_thread(self._title, title_id)
            counted, brought = await asyncio.gather(self._shares.get(PATIENCE), self._headline())
            q, page = asked.get("q", "").strip(), asked.get("page", "")
            return await asyncio.to_thread(self._titles, q, page, counted, brought)
        except MatineeError as error:
            return self._show("problem.html", 503, error=error)

    async def _headline(self) -> Brought:
        try:
            self.runtime.assigner(Artwork.name)
        except NoChampionError as error:
            return error
        return await self._brought.get(PATIENCE)

    def _attributed(self) -> Attributed | MatineeError:
        try:
            return attributed(self.runtime.service, Artwork.name)
        except MatineeError as error:
            return error

    def _titles(
        self, q: str, page: str, counted: gallery.Shares | None, brought: Brought
    ) -> Response:
        known = brought if isinstance(brought, Attributed) else None
        return self._show(
            "artwork.html",
            again=LOOK_AGAIN if counted is None or brought is None else None,
            problem=brought if isinstance(brought, MatineeError) else None,
            found=known,
            readings=headline.readings(known) if known else [],
            arms=headline.arms(known, self._choosers()) if known else [],
            at=self._brought.at,
            q=q,
            counted=counted is not None,
            sheet=gallery.sheet(self._surface(), counted or {}, q, page),
        )

    def _title(self, title_id: str) -> Response:
        artwork = self._surface()
        if not gallery.knows(artwork, title_id):
            error = MatineeError("there is no such title", next_step="look for it by its name")
            return self._show("problem.html", 404, error=error)
        found = shares_of(self.runtime.service, Artwork.name, title_id)
        return self._show(
            "title.html",
            name=gallery.name_of(artwork, title_id),
            detail=gallery.detail_of(artwork, title_id),
            drawn=sum(one.drawn for one in found.together.values()),
            pictures=gallery.pictures_of(artwork, title_id, found, self._choosers()),
        )

    def _surface(self) -> Artwork:
        return artwork_of(self.runtime.service)

    def _choosers(self) -> Choosers:
        return Choosers.of(self.runtime.service, Artwork.name)
