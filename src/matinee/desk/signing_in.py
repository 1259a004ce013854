"""Signing in to the desk by a token, and out again."""

from __future__ import annotations

import asyncio
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from matinee.desk.changing import form_of
from matinee.desk.views import Render
from matinee.registry import Person
from matinee.registry.people import digest
from matinee.service.folder import Service
from matinee.service.visitors import LASTS

COOKIE = "matinee_session"
HOME = "/desk"


class Door(Protocol):
    """What knows people by their tokens."""

    def known(self, start: str) -> Person | None:
        """Whose token it is of which the digest begins so."""

    def is_secure(self, scope: Scope) -> bool:
        """Whether the browser speaks TLS."""


class SigningIn:
    """The page where a token is given for a cookie; `render` makes pages of templates."""

    def __init__(self, service: Service, door: Door, render: Render) -> None:
        self.service, self._door, self._render = service, door, render

    def routes(self) -> list[Route]:
        """Where people come in and go."""
        return [
            Route("/sign-in", self.ask, methods=["GET"]),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Ask for a token."""
        values = {"following": following(request.query_params.get("next", "")), "wrong": False}
        return await asyncio.to_thread(self._page, request, 200, values)

    async def sign_in(self, request: Request) -> Response:
        """Give the browser a cookie for a token of ours."""
        form = await form_of(request)
        kept, after = digest(form.get("token", "").strip()), following(form.get("next", ""))
        person = await asyncio.to_thread(self._door.known, kept)
        if person is None:
            values = {"following": after, "wrong": True}
            return await asyncio.to_thread(self._page, request, 401, values)
        await asyncio.to_thread(self.service.people.signed_in, person)
        answer = RedirectResponse(after, 303)
        answer.set_cookie(
            COOKIE,
            self.service.sessions.cookie(kept),
            max_age=LASTS,
            httponly=True,
            samesite="lax",
            secure=self._door.is_secure(request.scope),
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Take it away."""
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(
            COOKIE, httponly=True, samesite="lax", secure=self._door.is_secure(request.scope)
        )
        return answer

    def _page(self, request: Request, status: int, values: dict[str, object]) -> Response:
        return self._render(request, "sign-in.html", status, **values)


def following(address: str) -> str:
    """Where somebody goes on who signed in: a page of ours, never one elsewhere.

    >>> following("/desk/log?q=1"), following("//evil.example"), following("https://evil.example")
    ('/desk/log?q=1', '/desk', '/desk')
    """
    mine = (
        address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    )
    return address if mine and "\\" not in address else HOME
