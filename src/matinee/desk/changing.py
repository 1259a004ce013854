"""Changes by hand: a page that asks for a reason and confirms, and the trail of what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matinee.desk.views import NotFoundError, Query, Render, View, anew, encode
from matinee.errors import MatineeError
from matinee.insights.audit import Line, audit
from matinee.insights.notes import link
from matinee.registry import Approvals, parse_version
from matinee.registry.changes import reigns_of
from matinee.service.changes import ACTIONS, SHARE, Change, Name, change, running, surface_of
from matinee.service.folder import Service
from matinee.service.visitors import Visitor

FORM = "application/x-www-form-urlencoded"
MOST = 32_768
"""Bytes of a form: two reasons of 1,000 characters, each of twelve bytes at most, and the rest."""


def changes_view(service: Service) -> View[tuple[Line, ...]]:
    """Who did what, when and why."""

    def read(query: Query) -> tuple[Line, ...]:
        return audit(service, *(query.get(name, "") for name in ("about", "by", "surface")))

    def show(lines: tuple[Line, ...]) -> dict[str, Any]:
        return {"lines": lines, "surfaces": list(service.surfaces)}

    return View("/desk/changes", "changes.html", anew(read), show)


class Changing:
    """What changes something on one service; `render` makes pages of templates."""

    def __init__(self, service: Service, render: Render) -> None:
        self.service, self._render = service, render

    def routes(self) -> list[Route]:
        """Where forms and programs send changes."""
        return [
            Route("/desk/change", self.ask, methods=["GET"]),
            Route("/desk/change", self.change, methods=["POST"]),
            Route("/v1/desk/change", self.change_by_json, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Say what a change does, and ask for a reason."""
        return await asyncio.to_thread(self._ask, request)

    def _ask(self, request: Request) -> Response:
        query = request.query_params
        try:
            values = self._asked(query.get("action", ""), query.get("about", ""))
            return self._render(
                request, "change.html", **values, wrong=None, reason="", share=str(SHARE)
            )
        except MatineeError as error:
            return self._render(request, "problem.html", 404, error=error)

    def _asked(self, action: str, about: str) -> dict[str, Any]:
        """What the page of a change shows; `MatineeError` where there is no such change."""
        name = _named(action)
        surface = surface_of(self.service, name, about)
        champion = self.service.registry.alias(surface, "champion")
        return {
            "action": name,
            "about": about,
            "does": ACTIONS[name],
            "surface": surface,
            "champion": champion.id if champion else None,
            "then": self._then(name, about, surface),
            "evidence": self._evidence(name, about),
            "halted": self.service.trials.get(about).halted if name == "resume" else None,
            "back": back(name, about),
        }

    def _evidence(self, action: Name, about: str) -> tuple[str, ...]:
        """What speaks for it, on record."""
        if action == "approve":
            verdicts = Approvals(self.service.registry).verdicts(parse_version(about)[0])
            last = next((one for one in reversed(verdicts) if one.candidate == about), None)
            return (f"{last.outcome} against {last.champion}", *last.reasons) if last else ()
        if action == "win":
            latest = self.service.trials.latest(about)
            return (latest.reason, *latest.body["reasons"]) if latest else ()
        return ()

    def _then(self, action: Name, about: str, surface: str) -> tuple[str, str] | None:
        """What stands after it: who decides, or what is halted."""
        if action == "stop":
            going = running(self.service, surface)
            return ("It halts", ", ".join(one.name for one in going) or "nothing: none runs")
        if action == "roll_back":
            before = reigns_of(self.service.store, surface)[-2:-1]
            return ("Champion then", f"{surface}@{before[0]}") if before else None
        if action == "win":
            arms = self.service.trials.get(about).arms
            return ("Champion then", arms[1].serves) if len(arms) == 2 else None
        return ("Champion then", about) if action in {"approve", "promote"} else None

    async def change(self, request: Request) -> Response:
        """Do what a form asks for."""
        form = await form_of(request)
        visitor: Visitor = request.state.visitor
        _check_may(visitor)
        if not self.service.sessions.proves(form.get("proof", ""), visitor):
            raise HTTPException(403, "the form is too old, or not ours: open the page again")
        return await asyncio.to_thread(self._change, request, form, visitor)

    def _change(self, request: Request, form: Mapping[str, str], visitor: Visitor) -> Response:
        try:
            wanted = _wanted(form)
            change(self.service, wanted, visitor.person.name)
        except MatineeError as error:
            return self._refused(request, form, error)
        return RedirectResponse(back(wanted.action, wanted.about, done=True), 303)

    def _refused(self, request: Request, form: Mapping[str, str], wrong: MatineeError) -> Response:
        """The form once more, with all that was typed."""
        typed = {"reason": form.get("reason", ""), "share": form.get("share", str(SHARE))}
        try:
            values = self._asked(form.get("action", ""), form.get("about", ""))
        except MatineeError as error:
            return self._render(request, "problem.html", 404, error=error)
        return self._render(request, "change.html", 409, **values, wrong=wrong, **typed)

    async def change_by_json(self, request: Request) -> Response:
        """The same of a program."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "send application/json")
        _check_may(request.state.visitor)
        wanted = msgspec.json.decode(await request.body(), type=Change)
        by = request.state.visitor.person.name
        did = await asyncio.to_thread(change, self.service, wanted, by)
        return Response(encode({"did": did, "by": by}), media_type="application/json")


def back(action: Name, about: str, *, done: bool = False) -> str:
    """The page that shows what a change is about.

    >>> back("approve", "titles@2"), back("halt", "a b", done=True)
    ('/desk/surface?name=titles', '/desk/experiment?name=a+b&done=halt')
    """
    kind = ACTIONS[action].kind
    more = {"done": action} if done else {}
    if kind == "experiment":
        return link("/desk/experiment", {"name": about, **more})
    surface = about if kind == "surface" else parse_version(about)[0]
    return link("/desk/surface", {"name": surface, **more})


def _check_may(visitor: Visitor) -> None:
    """Whoever let them come this far."""
    if not visitor.person.may("approver"):
        raise HTTPException(403, "this needs the role approver")


def _named(action: str) -> Name:
    for name in ACTIONS:
        if name == action:
            return name
    raise NotFoundError(
        f"there is no change called {action!r}", next_step=f"one of {', '.join(ACTIONS)}"
    )


def _wanted(form: Mapping[str, str]) -> Change:
    told = {name: form[name] for name in Change.__struct_fields__ if name in form}
    reason = form.get("reason", "").strip()
    if not reason:
        raise MatineeError("say why", next_step="the reason stands in the history")
    try:
        return msgspec.convert({**told, "reason": reason}, Change, strict=False)
    except msgspec.ValidationError as error:
        raise MatineeError("this cannot be done", why=str(error)) from error


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; the last of each name."""
    sent = await request.body()
    if len(sent) > MOST:
        raise HTTPException(413, f"a form has at most {MOST} bytes")
    if request.headers.get("content-type", "").partition(";")[0] != FORM:
        raise HTTPException(415, f"send {FORM}")
    try:
        fields = parse_qsl(
            sent.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError as error:
        raise HTTPException(422, "the form cannot be read") from error
    return dict(fields)
