"""A member's home page, and the way to it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from matinee.desk.artwork import ArtworkPages
from matinee.desk.cards import rows
from matinee.desk.choosers import Choosers
from matinee.desk.experiments import ExperimentPages
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.desk.recovery import shown
from matinee.desk.rendering import templates
from matinee.desk.report import latest_report
from matinee.desk.today import TodayPage
from matinee.errors import MatineeError
from matinee.lake.records import MemberId
from matinee.service.recovered import Recovered, recovered
from matinee.service.runtime import NoChampionError, Runtime
from matinee.surfaces import Artwork
from matinee.surfaces import Request as Asked

SHOWN_MEMBERS = 24
CSP = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""A member's page stays between the server and who asked for it."""


def pages(runtime: Runtime) -> list[BaseRoute]:
    """The routes of the pages that people look at."""
    desk = Desk(runtime)
    artwork, experiments = ArtworkPages(runtime, desk.page), ExperimentPages(runtime, desk.page)
    today = TodayPage(runtime, desk.page)
    return [
        Route("/", desk.index, methods=["GET"]),
        Route("/home", desk.home, methods=["GET"]),
        Route("/artwork", artwork.artwork, methods=["GET"]),
        Route("/payments", desk.payments, methods=["GET"]),
        Route("/desk", today.today, methods=["GET"]),
        Route("/experiments", experiments.experiments, methods=["GET"]),
        Mount("/static", StaticFiles(packages=[("matinee.desk", "static")])),
    ]


class Desk:
    """Pages over one runtime, rendered on the server; no script, nothing from elsewhere."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._templates = templates()
        self._recovered = Kept(self._read_recovered)

    async def index(self, _: Request) -> Response:
        """Some members, and how good the models are."""
        return await asyncio.to_thread(self._index)

    async def home(self, request: Request) -> Response:
        """The page of one member under one policy: a preview, never logged."""
        member, policy = request.query_params.get("member", ""), request.query_params.get("policy")
        if not member:
            return RedirectResponse("/")
        return await asyncio.to_thread(self._home, member, policy or None)

    async def payments(self, _: Request) -> Response:
        """What came of failed renewals, read from the log at most once a minute."""
        found = await self._recovered.get(PATIENCE)
        if isinstance(found, MatineeError):
            return self.page("problem.html", 404, error=found)
        if found is None:
            return self.page("recovery.html", found=None, again=LOOK_AGAIN)
        return await asyncio.to_thread(self.page, "recovery.html", **shown(found))

    def _read_recovered(self) -> Recovered | MatineeError:
        try:
            return recovered(self.runtime.service)
        except MatineeError as error:
            return error

    def _index(self) -> Response:
        members = []
        for member in self.runtime.members.recent(SHOWN_MEMBERS):
            watched = len(self.runtime.members.history(member).titles)
            country = self.runtime.members.country(member)
            titles = "1 title" if watched == 1 else f"{watched:,} titles"
            detail = f"{titles} watched" + (f", {country}" if country else "")
            members.append({"id": member, "detail": detail})
        report = latest_report(self.runtime.service, "titles")
        return self.page("index.html", members=members, report=report)

    def _home(self, member: str, policy: str | None) -> Response:
        try:
            return self._shown_home(_member_id(member), policy)
        except MatineeError as error:
            status = 503 if isinstance(error, NoChampionError) else 404
            return self.page("problem.html", status, error=error)

    def _shown_home(self, member: str, policy: str | None) -> Response:
        service = self.runtime.service
        asked = self.runtime.located(
            Asked(
                request_id="preview",
                member_id=member,
                at=datetime.now(UTC),
            )
        )
        home = self.runtime.home(asked, policy)
        page = home.preview(asked)
        return self.page(
            "home.html",
            member=member,
            members=self.runtime.members.recent(SHOWN_MEMBERS),
            country=asked.country,
            watched=len(self.runtime.members.history(member).titles),
            policy=home.version,
            versions=[
                {"id": version.id, "label": f"{version.id} · {version.model}"}
                for version in reversed(service.registry.versions("titles"))
            ],
            rows=rows(home, asked, page, Choosers.of(service, Artwork.name).models),
        )

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page made from a template and values."""
        service = self.runtime.service
        html = self._templates.get_template(template).render(
            service=service.name, simulated=service.simulated, **values
        )
        return HTMLResponse(
            html,
            status,
            HEADERS,
        )


def _member_id(text: str) -> str:
    try:
        return msgspec.convert(text, MemberId)
    except msgspec.ValidationError:
        raise MatineeError(
            "this cannot be a member's id",
            why="an id has 1 to 200 characters and no @: it is never an e-mail address",
            next_step="type the id as it stands in the events",
        ) from None
