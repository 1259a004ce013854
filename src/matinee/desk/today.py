"""The first page of the desk: what the service earned, what waits for a person, what is unwell."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from starlette.requests import Request
from starlette.responses import Response

from matinee.desk.experiments import between
from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.service.runtime import Runtime
from matinee.service.today import Earned, Standing, today

UNITS = {
    "titles": "plays that count, a decision",
    "artwork": "titles taken, a choice",
    "payments": "money, an invoice",
}
"""What a reward is on the built-in surfaces."""
COLUMNS = ("surface", "decides", "since", "earned", "this week", "beside", "difference", "ever")


class TodayPage:
    """Read from one runtime at most once a minute; `show` makes pages of templates."""

    def __init__(self, runtime: Runtime, show: Callable[..., Response]) -> None:
        self._show = show
        self._today = Kept(lambda: today(runtime.service))

    async def today(self, _: Request) -> Response:
        """All of it."""
        found = await self._today.get(PATIENCE)
        if found is None:
            return self._show("today.html", found=None, again=LOOK_AGAIN)
        lines = [line(one) for one in found.standings]
        return self._show("today.html", found=found, again=0, columns=COLUMNS, lines=lines)


def line(one: Standing) -> tuple[str, ...]:
    """A row of the table of what was earned."""
    return (
        one.surface,
        one.champion or "nobody yet",
        f"{one.since:%Y-%m-%d}" if one.since else "",
        UNITS.get(one.surface, "reward, a decision"),
        _value(one.week),
        one.week.holdout or one.ever.holdout or "no holdout",
        between(one.week.beside) if one.week.beside else "",
        between(one.ever.beside) if one.ever.beside else _value(one.ever),
    )


def _value(one: Earned) -> str:
    return f"{one.value:.4g} ({one.decisions:,})" if isfinite(one.value) else "nothing closed yet"
