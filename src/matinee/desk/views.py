"""A page of the desk, and the same as JSON: what is read for it, and how it is shown."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.decisions.recent import Recent
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.errors import MatineeError
from matinee.service.runtime import NoChampionError

log = logging.getLogger("matinee.desk")

Found = TypeVar("Found")
Shown = TypeVar("Shown")
Query = Mapping[str, str]
"""What stands after the `?` of an address."""
Render = Callable[..., Response]
"""Makes a page: (request, template, status, **values)."""

FOLLOW = 15.0
"""Seconds between looks for what was read ahead."""
PERSONAL = {"cache-control": "no-store", "cross-origin-resource-policy": "same-origin"}
"""What is said of members stays between the server and who asked for it."""
KEPT = 64
"""How many of what a view has read are kept, by what was asked."""


class NotFoundError(MatineeError):
    """There is no such thing."""


@dataclass(frozen=True)
class View(Generic[Found]):
    """A page at `path`, and what it shows as JSON at ``/v1`` + `path`.

    `read` finds what is shown from what stands after the `?`; `None` as long as it is being read.
    `show` makes the values of the template from it, in a thread. A `MatineeError` of either is
    told to who asked. What it shows that `matinee work` reads ahead is in `ahead`.
    """

    path: str
    template: str
    read: Callable[[Query], Awaitable[Found | None]]
    show: Callable[[Found], Mapping[str, Any]]
    ahead: Sequence[Kept[Any]] = ()

    def routes(self, render: Render) -> list[Route]:
        """Where the page and the JSON stand; `render` makes pages of templates."""

        async def page(request: Request) -> Response:
            query = dict(request.query_params)
            try:
                found = await self.read(query)
                if found is None:
                    return render(request, "reading.html", again=LOOK_AGAIN)
                values = await asyncio.to_thread(self.show, found)
                told_at = f"/v1{request.url.path}" + (f"?{request.url.query}" if query else "")
                return await asyncio.to_thread(
                    partial(render, request, self.template, told_at=told_at, **values)
                )
            except MatineeError as error:
                disk = isinstance(error.__cause__, sqlite3.Error | OSError)
                if disk:
                    log.error("not shown: %s", error)
                status = 503 if disk or isinstance(error, NoChampionError) else 404
                return render(request, "problem.html", status, error=error)

        async def told(request: Request) -> Response:
            found = await self.read(dict(request.query_params))
            if found is None:
                raise HTTPException(
                    503, "the log is being read; ask again", {"retry-after": str(LOOK_AGAIN)}
                )
            body = await asyncio.to_thread(encode, found)
            return Response(body, media_type="application/json", headers=PERSONAL)

        page.__name__ = told.__name__ = self.path.strip("/").replace("/", "_")
        return [
            Route(self.path, page, methods=["GET"]),
            Route(f"/v1{self.path}", told, methods=["GET"]),
        ]


def anew(read: Callable[[Query], Found]) -> Callable[[Query], Awaitable[Found]]:
    """Read in a thread, each time."""

    async def reading(query: Query) -> Found:
        return await asyncio.to_thread(read, query)

    return reading


def kept(
    read: Callable[[str], Found],
    name: str | None = None,
    *,
    stamp: Callable[[], object] = lambda: None,
) -> Callable[[Query], Awaitable[Found | None]]:
    """Read in a thread, at most once a minute for each value of what `name` names in the query, but
    anew where `stamp` gives another value.
    """
    return _Keeping(read, name, stamp)


async def follow(views: Iterable[View[Any]]) -> None:
    """Take what `matinee work` reads ahead, and draw it, every few seconds for ever: so that who
    comes finds it there.
    """
    ahead = [one for view in views for one in view.ahead]
    while True:
        for one in ahead:
            try:
                await one.follow()
            except Exception:  # whoever comes is told
                log.exception("what was read ahead for the desk cannot be taken")
        await asyncio.sleep(FOLLOW)


def once(show: Callable[[Found], Shown]) -> Callable[[Found], Shown]:
    """`show`, called once for the same thing found: what was drawn of what is kept is kept too.

    >>> drawn = once(sorted)
    >>> names = ["b", "a"]
    >>> drawn(names) is drawn(names), drawn(["b", "a"]) is drawn(names)
    (True, False)
    """
    made = Recent[tuple[Found, Shown]](KEPT)
    return lambda found: made.get(id(found), lambda: (found, show(found)))[1]


class _Keeping(Generic[Found]):
    """What was read, by what was asked."""

    def __init__(
        self, read: Callable[[str], Found], name: str | None, stamp: Callable[[], object]
    ) -> None:
        self._read, self._name, self._stamp = read, name, stamp
        self._known = Recent[Kept[Found]](KEPT)

    async def __call__(self, query: Query) -> Found | None:
        key = query.get(self._name, "") if self._name else ""
        kept = self._known.get(key, lambda: Kept(partial(self._read, key), stamp=self._stamp))
        return await kept.get(PATIENCE)


def encode(found: object) -> bytes:
    """What was found as JSON: fields by name, times in UTC, `null` for what is not known."""
    return msgspec.json.encode(found, enc_hook=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")
