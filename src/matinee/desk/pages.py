"""The desk: its pages, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from matinee.desk.artwork import artwork_views
from matinee.desk.changing import Changing, changes_view
from matinee.desk.data import data_view, table_view
from matinee.desk.decision import decision_view
from matinee.desk.experiments import experiment_view, experiments_view
from matinee.desk.log import log_view
from matinee.desk.member import member_view, members_view
from matinee.desk.processing import payments_view
from matinee.desk.rendering import templates
from matinee.desk.signing_in import Door, SigningIn
from matinee.desk.surface import surface_view
from matinee.desk.surfaces import surfaces_view
from matinee.desk.today import today_view
from matinee.desk.views import PERSONAL, View
from matinee.errors import MatineeError
from matinee.insights.audit import audit
from matinee.service.changes import ACTIONS
from matinee.service.runtime import Runtime
from matinee.service.visitors import Visitor

CSP = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CSP,
    **PERSONAL,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
"""A member's page stays between the server and who asked for it; forms say where they come from."""

LATELY = timedelta(minutes=10)
"""How long a page may say that something was done."""
PAGES = (
    ("today", "/desk", "Today"),
    ("surfaces", "/desk/surfaces", "Surfaces"),
    ("members", "/desk/members", "Members"),
    ("experiments", "/desk/experiments", "Experiments"),
    ("pictures", "/desk/artwork", "Pictures"),
    ("payments", "/desk/payments", "Payments"),
    ("log", "/desk/log", "Log"),
    ("data", "/desk/data", "Data"),
    ("changes", "/desk/changes", "Changes"),
)
"""What stands at the top of each page."""


def pages(
    runtime: Runtime, door: Door | None = None, shown: Sequence[View[Any]] | None = None
) -> list[BaseRoute]:
    """The routes of the desk: a page and its JSON each, what changes something and, where there is
    a `door`, where people sign in. What is `shown` is all of `views` by default.
    """
    desk = Desk(runtime)
    signing_in = SigningIn(runtime.service, door, desk.page).routes() if door else []
    return [
        Route("/", desk.index, methods=["GET"]),
        *(route for view in shown or views(runtime) for route in view.routes(desk.page)),
        *Changing(runtime.service, desk.page).routes(),
        *signing_in,
        Mount("/static", StaticFiles(packages=[("matinee.desk", "static")])),
    ]


def views(runtime: Runtime) -> list[View[Any]]:
    """All that can be looked at."""
    service = runtime.service
    return [
        today_view(service),
        surfaces_view(service),
        surface_view(service),
        members_view(runtime),
        member_view(runtime),
        experiments_view(service),
        experiment_view(service),
        *artwork_views(runtime),
        payments_view(service),
        log_view(service),
        decision_view(service),
        data_view(service),
        table_view(service),
        changes_view(service),
    ]


def refused(error: MatineeError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """What a browser shows where it was not let in, or what it asked for is not there."""
    html = templates().get_template("refused.html")
    return HTMLResponse(
        html.render(service="Matinee", simulated=False, error=error, status=status),
        status,
        {**HEADERS, **(headers or {})},
    )


class Desk:
    """Pages over one runtime, rendered on the server; no script, nothing from elsewhere."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._templates = templates()

    async def index(self, _: Request) -> Response:
        """The way to the desk."""
        return RedirectResponse("/desk", 307)

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page made from a template and values."""
        service = self.runtime.service
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        html = self._templates.get_template(template).render(
            service=service.name,
            simulated=service.simulated,
            pages=PAGES if visitor or template != "sign-in.html" else (),
            visitor=visitor,
            may_change=bool(visitor and visitor.person.may("approver")),
            proof=service.sessions.proof(visitor) if visitor else "",
            query=dict(request.query_params),
            done=self._done(request.query_params.get("done", ""), visitor),
            **values,
        )
        return HTMLResponse(html, status, HEADERS)

    def _done(self, asked: str, visitor: Visitor | None) -> str:
        """What is said at the top after a change; an address alone makes nobody believe in one."""
        action = next((one for name, one in ACTIONS.items() if name == asked), None)
        if action is None or visitor is None:
            return ""
        did, by = "halt" if asked == "stop" else asked, visitor.person.name
        since = datetime.now(UTC) - LATELY
        lines = audit(self.runtime.service, by=by)
        if not any((one.by, one.action) == (by, did) and one.at > since for one in lines):
            return ""
        return f"Done: {action.label.lower()}. It stands in the history, with your reason."
